// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

func TestPoolsRequireMFA(t *testing.T) {
	tests := map[string]struct {
		configuration types.UserPoolMfaType
		challenge     types.ChallengeNameType
	}{
		"ON challenges a user without a factor":               {configuration: types.UserPoolMfaTypeOn, challenge: types.ChallengeNameTypeMfaSetup},
		"OPTIONAL does not challenge a user without a factor": {configuration: types.UserPoolMfaTypeOptional},
		"OFF challenges no user":                              {configuration: types.UserPoolMfaTypeOff},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(nil)
			client := b.createClient(pool, nil)
			b.createConfirmedUser(pool, "ann")
			_, err := b.cognito.SetUserPoolMfaConfig(b.ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{
				UserPoolId: &pool, MfaConfiguration: test.configuration,
				SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
			})
			require.NoError(t, err)
			described, err := b.describePool(pool)
			require.NoError(t, err)
			require.Equal(t, test.configuration, described.MfaConfiguration)

			out, err := b.signIn(client, "ann", goodPassword)
			require.NoError(t, err)
			require.Equal(t, test.challenge, out.ChallengeName)
			require.Equal(t, test.challenge == "", out.AuthenticationResult != nil)
		})
	}
}

// mfaEnv is a pool where all users need a software token, and one of its users.
type mfaEnv struct {
	*env
	pool   string
	client *types.UserPoolClientType
}

func newMFAEnv(t *testing.T) *mfaEnv {
	b := &mfaEnv{env: newEnv(t)}
	b.pool = b.createPool(nil)
	b.client = b.createClient(b.pool, withSecret)
	b.createConfirmedUser(b.pool, "ann", "phone_number", "+4912345")
	b.configure(types.UserPoolMfaTypeOn, true)
	return b
}

func (b *mfaEnv) configure(configuration types.UserPoolMfaType, softwareTokens bool) {
	b.t.Helper()
	_, err := b.cognito.SetUserPoolMfaConfig(b.ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{
		UserPoolId: &b.pool, MfaConfiguration: configuration,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: softwareTokens},
	})
	require.NoError(b.t, err)
}

// meet signs in with the password, requires a challenge and returns its session.
func (b *mfaEnv) meet(challenge types.ChallengeNameType) *string {
	b.t.Helper()
	out, err := b.signIn(b.client, "ann", goodPassword)
	require.NoError(b.t, err)
	require.Equal(b.t, challenge, out.ChallengeName)
	require.Equal(b.t, "ann", out.ChallengeParameters["USER_ID_FOR_SRP"])
	return out.Session
}

func (b *mfaEnv) associate(session *string) (secret string, next *string) {
	b.t.Helper()
	out, err := b.cognito.AssociateSoftwareToken(b.ctx, &cognitoidentityprovider.AssociateSoftwareTokenInput{Session: session})
	require.NoError(b.t, err)
	return *out.SecretCode, out.Session
}

func (b *mfaEnv) verify(session *string, code string) (next *string, err error) {
	out, err := b.cognito.VerifySoftwareToken(b.ctx, &cognitoidentityprovider.VerifySoftwareTokenInput{Session: session, UserCode: &code})
	if err != nil {
		return nil, err
	}
	require.Equal(b.t, types.VerifySoftwareTokenResponseTypeSuccess, out.Status)
	return out.Session, nil
}

func (b *mfaEnv) answer(challenge types.ChallengeNameType, session *string, responses ...string) (*types.AuthenticationResultType, error) {
	all := map[string]string{"USERNAME": "ann", "SECRET_HASH": secretHash(b.client, "ann")}
	for i := 0; i < len(responses); i += 2 {
		all[responses[i]] = responses[i+1]
	}
	out, err := b.cognito.AdminRespondToAuthChallenge(b.ctx, &cognitoidentityprovider.AdminRespondToAuthChallengeInput{
		UserPoolId: &b.pool, ClientId: b.client.ClientId, Session: session, ChallengeName: challenge, ChallengeResponses: all,
	})
	if err != nil {
		return nil, err
	}
	return out.AuthenticationResult, nil
}

// setUp sets up a software token and returns its secret.
func (b *mfaEnv) setUp() string {
	b.t.Helper()
	secret, session := b.associate(b.meet(types.ChallengeNameTypeMfaSetup))
	session, err := b.verify(session, b.code(secret))
	require.NoError(b.t, err)
	_, err = b.answer(types.ChallengeNameTypeMfaSetup, session)
	require.NoError(b.t, err)
	return secret
}

// code returns what an authenticator app with the secret shows now.
func (b *mfaEnv) code(secret string) string {
	b.t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	require.NoError(b.t, err)
	return totp(key, b.clock.Now())
}

func totp(key []byte, now time.Time) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(now.Unix()/30))
	mac := hmac.New(sha1.New, key)
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	at := sum[19] & 15
	number := (uint32(sum[at])&0x7f)<<24 | uint32(sum[at+1])<<16 | uint32(sum[at+2])<<8 | uint32(sum[at+3])
	return fmt.Sprintf("%06d", number%1e6)
}

func TestAuthenticatorOfTheTestsFollowsRFC6238(t *testing.T) {
	require.Equal(t, "287082", totp([]byte("12345678901234567890"), time.Unix(59, 0)))
	require.Equal(t, "081804", totp([]byte("12345678901234567890"), time.Unix(1111111109, 0)))
}

func TestSetUpOfASoftwareToken(t *testing.T) {
	b := newMFAEnv(t)
	secret, session := b.associate(b.meet(types.ChallengeNameTypeMfaSetup))
	session, err := b.verify(session, b.code(secret))
	require.NoError(t, err)
	tokens, err := b.answer(types.ChallengeNameTypeMfaSetup, session)
	require.NoError(t, err)
	require.Equal(t, "ann", claimsOf(t, tokens.AccessToken)["username"])

	user, err := b.getUser(b.pool, "ann")
	require.NoError(t, err)
	require.Equal(t, []string{"SOFTWARE_TOKEN_MFA"}, user.UserMFASettingList)
	require.Equal(t, "SOFTWARE_TOKEN_MFA", *user.PreferredMfaSetting)
}

func TestUnfinishedSetUpReturnsNoTokens(t *testing.T) {
	b := newMFAEnv(t)
	session := b.meet(types.ChallengeNameTypeMfaSetup)
	_, err := b.answer(types.ChallengeNameTypeMfaSetup, session)
	requireCode(t, err, "InvalidParameterException")

	secret, next := b.associate(session)
	_, err = b.verify(session, b.code(secret))
	requireCode(t, err, "NotAuthorizedException", "Invalid session")
	_, err = b.verify(next, "000000")
	requireCode(t, err, "EnableSoftwareTokenMFAException")
	_, err = b.answer(types.ChallengeNameTypeMfaSetup, next)
	requireCode(t, err, "InvalidParameterException")
	b.meet(types.ChallengeNameTypeMfaSetup)
}

func TestPoolWithoutSoftwareTokens(t *testing.T) {
	b := newMFAEnv(t)
	_, err := b.cognito.SetUserPoolMfaConfig(b.ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{
		UserPoolId: &b.pool, MfaConfiguration: types.UserPoolMfaTypeOn,
		SmsMfaConfiguration: &types.SmsMfaConfigType{SmsConfiguration: &types.SmsConfigurationType{SnsCallerArn: aws.String("arn:aws:iam::123456789012:role/sms")}},
	})
	require.NoError(t, err)
	session := b.meet(types.ChallengeNameTypeMfaSetup)
	_, err = b.cognito.AssociateSoftwareToken(b.ctx, &cognitoidentityprovider.AssociateSoftwareTokenInput{Session: session})
	requireCode(t, err, "SoftwareTokenMFANotFoundException")
}

func TestPoolThatRequiresMFAWithoutAMethod(t *testing.T) {
	b := newMFAEnv(t)
	b.configure(types.UserPoolMfaTypeOn, false)
	_, err := b.signIn(b.client, "ann", goodPassword)
	requireCode(t, err, "MFAMethodNotFoundException")
	_, err = b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: b.client.ClientId, AuthFlow: types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword, "SECRET_HASH": secretHash(b.client, "ann")},
	})
	requireCode(t, err, "InvalidUserPoolConfigurationException", "no MFA method")
}

func TestSignInWithASoftwareToken(t *testing.T) {
	tests := map[string]struct {
		wait  time.Duration // since the set-up
		drift time.Duration // of the user's clock
		wrong bool
		code  string
	}{
		"a present code is accepted":                     {wait: time.Minute},
		"a code of a clock 30 seconds late is accepted":  {wait: time.Minute, drift: -30 * time.Second},
		"a code of a clock 30 seconds early is accepted": {wait: time.Minute, drift: 30 * time.Second},
		"a code of a clock 60 seconds late is refused":   {wait: 5 * time.Minute, drift: -time.Minute, code: "CodeMismatchException"},
		"a wrong code is refused":                        {wait: time.Minute, wrong: true, code: "CodeMismatchException"},
		"a used code is refused":                         {wait: 0, code: "ExpiredCodeException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newMFAEnv(t)
			secret := b.setUp()
			b.clock.Advance(test.wait)
			session := b.meet(types.ChallengeNameTypeSoftwareTokenMfa)
			b.clock.Advance(test.drift)
			code := b.code(secret)
			b.clock.Advance(-test.drift)
			if test.wrong {
				code = "12345x"
			}
			tokens, err := b.answer(types.ChallengeNameTypeSoftwareTokenMfa, session, "SOFTWARE_TOKEN_MFA_CODE", code)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				require.NotEmpty(t, *tokens.RefreshToken)
			}
		})
	}
}

func TestNewPasswordComesBeforeTheSecondFactor(t *testing.T) {
	b := newMFAEnv(t)
	b.createUser(b.pool, "bob")
	out, err := b.signIn(b.client, "bob", goodPassword)
	require.NoError(t, err)
	next, err := b.cognito.AdminRespondToAuthChallenge(b.ctx, &cognitoidentityprovider.AdminRespondToAuthChallengeInput{
		UserPoolId: &b.pool, ClientId: b.client.ClientId, Session: out.Session, ChallengeName: out.ChallengeName,
		ChallengeResponses: map[string]string{"USERNAME": "bob", "NEW_PASSWORD": otherPassword, "SECRET_HASH": secretHash(b.client, "bob")},
	})
	require.NoError(t, err)
	require.Equal(t, types.ChallengeNameTypeMfaSetup, next.ChallengeName)
	require.Nil(t, next.AuthenticationResult)
}

func TestPreferredFactorIsChallenged(t *testing.T) {
	b := newMFAEnv(t)
	b.setUp()
	prefer := func(sms, software *types.SMSMfaSettingsType) error {
		in := &cognitoidentityprovider.AdminSetUserMFAPreferenceInput{UserPoolId: &b.pool, Username: aws.String("ann"), SMSMfaSettings: sms}
		if software != nil {
			in.SoftwareTokenMfaSettings = &types.SoftwareTokenMfaSettingsType{Enabled: software.Enabled, PreferredMfa: software.PreferredMfa}
		}
		_, err := b.cognito.AdminSetUserMFAPreference(b.ctx, in)
		return err
	}
	require.NoError(t, prefer(&types.SMSMfaSettingsType{Enabled: true, PreferredMfa: true}, nil))
	session := b.meet(types.ChallengeNameTypeSmsMfa)
	_, err := b.answer(types.ChallengeNameTypeSmsMfa, session, "SMS_MFA_CODE", "123456")
	requireCode(t, err, "CodeMismatchException")

	require.NoError(t, prefer(&types.SMSMfaSettingsType{}, nil))
	b.meet(types.ChallengeNameTypeSoftwareTokenMfa)
	require.NoError(t, prefer(nil, &types.SMSMfaSettingsType{}))
	b.meet(types.ChallengeNameTypeMfaSetup)
}

func TestMissingFactorCannotBePreferred(t *testing.T) {
	b := newMFAEnv(t)
	_, err := b.cognito.AdminSetUserMFAPreference(b.ctx, &cognitoidentityprovider.AdminSetUserMFAPreferenceInput{
		UserPoolId: &b.pool, Username: aws.String("ann"), SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: true},
	})
	requireCode(t, err, "InvalidParameterException")
}

func TestSignedInUserSetsUpASoftwareToken(t *testing.T) {
	b := newMFAEnv(t)
	b.configure(types.UserPoolMfaTypeOptional, true)
	tokens := b.mustSignIn(b.client, "ann")
	out, err := b.cognito.AssociateSoftwareToken(b.ctx, &cognitoidentityprovider.AssociateSoftwareTokenInput{AccessToken: tokens.AccessToken})
	require.NoError(t, err)
	_, err = b.cognito.VerifySoftwareToken(b.ctx, &cognitoidentityprovider.VerifySoftwareTokenInput{
		AccessToken: tokens.AccessToken, UserCode: aws.String(b.code(*out.SecretCode)),
	})
	require.NoError(t, err)
	b.mustSignIn(b.client, "ann")

	_, err = b.cognito.AdminSetUserMFAPreference(b.ctx, &cognitoidentityprovider.AdminSetUserMFAPreferenceInput{
		UserPoolId: &b.pool, Username: aws.String("ann"), SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: true},
	})
	require.NoError(t, err)
	b.meet(types.ChallengeNameTypeSoftwareTokenMfa)
}

func TestMFAConfigurationCanBeRead(t *testing.T) {
	b := newMFAEnv(t)
	out, err := b.cognito.GetUserPoolMfaConfig(b.ctx, &cognitoidentityprovider.GetUserPoolMfaConfigInput{UserPoolId: &b.pool})
	require.NoError(t, err)
	require.Equal(t, types.UserPoolMfaTypeOn, out.MfaConfiguration)
	require.True(t, out.SoftwareTokenMfaConfiguration.Enabled)
	_, err = b.cognito.SetUserPoolMfaConfig(b.ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{UserPoolId: &b.pool, MfaConfiguration: "MAYBE"})
	requireCode(t, err, "InvalidParameterException")
}

func TestUnverifiedSoftwareTokenDoesNotReplaceTheExistingOne(t *testing.T) {
	b := newMFAEnv(t)
	secret := b.setUp()
	b.clock.Advance(time.Minute)
	signIn := func() *types.AuthenticationResultType {
		tokens, err := b.answer(types.ChallengeNameTypeSoftwareTokenMfa, b.meet(types.ChallengeNameTypeSoftwareTokenMfa),
			"SOFTWARE_TOKEN_MFA_CODE", b.code(secret))
		require.NoError(t, err)
		b.clock.Advance(time.Minute)
		return tokens
	}
	access := signIn().AccessToken
	other, err := b.cognito.AssociateSoftwareToken(b.ctx, &cognitoidentityprovider.AssociateSoftwareTokenInput{AccessToken: access})
	require.NoError(t, err)
	signIn()
	_, err = b.cognito.VerifySoftwareToken(b.ctx, &cognitoidentityprovider.VerifySoftwareTokenInput{
		AccessToken: access, UserCode: aws.String(b.code(*other.SecretCode)),
	})
	require.NoError(t, err)
	b.clock.Advance(time.Minute)
	_, err = b.answer(types.ChallengeNameTypeSoftwareTokenMfa, b.meet(types.ChallengeNameTypeSoftwareTokenMfa),
		"SOFTWARE_TOKEN_MFA_CODE", b.code(secret))
	requireCode(t, err, "CodeMismatchException")
}
