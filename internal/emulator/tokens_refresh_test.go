// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func controlValidity(client string, access, id, refresh int) control.TokenValidity {
	return control.TokenValidity{ClientID: client, AccessSeconds: access, IDSeconds: id, RefreshSeconds: refresh}
}

func withRotation(grace int32) func(*cognitoidentityprovider.CreateUserPoolClientInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.ExplicitAuthFlows = []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth}
		in.RefreshTokenRotation = &types.RefreshTokenRotationType{Feature: types.FeatureTypeEnabled, RetryGracePeriodSeconds: &grace}
	}
}

func TestRefreshTokenAuth(t *testing.T) {
	tests := map[string]struct {
		flow  types.AuthFlowType
		flows []types.ExplicitAuthFlowsType
		hash  func(client *types.UserPoolClientType, sub string) string
		code  string
		words string
	}{
		"a hash of the canonical username is accepted": {flow: "REFRESH_TOKEN_AUTH", hash: secretHash},
		"the short name of the flow is accepted":       {flow: "REFRESH_TOKEN", hash: secretHash},
		"a hash of the e-mail address is refused": {
			flow:  "REFRESH_TOKEN_AUTH",
			hash:  func(c *types.UserPoolClientType, _ string) string { return secretHash(c, "ann@example.com") },
			code:  "NotAuthorizedException",
			words: "Unable to verify secret hash",
		},
		"a missing hash is refused": {
			flow:  "REFRESH_TOKEN_AUTH",
			hash:  func(*types.UserPoolClientType, string) string { return "" },
			code:  "NotAuthorizedException",
			words: "SECRET_HASH was not received",
		},
		"a client without the flow is refused": {
			flow: "REFRESH_TOKEN_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"}, hash: secretHash,
			code: "InvalidParameterException", words: "Auth flow not enabled for this client",
		},
		"a client with legacy flows is accepted": {
			flow: "REFRESH_TOKEN_AUTH", flows: []types.ExplicitAuthFlowsType{"ADMIN_NO_SRP_AUTH"}, hash: secretHash,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(emailPool)
			client := b.createClient(pool, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.GenerateSecret = true
				if test.flows != nil {
					in.ExplicitAuthFlows = test.flows
				}
			})
			user := b.createConfirmedUser(pool, "ann@example.com")
			tokens := b.mustSignIn(client, "ann@example.com")
			b.clock.Advance(time.Minute)

			parameters := map[string]string{"REFRESH_TOKEN": *tokens.RefreshToken, "SECRET_HASH": test.hash(client, *user.Username)}
			out, err := b.adminAuth(client, test.flow, parameters)
			requireOutcome(t, err, test.code, test.words)
			if test.code != "" {
				return
			}
			require.Nil(t, out.AuthenticationResult.RefreshToken)
			claims := claimsOf(t, out.AuthenticationResult.AccessToken)
			require.Equal(t, claimsOf(t, tokens.AccessToken)["origin_jti"], claims["origin_jti"])
			require.Equal(t, float64(b.clock.Now().Add(-time.Minute).Unix()), claims["auth_time"])
			require.Equal(t, float64(b.clock.Now().Unix()), claims["iat"])
		})
	}
}

func TestRefreshTokenAuthWithoutAWSCredentials(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, nil)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	_, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: client.ClientId, AuthFlow: "REFRESH_TOKEN_AUTH", AuthParameters: map[string]string{"REFRESH_TOKEN": *tokens.RefreshToken},
	})
	require.NoError(t, err)
	_, err = b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{ClientId: client.ClientId, AuthFlow: "REFRESH_TOKEN_AUTH"})
	requireCode(t, err, "InvalidParameterException", "REFRESH_TOKEN")
}

func TestGetTokensFromRefreshToken(t *testing.T) {
	tests := map[string]struct {
		change func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, b *env)
		code   string
	}{
		"the secret of the client is accepted": {},
		"a missing secret is refused": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, _ *env) { in.ClientSecret = nil },
			code:   "NotAuthorizedException",
		},
		"a wrong secret is refused": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, _ *env) {
				in.ClientSecret = aws.String("wrong-wrong-wrong-wrong-wrong")
			},
			code: "NotAuthorizedException",
		},
		"a secret for a public client is refused": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, b *env) {
				in.ClientId = &b.seed.PublicClientID
			},
			code: "NotAuthorizedException",
		},
		"a token of another client is refused": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, b *env) {
				in.ClientId, in.ClientSecret = &b.seed.PublicClientID, nil
			},
			code: "NotAuthorizedException",
		},
		"an unknown token is refused": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, _ *env) {
				in.RefreshToken = aws.String("made-up")
			},
			code: "NotAuthorizedException",
		},
		"an unknown client is not found": {
			change: func(in *cognitoidentityprovider.GetTokensFromRefreshTokenInput, _ *env) {
				in.ClientId = aws.String("nobody")
			},
			code: "ResourceNotFoundException",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.seededClient()
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			in := &cognitoidentityprovider.GetTokensFromRefreshTokenInput{
				ClientId: client.ClientId, ClientSecret: client.ClientSecret, RefreshToken: b.mustSignIn(client, "ann").RefreshToken,
			}
			if test.change != nil {
				test.change(in, b)
			}
			out, err := b.cognito.GetTokensFromRefreshToken(b.ctx, in)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				require.NotEmpty(t, *out.AuthenticationResult.AccessToken)
				require.Nil(t, out.AuthenticationResult.RefreshToken, "without rotation no refresh token is returned")
			}
		})
	}
}

func TestRotationOfRefreshTokens(t *testing.T) {
	tests := map[string]struct {
		grace int32
		wait  time.Duration
		code  string
	}{
		"a replaced token is refused without a grace period":   {grace: 0, code: "RefreshTokenReuseException"},
		"a replaced token is accepted within the grace period": {grace: 10, wait: 9 * time.Second},
		"a replaced token is refused after the grace period":   {grace: 10, wait: 10 * time.Second, code: "RefreshTokenReuseException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.createClient(b.seed.UserPoolID, withRotation(test.grace))
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			first := b.mustSignIn(client, "ann").RefreshToken
			second, err := b.refresh(client, *first)
			require.NoError(t, err)
			require.NotEqual(t, *first, *second.RefreshToken)

			b.clock.Advance(test.wait)
			_, err = b.refresh(client, *first)
			requireOutcome(t, err, test.code)
			_, err = b.refresh(client, *second.RefreshToken)
			require.NoError(t, err)
		})
	}
}

func TestRotationDoesNotExtendTheRefreshTokenLifetime(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, withRotation(0))
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	first := b.mustSignIn(client, "ann").RefreshToken
	b.clock.Advance(29 * 24 * time.Hour)
	second, err := b.refresh(client, *first)
	require.NoError(t, err)
	b.clock.Advance(24 * time.Hour)
	_, err = b.refresh(client, *second.RefreshToken)
	requireCode(t, err, "NotAuthorizedException", "Refresh Token has expired")
}

func TestRotationForbidsRefreshTokenAuth(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	for _, flow := range []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH", "ADMIN_NO_SRP_AUTH"} {
		client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
			withRotation(0)(in)
			in.ExplicitAuthFlows = []types.ExplicitAuthFlowsType{flow}
		})
		tokens := b.mustSignIn(client, "ann")
		_, err := b.adminAuth(client, "REFRESH_TOKEN_AUTH", map[string]string{"REFRESH_TOKEN": *tokens.RefreshToken})
		requireCode(t, err, "InvalidParameterException", "Auth flow not enabled for this client")
	}
}

func TestRevokeToken(t *testing.T) {
	tests := map[string]struct {
		change func(in *cognitoidentityprovider.RevokeTokenInput, b *env, tokens *types.AuthenticationResultType)
		code   string
	}{
		"a refresh token is revoked": {},
		"an access token is refused": {
			change: func(in *cognitoidentityprovider.RevokeTokenInput, _ *env, tokens *types.AuthenticationResultType) {
				in.Token = tokens.AccessToken
			},
			code: "UnsupportedTokenTypeException",
		},
		"a wrong secret is refused": {
			change: func(in *cognitoidentityprovider.RevokeTokenInput, _ *env, _ *types.AuthenticationResultType) {
				in.ClientSecret = aws.String("wrong")
			},
			code: "UnauthorizedException",
		},
		"a token of another client is refused": {
			change: func(in *cognitoidentityprovider.RevokeTokenInput, b *env, _ *types.AuthenticationResultType) {
				in.ClientId, in.ClientSecret = &b.seed.PublicClientID, nil
			},
			code: "UnauthorizedException",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.seededClient()
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(client, "ann")
			in := &cognitoidentityprovider.RevokeTokenInput{ClientId: client.ClientId, ClientSecret: client.ClientSecret, Token: tokens.RefreshToken}
			if test.change != nil {
				test.change(in, b, tokens)
			}
			_, err := b.cognito.RevokeToken(b.ctx, in)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				_, err := b.cognito.RevokeToken(b.ctx, in)
				require.NoError(t, err, "revoking twice is accepted")
			}
		})
	}
}

func TestRevokedTokenEndsOnlyItsSignIn(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	first, second := b.mustSignIn(client, "ann"), b.mustSignIn(client, "ann")
	_, err := b.cognito.RevokeToken(b.ctx, &cognitoidentityprovider.RevokeTokenInput{
		ClientId: client.ClientId, ClientSecret: client.ClientSecret, Token: first.RefreshToken,
	})
	require.NoError(t, err)
	require.NoError(t, b.whoAmI(*second.AccessToken))
	_, err = b.refresh(client, *second.RefreshToken)
	require.NoError(t, err)
}

func TestRevokeTokenNeedsRevocationEnabled(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.EnableTokenRevocation = aws.Bool(false)
	})
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	_, err := b.cognito.RevokeToken(b.ctx, &cognitoidentityprovider.RevokeTokenInput{
		ClientId: client.ClientId, Token: b.mustSignIn(client, "ann").RefreshToken,
	})
	requireCode(t, err, "UnsupportedOperationException")
}
