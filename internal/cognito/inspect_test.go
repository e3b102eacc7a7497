// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestInspect(t *testing.T) {
	f := newFixture(t, 0)

	t.Run("a pool", func(t *testing.T) {
		pool := f.MakePool(&cip.CreateUserPoolInput{
			UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail},
			Policies:           &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(12), RequireNumbers: true}},
			Schema: []types.SchemaAttributeType{
				{Name: aws.String("email"), Required: aws.Bool(true), AttributeDataType: types.AttributeDataTypeString},
				{Name: aws.String("team"), AttributeDataType: types.AttributeDataTypeString},
			},
		})
		rules, err := f.poolOf(pool).Rules(t.Context())
		require.NoError(t, err)
		require.Equal(t, cognito.PasswordRules{MinimumLength: 12, Numbers: true}, rules.Password)
		require.Equal(t, []string{"email"}, rules.UsernameAttributes)
		require.Equal(t, []string{"email"}, rules.Required, "the sub is not for us to give")
		require.Contains(t, rules.Attributes, "custom:team")
		require.Equal(t, "OFF", rules.MFA)
	})

	t.Run("the life of tokens", func(t *testing.T) {
		for _, c := range []struct {
			access, id int32
			units      *types.TokenValidityUnitsType
			life       time.Duration
		}{
			{0, 0, nil, time.Hour},
			{2, 0, nil, 2 * time.Hour},
			{600, 10, &types.TokenValidityUnitsType{AccessToken: types.TimeUnitsTypeSeconds, IdToken: types.TimeUnitsTypeMinutes}, 10 * time.Minute},
			{1, 1, &types.TokenValidityUnitsType{AccessToken: types.TimeUnitsTypeDays}, 24 * time.Hour},
		} {
			out, err := f.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{
				UserPoolId: &f.Seed.UserPoolID, ClientName: aws.String("lives"),
				AccessTokenValidity: validity(c.access), IdTokenValidity: validity(c.id), TokenValidityUnits: c.units,
			})
			require.NoError(t, err)
			client, err := f.pool().Client(t.Context(), *out.UserPoolClient.ClientId)
			require.NoError(t, err)
			require.Equal(t, c.life, client.JWTLife)
			require.False(t, client.HasSecret)
		}
	})

	t.Run("a domain by its prefix, or by its whole name", func(t *testing.T) {
		for _, c := range []struct{ domain, host string }{
			{"prefix", "prefix.auth.eu-west-1.amazoncognito.com"},
			{"fips", "fips.auth-fips.us-gov-west-1.amazoncognito.com"},
			{"auth.example.com", "auth.example.com"},
		} {
			pool := f.MakePool(&cip.CreateUserPoolInput{})
			create := &cip.CreateUserPoolDomainInput{Domain: &c.domain, UserPoolId: &pool}
			if c.domain == c.host {
				create.CustomDomainConfig = &types.CustomDomainConfigType{CertificateArn: aws.String("arn:aws:acm:us-east-1:123456789012:certificate/1")}
			}
			_, err := f.Admin.CreateUserPoolDomain(t.Context(), create)
			require.NoError(t, err)
			state, err := f.poolOf(pool).Domain(t.Context(), c.host)
			require.NoError(t, err)
			require.Equal(t, cognito.DomainState{UserPoolID: pool, Status: "ACTIVE"}, state)
		}
	})

	t.Run("the identity of an assumed role", func(t *testing.T) {
		arn, err := f.service.Identity(t.Context(), cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::123456789012:role/reader"})
		require.NoError(t, err)
		require.Contains(t, arn, "assumed-role/reader/")
	})

	t.Run("a denied action is named", func(t *testing.T) {
		f.Deny("cognito-idp:GetGroup")
		require.Equal(t, "cognito-idp:GetGroup", cognito.DeniedAction(f.pool().FindGroup(t.Context(), "testers")))
		require.NoError(t, f.Control.SetIAM(t.Context(), control.IAM{RejectedKeys: []string{"AKIAPLUGIN"}}))
		err := f.pool().FindGroup(t.Context(), "testers")
		require.Error(t, err)
		require.Empty(t, cognito.DeniedAction(err), "keys that AWS does not take are no denied action")
	})
}

// validity leaves a validity of 0 out of a request, where it means the default.
func validity(units int32) *int32 {
	if units == 0 {
		return nil
	}
	return &units
}
