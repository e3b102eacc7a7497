// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func TestWorst(t *testing.T) {
	passed, warning, open, bad := Passed("a", ""), Warned("b", "", ""), unknown("c", "", ""), Failed("d", "", "")
	require.Equal(t, OK, Worst(nil))
	require.Equal(t, Warn, Worst([]Finding{passed, warning, passed}))
	require.Equal(t, Unknown, Worst([]Finding{open, warning}), "an unknown may hide a failure")
	require.Equal(t, Fail, Worst([]Finding{bad, open, passed}))
}

func TestProblemsNameTheMostSevereFirst(t *testing.T) {
	findings := []Finding{
		Passed("role", "Fine."), Warned("token_life", "Long.", "Shorten it."), skipped("groups", "user_pool"),
		Failed("user_pool", "Missing.", "Create it."), unknown("mfa", "Denied.", ""),
	}
	require.Equal(t, []string{
		"user_pool (fail): Missing. Create it.", "mfa (unknown): Denied.", "token_life (warn): Long. Shorten it.",
	}, Problems(findings), "a skipped finding repeats the problem that it was skipped for")
	require.Empty(t, Problems([]Finding{Passed("role", "Fine.")}))
}

func TestFlawOfPasswords(t *testing.T) {
	all := cognito.PasswordRules{MinimumLength: 8, Upper: true, Lower: true, Numbers: true, Symbols: true}
	for password, flaw := range map[string]string{
		"Abcdef1-": "", "Abcde1-": "one has 7 characters and the pool requires 8", "abcdef1-": "one has no uppercase letter",
		"ABCDEF1-": "one has no lowercase letter", "Abcdefg-": "one has no digit", "Abcdefg1": "one has no symbol", "Abcdef1- ": "one has a space",
	} {
		require.Equal(t, flaw, flawOf(password, all), password)
	}
}

// silentPool answers nothing.
type silentPool struct{ Pool }

func (silentPool) Rules(context.Context) (cognito.PoolRules, error) {
	return cognito.PoolRules{}, errSilent
}

func (silentPool) User(context.Context, string) (cognito.UserState, error) {
	return cognito.UserState{}, errSilent
}

var errSilent = &cognito.Error{Step: "reading", Kind: cognito.KindUnavailable}

// silentAWS answers nothing.
type silentAWS struct{ AWS }

func (silentAWS) Identity(context.Context, cognito.Target) (string, error) {
	return "", errors.New("down")
}

func (silentAWS) Quotas(context.Context, cognito.Target) ([]cognito.Quota, error) {
	return nil, errSilent
}

func TestFindingsThatAnotherOneExplainsAreSkipped(t *testing.T) {
	findings := StaticPassword{Subject: Subject{Target: cognito.Target{UserPoolID: "eu-west-1_a"}}, Username: "ann"}.Run(t.Context(), silentAWS{}, silentPool{})
	require.Equal(t, Fail, Worst(findings))
	require.Len(t, Problems(findings), 2, "the identity and the pool, but not the user: %v", findings)
}

// openPool allows passkeys.
type openPool struct{ silentPool }

func (openPool) Rules(context.Context) (cognito.PoolRules, error) {
	return cognito.PoolRules{Passkeys: true}, nil
}

func TestLibrarySetsMustNotBeInAPoolWithPasskeys(t *testing.T) {
	findings := Library{Wanted: 1, Free: 1}.Run(t.Context(), silentAWS{}, openPool{})
	require.Contains(t, findings, Failed("passkeys",
		"The pool allows passkeys. A holder can register one, and no administrator can delete it, so the user stays open to that holder.",
		"Remove WEB_AUTHN from the sign-in policy of the pool, or use roles that create a user for each lease."))
}

// TestRemediesFitTheRefusal requires that no remedy corrects a name that AWS did not reject.
func TestRemediesFitTheRefusal(t *testing.T) {
	const remedy = "Correct app_client_id."
	for name, c := range map[string]struct {
		err            cognito.Error
		status, remedy string
	}{
		"an object that is not there": {cognito.Error{Code: "ResourceNotFoundException", Kind: cognito.KindNotFound}, Fail, remedy},
		"an invalid name":             {cognito.Error{Code: "InvalidParameterException", Kind: cognito.KindInvalid}, Fail, remedy},
		"a replica":                   {cognito.Error{Code: "OperationNotEnabledException", Kind: cognito.KindInvalid}, Fail, ""},
		"a caller that may not":       {cognito.Error{Code: "NotAuthorizedException", Kind: cognito.KindInvalid}, Fail, ""},
		"a failure of AWS":            {cognito.Error{Code: "InternalErrorException", Kind: cognito.KindUnavailable}, Unknown, "Try again later."},
		"a limit that says to wait":   {cognito.Error{Code: "LimitExceededException", Kind: cognito.KindThrottled, Detail: "so try again later"}, Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			found := lookupFailed("app_client", &c.err, remedy)
			require.Equal(t, c.status, found.Status)
			require.Equal(t, c.remedy, found.Remedy)
			require.Equal(t, ".", found.Detail[len(found.Detail)-1:], "it is a sentence")
		})
	}
}
