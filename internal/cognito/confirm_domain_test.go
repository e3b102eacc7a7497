// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

func TestConfirmDomain(t *testing.T) {
	e := emulatortest.Start(t)
	own := e.MakePool(&cip.CreateUserPoolInput{})
	_, err := e.Admin.CreateUserPoolDomain(t.Context(), &cip.CreateUserPoolDomainInput{Domain: aws.String("shop"), UserPoolId: &own})
	require.NoError(t, err)
	other := e.MakePool(&cip.CreateUserPoolInput{})
	_, err = e.Admin.CreateUserPoolDomain(t.Context(), &cip.CreateUserPoolDomainInput{Domain: aws.String("theirs"), UserPoolId: &other})
	require.NoError(t, err)
	target := cognito.Target{UserPoolID: own, Region: "eu-west-1"}
	newService := func() *cognito.Service {
		return cognito.New(t.Context(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", RequestTimeout: time.Second, CognitoEndpoint: e.Seed.Domain, STSEndpoint: e.Seed.Domain,
		})
	}

	t.Run("domains of the pool and the endpoint of the config are confirmed", func(t *testing.T) {
		service := newService()
		for _, domain := range []string{"shop.auth.eu-west-1.amazoncognito.com", "https://SHOP.auth.eu-west-1.amazoncognito.com", e.Seed.Domain} {
			require.NoError(t, service.ConfirmDomain(t.Context(), target, domain), domain)
		}
	})

	t.Run("every other domain is refused", func(t *testing.T) {
		service := newService()
		for _, domain := range []string{
			"attacker.example", "theirs.auth.eu-west-1.amazoncognito.com", "shop.auth.us-east-1.amazoncognito.com", "http://127.0.0.1:1",
			"shop.auth.eu-west-1.amazoncognito.com.attacker.example",
		} {
			err := service.ConfirmDomain(t.Context(), target, domain)
			require.ErrorContains(t, err, "the client secret is not sent to it", domain)
			require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
		}
	})

	t.Run("a domain is confirmed once per service, with either permission", func(t *testing.T) {
		service := newService()
		e.Deny("cognito-idp:DescribeUserPool")
		require.NoError(t, service.ConfirmDomain(t.Context(), target, "shop.auth.eu-west-1.amazoncognito.com"))
		e.Deny("cognito-idp:DescribeUserPool", "cognito-idp:DescribeUserPoolDomain")
		require.NoError(t, service.ConfirmDomain(t.Context(), target, "shop.auth.eu-west-1.amazoncognito.com"))
	})

	t.Run("without both permissions the error names both", func(t *testing.T) {
		err := newService().ConfirmDomain(t.Context(), target, "shop.auth.eu-west-1.amazoncognito.com")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.ErrorContains(t, err, "cognito-idp:DescribeUserPool nor cognito-idp:DescribeUserPoolDomain")
	})
}
