// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

func (b *env) describePool(pool string) (*types.UserPoolType, error) {
	out, err := b.cognito.DescribeUserPool(b.ctx, &cognitoidentityprovider.DescribeUserPoolInput{UserPoolId: &pool})
	if err != nil {
		return nil, err
	}
	return out.UserPool, nil
}

func TestDescribePool(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) {
		withRequiredName(in)
		emailPool(in)
		caseInsensitivePool(in)
		in.UserPoolTags = map[string]string{"team": "red"}
	})
	b.createUser(pool, "ann@example.com")
	got, err := b.describePool(pool)
	require.NoError(t, err)
	require.Regexp(t, `^eu-west-1_[0-9A-Za-z]{9}$`, *got.Id)
	require.Equal(t, "arn:aws:cognito-idp:eu-west-1:123456789012:userpool/"+pool, *got.Arn)
	require.Equal(t, []types.UsernameAttributeType{"email"}, got.UsernameAttributes)
	require.False(t, *got.UsernameConfiguration.CaseSensitive)
	require.Equal(t, types.UserPoolMfaTypeOff, got.MfaConfiguration)
	require.Equal(t, types.UserPoolTierTypeEssentials, got.UserPoolTier)
	require.Equal(t, map[string]string{"team": "red"}, got.UserPoolTags)
	require.Equal(t, int32(1), got.EstimatedNumberOfUsers)
	require.Equal(t, types.PasswordPolicyType{
		MinimumLength: aws.Int32(8), RequireUppercase: true, RequireLowercase: true, RequireNumbers: true, RequireSymbols: true,
		TemporaryPasswordValidityDays: 7,
	}, *got.Policies.PasswordPolicy)
	required := map[string]bool{}
	for _, attribute := range got.SchemaAttributes {
		required[*attribute.Name] = *attribute.Required
	}
	require.True(t, required["name"])
	require.False(t, required["email"])
	require.Contains(t, required, "phone_number_verified")
}

func TestCustomAttributesHaveTheirPrefix(t *testing.T) {
	b := newEnv(t)
	got, err := b.describePool(b.createPool(withTestSchema))
	require.NoError(t, err)
	var names []string
	for _, attribute := range got.SchemaAttributes {
		names = append(names, *attribute.Name)
	}
	require.Subset(t, names, []string{"custom:team", "custom:age", "custom:origin"})
}

func TestCustomAttributesHaveLimits(t *testing.T) {
	for name, attribute := range map[string]types.SchemaAttributeType{
		"a custom attribute name of 21 characters is refused": {Name: aws.String("abcdefghijklmnopqrstu")},
		"a required custom attribute is refused":              {Name: aws.String("team"), Required: aws.Bool(true)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			_, err := b.cognito.CreateUserPool(b.ctx, &cognitoidentityprovider.CreateUserPoolInput{
				PoolName: aws.String("pool"), Schema: []types.SchemaAttributeType{attribute},
			})
			requireCode(t, err, "InvalidParameterException")
		})
	}
}

func TestDeletedPoolDeletesItsContent(t *testing.T) {
	b := newEnv(t)
	pool := b.seed.UserPoolID
	client := b.seededClient()
	b.createConfirmedUser(pool, "ann")
	tokens := b.mustSignIn(client, "ann")
	_, err := b.cognito.DeleteUserPool(b.ctx, &cognitoidentityprovider.DeleteUserPoolInput{UserPoolId: &pool})
	require.NoError(t, err)

	_, err = b.describePool(pool)
	requireCode(t, err, "ResourceNotFoundException", "User pool "+pool+" does not exist.")
	_, err = b.getUser(pool, "ann")
	requireCode(t, err, "ResourceNotFoundException")
	requireCode(t, b.deleteUser(pool, "ann"), "ResourceNotFoundException")
	requireCode(t, b.addToGroup(pool, "ann", b.seed.Group), "ResourceNotFoundException")
	_, err = b.signIn(client, "ann", goodPassword)
	requireCode(t, err, "ResourceNotFoundException")
	_, err = b.refresh(client, *tokens.RefreshToken)
	requireCode(t, err, "ResourceNotFoundException")
	require.Equal(t, "invalid_client", b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).body["error"])
}

func TestProtectedPoolIsNotDeleted(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) {
		in.DeletionProtection = types.DeletionProtectionTypeActive
	})
	_, err := b.cognito.DeleteUserPool(b.ctx, &cognitoidentityprovider.DeleteUserPoolInput{UserPoolId: &pool})
	requireCode(t, err, "InvalidParameterException")
}

func TestPoolIDs(t *testing.T) {
	b := newEnv(t)
	for id, code := range map[string]string{
		"eu-west-1_nowhere": "ResourceNotFoundException",
		"not a pool id":     "InvalidParameterException",
	} {
		_, err := b.describePool(id)
		requireCode(t, err, code)
	}
}

func TestDomains(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	_, err := b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{UserPoolId: &pool, Domain: aws.String("mine")})
	require.NoError(t, err)
	out, err := b.cognito.DescribeUserPoolDomain(b.ctx, &cognitoidentityprovider.DescribeUserPoolDomainInput{Domain: aws.String("mine")})
	require.NoError(t, err)
	require.Equal(t, types.DomainStatusTypeActive, out.DomainDescription.Status)
	require.Equal(t, pool, *out.DomainDescription.UserPoolId)
	described, err := b.describePool(pool)
	require.NoError(t, err)
	require.Equal(t, "mine", *described.Domain)

	out, err = b.cognito.DescribeUserPoolDomain(b.ctx, &cognitoidentityprovider.DescribeUserPoolDomainInput{Domain: aws.String("nobodys")})
	require.NoError(t, err)
	require.Nil(t, out.DomainDescription.UserPoolId)

	_, err = b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{UserPoolId: &b.seed.UserPoolID, Domain: aws.String("mine")})
	requireCode(t, err, "InvalidParameterException")
}

func TestCustomDomain(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	create := func(domain, certificate string) error {
		_, err := b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{
			UserPoolId: &pool, Domain: &domain, CustomDomainConfig: &types.CustomDomainConfigType{CertificateArn: &certificate},
		})
		return err
	}
	requireCode(t, create("auth.example.com", ""), "InvalidParameterException", "certificateArn")
	require.NoError(t, create("auth.example.com", "arn:aws:acm:us-east-1:123456789012:certificate/1"))
	requireCode(t, create("other.example.com", "arn:aws:acm:us-east-1:123456789012:certificate/1"), "InvalidParameterException", "auth.example.com")
	_, err := b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{UserPoolId: &pool, Domain: aws.String("mine")})
	require.NoError(t, err, "a pool has a prefix domain besides")

	described, err := b.describePool(pool)
	require.NoError(t, err)
	require.Equal(t, "mine", *described.Domain)
	require.Equal(t, "auth.example.com", *described.CustomDomain)
	out, err := b.cognito.DescribeUserPoolDomain(b.ctx, &cognitoidentityprovider.DescribeUserPoolDomainInput{Domain: aws.String("auth.example.com")})
	require.NoError(t, err)
	require.Equal(t, pool, *out.DomainDescription.UserPoolId)
	require.Equal(t, types.DomainStatusTypeActive, out.DomainDescription.Status)
	require.NotEmpty(t, *out.DomainDescription.CloudFrontDistribution)
	require.Equal(t, "arn:aws:acm:us-east-1:123456789012:certificate/1", *out.DomainDescription.CustomDomainConfig.CertificateArn)
}

func TestDeletedDomain(t *testing.T) {
	b := newEnv(t)
	described, err := b.describePool(b.seed.UserPoolID)
	require.NoError(t, err)
	remove := func(domain string) error {
		_, err := b.cognito.DeleteUserPoolDomain(b.ctx, &cognitoidentityprovider.DeleteUserPoolDomainInput{UserPoolId: &b.seed.UserPoolID, Domain: &domain})
		return err
	}
	requireCode(t, remove("another"), "ResourceNotFoundException")
	require.NoError(t, remove(*described.Domain))
	described, err = b.describePool(b.seed.UserPoolID)
	require.NoError(t, err)
	require.Nil(t, described.Domain)
	require.Equal(t, 404, b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).status)
}

func TestSeed(t *testing.T) {
	b := newEnv(t)
	require.Equal(t, testRegion, b.seed.Region)
	require.Equal(t, b.url, b.seed.Domain)
	require.Equal(t, "testers", b.seed.Group)
	require.Equal(t, []string{"testers", "admins"}, b.seed.Groups)
	require.Equal(t, []string{"api/read", "api/write"}, b.seed.Scopes)

	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	for _, group := range b.seed.Groups {
		require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", group))
	}
	public := &types.UserPoolClientType{UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID}
	for _, client := range []*types.UserPoolClientType{b.seededClient(), public} {
		tokens := b.mustSignIn(client, "ann")
		_, err := b.refresh(client, *tokens.RefreshToken)
		require.NoError(t, err)
	}
}
