// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"cmp"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
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
		"an allowed flow signs in": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		},
		"the legacy name of an allowed flow signs in": {
			flow: "ADMIN_NO_SRP_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		},
		"a client with the legacy flow signs in": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ADMIN_NO_SRP_AUTH"},
		},
		"a client without flows refuses it": {
			flow: "ADMIN_USER_PASSWORD_AUTH", code: "InvalidParameterException", words: "Auth flow not enabled for this client",
		},
		"a client with USER_PASSWORD_AUTH only refuses it": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"},
			code: "InvalidParameterException", words: "Auth flow not enabled for this client",
		},
		"USER_PASSWORD_AUTH is refused as an admin flow": {
			flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"},
			code: "InvalidParameterException", words: "Initiate Auth method not supported.",
		},
		"a missing username is refused": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"PASSWORD": goodPassword}, code: "InvalidParameterException", words: "USERNAME",
		},
		"a missing password is refused": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann"}, code: "InvalidParameterException", words: "PASSWORD",
		},
		"a wrong password is refused": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann", "PASSWORD": otherPassword},
			code:       "NotAuthorizedException", words: "Incorrect username or password.",
		},
		"a secret hash for a public client is refused": {
			flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"},
			parameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword, "SECRET_HASH": "aGFzaA=="},
			code:       "NotAuthorizedException", words: "Unable to verify secret hash",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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
		"an allowed flow signs in":                          {flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_USER_PASSWORD_AUTH"}},
		"a client with the admin flow only refuses it":      {flow: "USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"}, code: "InvalidParameterException"},
		"the admin flow is refused without AWS credentials": {flow: "ADMIN_USER_PASSWORD_AUTH", flows: []types.ExplicitAuthFlowsType{"ALLOW_ADMIN_USER_PASSWORD_AUTH"}, code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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
		"a client without the setting reveals an unknown user": {code: "UserNotFoundException"},
		"a client with LEGACY reveals an unknown user":         {prevent: "LEGACY", code: "UserNotFoundException"},
		"a client with ENABLED hides an unknown user":          {prevent: "ENABLED", code: "NotAuthorizedException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.PreventUserExistenceErrors = test.prevent
			})
			_, err := b.signIn(client, "nobody", goodPassword)
			requireCode(t, err, test.code)
		})
	}
}

func TestDisabledUserCannotSignIn(t *testing.T) {
	b := newEnv(t)
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
		"a hash of the name that is sent is accepted": {
			name: "ann@example.com",
			hash: func(c *types.UserPoolClientType, _ string) string {
				return hash(*c.ClientSecret, *c.ClientId, "ann@example.com")
			},
		},
		"a hash of the sub is refused for an e-mail address": {
			name:  "ann@example.com",
			hash:  func(c *types.UserPoolClientType, sub string) string { return hash(*c.ClientSecret, *c.ClientId, sub) },
			code:  "NotAuthorizedException",
			words: "Unable to verify secret hash for client",
		},
		"a hash with another secret is refused": {
			name: "ann@example.com",
			hash: func(c *types.UserPoolClientType, _ string) string {
				return hash("another", *c.ClientId, "ann@example.com")
			},
			code:  "NotAuthorizedException",
			words: "Unable to verify secret hash for client",
		},
		"a missing hash is refused": {
			name:  "ann@example.com",
			hash:  func(*types.UserPoolClientType, string) string { return "" },
			code:  "NotAuthorizedException",
			words: "is configured with secret but SECRET_HASH was not received",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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
	b := newEnv(t)
	elsewhere := b.createPool(nil)
	tests := map[string]types.UserPoolClientType{
		"an unknown client is not found":        {UserPoolId: &b.seed.UserPoolID, ClientId: aws.String("nobody")},
		"a client of another pool is not found": {UserPoolId: &elsewhere, ClientId: &b.seed.PublicClientID},
		"an unknown pool is not found":          {UserPoolId: aws.String("eu-west-1_nowhere"), ClientId: &b.seed.PublicClientID},
	}
	for name, client := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := b.signIn(&client, "ann", goodPassword)
			requireCode(t, err, "ResourceNotFoundException", "does not exist.")
		})
	}
}

func TestSignInByStatus(t *testing.T) {
	for status, code := range map[string]string{
		"CONFIRMED":         "",
		"EXTERNAL_PROVIDER": "NotAuthorizedException",
		"RESET_REQUIRED":    "PasswordResetRequiredException",
		"UNCONFIRMED":       "UserNotConfirmedException",
	} {
		t.Run("a user with the status "+status+" meets "+cmp.Or(code, "no exception"), func(t *testing.T) {
			b := newEnv(t)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			require.NoError(t, b.control.SetUserStatus(b.ctx, control.UserStatus{UserPoolID: b.seed.UserPoolID, Username: "ann", Status: status}))
			require.Equal(t, status, b.user(b.seed.UserPoolID, "ann").Status)
			_, err := b.signIn(b.seededClient(), "ann", goodPassword)
			requireOutcome(t, err, code)
			require.NoError(t, b.setPassword(b.seed.UserPoolID, "ann", otherPassword))
			_, err = b.signIn(b.seededClient(), "ann", otherPassword)
			require.NoError(t, err, "a permanent password confirms the user")
		})
	}
}

func TestInvalidUserStatusIsRefused(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	for _, wanted := range []control.UserStatus{
		{UserPoolID: b.seed.UserPoolID, Username: "ann", Status: "HAPPY"},
		{UserPoolID: b.seed.UserPoolID, Username: "bob", Status: "CONFIRMED"},
		{UserPoolID: "eu-west-1_missing", Username: "ann", Status: "CONFIRMED"},
	} {
		require.Error(t, b.control.SetUserStatus(b.ctx, wanted))
	}
	require.Equal(t, "FORCE_CHANGE_PASSWORD", b.user(b.seed.UserPoolID, "ann").Status)
}
