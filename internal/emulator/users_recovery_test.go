// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// withRecovery limits the account recovery of a pool to the mechanisms.
func withRecovery(mechanisms ...types.RecoveryOptionNameType) func(*cognitoidentityprovider.CreateUserPoolInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolInput) {
		in.AccountRecoverySetting = &types.AccountRecoverySettingType{}
		for i, name := range mechanisms {
			in.AccountRecoverySetting.RecoveryMechanisms = append(in.AccountRecoverySetting.RecoveryMechanisms,
				types.RecoveryOptionType{Name: name, Priority: aws.Int32(int32(i + 1))})
		}
	}
}

func (h *holder) forgot() (*cognitoidentityprovider.ForgotPasswordOutput, error) {
	return h.cognito.ForgotPassword(h.ctx, &cognitoidentityprovider.ForgotPasswordInput{ClientId: h.client.ClientId, Username: &h.name})
}

func (h *holder) confirm(code, password string) error {
	_, err := h.cognito.ConfirmForgotPassword(h.ctx, &cognitoidentityprovider.ConfirmForgotPasswordInput{
		ClientId: h.client.ClientId, Username: &h.name, ConfirmationCode: &code, Password: &password,
	})
	return err
}

func (h *holder) code() string {
	h.t.Helper()
	return h.user(h.pool, h.name).ConfirmationCode
}

func TestForgotPassword(t *testing.T) {
	for name, test := range map[string]struct {
		pool   func(*cognitoidentityprovider.CreateUserPoolInput)
		before func(h *holder) error
		medium types.DeliveryMediumType
		code   string
		words  string
	}{
		"a verified e-mail address receives a code":                     {medium: types.DeliveryMediumTypeEmail},
		"a verified e-mail address receives a code if the pool says so": {pool: withRecovery("verified_email"), medium: types.DeliveryMediumTypeEmail},
		"a verified phone number receives the code by default": {
			medium: types.DeliveryMediumTypeSms,
			before: func(h *holder) error {
				return h.setAttributes("phone_number", "+4912345", "phone_number_verified", "true")
			},
		},
		"the first mechanism receives the code": {
			pool: withRecovery("verified_email", "verified_phone_number"), medium: types.DeliveryMediumTypeEmail,
			before: func(h *holder) error {
				return h.setAttributes("phone_number", "+4912345", "phone_number_verified", "true")
			},
		},
		"admin_only is refused": {pool: withRecovery("admin_only"), code: "NotAuthorizedException", words: "Contact administrator"},
		"an unverified e-mail address is refused": {
			before: func(h *holder) error { return h.setAttributes("email_verified", "false") },
			code:   "InvalidParameterException", words: "no registered/verified email or phone_number",
		},
		"a user with a temporary password is refused": {
			before: func(h *holder) error {
				_, err := h.cognito.AdminSetUserPassword(h.ctx, &cognitoidentityprovider.AdminSetUserPasswordInput{
					UserPoolId: &h.pool, Username: &h.name, Password: aws.String(otherPassword),
				})
				return err
			},
			code: "NotAuthorizedException", words: "current state",
		},
		"a disabled user is refused": {before: func(h *holder) error { return h.disableUser(h.pool, h.name) }, code: "NotAuthorizedException", words: "disabled"},
		"an unknown user is refused": {before: func(h *holder) error { return h.deleteUser(h.pool, h.name) }, code: "UserNotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t, test.pool, nil)
			if test.before != nil {
				require.NoError(t, test.before(h))
			}
			out, err := h.forgot()
			requireOutcome(t, err, test.code, test.words)
			if test.code == "" {
				require.Equal(t, test.medium, out.CodeDeliveryDetails.DeliveryMedium)
				require.Len(t, h.code(), 6)
				h.mustSignIn(h.client, h.name) // the present password still works
			}
		})
	}
}

func (h *holder) setAttributes(pairs ...string) error {
	_, err := h.cognito.AdminUpdateUserAttributes(h.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
		UserPoolId: &h.pool, Username: &h.name, UserAttributes: attributesOf(pairs...),
	})
	return err
}

func TestForgotPasswordHidesUnknownUsers(t *testing.T) {
	h := newHolder(t, nil, func(in *cognitoidentityprovider.CreateUserPoolClientInput) { in.PreventUserExistenceErrors = "ENABLED" })
	h.name = "missing"
	out, err := h.forgot()
	require.NoError(t, err)
	require.NotNil(t, out.CodeDeliveryDetails)
	requireCode(t, h.confirm("123456", otherPassword), "CodeMismatchException")
}

func TestConfirmForgotPassword(t *testing.T) {
	for name, test := range map[string]struct {
		code     func(h *holder) string
		wait     time.Duration
		password string
		want     string
	}{
		"the code sets the password":               {},
		"a wrong code is refused":                  {code: func(*holder) string { return "wrong" }, want: "CodeMismatchException"},
		"a code is refused after an hour":          {wait: time.Hour, want: "ExpiredCodeException"},
		"a password against the policy is refused": {password: "weak", want: "InvalidPasswordException"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHolder(t, nil, nil)
			_, err := h.forgot()
			require.NoError(t, err)
			code := h.code()
			if test.code != nil {
				code = test.code(h)
			}
			if test.password == "" {
				test.password = otherPassword
			}
			h.clock.Advance(test.wait)
			requireOutcome(t, h.confirm(code, test.password), test.want)
			require.Equal(t, test.want == "", h.running.Server.HasPassword(h.pool, h.name, test.password))
			if test.want == "" {
				requireCode(t, h.confirm(code, goodPassword), "ExpiredCodeException")
			}
		})
	}
}

func TestWrongConfirmationCodesAreLimited(t *testing.T) {
	h := newHolder(t, nil, nil)
	_, err := h.forgot()
	require.NoError(t, err)
	for range 5 {
		requireCode(t, h.confirm("wrong", otherPassword), "CodeMismatchException")
	}
	requireCode(t, h.confirm(h.code(), otherPassword), "LimitExceededException", "Attempt limit exceeded")
	_, err = h.forgot()
	require.NoError(t, err)
	require.NoError(t, h.confirm(h.code(), otherPassword))
}

func TestAdminResetUserPassword(t *testing.T) {
	reset := func(h *holder) error {
		_, err := h.cognito.AdminResetUserPassword(h.ctx, &cognitoidentityprovider.AdminResetUserPasswordInput{UserPoolId: &h.pool, Username: &h.name})
		return err
	}
	t.Run("a reset password no longer signs in and a code sets another one", func(t *testing.T) {
		h := newHolder(t, nil, nil)
		require.NoError(t, reset(h))
		require.Equal(t, "RESET_REQUIRED", h.user(h.pool, "ann").Status)
		_, err := h.signIn(h.client, "ann", goodPassword)
		requireCode(t, err, "PasswordResetRequiredException")
		require.NoError(t, h.confirm(h.code(), otherPassword))
		_, err = h.signIn(h.client, "ann", otherPassword)
		require.NoError(t, err)
	})
	t.Run("AdminSetUserPassword ends a reset", func(t *testing.T) {
		h := newHolder(t, nil, nil)
		require.NoError(t, reset(h))
		code := h.code()
		require.NoError(t, h.setPassword(h.pool, "ann", otherPassword))
		require.Equal(t, "CONFIRMED", h.user(h.pool, "ann").Status)
		requireCode(t, h.confirm(code, goodPassword), "ExpiredCodeException")
	})
	t.Run("a pool with admin_only refuses a reset", func(t *testing.T) {
		h := newHolder(t, withRecovery("admin_only"), nil)
		requireCode(t, reset(h), "NotAuthorizedException")
	})
	t.Run("a user without verified attributes refuses a reset", func(t *testing.T) {
		h := newHolder(t, nil, nil)
		require.NoError(t, h.setAttributes("email_verified", "false"))
		requireCode(t, reset(h), "InvalidParameterException")
		require.Equal(t, "CONFIRMED", h.user(h.pool, "ann").Status)
	})
}

func TestAccountRecoverySettings(t *testing.T) {
	b := newEnv(t)
	out, err := b.describePool(b.createPool(withRecovery("admin_only")))
	require.NoError(t, err)
	require.Equal(t, types.RecoveryOptionNameTypeAdminOnly, out.AccountRecoverySetting.RecoveryMechanisms[0].Name)
	in := &cognitoidentityprovider.CreateUserPoolInput{PoolName: aws.String("pool")}
	withRecovery("admin_only", "verified_email")(in)
	_, err = b.cognito.CreateUserPool(b.ctx, in)
	requireCode(t, err, "InvalidParameterException", "admin_only")
}
