// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// holder is a signed-in user with nothing but its access token.
type holder struct {
	*env
	pool   string
	name   string
	client *types.UserPoolClientType
	access *string
}

func newHolder(t *testing.T, changePool func(*cognitoidentityprovider.CreateUserPoolInput), changeClient func(*cognitoidentityprovider.CreateUserPoolClientInput)) *holder {
	t.Helper()
	b := newEnv(t)
	pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) {
		withTestSchema(in)
		if changePool != nil {
			changePool(in)
		}
	})
	h := &holder{env: b, pool: pool, name: "ann", client: b.createClient(pool, changeClient)}
	b.createConfirmedUser(pool, "ann", "email", "ann@example.com", "email_verified", "true")
	h.access = b.mustSignIn(h.client, "ann").AccessToken
	return h
}

func (h *holder) update(pairs ...string) error {
	_, err := h.cognito.UpdateUserAttributes(h.ctx, &cognitoidentityprovider.UpdateUserAttributesInput{
		AccessToken: h.access, UserAttributes: attributesOf(pairs...),
	})
	return err
}

func (h *holder) state() map[string]string {
	h.t.Helper()
	return h.user(h.pool, h.name).Attributes
}

func TestUpdateOwnAttributes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*cognitoidentityprovider.CreateUserPoolClientInput)
		pairs  []string
		code   string
	}{
		"a standard attribute is changed": {pairs: []string{"name", "Ann"}},
		"a custom attribute that the client may write is changed": {
			change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.WriteAttributes = []string{"custom:team"}
			},
			pairs: []string{"custom:team", "red"},
		},
		"a custom attribute is refused by default": {pairs: []string{"custom:team", "red"}, code: "NotAuthorizedException"},
		"a standard attribute that the client may not write is refused": {
			change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.WriteAttributes = []string{"custom:team"}
			},
			pairs: []string{"name", "Ann"}, code: "NotAuthorizedException",
		},
		"email_verified is refused":            {pairs: []string{"email_verified", "true"}, code: "NotAuthorizedException"},
		"an invalid e-mail address is refused": {pairs: []string{"email", "ann"}, code: "InvalidParameterException"},
		"the sub is refused":                   {pairs: []string{"sub", "x"}, code: "InvalidParameterException"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t, nil, test.change)
			requireOutcome(t, h.update(test.pairs...), test.code)
			if test.code == "" {
				require.Equal(t, test.pairs[1], h.state()[test.pairs[0]])
			}
		})
	}
}

func TestOwnEmailAddressIsUnverifiedAfterAChange(t *testing.T) {
	h := newHolder(t, nil, nil)
	require.NoError(t, h.update("email", "ann@example.com"))
	require.Equal(t, "true", h.state()["email_verified"], "the same address stays verified")
	require.NoError(t, h.update("email", "mine@example.com"))
	require.Equal(t, "false", h.state()["email_verified"])
}

func TestDeleteAttributes(t *testing.T) {
	for name, test := range map[string]struct {
		attribute string
		code      string
	}{
		"an optional attribute is deleted":  {attribute: "nickname"},
		"an immutable attribute is refused": {attribute: "custom:origin", code: "InvalidParameterException"},
		"an unknown attribute is refused":   {attribute: "custom:none", code: "InvalidParameterException"},
		"the sub is refused":                {attribute: "sub", code: "InvalidParameterException"},
	} {
		for _, by := range []string{"by an administrator", "by the user"} {
			t.Run(name+" "+by, func(t *testing.T) {
				h := newHolder(t, nil, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
					in.WriteAttributes = []string{"nickname", "custom:origin", "custom:none", "sub"}
				})
				require.NoError(t, h.update("nickname", "Annie"))
				names := []string{test.attribute}
				var err error
				if by == "by the user" {
					_, err = h.cognito.DeleteUserAttributes(h.ctx, &cognitoidentityprovider.DeleteUserAttributesInput{
						AccessToken: h.access, UserAttributeNames: names,
					})
				} else {
					_, err = h.cognito.AdminDeleteUserAttributes(h.ctx, &cognitoidentityprovider.AdminDeleteUserAttributesInput{
						UserPoolId: &h.pool, Username: &h.name, UserAttributeNames: names,
					})
				}
				requireOutcome(t, err, test.code)
				require.Equal(t, test.code != "", h.state()["nickname"] != "")
			})
		}
	}
}

func TestEmailUsernameCannotBeDeleted(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(emailPool)
	user := b.createConfirmedUser(pool, "ann@example.com")
	_, err := b.cognito.AdminDeleteUserAttributes(b.ctx, &cognitoidentityprovider.AdminDeleteUserAttributesInput{
		UserPoolId: &pool, Username: user.Username, UserAttributeNames: []string{"email"},
	})
	requireCode(t, err, "InvalidParameterException")
	_, err = b.getUser(pool, "ann@example.com")
	require.NoError(t, err)
}

func TestUserDeletesItself(t *testing.T) {
	h := newHolder(t, nil, nil)
	_, err := h.cognito.DeleteUser(h.ctx, &cognitoidentityprovider.DeleteUserInput{AccessToken: h.access})
	require.NoError(t, err)
	_, err = h.getUser(h.pool, "ann")
	requireCode(t, err, "UserNotFoundException")
	requireCode(t, h.whoAmI(*h.access), "NotAuthorizedException")
}

func TestRevokedTokenCannotChangeTheUser(t *testing.T) {
	h := newHolder(t, nil, nil)
	require.NoError(t, h.signOut(h.pool, "ann"))
	requireCode(t, h.update("name", "Ann"), "NotAuthorizedException", "revoked")
	_, err := h.cognito.DeleteUser(h.ctx, &cognitoidentityprovider.DeleteUserInput{AccessToken: h.access})
	requireCode(t, err, "NotAuthorizedException", "revoked")
}

func TestUserSetsItsMFAPreference(t *testing.T) {
	b := newMFAEnv(t)
	secret := b.setUp()
	b.clock.Advance(time.Minute)
	tokens, err := b.answer(types.ChallengeNameTypeSoftwareTokenMfa, b.meet(types.ChallengeNameTypeSoftwareTokenMfa),
		"SOFTWARE_TOKEN_MFA_CODE", b.code(secret))
	require.NoError(t, err)
	set := func(enabled bool) error {
		_, err := b.cognito.SetUserMFAPreference(b.ctx, &cognitoidentityprovider.SetUserMFAPreferenceInput{
			AccessToken: tokens.AccessToken, SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: enabled, PreferredMfa: enabled},
		})
		return err
	}
	require.NoError(t, set(false))
	require.Empty(t, b.user(b.pool, "ann").MFA)
	require.NoError(t, set(true))
	require.Equal(t, []string{"SOFTWARE_TOKEN_MFA"}, b.user(b.pool, "ann").MFA)
	out, err := b.cognito.GetUser(b.ctx, &cognitoidentityprovider.GetUserInput{AccessToken: tokens.AccessToken})
	require.NoError(t, err)
	require.Equal(t, "SOFTWARE_TOKEN_MFA", *out.PreferredMfaSetting)
}
