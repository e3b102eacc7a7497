// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// useUpCreations makes the only request that the limit allows for a quarter of an hour.
func (p *pool) useUpCreations() {
	p.T.Helper()
	p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 0.001}})
	p.Read("creds/ci")
}

// readBriefly reads with a deadline of ten seconds.
func (p *pool) readBriefly(path string) error {
	p.T.Helper()
	ctx, cancel := context.WithTimeout(p.T.Context(), 10*time.Second)
	defer cancel()
	_, err := p.Request(ctx, logical.ReadOperation, path, nil)
	return err
}

func TestRateLimits(t *testing.T) {
	requireLimit := func(m *backendtest.Mount, limit string) {
		t.Helper()
		require.Contains(t, strings.Split(m.Read("config")["rate_limits"].(string), ","), limit)
	}

	t.Run("the default is half of the AWS default quota", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", nil)
		requireLimit(m, "UserUpdate=12.5")
		requireLimit(m, "ClientAuthentication=75")
	})

	t.Run("a write replaces all limits", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 20, "UserRead": "0.5"}})
		requireLimit(m, "UserUpdate=20")
		requireLimit(m, "UserRead=0.5")
		m.WriteOK("config", map[string]any{"region": "eu-west-1"})
		requireLimit(m, "UserUpdate=20")
		m.WriteOK("config", map[string]any{"rate_limits": []string{"UserRead=7"}})
		requireLimit(m, "UserUpdate=12.5")
		requireLimit(m, "UserRead=7")
		m.OK(logical.PatchOperation, "config", map[string]any{"rate_limits": nil})
		requireLimit(m, "UserRead=60")
	})

	t.Run("a write accepts the text that a read returns", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"rate_limits": "UserUpdate=20, UserCreation=25"})
		text := m.Read("config")["rate_limits"]
		requireLimit(m, "UserUpdate=20")
		requireLimit(m, "UserCreation=25")
		m.WriteOK("config", map[string]any{"rate_limits": text})
		require.Equal(t, text, m.Read("config")["rate_limits"])
		require.Contains(t, m.WriteRefused("config", map[string]any{"rate_limits": "UserUpdate=20,UserDeletion=1"}), `rate_limits holds "UserDeletion"`)
	})

	for name, c := range map[string]struct{ category, value, says string }{
		"an unknown category": {"UserDeletion", "5", `rate_limits holds "UserDeletion"`},
		"zero":                {"UserRead", "0", `UserRead="0"`},
		"a negative limit":    {"UserRead", "-1", "a positive number"},
		"a word":              {"UserRead", "many", "a positive number"},
		"not a number":        {"UserRead", "NaN", "a positive number"},
		"an infinite limit":   {"UserRead", "Inf", "a positive number"},
	} {
		t.Run(name+" is refused", func(t *testing.T) {
			says := backendtest.New(t).WriteRefused("config", map[string]any{"rate_limits": map[string]any{c.category: c.value}})
			require.Contains(t, says, c.says)
		})
	}

	t.Run("a change of the config does not reset what was used", func(t *testing.T) {
		p := newPool(t)
		p.useUpCreations()
		p.WriteOK("config", map[string]any{"max_retries": 1})
		requireStatus(t, 429, p.readBriefly("creds/ci"))
		p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 1000}})
		p.Read("creds/ci")
	})

	t.Run("a read whose request stays queued until its deadline is a 429 that names the category", func(t *testing.T) {
		p := newPool(t)
		p.useUpCreations()
		err := p.readBriefly("creds/ci")
		requireStatus(t, 429, err)
		require.ErrorContains(t, err, "the engine's own limit of 0.001 requests per second for the quota category UserCreation")
		require.Len(t, p.records(), 1, "nothing was begun that has to be undone")
		require.Len(t, p.Users(), 1)
	})

	t.Run("check shows the account's quotas and warns of limits above them", func(t *testing.T) {
		p := newCheckedPool(t)
		require.NoError(t, p.Control.SetQuotas(t.Context(), control.Quotas{"UserCreation": 200}))
		c := p.check("ci")
		require.Equal(t, "ok", c.status, c)
		require.Contains(t, c.says("quotas"), "UserCreation 100 of 200")
		p.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 300}})
		c = p.check("ci")
		require.Equal(t, []string{"quotas"}, c.of("warn"))
		require.Contains(t, c.says("quotas"), "UserCreation 300 of 200")
	})

	t.Run("without the permission to read quotas a role is as good", func(t *testing.T) {
		p := newCheckedPool(t)
		p.Deny("cognito-idp:GetProvisionedLimit")
		c := p.check("ci")
		require.Equal(t, "ok", c.status, c)
		require.Contains(t, c.says("quotas"), "cognito-idp:GetProvisionedLimit")
	})

	t.Run("a revocation is limited, too", func(t *testing.T) {
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
			require.ErrorContains(t, err, "the engine's own limit of 0.001 requests per second for the quota category UserUpdate")
		}
	})
}
