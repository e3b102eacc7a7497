// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// holder is what a holder of a user knows.
type holder struct {
	l                  *lender
	username, password string
}

func (l *lender) holderOf(response *logical.Response) holder {
	l.T.Helper()
	return holder{l, response.Data["username"].(string), response.Data["password"].(string)}
}

// requireLocked requires that the password of the holder is no longer valid.
func (h holder) requireLocked() {
	h.l.T.Helper()
	require.False(h.l.T, h.l.signsIn(h.username, h.password), "an earlier holder knows the password of a user that is free or lent to another one")
}

func (l *lender) setPasswordCalls() int {
	l.T.Helper()
	return len(slices.DeleteFunc(l.Calls().Calls, func(c control.Call) bool { return c.Operation != "AdminSetUserPassword" }))
}

// TestLibraryAfterRestore goes back to an older state of the storage, in which users are free that
// were lent since.
func TestLibraryAfterRestore(t *testing.T) {
	noTokens := hourly()
	noTokens["issue_tokens"] = false

	t.Run("a user that a holder has since the snapshot gets a new password before it is lent", func(t *testing.T) {
		for name, role := range map[string]map[string]any{"with tokens": hourly(), "without tokens": noTokens} {
			t.Run(name, func(t *testing.T) {
				l := newLender(t, role, map[string]any{"size": 1})
				snapshot := l.snapshot()
				l.pass(10 * time.Minute)
				ben := l.holderOf(l.checkOut("ben", nil))
				l.restore(snapshot)
				l.newProcess()
				anna := l.holderOf(l.checkOut("anna", nil))
				ben.requireLocked()
				require.True(t, l.signsIn(anna.username, anna.password))
			})
		}
	})

	t.Run("a user that was lent and reset since the snapshot is lent with a password that works", func(t *testing.T) {
		l := newLender(t, noTokens, map[string]any{"size": 1})
		snapshot := l.snapshot()
		l.pass(10 * time.Minute)
		ben := l.holderOf(l.checkOut("ben", nil))
		l.checkIn("ben")
		l.restore(snapshot)
		l.newProcess()
		anna := l.holderOf(l.checkOut("anna", nil))
		ben.requireLocked()
		require.True(t, l.signsIn(anna.username, anna.password))
	})

	t.Run("a free user is reset by the next tick without a check-out", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		snapshot := l.snapshot()
		l.pass(10 * time.Minute)
		ben := l.holderOf(l.checkOut("ben", nil))
		l.restore(snapshot)
		l.newProcess()
		require.NoError(t, l.tick())
		ben.requireLocked()
		l.requireReady(1)
	})

	t.Run("a user that was being reset does not get the password that a holder has since", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		l.checkOut("anna", nil)
		l.Deny("cognito-idp:AdminUserGlobalSignOut")
		l.checkIn("anna")
		snapshot := l.snapshot()
		l.Deny()
		l.pass(10 * time.Minute)
		ben := l.holderOf(l.checkOut("ben", nil))
		l.restore(snapshot)
		l.newProcess()
		require.NoError(t, l.tick())
		ben.requireLocked()
		l.requireReady(1)
	})

	t.Run("a user of usernames is reset before the set gives it up", func(t *testing.T) {
		l := newPair(t)
		snapshot := l.snapshot()
		l.pass(10 * time.Minute)
		ben := l.holderOf(l.checkOut("ben", nil))
		l.restore(snapshot)
		l.newProcess()
		l.Deny("cognito-idp:AdminSetUserPassword")
		l.WriteOK("library/e2e", map[string]any{"usernames": otherOfPair(ben.username)})
		failed := func() bool { return l.userInfo(ben.username)["last_error"] != "" }
		require.Eventually(t, failed, 5*time.Second, 5*time.Millisecond, "it must be reset before it is given up")
		l.Deny()
		l.pass(10 * time.Minute)
		ben.requireLocked()
		require.NotContains(t, l.status()["users"], ben.username)
	})

	t.Run("no user is lent while it cannot be reset, and all are once it can", func(t *testing.T) {
		l := newLender(t, noTokens, map[string]any{"size": 2})
		snapshot := l.snapshot()
		l.pass(10 * time.Minute)
		l.restore(snapshot)
		l.newProcess()
		l.Deny("cognito-idp:AdminSetUserPassword")
		require.Contains(t, l.noneFree(nil), "0 of its 2 users are checked out, and the others are being prepared")
		_ = l.tick() // it fails unless the worker has tried before
		l.noneFree(nil)
		l.Deny()
		l.pass(10 * time.Minute)
		l.requireReady(2)
		l.checkOut("anna", nil)
		l.checkOut("ben", nil)
	})
}

// TestLibraryAfterRestart counts what a restart costs.
func TestLibraryAfterRestart(t *testing.T) {
	setUp := func(t *testing.T) (l *lender, calls int) {
		l = newLender(t, hourly(), map[string]any{"size": 3})
		l.pass(30 * time.Minute) // without a record
		return l, l.setPasswordCalls()
	}

	t.Run("no user is reset after a restart or a fail-over of a minute", func(t *testing.T) {
		l, calls := setUp(t)
		for range 3 {
			l.sealed(time.Minute)
			require.NoError(t, l.tick())
		}
		l.checkOut("anna", nil)
		require.Equal(t, calls, l.setPasswordCalls())
	})

	t.Run("no user is reset again after a restart in the middle", func(t *testing.T) {
		l, calls := setUp(t)
		l.sealed(time.Hour)
		require.NoError(t, l.tick())
		l.sealed(time.Minute)
		require.NoError(t, l.tick())
		l.requireReady(3)
		require.Equal(t, calls+3, l.setPasswordCalls())
	})

	t.Run("free users are reset after an outage, and lent ones are not", func(t *testing.T) {
		l, calls := setUp(t)
		anna := l.holderOf(l.checkOut("anna", nil))
		l.sealed(10 * time.Minute)
		require.NoError(t, l.tick())
		require.Equal(t, calls+2, l.setPasswordCalls())
		require.True(t, l.signsIn(anna.username, anna.password))
		l.requireReady(2)
	})

	t.Run("free users are reset once by a cluster that has no heartbeat of the set, such as a promoted secondary", func(t *testing.T) {
		l, calls := setUp(t)
		require.NoError(t, l.storage.Storage.Delete(t.Context(), "issued/heartbeat"))
		l.sealed(time.Second)
		require.NoError(t, l.tick())
		require.Equal(t, calls+3, l.setPasswordCalls())
		l.sealed(time.Second)
		require.NoError(t, l.tick())
		require.Equal(t, calls+3, l.setPasswordCalls())
	})

	t.Run("free users are reset after the clock was set", func(t *testing.T) {
		l, calls := setUp(t)
		for _, by := range []time.Duration{2 * time.Hour, -time.Hour} {
			l.clocks.set(by)
			require.NoError(t, l.tick())
			calls += 3
			require.Equal(t, calls, l.setPasswordCalls())
			l.requireReady(3)
		}
	})

	t.Run("a clock that follows the time server in small steps resets nothing", func(t *testing.T) {
		l, calls := setUp(t)
		for range 20 {
			l.clocks.set(20 * time.Second)
			l.clocks.set(-20 * time.Second)
			l.pass(time.Minute)
		}
		require.Equal(t, calls, l.setPasswordCalls())
	})

	t.Run("the heartbeat ends with the last set", func(t *testing.T) {
		l, _ := setUp(t)
		require.Contains(t, l.entries("issued/"), "heartbeat")
		l.OK(logical.DeleteOperation, "library/e2e", nil)
		l.requireNoEntries()
		l.pass(2 * time.Minute)
		require.NotContains(t, l.entries("issued/"), "heartbeat")
	})
}
