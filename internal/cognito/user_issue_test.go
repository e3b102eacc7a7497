// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// issueInBackground starts issuing a user, and returns the result later.
func (f *fixture) issueInBackground(ctx context.Context, r cognito.UserRequest) <-chan error {
	pool, done := f.pool(), make(chan error, 1)
	go func() {
		_, err := pool.IssueUser(ctx, r)
		done <- err
	}()
	return done
}

// awaitOpen waits until a call of an operation is under way.
func (f *fixture) awaitOpen(operation string) {
	f.Helper()
	require.Eventually(f, func() bool {
		return slices.ContainsFunc(f.Calls().Of(operation), func(c control.Call) bool { return c.End == 0 })
	}, 10*time.Second, time.Millisecond)
}

// requireDeletedLast checks that the user is gone, and was deleted after all other calls for it had
// ended.
func (f *fixture) requireDeletedLast() {
	f.Helper()
	require.Empty(f, f.Users())
	calls := f.Calls().Calls
	undo := slices.IndexFunc(calls, func(c control.Call) bool { return c.Operation == "AdminDeleteUser" })
	require.GreaterOrEqual(f, undo, 0, "no user was deleted")
	for _, call := range calls[:undo] {
		require.Less(f, call.End, calls[undo].Begin, "%s was under way when the user was deleted", call.Operation)
		require.NotZero(f, call.End)
	}
}

func TestUndoWaitsForOtherCalls(t *testing.T) {
	f := newFixture(t, 0)
	f.service = cognito.New(t.Context(), f.settings(0, 5*time.Second))
	require.NoError(t, f.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminSetUserPassword": 400}}))
	_, err := f.pool().IssueUser(t.Context(), f.request("missing"))
	require.ErrorContains(t, err, `group "missing"`)
	f.requireDeletedLast()
	require.Equal(t, 200, f.Calls().Of("AdminSetUserPassword")[0].Status, "it was not cut")
}

// TestSiblingsThatHaveNotBegunAreNotStarted fails one of the eight calls that are made at a time,
// while the other seven hang and a ninth waits for its turn.
func TestSiblingsThatHaveNotBegunAreNotStarted(t *testing.T) {
	f := newFixture(t, 0)
	held := []string{"g1", "g2", "g3", "g4", "g5", "g6"}
	f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultHang})
	for _, group := range held {
		f.Fault(control.Fault{Operation: "AdminAddUserToGroup", GroupName: group, Kind: control.FaultHang})
	}
	done := f.issueInBackground(t.Context(), f.request(append(held, "missing", "testers")...))
	ofGroup := func(name string) []control.Call {
		return slices.DeleteFunc(f.Calls().Of("AdminAddUserToGroup"), func(c control.Call) bool { return c.GroupName != name })
	}
	require.Eventually(t, func() bool {
		calls := ofGroup("missing")
		return len(calls) == 1 && calls[0].End != 0
	}, 10*time.Second, time.Millisecond)
	f.Heal()
	require.Error(t, <-done)
	require.Empty(t, ofGroup("testers"), "the user will be deleted")
	f.requireDeletedLast()
}

// TestSiblingsAreNotRepeatedAfterAFailure lets a call fail that is usually repeated, after another
// one has failed.
func TestSiblingsAreNotRepeatedAfterAFailure(t *testing.T) {
	f := withUser(t)
	f.service = cognito.New(t.Context(), f.settings(2, 5*time.Second))
	require.NoError(t, f.Control.ResetCalls(t.Context()))
	f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultHang})
	failure, fail, stopped, done := errors.New("group missing"), make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- cognito.Siblings(t.Context(),
			func(ctx context.Context) error { return f.pool().SetPassword(ctx, username, password) },
			func(context.Context) error { <-fail; return failure },
			func(ctx context.Context) error { <-cognito.Stopped(ctx); close(stopped); return nil },
		)
	}()
	f.awaitOpen("AdminSetUserPassword")
	close(fail)
	<-stopped
	f.Heal()
	require.ErrorIs(t, <-done, failure)
	require.Len(t, f.Calls().Of("AdminSetUserPassword"), 1)
}

// TestIssueEndsWithItsContext is about callers that go away and mounts that end: the context is
// cancelled at some call.
func TestIssueEndsWithItsContext(t *testing.T) {
	for _, operation := range []string{"AdminCreateUser", "AdminSetUserPassword", "AdminAddUserToGroup", "AdminInitiateAuth"} {
		t.Run("a user is deleted if its context ends during "+operation, func(t *testing.T) {
			t.Parallel()
			lifetime, end := context.WithCancel(context.Background())
			f := newFixture(t, 0)
			f.service = cognito.New(lifetime, f.settings(0, 5*time.Second))
			require.NoError(t, f.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{operation: 400}}))
			ctx, cancel := context.WithCancel(t.Context())
			done := f.issueInBackground(ctx, f.request("testers"))
			f.awaitOpen(operation)
			cancel()
			end()
			err := <-done
			if operation == "AdminInitiateAuth" && err == nil {
				return // the last call was under way, and went on to its end
			}
			require.Error(t, err)
			var leftover *cognito.LeftoverError
			require.NotErrorAs(t, err, &leftover)
			f.requireDeletedLast()
		})
	}

	t.Run("a create that hangs is given up, and may have left a user", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultHang})
		ctx, cancel := context.WithCancel(t.Context())
		done := f.issueInBackground(ctx, f.request())
		f.awaitOpen("AdminCreateUser")
		cancel()
		var leftover *cognito.LeftoverError
		require.ErrorAs(t, <-done, &leftover)
		require.Len(t, f.Calls().Of("AdminCreateUser"), 1)
		require.NotEmpty(t, f.Calls().Of("AdminDeleteUser"))
	})

	t.Run("nothing is created for a caller that is gone", func(t *testing.T) {
		f := newFixture(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := f.pool().IssueUser(ctx, f.request())
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, cognito.OutcomeRefused, cognito.OutcomeOf(err))
		require.Empty(t, f.Calls().Calls)
	})
}

func TestIssueLooksAhead(t *testing.T) {
	t.Run("no user is created that cannot join its groups in time", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"UserUpdate": 0.1})
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		_, err := f.pool().IssueUser(ctx, f.request("testers", "admins"))
		require.Equal(t, cognito.KindThrottled, cognito.KindOf(err), err)
		require.Equal(t, cognito.OutcomeRefused, cognito.OutcomeOf(err))
		require.True(t, cognito.IsOwnLimit(err))
		require.ErrorContains(t, err, "UserUpdate")
		require.ErrorContains(t, err, "try again in ")
		require.Empty(t, f.Calls().Calls)
	})

	t.Run("of many at once as many are created as are finished", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"UserUpdate": 4})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var work sync.WaitGroup
		var mu sync.Mutex
		issued := 0
		for i := range 40 {
			work.Go(func() {
				request := f.namedRequest(username + string(rune('a'+i%26)) + string(rune('0'+i/26)))
				if _, err := f.pool().IssueUser(ctx, request); err == nil {
					mu.Lock()
					defer mu.Unlock()
					issued++
				}
			})
		}
		work.Wait()
		assert.Positive(t, issued)
		assert.Less(t, issued, 40)
		assert.Len(t, f.Calls().Of("AdminCreateUser"), issued)
		assert.Empty(t, f.Calls().Of("AdminDeleteUser"))
	})

	t.Run("a throttled attempt waits for another slot", func(t *testing.T) {
		f := newFixture(t, 0)
		settings := f.settings(3, time.Second)
		settings.RateLimits = map[string]float64{"UserAccountRecovery": tiny}
		f.service = cognito.New(t.Context(), settings)
		f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "TooManyRequestsException"})
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		_, err := f.pool().IssueUser(ctx, f.request("testers"))
		require.Equal(t, cognito.KindThrottled, cognito.KindOf(err), err)
		require.Len(t, f.Calls().Of("AdminSetUserPassword"), 1)
	})
}
