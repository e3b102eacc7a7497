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

func withPolicy(policy types.PasswordPolicyType) func(*cognitoidentityprovider.CreateUserPoolInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolInput) {
		in.Policies = &types.UserPoolPolicyType{PasswordPolicy: &policy}
	}
}

func TestPasswordPolicy(t *testing.T) {
	lax := &types.PasswordPolicyType{MinimumLength: aws.Int32(6)}
	tests := map[string]struct {
		policy     *types.PasswordPolicyType
		password   string
		flaw       string
		constraint string // the violated constraint of the API, which comes before the policy
	}{
		"a password of all four kinds is accepted by default":         {password: "Abcdef1!"},
		"7 characters are refused by default":                         {password: "Abcde1!", flaw: "not long enough"},
		"a password without upper case is refused":                    {password: "abcdefg1!", flaw: "uppercase"},
		"a password without lower case is refused":                    {password: "ABCDEFG1!", flaw: "lowercase"},
		"a password without a number is refused":                      {password: "Abcdefgh!", flaw: "numeric"},
		"a password without a symbol is refused":                      {password: "Abcdefgh1", flaw: "symbol"},
		"a symbol outside Cognito's set does not count":               {password: "Abcdefg1§", flaw: "symbol"},
		"an upper-case letter with an accent does not count":          {password: "Äbcdefg1!", flaw: "uppercase"},
		"a password with a space is refused":                          {password: "Abcdef 1!", constraint: "pattern"},
		"a password of 256 characters is accepted":                    {password: "Ab1!" + strings.Repeat("x", 252)},
		"a password of 257 characters is refused":                     {password: "Ab1!" + strings.Repeat("x", 253), constraint: "length"},
		"a pool without required kinds accepts one kind":              {policy: lax, password: "aaaaaa"},
		"a password shorter than the pool's minimum is refused":       {policy: lax, password: "aaaaa", flaw: "not long enough"},
		"a pool with one required kind refuses a password without it": {policy: &types.PasswordPolicyType{RequireSymbols: true}, password: "abcdefgh", flaw: "symbol"},
		"every symbol of the documented set counts":                   {policy: &types.PasswordPolicyType{RequireSymbols: true}, password: "abcdefg+"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.seed.UserPoolID
			if test.policy != nil {
				pool = b.createPool(withPolicy(*test.policy))
			}
			_, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{UserPoolId: &pool, Username: aws.String("ann")})
			require.NoError(t, err)
			err = b.setPassword(pool, "ann", test.password)
			switch {
			case test.constraint != "":
				requireCode(t, err, "InvalidParameterException", "'password' failed to satisfy constraint", test.constraint)
			case test.flaw != "":
				requireCode(t, err, "InvalidPasswordException", "Password did not conform with policy", test.flaw)
			default:
				require.NoError(t, err)
			}
		})
	}
}

func TestEverySymbolOfThePolicyCounts(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(withPolicy(types.PasswordPolicyType{RequireSymbols: true}))
	b.createUser(pool, "ann")
	for _, symbol := range "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-" {
		require.NoError(t, b.setPassword(pool, "ann", "abcdefgh"+string(symbol)), "symbol %c", symbol)
	}
}

func TestPasswordHistory(t *testing.T) {
	tests := map[string]struct {
		size int32
		past []string
		next string
		code string
	}{
		"the same password is accepted without a history": {size: 0, past: []string{otherPassword}, next: otherPassword},
		"a history of 1 refuses the present password":     {size: 1, past: []string{otherPassword}, next: otherPassword, code: "PasswordHistoryPolicyViolationException"},
		"a history of 1 accepts the password before":      {size: 1, past: []string{otherPassword}, next: goodPassword},
		"a history of 2 refuses the temporary password":   {size: 2, past: []string{otherPassword}, next: goodPassword, code: "PasswordHistoryPolicyViolationException"},
		"a history of 2 accepts the third last password":  {size: 2, past: []string{otherPassword, "Another-3-word"}, next: goodPassword},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(withPolicy(types.PasswordPolicyType{PasswordHistorySize: &test.size}))
			b.createUser(pool, "ann") // with goodPassword for a temporary password
			for _, password := range test.past {
				require.NoError(t, b.setPassword(pool, "ann", password))
			}
			requireOutcome(t, b.setPassword(pool, "ann", test.next), test.code)
		})
	}
}

func TestLiteTierRefusesPasswordHistory(t *testing.T) {
	b := newEnv(t)
	_, err := b.cognito.CreateUserPool(b.ctx, &cognitoidentityprovider.CreateUserPoolInput{
		PoolName:     aws.String("lite"),
		UserPoolTier: types.UserPoolTierTypeLite,
		Policies:     &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{PasswordHistorySize: aws.Int32(1)}},
	})
	requireCode(t, err, "FeatureUnavailableInTierException")
}

func TestPasswordPolicyLimits(t *testing.T) {
	for name, policy := range map[string]types.PasswordPolicyType{
		"a minimum length of 5 is refused":             {MinimumLength: aws.Int32(5)},
		"a minimum length of 100 is refused":           {MinimumLength: aws.Int32(100)},
		"a history of 25 is refused":                   {PasswordHistorySize: aws.Int32(25)},
		"temporary passwords for 366 days are refused": {TemporaryPasswordValidityDays: 366},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			in := &cognitoidentityprovider.CreateUserPoolInput{PoolName: aws.String("pool")}
			withPolicy(policy)(in)
			_, err := b.cognito.CreateUserPool(b.ctx, in)
			requireCode(t, err, "InvalidParameterException")
		})
	}
}

func TestSetPasswordThatIsNotPermanentHasToBeChanged(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	_, err := b.cognito.AdminSetUserPassword(b.ctx, &cognitoidentityprovider.AdminSetUserPasswordInput{
		UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), Password: aws.String(otherPassword),
	})
	require.NoError(t, err)
	require.Equal(t, "FORCE_CHANGE_PASSWORD", b.user(b.seed.UserPoolID, "ann").Status)
}

func TestExpiredTemporaryPasswordLooksLikeAWrongOne(t *testing.T) {
	tests := map[string]struct {
		days  int32
		after time.Duration
		code  string
	}{
		"a temporary password is valid until it expires": {days: 2, after: 48*time.Hour - time.Second},
		"an expired temporary password is refused":       {days: 2, after: 48 * time.Hour, code: "NotAuthorizedException"},
		"a validity of 0 days means at least 7":          {days: 0, after: 7*24*time.Hour - time.Second},
		"a validity of 0 days means at most 7":           {days: 0, after: 7 * 24 * time.Hour, code: "NotAuthorizedException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.createPool(withPolicy(types.PasswordPolicyType{TemporaryPasswordValidityDays: test.days}))
			client := b.createClient(pool, nil)
			b.createUser(pool, "ann")
			b.clock.Advance(test.after)
			_, err := b.signIn(client, "ann", goodPassword)
			requireOutcome(t, err, test.code, "Incorrect username or password.")
		})
	}
}

func TestFiveWrongPasswordsLockTheUserOut(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	for range 5 {
		_, err := b.signIn(client, "ann", otherPassword)
		requireCode(t, err, "NotAuthorizedException", "Incorrect username or password.")
	}
	_, err := b.signIn(client, "ann", goodPassword)
	requireCode(t, err, "NotAuthorizedException", "Password attempts exceeded")

	b.clock.Advance(time.Second)
	_, err = b.signIn(client, "ann", otherPassword)
	requireCode(t, err, "NotAuthorizedException", "Incorrect username or password.")
	b.clock.Advance(time.Second)
	_, err = b.signIn(client, "ann", goodPassword)
	requireCode(t, err, "NotAuthorizedException", "Password attempts exceeded")

	b.clock.Advance(time.Second)
	b.mustSignIn(client, "ann")
	_, err = b.signIn(client, "ann", otherPassword)
	requireCode(t, err, "NotAuthorizedException", "Incorrect username or password.")
	b.mustSignIn(client, "ann")
}

func TestWrongPasswordsNoLongerCountAfter15Minutes(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	for range 5 {
		_, err := b.signIn(client, "ann", otherPassword)
		require.Error(t, err)
	}
	b.clock.Advance(15 * time.Minute)
	_, err := b.signIn(client, "ann", otherPassword)
	requireCode(t, err, "NotAuthorizedException", "Incorrect username or password.")
	b.mustSignIn(client, "ann")
}

func TestChangePassword(t *testing.T) {
	tests := map[string]struct {
		previous string
		proposed string
		code     string
	}{
		"the previous password is accepted":               {previous: goodPassword, proposed: otherPassword},
		"a wrong previous password is refused":            {previous: "Wrong-Word-3", proposed: otherPassword, code: "NotAuthorizedException"},
		"a password against the policy is refused":        {previous: goodPassword, proposed: "weak", code: "InvalidPasswordException"},
		"the same password is accepted without a history": {previous: goodPassword, proposed: goodPassword},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(b.seededClient(), "ann")
			_, err := b.cognito.ChangePassword(b.ctx, &cognitoidentityprovider.ChangePasswordInput{
				AccessToken: tokens.AccessToken, PreviousPassword: &test.previous, ProposedPassword: &test.proposed,
			})
			requireOutcome(t, err, test.code)
			if test.code == "" {
				_, err := b.signIn(b.seededClient(), "ann", test.proposed)
				require.NoError(t, err)
			}
		})
	}
}
