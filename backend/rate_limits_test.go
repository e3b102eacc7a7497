// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// useUpCreations takes the only turn of the next quarter of an hour.
func (p *pool) useUpCreations() {
	p.t.Helper()
	p.writeOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 0.001}})
	p.read("creds/ci")
}

// readBriefly reads for somebody who waits ten seconds at the most.
func (p *pool) readBriefly(path string) error {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	_, err := p.request(ctx, logical.ReadOperation, path, nil)
	return err
}

func TestRateLimits(t *testing.T) {
	limitsOf := func(m *mount) map[string]any { return m.read("config")["rate_limits"].(map[string]any) }

	t.Run("by default they are half of AWS's", func(t *testing.T) {
		m := newMount(t)
		m.writeOK("config", nil)
		require.InDelta(t, 12.5, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 75, limitsOf(m)["ClientAuthentication"], 0)
	})

	t.Run("a write replaces them, and the others have their defaults", func(t *testing.T) {
		m := newMount(t)
		m.writeOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 20, "UserRead": "0.5"}})
		require.InDelta(t, 20, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 0.5, limitsOf(m)["UserRead"], 0)
		m.writeOK("config", map[string]any{"region": "eu-west-1"})
		require.InDelta(t, 20, limitsOf(m)["UserUpdate"], 0)
		m.writeOK("config", map[string]any{"rate_limits": []string{"UserRead=7"}})
		require.InDelta(t, 12.5, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 7, limitsOf(m)["UserRead"], 0)
		m.ok(logical.PatchOperation, "config", map[string]any{"rate_limits": nil})
		require.InDelta(t, 60, limitsOf(m)["UserRead"], 0)
	})

	for name, c := range map[string]struct{ category, value, says string }{
		"a category that is none": {"UserDeletion", "5", `rate_limits holds "UserDeletion"`},
		"nothing":                 {"UserRead", "0", `UserRead="0"`},
		"less than nothing":       {"UserRead", "-1", "a positive number"},
		"a word":                  {"UserRead", "many", "a positive number"},
		"no number":               {"UserRead", "NaN", "a positive number"},
		"no end":                  {"UserRead", "Inf", "a positive number"},
	} {
		t.Run("refused: "+name, func(t *testing.T) {
			says := newMount(t).writeRefused("config", map[string]any{"rate_limits": map[string]any{c.category: c.value}})
			require.Contains(t, says, c.says)
		})
	}

	t.Run("a change of the config gives no second share", func(t *testing.T) {
		p := newPool(t)
		p.useUpCreations()
		p.writeOK("config", map[string]any{"max_retries": 1})
		requireStatus(t, 429, p.readBriefly("creds/ci"))
		p.writeOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 1000}})
		p.read("creds/ci")
	})

	t.Run("a read that cannot wait for its turn is a 429 that names the category", func(t *testing.T) {
		p := newPool(t)
		p.useUpCreations()
		err := p.readBriefly("creds/ci")
		requireStatus(t, 429, err)
		require.ErrorContains(t, err, "the engine's own limit of 0.001 requests a second for the quota category UserCreation")
		require.Empty(t, p.walEntries(), "nothing was begun that has to be undone")
		require.Len(t, p.Users(), 1)
	})

	t.Run("a revocation keeps to them too", func(t *testing.T) {
		p := newPool(t)
		secret := p.ok(logical.ReadOperation, "creds/ci", nil).Secret
		p.writeOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 0.001}})
		other := p.ok(logical.ReadOperation, "creds/ci", nil).Secret
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for _, lease := range []*logical.Secret{secret, other} {
			_, err := p.backend.HandleRequest(ctx, &logical.Request{
				Operation: logical.RevokeOperation, Path: "creds/ci", Secret: lease, Storage: p.storage, MountPoint: "cognito/",
			})
			require.ErrorContains(t, err, "the engine's own limit of 0.001 requests a second for the quota category UserUpdate")
		}
	})
}
