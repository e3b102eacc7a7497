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
	b := newEnv(t)
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
		"a username that exists is refused":             {username: "taken", code: "UsernameExistsException"},
		"a username of 128 characters is accepted":      {username: strings.Repeat("u", 128)},
		"a username of 129 characters is refused":       {username: strings.Repeat("u", 129), code: "InvalidParameterException", words: "username"},
		"a username with a space is refused":            {username: "two words", code: "InvalidParameterException", words: "username"},
		"a username of symbols and letters is accepted": {username: "vault-ü+1@x"},
		"an unknown attribute is refused": {
			username: "new", attributes: attributesOf("shoe_size", "43"), code: "InvalidParameterException",
			words: "Attributes did not conform to the schema",
		},
		"a custom attribute that the pool does not have is refused": {
			username: "new", attributes: attributesOf("custom:team", "red"), code: "InvalidParameterException",
			words: "Attributes did not conform to the schema",
		},
		"a chosen sub is refused": {
			username: "new", attributes: attributesOf("sub", "1"), code: "InvalidParameterException",
		},
		"an invalid e-mail address is refused": {
			username: "new", attributes: attributesOf("email", "nowhere"), code: "InvalidParameterException", words: "Invalid email",
		},
		"an invalid phone number is refused": {
			username: "new", attributes: attributesOf("phone_number", "0123"), code: "InvalidParameterException", words: "Invalid phone",
		},
		"an email_verified that is not a boolean is refused": {
			username: "new", attributes: attributesOf("email_verified", "yes"), code: "InvalidParameterException", words: "boolean",
		},
		"a value of 2049 characters is refused": {
			username: "new", attributes: attributesOf("name", strings.Repeat("n", 2049)), code: "InvalidParameterException",
		},
		"a temporary password against the policy is refused": {username: "new", temporary: "weak", code: "InvalidPasswordException"},
		"an unknown message action is refused":               {username: "new", action: "SHOUT", code: "InvalidParameterException"},
		"RESEND for an unknown user is refused":              {username: "new", action: "RESEND", code: "UserNotFoundException"},
		"a user without a temporary password is created":     {username: "new"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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
		"no action sends an invitation":                    {actions: []types.MessageActionType{""}, invitations: 1},
		"SUPPRESS sends no invitation":                     {actions: []types.MessageActionType{"SUPPRESS"}, invitations: 0},
		"RESEND sends another invitation":                  {actions: []types.MessageActionType{"", "RESEND"}, invitations: 2},
		"RESEND after SUPPRESS sends the first invitation": {actions: []types.MessageActionType{"SUPPRESS", "RESEND"}, invitations: 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), MessageAction: types.MessageActionTypeResend,
	})
	requireCode(t, err, "UnsupportedUserStateException")
}

func TestResendRestartsTheTemporaryPassword(t *testing.T) {
	b := newEnv(t)
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

func TestLifeCycleOfUser(t *testing.T) {
	b := newEnv(t)
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
		"a standard attribute can be changed":              {attributes: attributesOf("name", "Ann")},
		"a custom attribute can be set":                    {attributes: attributesOf("custom:team", "red")},
		"a number attribute accepts digits":                {attributes: attributesOf("custom:age", "43")},
		"a number attribute refuses letters":               {attributes: attributesOf("custom:age", "old"), code: "InvalidParameterException"},
		"a value above the maximum length is refused":      {attributes: attributesOf("custom:team", "turquoise"), code: "InvalidParameterException"},
		"a value below the minimum length is refused":      {attributes: attributesOf("custom:team", "r"), code: "InvalidParameterException"},
		"a change of an immutable attribute is refused":    {attributes: attributesOf("custom:origin", "x"), code: "InvalidParameterException"},
		"an unknown attribute is refused":                  {attributes: attributesOf("custom:none", "x"), code: "InvalidParameterException"},
		"a custom attribute without its prefix is refused": {attributes: attributesOf("team", "red"), code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
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

// withTestSchema adds custom attributes of several types to a pool.
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

func TestEmptyValueDeletesAnAttribute(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann", "name", "Ann")
	_, err := b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), UserAttributes: attributesOf("name", ""),
	})
	require.NoError(t, err)
	require.NotContains(t, b.user(b.seed.UserPoolID, "ann").Attributes, "name")
}

func TestLateUsersAreInvisibleUntilTheirLagEnds(t *testing.T) {
	b := newEnv(t)
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
