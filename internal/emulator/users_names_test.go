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

func emailPool(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.UsernameAttributes = []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}
}

func aliasPool(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.AliasAttributes = []types.AliasAttributeType{
		types.AliasAttributeTypeEmail, types.AliasAttributeTypePhoneNumber, types.AliasAttributeTypePreferredUsername,
	}
}

func caseInsensitivePool(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.UsernameConfiguration = &types.UsernameConfigurationType{CaseSensitive: aws.Bool(false)}
}

func TestUsernameInEmailPoolIsTheSub(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(emailPool)
	user := b.createConfirmedUser(pool, "ann@example.com")

	attributes := attributeMap(user.Attributes)
	require.Equal(t, attributes["sub"], *user.Username)
	require.Equal(t, "ann@example.com", attributes["email"])

	byEmail, err := b.getUser(pool, "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, *user.Username, *byEmail.Username)

	client := b.createClient(pool, nil)
	for _, name := range []string{"ann@example.com", *user.Username} {
		tokens := b.mustSignIn(client, name)
		require.Equal(t, *user.Username, claimsOf(t, tokens.AccessToken)["username"])
		require.Equal(t, *user.Username, claimsOf(t, tokens.IdToken)["cognito:username"])
	}
	require.NoError(t, b.deleteUser(pool, "ann@example.com"))
}

func TestNamesInPoolsWhereTheyAreAttributes(t *testing.T) {
	both := []types.UsernameAttributeType{types.UsernameAttributeTypeEmail, types.UsernameAttributeTypePhoneNumber}
	tests := map[string]struct {
		kinds      []types.UsernameAttributeType
		username   string
		attributes []string
		code       string
		words      string
	}{
		"an e-mail address in an e-mail pool is accepted": {kinds: both[:1], username: "bob@example.com"},
		"a plain name in an e-mail pool is refused":       {kinds: both[:1], username: "bob", code: "InvalidParameterException", words: "Username should be an email."},
		"a phone number in an e-mail pool is refused":     {kinds: both[:1], username: "+4912345", code: "InvalidParameterException", words: "Username should be an email."},
		"a plain name in a phone pool is refused":         {kinds: both[1:], username: "bob", code: "InvalidParameterException", words: "Username should be a phone number."},
		"a phone number in a phone pool is accepted":      {kinds: both[1:], username: "+4912345"},
		"a phone number in a pool of both is accepted":    {kinds: both, username: "+4912345"},
		"a plain name in a pool of both is refused":       {kinds: both, username: "bob", code: "InvalidParameterException", words: "either an email or a phone number"},
		"an equal e-mail attribute is accepted":           {kinds: both[:1], username: "bob@example.com", attributes: []string{"email", "bob@example.com"}},
		"a different e-mail attribute is refused":         {kinds: both[:1], username: "bob@example.com", attributes: []string{"email", "x@example.com"}, code: "InvalidParameterException"},
		"another user's e-mail address is refused":        {kinds: both[:1], username: "ann@example.com", code: "UsernameExistsException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) { in.UsernameAttributes = test.kinds })
			if test.kinds[0] == types.UsernameAttributeTypeEmail {
				b.createUser(pool, "ann@example.com")
			}
			_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
				UserPoolId: &pool, Username: &test.username, UserAttributes: attributesOf(test.attributes...),
			})
			requireOutcome(t, err, test.code, test.words)
		})
	}
}

func TestUsersWithAliases(t *testing.T) {
	tests := map[string]struct {
		username   string
		attributes []string
		force      bool
		code       string
	}{
		"a username that looks like an e-mail address is refused":     {username: "x@example.com", code: "InvalidParameterException"},
		"a username that looks like a phone number is refused":        {username: "+4912345", code: "InvalidParameterException"},
		"another user's verified address is refused":                  {username: "bob", attributes: []string{"email", "ann@example.com", "email_verified", "true"}, code: "AliasExistsException"},
		"another user's address is accepted unverified":               {username: "bob", attributes: []string{"email", "ann@example.com"}},
		"a forced alias moves to the new user":                        {username: "bob", attributes: []string{"email", "ann@example.com", "email_verified", "true"}, force: true},
		"another user's preferred username is refused":                {username: "bob", attributes: []string{"preferred_username", "annie"}, code: "AliasExistsException"},
		"another user's preferred username is refused even if forced": {username: "bob", attributes: []string{"preferred_username", "annie"}, force: true, code: "AliasExistsException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(aliasPool)
			b.createUser(pool, "ann", "email", "ann@example.com", "email_verified", "true", "preferred_username", "annie")
			_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
				UserPoolId: &pool, Username: &test.username, UserAttributes: attributesOf(test.attributes...), ForceAliasCreation: test.force,
			})
			requireOutcome(t, err, test.code)
		})
	}
}

func TestAliasSignsInOnlyWhenVerified(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(aliasPool)
	client := b.createClient(pool, nil)
	b.createConfirmedUser(pool, "ann", "email", "ann@example.com")
	_, err := b.signIn(client, "ann@example.com", goodPassword)
	requireCode(t, err, "UserNotFoundException")

	_, err = b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: &pool, Username: aws.String("ann"), UserAttributes: attributesOf("email_verified", "true"),
	})
	require.NoError(t, err)
	require.Equal(t, "ann", claimsOf(t, b.mustSignIn(client, "ann@example.com").AccessToken)["username"])
}

func TestForcedAliasNoLongerSignsInItsPreviousOwner(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(aliasPool)
	client := b.createClient(pool, nil)
	b.createConfirmedUser(pool, "ann", "email", "ann@example.com", "email_verified", "true")
	_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &pool, Username: aws.String("bob"), ForceAliasCreation: true,
		UserAttributes: attributesOf("email", "ann@example.com", "email_verified", "true"),
	})
	require.NoError(t, err)
	require.NoError(t, b.setPassword(pool, "bob", goodPassword))

	require.Equal(t, "bob", claimsOf(t, b.mustSignIn(client, "ann@example.com").AccessToken)["username"])
	require.Equal(t, "false", b.user(pool, "ann").Attributes["email_verified"])
}

func TestUpdateRefusesAnotherUsersAlias(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(aliasPool)
	b.createUser(pool, "ann", "email", "ann@example.com", "email_verified", "true")
	b.createUser(pool, "bob")
	_, err := b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: &pool, Username: aws.String("bob"),
		UserAttributes: attributesOf("email", "ann@example.com", "email_verified", "true"),
	})
	requireCode(t, err, "AliasExistsException")
}

func TestCaseOfUsernames(t *testing.T) {
	tests := map[string]struct {
		pool   func(*cognitoidentityprovider.CreateUserPoolInput)
		stored string
		code   string
	}{
		"a pool without the setting is case-sensitive":       {stored: "Ann", code: "UserNotFoundException"},
		"a case-insensitive pool stores names in lower case": {pool: caseInsensitivePool, stored: "ann"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(test.pool)
			require.Equal(t, test.stored, *b.createUser(pool, "Ann").Username)
			_, err := b.getUser(pool, "ANN")
			requireOutcome(t, err, test.code)
		})
	}
}

func TestPoolWithAliasesAndUsernameAttributesIsRefused(t *testing.T) {
	b := newEnv(t)
	_, err := b.cognito.CreateUserPool(b.ctx, &cognitoidentityprovider.CreateUserPoolInput{
		PoolName:           aws.String("both"),
		AliasAttributes:    []types.AliasAttributeType{types.AliasAttributeTypeEmail},
		UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail},
	})
	requireCode(t, err, "InvalidParameterException")
}

func TestSubNamesTheUser(t *testing.T) {
	b := newEnv(t)
	sub := attributeMap(b.createConfirmedUser(b.seed.UserPoolID, "ann").Attributes)["sub"]
	out, err := b.getUser(b.seed.UserPoolID, sub)
	require.NoError(t, err)
	require.Equal(t, "ann", *out.Username)
	require.NoError(t, b.setPassword(b.seed.UserPoolID, sub, otherPassword))
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, sub, b.seed.Group))
	require.Equal(t, []string{b.seed.Group}, b.user(b.seed.UserPoolID, "ann").Groups)
	require.NoError(t, b.deleteUser(b.seed.UserPoolID, sub))
	_, err = b.getUser(b.seed.UserPoolID, sub)
	requireCode(t, err, "UserNotFoundException")
}
