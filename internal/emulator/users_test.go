// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

func TestCreatedUserHasToChangeItsPassword(t *testing.T) {
	b := newBench(t)
	user := b.createUser(b.seed.UserPoolID, "ann", "email", "ann@example.com")

	require.Equal(t, "ann", *user.Username)
	require.Equal(t, types.UserStatusTypeForceChangePassword, user.UserStatus)
	require.True(t, user.Enabled)
	require.WithinDuration(t, b.clock.Now(), *user.UserCreateDate, time.Millisecond)
	attributes := attributeMap(user.Attributes)
	require.Equal(t, "ann@example.com", attributes["email"])
	require.NotEmpty(t, attributes["sub"])
}

func TestAdminCreateUserRefusals(t *testing.T) {
	tests := map[string]struct {
		username   string
		attributes []types.AttributeType
		temporary  string
		action     types.MessageActionType
		code       string
		words      string
	}{
		"a username that exists is taken":               {username: "taken", code: "UsernameExistsException"},
		"a username of 128 characters is accepted":      {username: strings.Repeat("u", 128)},
		"a username of 129 characters is too long":      {username: strings.Repeat("u", 129), code: "InvalidParameterException", words: "username"},
		"a username with a space is refused":            {username: "two words", code: "InvalidParameterException", words: "username"},
		"a username of symbols and letters is accepted": {username: "vault-ü+1@x"},
		"an unknown attribute is refused": {
			username: "new", attributes: attributesOf("shoe_size", "43"), code: "InvalidParameterException",
			words: "Attributes did not conform to the schema",
		},
		"a custom attribute that the pool has not is refused": {
			username: "new", attributes: attributesOf("custom:team", "red"), code: "InvalidParameterException",
			words: "Attributes did not conform to the schema",
		},
		"the sub cannot be chosen": {
			username: "new", attributes: attributesOf("sub", "1"), code: "InvalidParameterException",
		},
		"an e-mail address has to look like one": {
			username: "new", attributes: attributesOf("email", "nowhere"), code: "InvalidParameterException", words: "Invalid email",
		},
		"a phone number has to look like one": {
			username: "new", attributes: attributesOf("phone_number", "0123"), code: "InvalidParameterException", words: "Invalid phone",
		},
		"email_verified is a boolean": {
			username: "new", attributes: attributesOf("email_verified", "yes"), code: "InvalidParameterException", words: "boolean",
		},
		"a value of 2049 characters is too long": {
			username: "new", attributes: attributesOf("name", strings.Repeat("n", 2049)), code: "InvalidParameterException",
		},
		"a temporary password follows the policy too": {username: "new", temporary: "weak", code: "InvalidPasswordException"},
		"an unknown message action is refused":        {username: "new", action: "SHOUT", code: "InvalidParameterException"},
		"an invitation for nobody cannot be resent":   {username: "new", action: "RESEND", code: "UserNotFoundException"},
		"a temporary password may be left to Cognito": {username: "new"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.createUser(b.seed.UserPoolID, "taken")
			in := &cognitoidentityprovider.AdminCreateUserInput{
				UserPoolId: &b.seed.UserPoolID, Username: &test.username, UserAttributes: test.attributes, MessageAction: test.action,
			}
			if test.temporary != "" {
				in.TemporaryPassword = &test.temporary
			}
			_, err := b.cognito.AdminCreateUser(b.ctx, in)
			requireOutcome(t, err, test.code, test.words)
		})
	}
}

func TestInvitationsAreSentUnlessSuppressed(t *testing.T) {
	tests := map[string]struct {
		actions     []types.MessageActionType
		invitations int
	}{
		"the default sends one":          {actions: []types.MessageActionType{""}, invitations: 1},
		"SUPPRESS sends none":            {actions: []types.MessageActionType{"SUPPRESS"}, invitations: 0},
		"RESEND sends one more":          {actions: []types.MessageActionType{"", "RESEND"}, invitations: 2},
		"RESEND after SUPPRESS is first": {actions: []types.MessageActionType{"SUPPRESS", "RESEND"}, invitations: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for _, action := range test.actions {
				_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
					UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), MessageAction: action,
				})
				require.NoError(t, err)
			}
			require.Equal(t, test.invitations, b.user(b.seed.UserPoolID, "ann").Invitations)
		})
	}
}

func TestInvitationOfConfirmedUserCannotBeResent(t *testing.T) {
	b := newBench(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), MessageAction: types.MessageActionTypeResend,
	})
	requireCode(t, err, "UnsupportedUserStateException")
}

func TestResendSetsTheClockOfTheTemporaryPasswordBack(t *testing.T) {
	b := newBench(t)
	b.createUser(b.seed.UserPoolID, "ann")
	b.clock.Advance(6 * 24 * time.Hour)
	_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), MessageAction: types.MessageActionTypeResend,
	})
	require.NoError(t, err)
	b.clock.Advance(6 * 24 * time.Hour)
	out, err := b.signIn(b.seededClient(), "ann", goodPassword)
	require.NoError(t, err)
	require.Equal(t, types.ChallengeNameTypeNewPasswordRequired, out.ChallengeName)
}

func TestUserGoesThroughItsLife(t *testing.T) {
	b := newBench(t)
	pool := b.seed.UserPoolID
	b.createUser(pool, "ann")

	require.NoError(t, b.setPassword(pool, "ann", goodPassword))
	got, err := b.getUser(pool, "ann")
	require.NoError(t, err)
	require.Equal(t, types.UserStatusTypeConfirmed, got.UserStatus)

	require.NoError(t, b.disableUser(pool, "ann"))
	got, err = b.getUser(pool, "ann")
	require.NoError(t, err)
	require.False(t, got.Enabled)

	_, err = b.cognito.AdminEnableUser(b.ctx, &cognitoidentityprovider.AdminEnableUserInput{UserPoolId: &pool, Username: aws.String("ann")})
	require.NoError(t, err)
	b.mustSignIn(b.seededClient(), "ann")

	require.NoError(t, b.deleteUser(pool, "ann"))
	_, err = b.getUser(pool, "ann")
	requireCode(t, err, "UserNotFoundException", "User does not exist.")
	requireCode(t, b.deleteUser(pool, "ann"), "UserNotFoundException")

	b.createUser(pool, "ann")
}

func TestUpdateUserAttributes(t *testing.T) {
	tests := map[string]struct {
		attributes []types.AttributeType
		code       string
	}{
		"a standard attribute can be changed":             {attributes: attributesOf("name", "Ann")},
		"a custom attribute can be set":                   {attributes: attributesOf("custom:team", "red")},
		"a number takes digits":                           {attributes: attributesOf("custom:age", "43")},
		"a number takes nothing else":                     {attributes: attributesOf("custom:age", "old"), code: "InvalidParameterException"},
		"a value has its longest length":                  {attributes: attributesOf("custom:team", "turquoise"), code: "InvalidParameterException"},
		"a value has its shortest length":                 {attributes: attributesOf("custom:team", "r"), code: "InvalidParameterException"},
		"an immutable attribute cannot be changed":        {attributes: attributesOf("custom:origin", "x"), code: "InvalidParameterException"},
		"an attribute that is not there cannot be set":    {attributes: attributesOf("custom:none", "x"), code: "InvalidParameterException"},
		"an attribute needs its prefix when it is custom": {attributes: attributesOf("team", "red"), code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			pool := b.createPool(withTestSchema)
			b.createUser(pool, "ann", "custom:origin", "here")
			_, err := b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
				UserPoolId: &pool, Username: aws.String("ann"), UserAttributes: test.attributes,
			})
			requireOutcome(t, err, test.code)
			if test.code == "" {
				require.Equal(t, *test.attributes[0].Value, b.user(pool, "ann").Attributes[*test.attributes[0].Name])
			}
		})
	}
}

// withTestSchema gives a pool custom attributes of several kinds.
func withTestSchema(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.Schema = []types.SchemaAttributeType{
		{
			Name: aws.String("team"), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true),
			StringAttributeConstraints: &types.StringAttributeConstraintsType{MinLength: aws.String("2"), MaxLength: aws.String("5")},
		},
		{Name: aws.String("age"), AttributeDataType: types.AttributeDataTypeNumber, Mutable: aws.Bool(true)},
		{Name: aws.String("origin"), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(false)},
	}
}

func TestEmptyValueTakesAnAttributeAway(t *testing.T) {
	b := newBench(t)
	b.createUser(b.seed.UserPoolID, "ann", "name", "Ann")
	_, err := b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), UserAttributes: attributesOf("name", ""),
	})
	require.NoError(t, err)
	require.NotContains(t, b.user(b.seed.UserPoolID, "ann").Attributes, "name")
}

func TestLateUsersAreInvisibleForAWhile(t *testing.T) {
	b := newBench(t)
	pool := b.seed.UserPoolID
	require.NoError(t, b.control.LateUsers(b.ctx, 300*time.Millisecond))
	b.createUser(pool, "ann")

	requireCode(t, b.setPassword(pool, "ann", goodPassword), "UserNotFoundException")
	requireCode(t, b.addToGroup(pool, "ann", b.seed.Group), "UserNotFoundException")
	_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{UserPoolId: &pool, Username: aws.String("ann")})
	requireCode(t, err, "UsernameExistsException")

	listed, err := b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{UserPoolId: &pool})
	require.NoError(t, err)
	require.Empty(t, listed.Users)

	b.clock.Advance(300 * time.Millisecond)
	require.NoError(t, b.setPassword(pool, "ann", goodPassword))

	require.NoError(t, b.control.LateUsers(b.ctx, 0))
	b.createUser(pool, "bob")
	require.NoError(t, b.setPassword(pool, "bob", goodPassword))
}
