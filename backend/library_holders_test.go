// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// hostileHolder is a holder who tries to keep the account, in a pool that remembers devices, allows
// second factors, and lets users recover their account.
type hostileHolder struct {
	*lender
	pool, client     string
	lent             *logical.Response
	username, device string
	token            *string
	// factor is the secret of the authenticator that the holder set up.
	factor string
}

func newHostileHolder(t *testing.T, role map[string]any) *hostileHolder {
	t.Helper()
	k := &hostileHolder{lender: &lender{newIssuer(t, hourly())}}
	k.clocks.set(time.Since(k.clocks.now()))
	k.pool = k.MakePool(&cip.CreateUserPoolInput{DeviceConfiguration: &types.DeviceConfigurationType{}})
	_, err := k.Admin.SetUserPoolMfaConfig(t.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &k.pool, MfaConfiguration: types.UserPoolMfaTypeOptional, SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(t, err)
	k.client = k.MakePublicClient(k.pool)
	settings := map[string]any{
		"credential_type": "user", "user_pool_id": k.pool, "region": k.Seed.Region, "groups": "testers", "ttl": "1h", "app_client_id": k.client,
		"user_attributes": map[string]string{"name": "Robot"}, "dummy_email_domain": "robots.example.com",
	}
	for field, value := range role {
		settings[field] = value
	}
	k.WriteOK("roles/kept", settings)
	k.WriteOK("library/e2e", map[string]any{"role": "kept", "size": 1})
	k.requireReady(1)
	k.lent = k.checkOut("eve", nil)
	k.username, k.token = k.lent.Data["username"].(string), aws.String(k.lent.Data["access_token"].(string))
	return k
}

// changeEverything does what Cognito lets a user do with its access token.
func (k *hostileHolder) changeEverything() {
	k.T.Helper()
	ctx := k.T.Context()
	_, err := k.Admin.UpdateUserAttributes(ctx, &cip.UpdateUserAttributesInput{AccessToken: k.token, UserAttributes: []types.AttributeType{
		{Name: aws.String("email"), Value: aws.String("eve@evil.example")}, {Name: aws.String("name"), Value: aws.String("eve")},
		{Name: aws.String("nickname"), Value: aws.String("eve")},
	}})
	require.NoError(k.T, err)
	k.setUpFactor()
	k.rememberDevice()
	_, err = k.Admin.ChangePassword(ctx, &cip.ChangePasswordInput{
		AccessToken: k.token, PreviousPassword: aws.String(k.lent.Data["password"].(string)), ProposedPassword: aws.String("Eve-knows-1234"),
	})
	require.NoError(k.T, err)
}

func (k *hostileHolder) setUpFactor() {
	k.T.Helper()
	ctx := k.T.Context()
	secret, err := k.Admin.AssociateSoftwareToken(ctx, &cip.AssociateSoftwareTokenInput{AccessToken: k.token})
	require.NoError(k.T, err)
	k.factor = *secret.SecretCode
	code, err := totp.GenerateCode(k.factor, time.Now())
	require.NoError(k.T, err)
	_, err = k.Admin.VerifySoftwareToken(ctx, &cip.VerifySoftwareTokenInput{AccessToken: k.token, UserCode: &code})
	require.NoError(k.T, err)
	_, err = k.Admin.SetUserMFAPreference(ctx, &cip.SetUserMFAPreferenceInput{
		AccessToken: k.token, SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: true, PreferredMfa: true},
	})
	require.NoError(k.T, err)
}

// rememberDevice confirms the device of a sign-in of its own.
func (k *hostileHolder) rememberDevice() {
	k.T.Helper()
	out, err := k.signIn(k.lent.Data["password"].(string), 1)
	require.NoError(k.T, err)
	require.NotNil(k.T, out.NewDeviceMetadata)
	k.device = *out.NewDeviceMetadata.DeviceKey
	_, err = k.Admin.ConfirmDevice(k.T.Context(), &cip.ConfirmDeviceInput{
		AccessToken: out.AccessToken, DeviceKey: &k.device,
		DeviceSecretVerifierConfig: &types.DeviceSecretVerifierConfigType{PasswordVerifier: aws.String("dmVyaWZpZXI="), Salt: aws.String("c2FsdA==")},
	})
	require.NoError(k.T, err)
}

// signIn signs in with the holder's authenticator. Each period of its codes may be used once.
func (k *hostileHolder) signIn(password string, period int) (*types.AuthenticationResultType, error) {
	k.T.Helper()
	out, err := k.Admin.AdminInitiateAuth(k.T.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &k.pool, ClientId: &k.client, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": k.username, "PASSWORD": password},
	})
	if err != nil {
		return nil, err
	}
	if out.AuthenticationResult != nil {
		return out.AuthenticationResult, nil
	}
	return k.answer(out, period)
}

func (k *hostileHolder) answer(challenge *cip.AdminInitiateAuthOutput, period int) (*types.AuthenticationResultType, error) {
	k.T.Helper()
	code, err := totp.GenerateCode(k.factor, time.Now().Add(time.Duration(period)*30*time.Second))
	require.NoError(k.T, err)
	answered, err := k.Admin.AdminRespondToAuthChallenge(k.T.Context(), &cip.AdminRespondToAuthChallengeInput{
		UserPoolId: &k.pool, ClientId: &k.client, ChallengeName: challenge.ChallengeName, Session: challenge.Session,
		ChallengeResponses: map[string]string{"USERNAME": k.username, "SOFTWARE_TOKEN_MFA_CODE": code},
	})
	if err != nil {
		return nil, err
	}
	return answered.AuthenticationResult, nil
}

// requireLost tries everything that the holder had or made, at Cognito.
func (k *hostileHolder) requireLost() {
	k.T.Helper()
	ctx := k.T.Context()
	_, err := k.Admin.GetUser(ctx, &cip.GetUserInput{AccessToken: k.token})
	require.Error(k.T, err, "the access token still works")
	_, err = k.Admin.AssociateSoftwareToken(ctx, &cip.AssociateSoftwareTokenInput{AccessToken: k.token})
	require.Error(k.T, err, "the access token still sets up an authenticator")
	for _, password := range []string{k.lent.Data["password"].(string), "Eve-knows-1234"} {
		_, err = k.signIn(password, 1)
		require.Error(k.T, err, "a password still works")
	}
	_, err = k.Admin.AdminInitiateAuth(ctx, &cip.AdminInitiateAuthInput{
		UserPoolId: &k.pool, ClientId: &k.client, AuthFlow: types.AuthFlowTypeRefreshTokenAuth,
		AuthParameters: map[string]string{"REFRESH_TOKEN": k.lent.Data["refresh_token"].(string)},
	})
	require.Error(k.T, err, "the refresh token still works")
}

// requireNoTokens tries the same through Vault.
func (k *hostileHolder) requireNoTokens() {
	k.T.Helper()
	for _, data := range []map[string]any{
		{"username": k.username, "password": k.lent.Data["password"]},
		{"username": k.username, "password": "Eve-knows-1234"},
		{"username": k.username, "refresh_token": k.lent.Data["refresh_token"]},
	} {
		response, err := k.as("eve", "tokens/e2e", data)
		require.NoError(k.T, err)
		require.ErrorContains(k.T, response.Error(), "refused the request")
	}
}

// TestLibraryHolderKeeps plays a holder who uses its access token to keep the account.
func TestLibraryHolderKeeps(t *testing.T) {
	ends := map[string]func(k *hostileHolder){
		"the lease ends":        func(k *hostileHolder) { require.NoError(k.T, k.revoke(k.lent.Secret)) },
		"it checks the user in": func(k *hostileHolder) { require.Empty(k.T, k.checkIn("eve").Warnings) },
		"an operator checks the user in": func(k *hostileHolder) {
			response, err := k.as("operator", "library/manage/e2e/check-in", map[string]any{"usernames": k.username})
			require.NoError(k.T, err)
			require.Empty(k.T, response.Warnings)
		},
	}
	for name, end := range ends {
		for _, mfa := range []string{"none", "totp"} {
			t.Run(fmt.Sprintf("nothing is left to the holder when %s, with mfa=%s", name, mfa), func(t *testing.T) {
				k := newHostileHolder(t, map[string]any{"mfa": mfa})
				before := k.userOf(k.username)
				k.changeEverything()
				require.NotEmpty(t, k.userOf(k.username).Devices)
				end(k)
				after := k.userOf(k.username)
				require.Equal(t, before.Attributes, after.Attributes)
				require.Equal(t, before.Groups, after.Groups)
				require.ElementsMatch(t, before.MFA, after.MFA)
				require.Empty(t, after.Devices)
				k.requireLost()
				k.requireNoTokens()
				next := k.checkOut("ben", nil)
				require.Equal(t, k.username, next.Data["username"])
				require.NotEmpty(t, next.Data["access_token"])
				k.requireLost()
			})
		}
	}

	t.Run("a code of ForgotPassword is worthless after the check-in", func(t *testing.T) {
		k := newHostileHolder(t, nil)
		_, err := k.Admin.ForgotPassword(t.Context(), &cip.ForgotPasswordInput{ClientId: &k.client, Username: &k.username})
		require.NoError(t, err)
		code := k.userOf(k.username).ConfirmationCode
		require.NotEmpty(t, code)
		k.checkIn("eve")
		_, err = k.Admin.ConfirmForgotPassword(t.Context(), &cip.ConfirmForgotPasswordInput{
			ClientId: &k.client, Username: &k.username, ConfirmationCode: &code, Password: aws.String("Eve-knows-1234"),
		})
		require.Error(t, err)
		k.checkOut("ben", nil)
	})

	t.Run("a sign-in that the holder left half way cannot be completed after the check-in", func(t *testing.T) {
		k := newHostileHolder(t, nil)
		k.setUpFactor()
		half, err := k.Admin.AdminInitiateAuth(t.Context(), &cip.AdminInitiateAuthInput{
			UserPoolId: &k.pool, ClientId: &k.client, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
			AuthParameters: map[string]string{"USERNAME": k.username, "PASSWORD": k.lent.Data["password"].(string)},
		})
		require.NoError(t, err)
		require.Equal(t, types.ChallengeNameTypeSoftwareTokenMfa, half.ChallengeName)
		k.checkIn("eve")
		_, err = k.answer(half, 1)
		require.Error(t, err)
	})
}

// TestLibraryCrowd lends 8 users to 64 callers who wait for them, and return them in different
// ways.
func TestLibraryCrowd(t *testing.T) {
	l := newLender(t, hourly(), map[string]any{"size": 8})
	var holders sync.Map
	var work sync.WaitGroup
	for n := range 64 {
		work.Go(func() {
			who := fmt.Sprintf("caller-%d", n)
			for range 3 {
				lent := l.checkOut(who, map[string]any{"wait": "30s"})
				username := lent.Data["username"].(string)
				other, taken := holders.LoadOrStore(username, who)
				require.False(t, taken, "%s and %s have %s", who, other, username)
				require.True(t, l.signsIn(username, lent.Data["password"].(string)))
				holders.Delete(username)
				if n%2 == 0 {
					require.Equal(t, []string{username}, l.checkIn(who).Data["check_ins"])
				}
				require.NoError(t, l.revoke(lent.Secret))
			}
		})
	}
	work.Wait()
	l.requireReady(8)
	l.requireUsers(8, "")
	require.Empty(t, l.records())
}

// TestLibraryStorm ends all check-outs at once, with AWS's quotas and the engine's own limits. As
// for users, no end may need a second attempt within the 90 seconds that Vault gives to one.
func TestLibraryStorm(t *testing.T) {
	size := 40
	if os.Getenv("RELIABILITY") == "long" {
		size = 180 // as many revocations as Vault makes at once for a mount
	}
	l := newLender(t, hourly(), map[string]any{"size": size})
	var secrets []*logical.Secret
	for range size {
		secrets = append(secrets, l.checkOut("anna", nil).Secret)
	}
	l.WriteOK("config", map[string]any{"rate_limits": map[string]any{}})
	require.NoError(t, l.Control.SetQuotas(t.Context(), control.Quotas{"UserAccountRecovery": 30, "UserUpdate": 25, "UserAuthentication": 120, "UserRead": 120}))
	l.WriteOK("roles/ci", map[string]any{"groups": "admins"}) // so that a reset makes the most calls
	require.NoError(t, l.Control.ResetCalls(t.Context()))
	var work sync.WaitGroup
	for _, secret := range secrets {
		work.Go(func() { require.NoError(t, l.revoke(secret)) })
	}
	work.Wait()
	l.requireReady(size)
	require.Empty(t, l.records())
	for _, call := range l.Calls().Calls {
		require.NotEqual(t, "TooManyRequestsException", call.Code, call.Operation)
	}
}
