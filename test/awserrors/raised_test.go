// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awserrors_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const functionARN = "arn:aws:lambda:eu-west-1:123456789012:function:trigger"

// raised is an error that the engine meets because of the state that Cognito is in.
type raised struct {
	operation, code string
	// message is a part of Cognito's own text.
	message string
	flow    string
	// arrange makes Cognito raise the error, after the flow was prepared.
	arrange func(*mount)
}

// TestErrorsOfTheStateThatCognitoIsIn compares the answers to errors that nothing injects with
// docs/errors.md.
func TestErrorsOfTheStateThatCognitoIsIn(t *testing.T) {
	preAuthentication := types.LambdaConfigType{PreAuthentication: aws.String(functionARN)}
	postAuthentication := types.LambdaConfigType{PostAuthentication: aws.String(functionARN)}
	preTokenGeneration := types.LambdaConfigType{PreTokenGeneration: aws.String(functionARN)}
	noMethod := "No MFA mechanism registered in the account."
	for name, r := range map[string]raised{
		"the pool requires MFA, and has no method for a new user": {
			"AdminInitiateAuth", "MFAMethodNotFoundException", noMethod, "`creds/` user", requireMFAWithoutMethod,
		},
		"the pool requires MFA, and has no method for a user with tokens": {
			"AdminInitiateAuth", "MFAMethodNotFoundException", noMethod, "`tokens/` by password", requireMFAWithoutMethod,
		},
		"the pool requires MFA, and has no method for the user of a static role": {
			"AdminInitiateAuth", "MFAMethodNotFoundException", noMethod, "`static-creds/` with tokens", requireMFAWithoutMethod,
		},
		"the pool requires MFA, and has no method for a user that changes its password": {
			"InitiateAuth", "InvalidUserPoolConfigurationException", "The user pool requires MFA and has no MFA method.",
			"`rotate-role/` self-managed password", requireMFAWithoutMethod,
		},
		"an administrator changes the app client that is revoked": {
			"DeleteUserPoolClient", "ConcurrentModificationException", "Another request is modifying the resource.", "revoke app client", changeClient,
		},
		"a trigger refuses the sign-in of a new user": {
			"AdminInitiateAuth", "UserLambdaValidationException", "PreAuthentication failed with error no guests.", "`creds/` user",
			trigger(preAuthentication, control.LambdaThrows),
		},
		"a trigger answers rubbish at the sign-in of a user with tokens": {
			"AdminInitiateAuth", "InvalidLambdaResponseException", "Unrecognizable lambda output", "`tokens/` by password",
			trigger(postAuthentication, control.LambdaAnswersRubbish),
		},
		"a trigger times out at the sign-in of a static role": {
			"AdminInitiateAuth", "UnexpectedLambdaException", "PostAuthentication invocation failed due to error TimeoutException.",
			"`static-creds/` with tokens", trigger(postAuthentication, control.LambdaTimesOut),
		},
		"a trigger that does not exist cannot make new tokens": {
			"GetTokensFromRefreshToken", "UnexpectedLambdaException", "PreTokenGeneration invocation failed due to configuration.",
			"`tokens/` by refresh token", trigger(preTokenGeneration, ""),
		},
		"a trigger refuses new tokens": {
			"GetTokensFromRefreshToken", "UserLambdaValidationException", "PreTokenGeneration failed with error no guests.",
			"`tokens/` by refresh token", trigger(preTokenGeneration, control.LambdaThrows),
		},
		"a trigger answers rubbish when tokens are made": {
			"GetTokensFromRefreshToken", "InvalidLambdaResponseException", "Unrecognizable lambda output",
			"`tokens/` by refresh token", trigger(preTokenGeneration, control.LambdaAnswersRubbish),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, documented(t, r), r.effect(t).cells())
		})
	}
}

// TestTriggerThatRefusesAllUsers is about errors that last, unlike those of docs/errors.md for
// AdminCreateUser. The engine cannot know whether Cognito created the user.
func TestTriggerThatRefusesAllUsers(t *testing.T) {
	for outcome, text := range map[string]string{
		control.LambdaThrows:         "UserLambdaValidationException: PreSignUp failed with error no guests.; see check/role",
		control.LambdaAnswersRubbish: "InvalidLambdaResponseException: Unrecognizable lambda output; see check/role",
		control.LambdaTimesOut:       "UnexpectedLambdaException: PreSignUp invocation failed due to error TimeoutException.; see check/role",
	} {
		t.Run("creds with a PreSignUp function that should "+outcome, func(t *testing.T) {
			t.Parallel()
			m := newMount(t, 0)
			userRole(nil)(m)
			before := len(m.Users())
			trigger(types.LambdaConfigType{PreSignUp: aws.String(functionARN)}, outcome)(m)
			got := m.read("creds/role")
			require.Equal(t, 400, got.status, got.text)
			require.Contains(t, got.text, text)
			require.Len(t, m.Users(), before)
			m.function(control.LambdaSucceeds)
			require.False(t, m.read("creds/role").failed())
		})
	}
}

func requireMFAWithoutMethod(m *mount) {
	_, err := m.Admin.SetUserPoolMfaConfig(m.T.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &m.Seed.UserPoolID, MfaConfiguration: types.UserPoolMfaTypeOn,
	})
	require.NoError(m.T, err)
}

// trigger makes the function a trigger of the pool. Without an outcome it does not exist.
func trigger(config types.LambdaConfigType, outcome string) func(*mount) {
	return func(m *mount) {
		_, err := m.Admin.UpdateUserPool(m.T.Context(), &cip.UpdateUserPoolInput{UserPoolId: &m.Seed.UserPoolID, LambdaConfig: &config})
		require.NoError(m.T, err)
		if outcome != "" {
			m.function(outcome)
		}
	}
}

func (m *mount) function(outcome string) {
	m.T.Helper()
	require.NoError(m.T, m.Control.SetLambda(m.T.Context(), control.Lambda{ARN: functionARN, Outcome: outcome, Message: "no guests"}))
}

// changeClient begins a change of the leased app client that lasts until the end of the test.
func changeClient(m *mount) {
	id := m.lease.Data["app_client_id"].(string)
	require.NoError(m.T, m.Control.SetLatency(m.T.Context(), control.Latency{Operations: map[string]int{"UpdateUserPoolClient": 600_000}}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	m.T.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		_, _ = m.Admin.UpdateUserPoolClient(ctx, &cip.UpdateUserPoolClientInput{UserPoolId: &m.Seed.UserPoolID, ClientId: &id}) // it is cut
	}()
	require.Eventually(m.T, func() bool { return slices.Contains(m.operations(), "UpdateUserPoolClient") }, 10*time.Second, time.Millisecond)
}

// effect runs the flow and requires that Cognito raised the error.
func (r raised) effect(t *testing.T) effect {
	t.Helper()
	all := flows()
	f := all[slices.IndexFunc(all, func(f flow) bool { return f.name == r.flow })]
	usual := f.start(t, 0)
	require.False(t, f.run(usual).failed())
	m := f.start(t, 0)
	r.arrange(m)
	got := f.run(m)
	require.Contains(t, m.codesOf(r.operation), r.code, "the answer is %q", got.text)
	require.Contains(t, got.text, r.message)
	e := effect{status: got.status, warning: got.warnings, adds: added(strings.ReplaceAll(m.maskIDs(got.text), r.message, fromAWS), r.code)}
	e.undoes = undone(r.operation, usual.operations(), m.operations())
	m.resetPool()
	if f.outcome != nil {
		e.outcome = f.outcome(m)
	}
	return e
}

// resetPool lets users sign in again.
func (m *mount) resetPool() {
	m.T.Helper()
	_, err := m.Admin.UpdateUserPool(m.T.Context(), &cip.UpdateUserPoolInput{UserPoolId: &m.Seed.UserPoolID})
	require.NoError(m.T, err)
}

// codesOf returns the errors that the calls of an operation got.
func (m *mount) codesOf(operation string) []string {
	m.T.Helper()
	var codes []string
	for _, call := range m.Calls().Of(operation) {
		codes = append(codes, call.Code)
	}
	return codes
}

// cells returns the columns of docs/errors.md that do not depend on retries.
func (e effect) cells() string {
	return fmt.Sprintf("answer %s, undoes %s, adds %s", e.answer(), cmp.Or(e.undoes, "–"), cmp.Or(e.adds, "–"))
}

// documented returns what docs/errors.md says about an error in a flow.
func documented(t *testing.T, r raised) []string {
	t.Helper()
	text, err := os.ReadFile(reference)
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## "+r.operation+"\n")
	require.True(t, found, "%s has no section %s", reference, r.operation)
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []string
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if len(cells) == 6 && strings.Contains(cells[0], "`"+r.code+"`") && isOf(cells[1], r.flow) {
			rows = append(rows, fmt.Sprintf("answer %s, undoes %s, adds %s", cells[2], cells[4], cells[5]))
		}
	}
	require.NotEmpty(t, rows, "%s does not say what %s does in %s", reference, r.code, r.flow)
	return rows
}

func isOf(flows, name string) bool {
	return flows == "all" || slices.Contains(strings.Split(flows, "; "), name)
}
