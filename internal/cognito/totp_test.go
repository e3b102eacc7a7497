// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"strings"
	"testing"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// requireMFA makes the seeded pool ask for a second factor.
func (f *fixture) requireMFA(configuration types.UserPoolMfaType, authenticators bool) {
	f.Helper()
	_, err := f.Admin.SetUserPoolMfaConfig(f.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &f.Seed.UserPoolID, MfaConfiguration: configuration,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: authenticators},
	})
	require.NoError(f, err)
}

func (f *fixture) totpRequest() cognito.UserRequest {
	request := f.request("testers")
	request.TOTP = true
	return request
}

// nextCode is one that has not been used yet: Cognito takes each only once,
// and the next one early.
func nextCode(t *testing.T, secret string) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, time.Now().Add(30*time.Second))
	require.NoError(t, err)
	return code
}

func TestTOTP(t *testing.T) {
	for name, configuration := range map[string]types.UserPoolMfaType{
		"where a second factor is required": types.UserPoolMfaTypeOn,
		"where it is optional":              types.UserPoolMfaTypeOptional,
	} {
		t.Run("a user gets an authenticator and can sign in with it "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 0)
			f.requireMFA(configuration, true)
			issued, err := f.pool().IssueUser(t.Context(), f.totpRequest())
			require.NoError(t, err)
			require.Equal(t, []any{"testers"}, claimsOf(t, issued.Tokens.AccessToken)["cognito:groups"])

			key, err := otp.NewKeyFromURL(issued.TOTP.URL)
			require.NoError(t, err)
			require.Equal(t, strings.TrimRight(issued.TOTP.Secret, "="), key.Secret())
			require.Equal(t, username, key.AccountName())

			app, credentials := f.request().AppClient, cognito.Login{Username: username, Password: password}
			_, err = f.pool().SignIn(t.Context(), app, credentials, nil)
			require.ErrorContains(t, err, "totp_code")
			credentials.TOTPCode = "000000"
			_, err = f.pool().SignIn(t.Context(), app, credentials, nil)
			require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
			credentials.TOTPCode = nextCode(t, issued.TOTP.Secret)
			tokens, err := f.pool().SignIn(t.Context(), app, credentials, nil)
			require.NoError(t, err)
			require.NotEmpty(t, tokens.AccessToken)
		})

		t.Run("and without the right to set passwords too "+name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 0)
			f.requireMFA(configuration, true)
			f.Deny("cognito-idp:AdminSetUserPassword")
			issued, err := f.pool().IssueUser(t.Context(), f.totpRequest())
			require.NoError(t, err)
			require.NotEmpty(t, issued.TOTP.Secret)
			require.NotEmpty(t, issued.Tokens.AccessToken)
		})
	}

	t.Run("without tokens there is still the authenticator", func(t *testing.T) {
		f := newFixture(t, 0)
		f.requireMFA(types.UserPoolMfaTypeOn, true)
		request := f.totpRequest()
		request.NoTokens = true
		issued, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, issued.Tokens)
		require.NotEmpty(t, issued.TOTP.Secret)
	})

	for name, c := range map[string]struct {
		configuration  types.UserPoolMfaType
		authenticators bool
		totp           bool
		says           string
	}{
		"a role without it in a pool that requires one": {types.UserPoolMfaTypeOn, true, false, "mfa=totp"},
		"a pool that has second factors off":            {types.UserPoolMfaTypeOff, false, true, "SoftwareTokenMFANotFoundException"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			f := newFixture(t, 0)
			f.requireMFA(c.configuration, c.authenticators)
			request := f.request()
			request.TOTP = c.totp
			_, err := f.pool().IssueUser(t.Context(), request)
			require.ErrorContains(t, err, c.says)
			require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
			require.Empty(t, f.Users())
		})
	}

	t.Run("a pool that offers only text messages is refused", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{
			Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
			Body: `{"ChallengeName":"MFA_SETUP","ChallengeParameters":{"MFAS_CAN_SETUP":"[\"SMS_MFA\"]"},"Session":"hush-session-of-some-length"}`,
		})
		_, err := f.pool().IssueUser(t.Context(), f.totpRequest())
		require.ErrorContains(t, err, "SMS_MFA")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
		require.Empty(t, f.Users())
	})
}

// TestTOTPHalfWay lets each call of the enrolment fail in each way.
func TestTOTPHalfWay(t *testing.T) {
	operations := map[types.UserPoolMfaType][]string{
		types.UserPoolMfaTypeOn:       {"AssociateSoftwareToken", "VerifySoftwareToken", "AdminRespondToAuthChallenge"},
		types.UserPoolMfaTypeOptional: {"AssociateSoftwareToken", "VerifySoftwareToken", "AdminSetUserMFAPreference"},
	}
	faults := map[string]control.Fault{
		"fails":            {Kind: control.FaultError, Code: "InternalErrorException"},
		"hangs":            {Kind: control.FaultHang},
		"is cut":           {Kind: control.FaultCutBefore},
		"is cut when done": {Kind: control.FaultCutAfter},
	}
	for configuration, names := range operations {
		for _, operation := range names {
			for name, fault := range faults {
				t.Run(string(configuration)+" "+operation+" "+name, func(t *testing.T) {
					t.Parallel()
					f := newFixture(t, 0)
					f.requireMFA(configuration, true)
					fault.Operation = operation
					f.Fault(fault)
					_, err := f.pool().IssueUser(t.Context(), f.totpRequest())
					require.ErrorContains(t, err, "enrolling an authenticator")
					require.NotContains(t, err.Error(), "hush")
					require.Empty(t, f.Users())
				})
			}
		}
	}
}
