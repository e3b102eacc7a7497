// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"errors"
	"fmt"
	"testing"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// withUser returns a fixture with one user.
func withUser(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, 0)
	_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
	require.NoError(t, err)
	return f
}

func TestGroups(t *testing.T) {
	f := withUser(t)
	groups := func() []string {
		names, err := f.pool().GroupsOf(t.Context(), username)
		require.NoError(t, err)
		return names
	}
	require.Equal(t, []string{"testers"}, groups())
	require.NoError(t, f.pool().AddToGroup(t.Context(), username, "admins"))
	require.NoError(t, f.pool().AddToGroup(t.Context(), username, "admins"))
	require.ElementsMatch(t, []string{"admins", "testers"}, groups())
	require.NoError(t, f.pool().RemoveFromGroup(t.Context(), username, "admins"))
	require.NoError(t, f.pool().RemoveFromGroup(t.Context(), username, "admins"), "no member")
	require.Equal(t, []string{"testers"}, groups())

	t.Run("all pages are read", func(t *testing.T) {
		f.limit(map[string]float64{"UserUpdate": 1e6})
		for i := range 65 {
			name := fmt.Sprintf("group-%d", i)
			_, err := f.Admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &f.Seed.UserPoolID, GroupName: &name})
			require.NoError(t, err)
			require.NoError(t, f.pool().AddToGroup(t.Context(), username, name))
		}
		require.Len(t, groups(), 66)
	})

	t.Run("a user that is gone is told", func(t *testing.T) {
		_, err := f.pool().GroupsOf(t.Context(), "nobody")
		require.True(t, cognito.IsUserGone(err))
		require.True(t, cognito.IsUserGone(f.pool().RemoveFromGroup(t.Context(), "nobody", "testers")))
	})

	t.Run("each call is a change with an outcome", func(t *testing.T) {
		f.Fault(control.Fault{Operation: "AdminRemoveUserFromGroup", Kind: control.FaultCutAfter})
		require.Equal(t, cognito.OutcomeUnknown, cognito.OutcomeOf(f.pool().RemoveFromGroup(t.Context(), username, "testers")))
	})
}

func TestAttributesAndState(t *testing.T) {
	f := withUser(t)
	require.NoError(t, f.pool().UpdateAttributes(t.Context(), username, map[string]string{"name": "Eve", "nickname": "e"}))
	require.NoError(t, f.pool().UpdateAttributes(t.Context(), username, nil), "nothing to do")
	require.NoError(t, f.pool().DeleteAttributes(t.Context(), username, "nickname"))
	require.NoError(t, f.pool().DeleteAttributes(t.Context(), username))
	require.NoError(t, f.pool().DisableUser(t.Context(), username))
	state, err := f.pool().User(t.Context(), username)
	require.NoError(t, err)
	assert.False(t, state.Enabled)
	assert.Equal(t, "Eve", state.Attributes["name"])
	assert.NotContains(t, state.Attributes, "nickname")

	require.NoError(t, f.pool().EnableUser(t.Context(), username))
	require.NoError(t, f.pool().EnableUser(t.Context(), username))
	_, err = f.pool().SignIn(t.Context(), f.request().AppClient, cognito.Login{Username: username, Password: password}, nil)
	require.NoError(t, err)
	require.Len(t, f.Calls().Of("AdminUpdateUserAttributes"), 1)
	require.Len(t, f.Calls().Of("AdminDeleteUserAttributes"), 1)
}

// rememberDevice signs the user in and confirms its device, as an application does.
func (f *fixture) rememberDevice(app cognito.AppClient) {
	f.Helper()
	out, err := f.Admin.InitiateAuth(f.Context(), &cip.InitiateAuthInput{
		ClientId: &app.ID, AuthFlow: types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	require.NoError(f, err)
	text := "dmVyaWZpZXI="
	_, err = f.Admin.ConfirmDevice(f.Context(), &cip.ConfirmDeviceInput{
		AccessToken: out.AuthenticationResult.AccessToken, DeviceKey: out.AuthenticationResult.NewDeviceMetadata.DeviceKey, DeviceName: &text,
		DeviceSecretVerifierConfig: &types.DeviceSecretVerifierConfigType{PasswordVerifier: &text, Salt: &text},
	})
	require.NoError(f, err)
}

func (f *fixture) devices() []types.DeviceType {
	f.Helper()
	name := username
	out, err := f.Admin.AdminListDevices(f.Context(), &cip.AdminListDevicesInput{UserPoolId: &f.Seed.UserPoolID, Username: &name})
	require.NoError(f, err)
	return out.Devices
}

func TestForgetDevices(t *testing.T) {
	t.Run("remembered devices are forgotten", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Seed.UserPoolID = f.MakePool(&cip.CreateUserPoolInput{DeviceConfiguration: &types.DeviceConfigurationType{}})
		request := f.request()
		request.AppClient = f.clientOf(f.Seed.UserPoolID)
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		for range 2 {
			f.rememberDevice(f.selfServiceClient())
		}
		require.Len(t, f.devices(), 2)
		require.NoError(t, f.pool().ForgetDevices(t.Context(), username))
		require.Empty(t, f.devices())
	})

	t.Run("a user without devices", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Seed.UserPoolID = f.MakePool(&cip.CreateUserPoolInput{DeviceConfiguration: &types.DeviceConfigurationType{}})
		request := f.request()
		request.AppClient = f.clientOf(f.Seed.UserPoolID)
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.NoError(t, f.pool().ForgetDevices(t.Context(), username))
		require.Empty(t, f.Calls().Of("AdminListDevices")[0].Code)
	})

	t.Run("a pool that remembers no devices", func(t *testing.T) {
		f := withUser(t)
		require.NoError(t, f.pool().ForgetDevices(t.Context(), username))
		require.Equal(t, "InvalidUserPoolConfigurationException", f.Calls().Of("AdminListDevices")[0].Code)
	})

	t.Run("a denied permission is named", func(t *testing.T) {
		f := withUser(t)
		f.Deny("cognito-idp:AdminListDevices")
		require.ErrorContains(t, f.pool().ForgetDevices(t.Context(), username), "cognito-idp:AdminListDevices")
	})
}

func TestResetTOTP(t *testing.T) {
	for name, configuration := range map[string]types.UserPoolMfaType{
		"where a second factor is required": types.UserPoolMfaTypeOn,
		"where it is optional":              types.UserPoolMfaTypeOptional,
	} {
		t.Run("the old authenticator is replaced "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 0)
			f.requireMFA(configuration, true)
			issued, err := f.pool().IssueUser(t.Context(), f.totpRequest())
			require.NoError(t, err)
			login := cognito.Login{Username: username, Password: password}
			fresh, err := f.pool().ResetTOTP(t.Context(), f.request().AppClient, login, nil)
			require.NoError(t, err)
			require.NotEqual(t, issued.TOTP.Secret, fresh.Secret)

			login.TOTPCode = nextCode(t, issued.TOTP.Secret)
			_, err = f.pool().SignIn(t.Context(), f.request().AppClient, login, nil)
			require.Error(t, err, "the code of the old authenticator")
			login.TOTPCode = nextCode(t, fresh.Secret)
			_, err = f.pool().SignIn(t.Context(), f.request().AppClient, login, nil)
			require.NoError(t, err)
		})
	}
}

func TestListUsersByPrefix(t *testing.T) {
	f := newFixture(t, 0)
	f.limit(map[string]float64{"UserCreation": 1e6})
	for i := range 65 {
		_, err := f.pool().CreateUser(t.Context(), cognito.NewUser{Username: fmt.Sprintf("vault-%d", i), TemporaryPassword: temporaryPassword})
		require.NoError(t, err)
	}
	_, err := f.pool().CreateUser(t.Context(), cognito.NewUser{
		Username: `other"-1`, TemporaryPassword: temporaryPassword, Attributes: map[string]string{"email": "eve@example.com"},
	})
	require.NoError(t, err)
	list := func(attribute, prefix string) (users []cognito.ListedUser) {
		err := f.pool().ListUsers(t.Context(), cognito.UserFilter{Attribute: attribute, Prefix: prefix}, func(user cognito.ListedUser) error {
			users = append(users, user)
			return nil
		})
		require.NoError(t, err)
		return users
	}
	users := list("username", "vault-")
	require.Len(t, users, 65)
	assert.NotEmpty(t, users[0].Sub)
	assert.False(t, users[0].Created.IsZero())
	assert.Equal(t, "FORCE_CHANGE_PASSWORD", users[0].Status)
	assert.True(t, users[0].Enabled)

	t.Run("a quotation mark in the prefix is no end of it", func(t *testing.T) {
		require.Len(t, list("username", `other"`), 1)
		require.Empty(t, list("username", `none" or username ^= "vault`))
	})
	t.Run("by e-mail address", func(t *testing.T) {
		require.Equal(t, "eve@example.com", list("email", "eve@")[0].Email)
	})
	t.Run("a reader that stops reads no further page", func(t *testing.T) {
		before := len(f.Calls().Of("ListUsers"))
		enough := errors.New("enough")
		err := f.pool().ListUsers(t.Context(), cognito.UserFilter{Attribute: "username", Prefix: "vault-"}, func(cognito.ListedUser) error { return enough })
		require.ErrorIs(t, err, enough)
		require.Len(t, f.Calls().Of("ListUsers"), before+1)
	})
	t.Run("an error ends the list", func(t *testing.T) {
		f.Deny("cognito-idp:ListUsers")
		last := f.pool().ListUsers(t.Context(), cognito.UserFilter{Attribute: "username", Prefix: "vault-"}, func(cognito.ListedUser) error { return nil })
		require.Equal(t, "cognito-idp:ListUsers", cognito.DeniedAction(last))
	})
}
