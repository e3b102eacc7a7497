// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// TestTrySignIn shows what a sign-in says about a password, and that it is made once.
func TestTrySignIn(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(f *fixture)
		sent    string
		verdict cognito.Verdict
		counts  bool
	}{
		"the right password":         {sent: password, verdict: cognito.VerdictRight},
		"a wrong password":           {sent: password + "2", verdict: cognito.VerdictWrong, counts: true},
		"a response that is lost":    {prepare: faults(control.FaultCutAfter, ""), sent: password, verdict: cognito.VerdictUnclear, counts: true},
		"a request that hangs":       {prepare: faults(control.FaultHang, ""), sent: password, verdict: cognito.VerdictUnclear, counts: true},
		"a failure of Cognito":       {prepare: faults(control.FaultError, "InternalErrorException"), sent: password, verdict: cognito.VerdictUnclear, counts: true},
		"a flow that is not allowed": {prepare: faults(control.FaultError, "InvalidParameterException"), sent: password, verdict: cognito.VerdictUnclear},
		"a denied IAM permission":    {prepare: faults(control.FaultError, "AccessDeniedException"), sent: password, verdict: cognito.VerdictUnclear},
		"a secret hash that does not match": {prepare: func(f *fixture) {
			f.Fault(control.Fault{
				Operation: control.OperationAny, Kind: control.FaultError, Code: "NotAuthorizedException", Message: "Unable to verify secret hash for client x",
			})
		}, sent: password, verdict: cognito.VerdictUnclear, counts: true},
	} {
		for _, self := range []bool{false, true} {
			t.Run(name+map[bool]string{false: " with IAM permissions", true: " without IAM permissions"}[self], func(t *testing.T) {
				f := newFixture(t, 3)
				_, err := f.pool().IssueUser(t.Context(), f.request())
				require.NoError(t, err)
				app := f.selfServiceClient()
				if !self {
					app = cognito.AppClient{ID: f.Seed.PublicClientID}
				}
				if test.prepare != nil {
					test.prepare(f)
				}
				before := len(f.Calls().Calls)
				_, err = f.pool().TrySignIn(t.Context(), app, cognito.Login{Username: username, Password: test.sent}, self)
				require.Equal(t, test.verdict, cognito.VerdictOf(err), "%v", err)
				require.Equal(t, test.counts, cognito.MayCountAsWrong(err), "%v", err)
				require.Len(t, f.Calls().Calls, before+1)
			})
		}
	}
}

func faults(kind, code string) func(*fixture) {
	return func(f *fixture) { f.Fault(control.Fault{Operation: control.OperationAny, Kind: kind, Code: code}) }
}

// TestSessionNamesTheUser shows that a sign-in by an alias returns who the user is.
func TestSessionNamesTheUser(t *testing.T) {
	f := newFixture(t, 0)
	user, err := f.pool().IssueUser(t.Context(), f.request())
	require.NoError(t, err)
	session, err := f.pool().TrySignIn(t.Context(), cognito.AppClient{ID: f.Seed.PublicClientID}, cognito.Login{Username: username, Password: password}, false)
	require.NoError(t, err)
	require.Equal(t, user.Sub, session.Sub)
	require.Equal(t, username, session.Username)
	require.NotEmpty(t, session.Tokens.AccessToken)
}
