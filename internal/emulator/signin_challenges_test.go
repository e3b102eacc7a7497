// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// withRequiredName changes a pool so that each user must have a name.
func withRequiredName(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.Schema = []types.SchemaAttributeType{{Name: aws.String("name"), Required: aws.Bool(true), Mutable: aws.Bool(true)}}
}

// challenged is a sign-in with an open NEW_PASSWORD_REQUIRED challenge.
type challenged struct {
	*env
	pool    string
	client  *types.UserPoolClientType
	session *string
}

func newChallenged(t *testing.T, attributes ...string) *challenged {
	b := newEnv(t)
	c := &challenged{env: b, pool: b.createPool(withRequiredName)}
	c.client = b.createClient(c.pool, withSecret)
	b.createUser(c.pool, "ann", attributes...)
	c.session = c.meet().Session
	return c
}

func (c *challenged) meet() *cognitoidentityprovider.AdminInitiateAuthOutput {
	c.t.Helper()
	out, err := c.signIn(c.client, "ann", goodPassword)
	require.NoError(c.t, err)
	require.Equal(c.t, types.ChallengeNameTypeNewPasswordRequired, out.ChallengeName)
	require.Nil(c.t, out.AuthenticationResult)
	return out
}

// answer sends a valid answer with the changes applied.
func (c *challenged) answer(changes map[string]string) error {
	responses := map[string]string{
		"USERNAME": "ann", "NEW_PASSWORD": otherPassword, "SECRET_HASH": secretHash(c.client, "ann"), "userAttributes.name": "Ann",
	}
	for key, value := range changes {
		responses[key] = value
		if value == "" {
			delete(responses, key)
		}
	}
	_, err := c.cognito.AdminRespondToAuthChallenge(c.ctx, &cognitoidentityprovider.AdminRespondToAuthChallengeInput{
		UserPoolId: &c.pool, ClientId: c.client.ClientId, Session: c.session,
		ChallengeName: types.ChallengeNameTypeNewPasswordRequired, ChallengeResponses: responses,
	})
	return err
}

func TestNewPasswordChallengeNamesMissingAttributes(t *testing.T) {
	c := newChallenged(t, "email", "ann@example.com")
	parameters := c.meet().ChallengeParameters
	require.Equal(t, "ann", parameters["USER_ID_FOR_SRP"])
	require.JSONEq(t, `["userAttributes.name"]`, parameters["requiredAttributes"])
	require.JSONEq(t, `{"email":"ann@example.com"}`, parameters["userAttributes"])
}

func TestNewPasswordChallengeWithoutMissingAttributes(t *testing.T) {
	c := newChallenged(t, "name", "Ann")
	var required []string
	require.NoError(t, json.Unmarshal([]byte(c.meet().ChallengeParameters["requiredAttributes"]), &required))
	require.Empty(t, required)
}

func TestNewPasswordAnswers(t *testing.T) {
	tests := map[string]struct {
		attributes []string
		changes    map[string]string
		code       string
		words      string
	}{
		"a valid answer confirms the user":                      {},
		"an answer without a required attribute is refused":     {changes: map[string]string{"userAttributes.name": ""}, code: "InvalidParameterException", words: "name is missing"},
		"a change of an existing required attribute is refused": {attributes: []string{"name", "Ann"}, code: "NotAuthorizedException", words: "Cannot modify an already provided name"},
		"an existing required attribute need not be sent":       {attributes: []string{"name", "Ann"}, changes: map[string]string{"userAttributes.name": ""}},
		"an unknown attribute is refused":                       {changes: map[string]string{"userAttributes.custom:x": "1"}, code: "InvalidParameterException"},
		"an answer without a password is refused":               {changes: map[string]string{"NEW_PASSWORD": ""}, code: "InvalidParameterException", words: "NEW_PASSWORD"},
		"a password against the policy is refused":              {changes: map[string]string{"NEW_PASSWORD": "weak"}, code: "InvalidPasswordException"},
		"an answer without a username is refused":               {changes: map[string]string{"USERNAME": ""}, code: "InvalidParameterException", words: "USERNAME"},
		"an answer without a secret hash is refused":            {changes: map[string]string{"SECRET_HASH": ""}, code: "NotAuthorizedException", words: "SECRET_HASH"},
		"an answer with a wrong secret hash is refused":         {changes: map[string]string{"SECRET_HASH": "aGFzaA=="}, code: "NotAuthorizedException", words: "secret hash"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newChallenged(t, test.attributes...)
			requireOutcome(t, c.answer(test.changes), test.code, test.words)
			user := c.user(c.pool, "ann")
			if test.code != "" {
				require.Equal(t, "FORCE_CHANGE_PASSWORD", user.Status)
				return
			}
			require.Equal(t, "CONFIRMED", user.Status)
			require.Equal(t, "Ann", user.Attributes["name"])
			_, err := c.signIn(c.client, "ann", otherPassword)
			require.NoError(t, err)
		})
	}
}

func TestNewPasswordAnswerReturnsTokens(t *testing.T) {
	c := newChallenged(t, "name", "Ann")
	out, err := c.cognito.RespondToAuthChallenge(c.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
		ClientId: c.client.ClientId, Session: c.session, ChallengeName: types.ChallengeNameTypeNewPasswordRequired,
		ChallengeResponses: map[string]string{
			"USERNAME": "ann", "NEW_PASSWORD": otherPassword, "SECRET_HASH": secretHash(c.client, "ann"),
		},
	})
	require.NoError(t, err)
	require.Equal(t, "ann", claimsOf(t, out.AuthenticationResult.AccessToken)["username"])
	require.NotEmpty(t, *out.AuthenticationResult.RefreshToken)
}

func TestSessionsOfChallenges(t *testing.T) {
	tests := map[string]struct {
		before func(c *challenged)
		answer map[string]string
		code   string
		words  string
	}{
		"a used session is refused": {
			before: func(c *challenged) { require.NoError(c.t, c.answer(nil)) },
			code:   "NotAuthorizedException", words: "session can only be used once",
		},
		"a session is valid until it expires": {
			before: func(c *challenged) { c.clock.Advance(3*time.Minute - time.Second) },
		},
		"a session expires after 3 minutes": {
			before: func(c *challenged) { c.clock.Advance(3 * time.Minute) },
			code:   "NotAuthorizedException", words: "session is expired",
		},
		"a refused answer does not use up the session": {
			before: func(c *challenged) { require.Error(c.t, c.answer(map[string]string{"NEW_PASSWORD": "weak"})) },
		},
		"an unknown session is refused": {
			before: func(c *challenged) { c.session = aws.String("AYABeMadeUpSession000000") },
			code:   "NotAuthorizedException", words: "Invalid session for the user",
		},
		"a missing session is refused": {
			before: func(c *challenged) { c.session = nil },
			code:   "InvalidParameterException", words: "Session",
		},
		"a session of another client is refused": {
			before: func(c *challenged) { c.client = c.createClient(c.pool, withSecret) },
			code:   "NotAuthorizedException", words: "Invalid session for the user",
		},
		"a session of another user is refused": {
			before: func(c *challenged) {
				c.createUser(c.pool, "bob")
				out, err := c.signIn(c.client, "bob", goodPassword)
				require.NoError(c.t, err)
				c.session = out.Session
			},
			code: "NotAuthorizedException", words: "Invalid session for the user",
		},
		"an answer of a disabled user is refused": {
			before: func(c *challenged) { require.NoError(c.t, c.disableUser(c.pool, "ann")) },
			code:   "NotAuthorizedException", words: "User is disabled.",
		},
		"an answer of a deleted user is refused": {
			before: func(c *challenged) { require.NoError(c.t, c.deleteUser(c.pool, "ann")) },
			code:   "UserNotFoundException",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newChallenged(t)
			test.before(c)
			requireOutcome(t, c.answer(test.answer), test.code, test.words)
		})
	}
}

func TestAuthSessionValidityOfClient(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) { in.AuthSessionValidity = aws.Int32(15) })
	b.createUser(b.seed.UserPoolID, "ann")
	out, err := b.signIn(client, "ann", goodPassword)
	require.NoError(t, err)
	b.clock.Advance(14 * time.Minute)
	_, err = b.cognito.RespondToAuthChallenge(b.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
		ClientId: client.ClientId, Session: out.Session, ChallengeName: out.ChallengeName,
		ChallengeResponses: map[string]string{"USERNAME": "ann", "NEW_PASSWORD": otherPassword},
	})
	require.NoError(t, err)
}

func TestChallengeAnswerWithAliasIsRefused(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(emailPool)
	client := b.createClient(pool, nil)
	user := b.createUser(pool, "ann@example.com")
	out, err := b.signIn(client, "ann@example.com", goodPassword)
	require.NoError(t, err)
	require.Equal(t, *user.Username, out.ChallengeParameters["USER_ID_FOR_SRP"])

	respond := func(name string) error {
		_, err := b.cognito.RespondToAuthChallenge(b.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
			ClientId: client.ClientId, Session: out.Session, ChallengeName: out.ChallengeName,
			ChallengeResponses: map[string]string{"USERNAME": name, "NEW_PASSWORD": otherPassword},
		})
		return err
	}
	requireCode(t, respond("ann@example.com"), "NotAuthorizedException")
	require.NoError(t, respond(*user.Username))
}

func TestPasswordHistoryCountsTheTemporaryPassword(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(withPolicy(types.PasswordPolicyType{PasswordHistorySize: aws.Int32(1)}))
	client := b.createClient(pool, nil)
	b.createUser(pool, "ann")
	out, err := b.signIn(client, "ann", goodPassword)
	require.NoError(t, err)
	_, err = b.cognito.RespondToAuthChallenge(b.ctx, &cognitoidentityprovider.RespondToAuthChallengeInput{
		ClientId: client.ClientId, Session: out.Session, ChallengeName: out.ChallengeName,
		ChallengeResponses: map[string]string{"USERNAME": "ann", "NEW_PASSWORD": goodPassword},
	})
	requireCode(t, err, "PasswordHistoryPolicyViolationException")
}
