// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// handedOver is a mount that answered a read, and does not know whether Vault
// got that and stored a lease.
type handedOver struct {
	*pool
	secret *logical.Secret
	now    *time.Time
}

func newHandedOver(t *testing.T, role map[string]any) *handedOver {
	t.Helper()
	now := time.Now()
	p := newPoolOn(t, backend.Options{Now: func() time.Time { return now }})
	p.WriteOK("roles/ci", role)
	return &handedOver{pool: p, now: &now, secret: p.OK(logical.ReadOperation, "creds/ci", nil).Secret}
}

// handovers are the ids of those that are open.
func (h *handedOver) handovers() []string {
	h.T.Helper()
	var ids []string
	for _, minute := range h.entries("handovers/") {
		for _, id := range h.entries("handovers/" + minute) {
			ids = append(ids, minute+id)
		}
	}
	return ids
}

func (h *handedOver) after(d time.Duration) {
	h.T.Helper()
	*h.now = h.now.Add(d)
	require.NoError(h.T, h.rollBack())
}

func TestHandover(t *testing.T) {
	hour := map[string]any{"ttl": "10m", "max_ttl": "1h"}

	t.Run("a user whose lease nobody heard of ends when its lease would have", func(t *testing.T) {
		h := newHandedOver(t, hour)
		require.Len(t, h.handovers(), 1)
		require.Empty(t, h.walEntries())
		h.after(10 * time.Minute)
		require.Len(t, h.Users(), 1, "its lease may have begun a little later")
		h.after(2 * time.Minute)
		require.Empty(t, h.Users())
		require.Empty(t, h.handovers())
	})

	for name, c := range map[string]struct {
		role map[string]any
		ttl  time.Duration
	}{
		"without ttl that is the mount's":               {map[string]any{"ttl": 0, "max_ttl": 0}, time.Hour},
		"but max_ttl counts where it is less than that": {map[string]any{"ttl": 0, "max_ttl": "20m"}, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandedOver(t, c.role)
			h.after(c.ttl)
			require.Len(t, h.Users(), 1)
			h.after(3 * time.Minute)
			require.Empty(t, h.Users())
		})
	}

	t.Run("another process does it as well, as its role said, when that is gone", func(t *testing.T) {
		h := newHandedOver(t, map[string]any{"ttl": "10m", "max_ttl": "1h", "revocation": "disable"})
		h.OK(logical.DeleteOperation, "roles/ci", nil)
		h.pool.Mount = backendtest.NewOn(t, h.storage, backend.Options{Now: func() time.Time { return *h.now }})
		h.after(2 * time.Hour)
		require.Len(t, h.Users(), 1)
		require.False(t, h.Users()[0].Enabled)
		require.Empty(t, h.handovers())
	})

	t.Run("a renewal proves the lease", func(t *testing.T) {
		h := newHandedOver(t, hour)
		_, err := h.lease(logical.RenewOperation, h.secret)
		require.NoError(t, err)
		require.Empty(t, h.handovers())
		h.after(2 * time.Hour)
		require.Len(t, h.Users(), 1, "the lease was renewed beyond its first end")
	})

	t.Run("so does a revocation, but not one that fails", func(t *testing.T) {
		h := newHandedOver(t, hour)
		h.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
		_, err := h.lease(logical.RevokeOperation, h.secret)
		require.Error(t, err)
		require.Len(t, h.handovers(), 1, "Vault revokes a user that it has no lease for only once")
		h.Heal()
		_, err = h.lease(logical.RevokeOperation, h.secret)
		require.NoError(t, err)
		require.Empty(t, h.Users())
		require.Empty(t, h.handovers())
	})

	t.Run("a tick looks at those only that come due", func(t *testing.T) {
		h := newHandedOver(t, map[string]any{"ttl": "20h", "max_ttl": "20h"})
		h.after(time.Minute) // the first tick also loads what is kept in memory
		h.storage.Repair()
		h.after(time.Minute)
		calls := h.storage.Calls()
		for range 50 {
			h.Read("creds/ci")
		}
		h.storage.Repair()
		h.after(time.Minute)
		require.Equal(t, calls, h.storage.Calls())
	})

	t.Run("an end that fails is tried again, and given up after a day", func(t *testing.T) {
		h := newHandedOver(t, hour)
		h.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
		*h.now = h.now.Add(2 * time.Hour)
		require.ErrorContains(t, h.rollBack(), "deleting user")
		require.Len(t, h.handovers(), 1)
		*h.now = h.now.Add(25 * time.Hour)
		require.NoError(t, h.rollBack())
		require.Empty(t, h.handovers())
	})

	t.Run("before an unmount there is no later", func(t *testing.T) {
		h := newHandedOver(t, hour)
		h.System.TaintedVal = true
		h.OK(logical.RollbackOperation, "", nil)
		require.Empty(t, h.Users())
		require.Empty(t, h.handovers())
	})

	t.Run("an entry that nobody can read is dropped", func(t *testing.T) {
		h := newHandedOver(t, hour)
		for id, value := range map[string]string{"a": `{}`, "b": `{"username":"u"}`, "c": `{"user_pool_id":"p"}`, "d": `{"user`} {
			require.NoError(t, h.storage.Put(t.Context(), &logical.StorageEntry{Key: "handovers/20010101T0101/" + id, Value: []byte(value)}))
		}
		h.after(0)
		require.Len(t, h.handovers(), 1)
	})
}

// TestHandoverDies lets the process die at each storage call of a read: what
// is left is rolled back, or ends with the lease that it would have had.
func TestHandoverDies(t *testing.T) {
	role := map[string]any{"ttl": "10m", "max_ttl": "1h"}
	h := newHandedOver(t, role)
	h.storage.Repair()
	h.Read("creds/ci")
	for call := range h.storage.Calls() {
		h := newHandedOver(t, role)
		_, err := h.lease(logical.RevokeOperation, h.secret)
		require.NoError(t, err)
		h.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultHang})
		h.storage.Fail(backendtest.StorageFault{At: call + 1, ForGood: true})
		_, err = h.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.Error(t, err)
		h.Heal()
		h.storage.Repair()
		h.after(2 * time.Hour)
		require.Empty(t, h.Users(), "after storage call %d", call+1)
		require.Empty(t, h.handovers())
	}
}
