// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// handedOver is a mount whose process has died just behind the answer to a
// read: a new one serves it, and nobody knows whether Vault stored the lease.
type handedOver struct {
	*pool
	secret *logical.Secret
	now    *time.Time
}

func newHandedOver(t *testing.T, role map[string]any) *handedOver {
	t.Helper()
	now := time.Now()
	options := backend.Options{Now: func() time.Time { return now }}
	p := newPoolOn(t, options)
	p.writeOK("roles/ci", role)
	h := &handedOver{pool: p, now: &now, secret: p.ok(logical.ReadOperation, "creds/ci", nil).Secret}
	h.restart(options)
	return h
}

// restart replaces the process, on the same storage.
func (h *handedOver) restart(options backend.Options) {
	h.t.Helper()
	options.Version, options.WALMinAge = "v1.2.3", time.Minute
	h.pool.mount = newMountOn(h.t, h.storage, options)
}

// after lets time pass, and two ticks: the first finds what the WAL holds, the
// next what was moved out of it.
func (h *handedOver) after(d time.Duration) {
	h.t.Helper()
	*h.now = h.now.Add(d)
	require.NoError(h.t, h.rollBack())
	require.NoError(h.t, h.rollBack())
}

func TestHandover(t *testing.T) {
	hour := map[string]any{"ttl": "10m", "max_ttl": "1h"}

	t.Run("a user whose lease nobody heard of ends when its lease would have", func(t *testing.T) {
		h := newHandedOver(t, hour)
		h.after(59 * time.Minute)
		require.Len(t, h.Users(), 1, "it may be in use")
		require.Empty(t, h.entries("wal/"))
		h.after(3 * time.Minute)
		require.Empty(t, h.Users())
		require.Empty(t, h.entries("handovers/"))
	})

	t.Run("without max_ttl that is the mount's", func(t *testing.T) {
		h := newHandedOver(t, map[string]any{"ttl": "10m", "max_ttl": 0})
		h.after(23 * time.Hour)
		require.Len(t, h.Users(), 1)
		h.after(2 * time.Hour)
		require.Empty(t, h.Users())
	})

	t.Run("it ends as its role says, even when that is gone", func(t *testing.T) {
		h := newHandedOver(t, map[string]any{"ttl": "10m", "max_ttl": "1h", "revocation": "disable"})
		h.ok(logical.DeleteOperation, "roles/ci", nil)
		h.after(0)
		h.after(2 * time.Hour)
		require.Len(t, h.Users(), 1)
		require.False(t, h.Users()[0].Enabled)
		require.Empty(t, h.entries("handovers/"))
	})

	for name, early := range map[string]bool{"before the first tick": true, "after it": false} {
		t.Run("a renewal proves the lease, "+name, func(t *testing.T) {
			h := newHandedOver(t, hour)
			if !early {
				h.after(0)
			}
			h.writeOK("roles/ci", map[string]any{"max_ttl": "10h"})
			_, err := h.lease(logical.RenewOperation, h.secret)
			require.NoError(t, err)
			h.after(0)
			h.after(2 * time.Hour)
			require.Len(t, h.Users(), 1, "the lease was renewed beyond its first end")
			require.Empty(t, h.entries("handovers/"))
		})

		t.Run("so does a revocation, "+name, func(t *testing.T) {
			h := newHandedOver(t, hour)
			if !early {
				h.after(0)
			}
			_, err := h.lease(logical.RevokeOperation, h.secret)
			require.NoError(t, err)
			require.Empty(t, h.Users())
			require.Empty(t, h.entries("wal/"))
			require.Empty(t, h.entries("handovers/"))
		})
	}

	t.Run("an end that fails is tried again, and given up after a day", func(t *testing.T) {
		h := newHandedOver(t, hour)
		h.after(0)
		h.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
		*h.now = h.now.Add(2 * time.Hour)
		require.ErrorContains(t, h.rollBack(), "deleting user")
		require.Len(t, h.entries("handovers/"), 1)
		*h.now = h.now.Add(25 * time.Hour)
		require.NoError(t, h.rollBack())
		require.Empty(t, h.entries("handovers/"))
	})

	t.Run("before an unmount there is no later", func(t *testing.T) {
		for _, ticks := range []int{0, 1} {
			h := newHandedOver(t, hour)
			for range ticks {
				h.after(0)
			}
			h.system.TaintedVal = true
			h.ok(logical.RollbackOperation, "", nil)
			require.Empty(t, h.Users())
		}
	})

	t.Run("an entry that nobody can read is dropped", func(t *testing.T) {
		p := newPool(t)
		for key, value := range map[string]string{"a": `{}`, "b": `{"username":"u","user_pool_id":"p"}`, "c": `{"handover":{"id":"c"}}`, "d": `{"user`} {
			require.NoError(t, p.storage.Put(t.Context(), &logical.StorageEntry{Key: "handovers/" + key, Value: []byte(value)}))
		}
		require.NoError(t, p.rollBack())
		require.Empty(t, p.entries("handovers/"))
	})
}

// TestLeaseThatVaultCouldNotStore is revoked by Vault once, and that may fail.
func TestLeaseThatVaultCouldNotStore(t *testing.T) {
	p := newPool(t)
	p.writeOK("roles/ci", map[string]any{"max_ttl": "1h"})
	secret := p.ok(logical.ReadOperation, "creds/ci", nil).Secret
	p.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
	_, err := p.lease(logical.RevokeOperation, secret)
	require.Error(t, err)
	p.Heal()
	require.NoError(t, p.rollBack())
	require.Len(t, p.entries("handovers/"), 1, "the user must be remembered, for Vault may have no lease")
	_, err = p.lease(logical.RevokeOperation, secret)
	require.NoError(t, err)
	require.Empty(t, p.entries("handovers/"))
	require.Empty(t, p.Users())
}
