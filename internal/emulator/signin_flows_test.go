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

func withFlows(flows ...types.ExplicitAuthFlowsType) func(*cognitoidentityprovider.CreateUserPoolClientInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolClientInput) { in.ExplicitAuthFlows = flows }
}

func withSecret(in *cognitoidentityprovider.CreateUserPoolClientInput) {
	in.GenerateSecret = true
}

func TestAdminSignInByPassword(t *testing.T) {
	tests := map[string]struct {
		flow       types.AuthFlowType
		flows      []types.ExplicitAuthFlowsType
		parameters map[string]string
		code       string
		words      string
	}{
		"the flow that is allowed signs in": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		},
		"its old name does too": {
			flow: "ADMIN_NO_SRP_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		},
		"a client with the old value signs in": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ADMIN_NO_SRP_AUTH"},
		},
		"a client that says nothing does not allow it": {
			flow: "ADMIN_USER_PASSWORD_AUTH", code: "InvalidParameterException", words: "Auth flow not enabled for this client",
		},
		"the users' own flow does not allow it": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"},
			code: "InvalidParameterException", words: "Auth flow not enabled for this client",
		},
		"the users' own flow is not for admins": {
			flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"},
			code: "InvalidParameterException", words: "Initiate Auth method not supported.",
		},
		"a username is needed": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"PASSWORD": goodPassword}, code: "InvalidParameterException", words: "USERNAME",
		},
		"a password is needed": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann"}, code: "InvalidParameterException", words: "PASSWORD",
		},
		"a wrong password is refused": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann", "PASSWORD": otherPassword},
			code:       "NotAuthorizedException", words: "Incorrect username or password.",
		},
		"a secret hash is not for a client without a secret": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword, "SECRET_HASH": "aGFzaA=="},
			code:       "NotAuthorizedException", words: "Unable to verify secret hash",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			client := b.createClient(b.seed.UserPoolID, withFlows(test.flows...))
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			parameters := test.parameters
			if parameters == nil {
				parameters = map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword}
			}
			out, err := b.adminAuth(client, test.flow, parameters)
			requireOutcome(t, err, test.code, test.words)
			if test.code == "" {
				require.NotEmpty(t, *out.AuthenticationResult.AccessToken)
				require.NotEmpty(t, *out.AuthenticationResult.IdToken)
				require.NotEmpty(t, *out.AuthenticationResult.RefreshToken)
				require.Equal(t, "Bearer", *out.AuthenticationResult.TokenType)
				require.Equal(t, int32(3600), out.AuthenticationResult.ExpiresIn)
			}
		})
	}
}

func TestUserSignInByPassword(t *testing.T) {
	tests := map[string]struct {
		flow  types.AuthFlowType
		flows []types.ExplicitAuthFlowsType
		code  string
	}{
		"the flow that is allowed signs in":  {flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"}},
		"the admins' flow does not allow it": {flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"}, code: "InvalidParameterException"},
		"the admins' flow is not for users":  {flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"}, code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			client := b.createClient(b.seed.UserPoolID, withFlows(test.flows...))
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			_, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
				ClientId: client.ClientId, AuthFlow: test.flow,
				AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword},
			})
			requireOutcome(t, err, test.code)
		})
	}
}

func TestUnknownUsersAtSignIn(t *testing.T) {
	tests := map[string]struct {
		prevent types.PreventUserExistenceErrorTypes
		code    string
	}{
		"a client that says nothing tells": {code: "UserNotFoundException"},
		"LEGACY tells":                     {prevent: "LEGACY", code: "UserNotFoundException"},
		"ENABLED does not tell":            {prevent: "ENABLED", code: "NotAuthorizedException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.PreventUserExistenceErrors = test.prevent
			})
			_, err := b.signIn(client, "nobody", goodPassword)
			requireCode(t, err, test.code)
		})
	}
}

func TestDisabledUserCannotSignIn(t *testing.T) {
	b := newBench(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.disableUser(b.seed.UserPoolID, "ann"))
	_, err := b.signIn(b.seededClient(), "ann", goodPassword)
	requireCode(t, err, "NotAuthorizedException", "User is disabled.")
}

func TestSecretHashAtSignIn(t *testing.T) {
	hash := func(secret, id, username string) string { return secretHashWith(secret, id, username) }
	tests := map[string]struct {
		name  string
		hash  func(client *types.UserPoolClientType, sub string) string
		code  string
		words string
	}{
		"the hash of the name that is sent is right": {
			name: "ann@example.com",
			hash: func(c *types.UserPoolClientType, _ string) string {
				return hash(*c.ClientSecret, *c.ClientId, "ann@example.com")
			},
		},
		"the hash of the sub is wrong for the e-mail address": {
			name:  "ann@example.com",
			hash:  func(c *types.UserPoolClientType, sub string) string { return hash(*c.ClientSecret, *c.ClientId, sub) },
			code:  "NotAuthorizedException",
			words: "Unable to verify secret hash for client",
		},
		"the hash with another secret is wrong": {
			name: "ann@example.com",
			hash: func(c *types.UserPoolClientType, _ string) string {
				return hash("another", *c.ClientId, "ann@example.com")
			},
			code:  "NotAuthorizedException",
			words: "Unable to verify secret hash for client",
		},
		"no hash is refused": {
			name:  "ann@example.com",
			hash:  func(*types.UserPoolClientType, string) string { return "" },
			code:  "NotAuthorizedException",
			words: "is configured with secret but SECRET_HASH was not received",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pool := b.createPool(emailPool)
			client := b.createClient(pool, withSecret)
			user := b.createConfirmedUser(pool, "ann@example.com")
			_, err := b.adminAuth(client, "ADMIN_USER_PASSWORD_AUTH", map[string]string{
				"USERNAME": test.name, "PASSWORD": goodPassword, "SECRET_HASH": test.hash(client, *user.Username),
			})
			requireOutcome(t, err, test.code, test.words)
		})
	}
}

func TestSignInAtAnUnknownClient(t *testing.T) {
	b := newBench(t)
	elsewhere := b.createPool(nil)
	tests := map[string]types.UserPoolClientType{
		"a client that is not there": {UserPoolId: &b.seed.UserPoolID, ClientId: aws.String("nobody")},
		"a client of another pool":   {UserPoolId: &elsewhere, ClientId: &b.seed.PublicClientID},
		"a pool that is not there":   {UserPoolId: aws.String("eu-west-1_nowhere"), ClientId: &b.seed.PublicClientID},
	}
	for name, client := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := b.signIn(&client, "ann", goodPassword)
			requireCode(t, err, "ResourceNotFoundException", "does not exist.")
		})
	}
}
