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
	b := newBench(t)
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
		"an e-mail address is a username":                  {kinds: both[:1], username: "bob@example.com"},
		"a plain name is no e-mail address":                {kinds: both[:1], username: "bob", code: "InvalidParameterException", words: "Username should be an email."},
		"a phone number is no e-mail address":              {kinds: both[:1], username: "+4912345", code: "InvalidParameterException", words: "Username should be an email."},
		"a plain name is no phone number":                  {kinds: both[1:], username: "bob", code: "InvalidParameterException", words: "Username should be a phone number."},
		"a phone number is a username":                     {kinds: both[1:], username: "+4912345"},
		"either will do where both are allowed":            {kinds: both, username: "+4912345"},
		"a plain name is neither":                          {kinds: both, username: "bob", code: "InvalidParameterException", words: "either an email or a phone number"},
		"the same address as an attribute is fine":         {kinds: both[:1], username: "bob@example.com", attributes: []string{"email", "bob@example.com"}},
		"another address as an attribute is refused":       {kinds: both[:1], username: "bob@example.com", attributes: []string{"email", "x@example.com"}, code: "InvalidParameterException"},
		"an address that another user has is a taken name": {kinds: both[:1], username: "ann@example.com", code: "UsernameExistsException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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
		"a username like an e-mail address is refused":    {username: "x@example.com", code: "InvalidParameterException"},
		"a username like a phone number is refused":       {username: "+4912345", code: "InvalidParameterException"},
		"a verified address of another user is taken":     {username: "bob", attributes: []string{"email", "ann@example.com", "email_verified", "true"}, code: "AliasExistsException"},
		"an unverified address takes nothing from others": {username: "bob", attributes: []string{"email", "ann@example.com"}},
		"an alias moves when that is forced":              {username: "bob", attributes: []string{"email", "ann@example.com", "email_verified", "true"}, force: true},
		"a preferred username of another user is taken":   {username: "bob", attributes: []string{"preferred_username", "annie"}, code: "AliasExistsException"},
		"a preferred username cannot be forced away":      {username: "bob", attributes: []string{"preferred_username", "annie"}, force: true, code: "AliasExistsException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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
	b := newBench(t)
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

func TestForcedAliasNoLongerSignsItsOldOwnerIn(t *testing.T) {
	b := newBench(t)
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

func TestUpdateCannotTakeAnAlias(t *testing.T) {
	b := newBench(t)
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
		"a pool that says nothing is case-sensitive":     {stored: "Ann", code: "UserNotFoundException"},
		"a case-insensitive pool keeps names lower-case": {pool: caseInsensitivePool, stored: "ann"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pool := b.createPool(test.pool)
			require.Equal(t, test.stored, *b.createUser(pool, "Ann").Username)
			_, err := b.getUser(pool, "ANN")
			requireOutcome(t, err, test.code)
		})
	}
}

func TestPoolHasEitherAliasesOrUsernameAttributes(t *testing.T) {
	b := newBench(t)
	_, err := b.cognito.CreateUserPool(b.ctx, &cognitoidentityprovider.CreateUserPoolInput{
		PoolName:           aws.String("both"),
		AliasAttributes:    []types.AliasAttributeType{types.AliasAttributeTypeEmail},
		UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail},
	})
	requireCode(t, err, "InvalidParameterException")
}
