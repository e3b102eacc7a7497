// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"testing"
	"time"

	"vault-plugin-secrets-cognito/backend/backendtest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// useUpCreations takes the only turn of the next quarter of an hour.
func (p *pool) useUpCreations() {
	p.T.Helper()
	p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 0.001}})
	p.Read("creds/ci")
}

// readBriefly reads for somebody who waits ten seconds at the most.
func (p *pool) readBriefly(path string) error {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.T.Context(), 10*time.Second)
	defer cancel()
	_, err := p.Request(ctx, logical.ReadOperation, path, nil)
	return err
}

func TestRateLimits(t *testing.T) {
	limitsOf := func(m *backendtest.Mount) map[string]any { return m.Read("config")["rate_limits"].(map[string]any) }

	t.Run("by default they are half of AWS's", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", nil)
		require.InDelta(t, 12.5, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 75, limitsOf(m)["ClientAuthentication"], 0)
	})

	t.Run("a write replaces them, and the others have their defaults", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 20, "UserRead": "0.5"}})
		require.InDelta(t, 20, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 0.5, limitsOf(m)["UserRead"], 0)
		m.WriteOK("config", map[string]any{"region": "eu-west-1"})
		require.InDelta(t, 20, limitsOf(m)["UserUpdate"], 0)
		m.WriteOK("config", map[string]any{"rate_limits": []string{"UserRead=7"}})
		require.InDelta(t, 12.5, limitsOf(m)["UserUpdate"], 0)
		require.InDelta(t, 7, limitsOf(m)["UserRead"], 0)
		m.OK(logical.PatchOperation, "config", map[string]any{"rate_limits": nil})
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
			says := backendtest.New(t).WriteRefused("config", map[string]any{"rate_limits": map[string]any{c.category: c.value}})
			require.Contains(t, says, c.says)
		})
	}

	t.Run("a change of the config gives no second share", func(t *testing.T) {
		p := newPool(t)
		p.useUpCreations()
		p.WriteOK("config", map[string]any{"max_retries": 1})
		requireStatus(t, 429, p.readBriefly("creds/ci"))
		p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 1000}})
		p.Read("creds/ci")
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
		secret := p.OK(logical.ReadOperation, "creds/ci", nil).Secret
		p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 0.001}})
		other := p.OK(logical.ReadOperation, "creds/ci", nil).Secret
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for _, lease := range []*logical.Secret{secret, other} {
			_, err := p.Backend.HandleRequest(ctx, &logical.Request{
				Operation: logical.RevokeOperation, Path: "creds/ci", Secret: lease, Storage: p.storage, MountPoint: "cognito/",
			})
			require.ErrorContains(t, err, "the engine's own limit of 0.001 requests a second for the quota category UserUpdate")
		}
	})
}
