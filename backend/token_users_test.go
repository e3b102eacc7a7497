// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const refusedTokens = "tokens/ci refused the request"

// signIn asks tokens/ci for the tokens of a user.
func (p *pool) signIn(username, password any) (*logical.Response, error) {
	p.T.Helper()
	return p.Request(p.T.Context(), logical.UpdateOperation, "tokens/ci", map[string]any{"username": username, "password": password})
}

// makePerson creates a user that the engine did not issue.
func (p *pool) makePerson(username, password string) {
	p.T.Helper()
	_, err := p.Admin.AdminCreateUser(p.T.Context(), &cip.AdminCreateUserInput{UserPoolId: &p.Seed.UserPoolID, Username: &username, MessageAction: "SUPPRESS"})
	require.NoError(p.T, err)
	_, err = p.Admin.AdminSetUserPassword(p.T.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &p.Seed.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	require.NoError(p.T, err)
}

func (p *pool) authCalls() int {
	p.T.Helper()
	return len(p.Calls().Of("AdminInitiateAuth"))
}

func TestTokensForIssuedUsers(t *testing.T) {
	const person, right = "eve", "hush-Right-1"

	t.Run("another user of the pool gets the answer for a wrong password, without a call to AWS", func(t *testing.T) {
		p := newPool(t)
		p.makePerson(person, right)
		creds := p.Read("creds/ci")
		before := p.authCalls()
		foreign, err := p.signIn(person, right)
		require.NoError(t, err)
		unknown, err := p.signIn("nobody", right)
		require.NoError(t, err)
		require.Equal(t, before, p.authCalls())
		wrong, err := p.signIn(creds["username"], "hush-Wrong-1")
		require.NoError(t, err)
		require.Contains(t, foreign.Error().Error(), refusedTokens)
		require.Equal(t, wrong.Error().Error(), foreign.Error().Error())
		require.Equal(t, wrong.Error().Error(), unknown.Error().Error())
	})

	t.Run("an issued user signs in by username or sub until it is revoked", func(t *testing.T) {
		p := newPool(t)
		response := p.OK(logical.ReadOperation, "creds/ci", nil)
		creds := response.Data
		for _, name := range []any{creds["username"], creds["sub"]} {
			answer, err := p.signIn(name, creds["password"])
			require.NoError(t, err)
			require.False(t, answer.IsError(), "%v", answer)
		}
		_, err := p.lease(logical.RevokeOperation, response.Secret)
		require.NoError(t, err)
		before := p.authCalls()
		answer, err := p.signIn(creds["username"], creds["password"])
		require.NoError(t, err)
		require.Contains(t, answer.Error().Error(), refusedTokens)
		require.Equal(t, before, p.authCalls())
	})

	t.Run("the users of another role get nothing", func(t *testing.T) {
		p := newPool(t)
		p.WriteOK("roles/other", userRole(map[string]any{
			"user_pool_id": p.Seed.UserPoolID, "app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret,
		}))
		creds := p.Read("creds/other")
		answer, err := p.signIn(creds["username"], creds["password"])
		require.NoError(t, err)
		require.Contains(t, answer.Error().Error(), refusedTokens)
		text := p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"refresh_token": creds["refresh_token"]})
		require.Contains(t, text, refusedTokens, "the sub in the new tokens must be that of an issued user")
	})

	t.Run("tokens_for=any signs in every user of the pool", func(t *testing.T) {
		p := newPool(t)
		p.makePerson(person, right)
		p.WriteOK("roles/ci", map[string]any{"tokens_for": "any"})
		answer, err := p.signIn(person, right)
		require.NoError(t, err)
		require.NotEmpty(t, answer.Data["access_token"])
	})

	t.Run("refused attempts of a caller are limited per user", func(t *testing.T) {
		p := newPool(t)
		creds := p.Read("creds/ci")
		for range 5 {
			answer, err := p.signIn(creds["username"], "hush-Wrong-1")
			require.NoError(t, err)
			require.Contains(t, answer.Error().Error(), refusedTokens)
		}
		before := p.authCalls()
		_, err := p.signIn(creds["username"], creds["password"])
		requireStatus(t, 429, err)
		require.Equal(t, before, p.authCalls())
		other := p.Read("creds/ci")
		answer, err := p.signIn(other["username"], other["password"])
		require.NoError(t, err)
		require.False(t, answer.IsError())
	})

	t.Run("attempts at once are limited, too", func(t *testing.T) {
		p := newPool(t)
		creds := p.Read("creds/ci")
		before := p.authCalls()
		require.NoError(t, p.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminInitiateAuth": 50}}))
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() { _, _ = p.signIn(creds["username"], "hush-Wrong-1") })
		}
		group.Wait()
		require.Equal(t, before+5, p.authCalls())

		other := p.Read("creds/ci")
		for range 20 {
			group.Go(func() {
				answer, err := p.signIn(other["username"], other["password"])
				assert.NoError(t, err)
				assert.False(t, answer.IsError())
			})
		}
		group.Wait()
	})

	t.Run("refused attempts of a caller are limited over all users", func(t *testing.T) {
		p := newPool(t)
		for n := range 30 {
			_, err := p.signIn(fmt.Sprintf("guess%d", n), "hush-Wrong-1")
			require.NoError(t, err)
		}
		_, err := p.signIn("another", "hush-Wrong-1")
		requireStatus(t, 429, err)
	})
}

func TestTokensOfAStaticRoleAreForItsUser(t *testing.T) {
	p := newPool(t)
	p.makePerson("ann", "hush-Right-1")
	p.makePerson("eve", "hush-Right-1")
	p.WriteOK("static-roles/ann", map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1", "username": "ann", "rotation_period": "1h",
		"app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret,
	})
	before := p.authCalls()
	text := p.Refused(logical.UpdateOperation, "tokens/ann", map[string]any{"username": "eve", "password": "hush-Right-1"})
	require.Contains(t, text, "tokens/ann refused the request")
	require.Equal(t, before, p.authCalls())
	creds := p.Read("static-creds/ann")
	require.NotEmpty(t, p.OK(logical.UpdateOperation, "tokens/ann", map[string]any{"username": "ann", "password": creds["password"]}).Data["access_token"])
}

// TestTokensOfAStaticRoleSayWhyTheRightPasswordIsRefused is about states of the user that an
// operator has to end. Who has no right password does not learn of them.
func TestTokensOfAStaticRoleSayWhyTheRightPasswordIsRefused(t *testing.T) {
	p := newPool(t)
	p.makePerson("ann", "hush-Right-1")
	p.WriteOK("static-roles/ann", map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1", "username": "ann", "rotation_period": "1h",
		"app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret,
	})
	password := p.Read("static-creds/ann")["password"]
	_, err := p.Admin.AdminUpdateUserAttributes(t.Context(), &cip.AdminUpdateUserAttributesInput{
		UserPoolId: &p.Seed.UserPoolID, Username: aws.String("ann"), UserAttributes: []types.AttributeType{
			{Name: aws.String("email"), Value: aws.String("ann@example.com")}, {Name: aws.String("email_verified"), Value: aws.String("true")},
		},
	})
	require.NoError(t, err)
	_, err = p.Admin.AdminResetUserPassword(t.Context(), &cip.AdminResetUserPasswordInput{UserPoolId: &p.Seed.UserPoolID, Username: aws.String("ann")})
	require.NoError(t, err)
	text := p.Refused(logical.UpdateOperation, "tokens/ann", map[string]any{"username": "ann", "password": password})
	require.Contains(t, text, "PasswordResetRequiredException")
	require.Contains(t, text, "set a permanent one in the user pool")
	text = p.Refused(logical.UpdateOperation, "tokens/ann", map[string]any{"username": "ann", "password": "hush-Wrong-1"})
	require.Contains(t, text, "tokens/ann refused the request")
}

// TestTokensOfAStaticRoleTryNoPasswords requires that no caller can lock out the user of a static
// role through tokens/: Vault knows the password, so no other one has to be tried at Cognito.
func TestTokensOfAStaticRoleTryNoPasswords(t *testing.T) {
	p := newPool(t)
	p.makePerson("ann", "hush-Right-1")
	p.WriteOK("static-roles/ann", map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1", "username": "ann", "rotation_period": "1h",
		"app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret,
	})
	signIn := func(password any) map[string]any { return map[string]any{"username": "ann", "password": password} }

	before := p.authCalls()
	text := p.Refused(logical.UpdateOperation, "tokens/ann", signIn("hush-Wrong-1"))
	require.Contains(t, text, "tokens/ann refused the request")
	require.Equal(t, before, p.authCalls(), "a wrong password is not tried at Cognito")

	password := p.Read("static-creds/ann")["password"]
	require.NoError(t, p.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminInitiateAuth": 20}}))
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() { p.OK(logical.UpdateOperation, "tokens/ann", signIn(password)) })
	}
	group.Wait()
	before += 6

	_, err := p.Admin.AdminSetUserPassword(t.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &p.Seed.UserPoolID, Username: aws.String("ann"), Password: aws.String("hush-Other-1"), Permanent: true,
	})
	require.NoError(t, err)
	for range 4 {
		require.NotEmpty(t, p.Refused(logical.UpdateOperation, "tokens/ann", signIn(password)))
	}
	require.Equal(t, before+2, p.authCalls(), "a password that another program changed is tried twice at most")
}

// TestTokensOfTwoRoles requires that the rights on a static role's tokens/ are not those on a
// role's.
func TestTokensOfTwoRoles(t *testing.T) {
	p := newPool(t)
	p.makePerson("ann", "hush-Right-1")
	creds := p.Read("creds/ci")
	p.WriteOK("static-roles/ci", map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1", "username": "ann", "rotation_period": "1h",
		"app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret,
	})
	text := p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"username": creds["username"], "password": creds["password"]})
	require.Contains(t, text, `"ci" is the name of a role and of a static role`)
}
