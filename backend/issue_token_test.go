// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// writeMachine writes a role "machine" that may ask for both scopes.
func (p *pool) writeMachine(more map[string]any) {
	p.T.Helper()
	role := machineRole(map[string]any{
		"app_client_id": p.Seed.M2MClientID, "app_client_secret": p.Seed.M2MClientSecret,
		"cognito_pool_domain": p.Seed.Domain, "scopes": "api/read,api/write",
	})
	for name, value := range more {
		role[name] = value
	}
	p.WriteOK("roles/machine", role)
}

func (p *pool) tokenRequests() int {
	p.T.Helper()
	return len(p.Calls().Of(control.OperationToken))
}

func TestMachineToken(t *testing.T) {
	t.Run("a cached read asks neither AWS nor the storage", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		first := p.Read("creds/machine")
		require.Equal(t, 1, p.tokenRequests())
		p.storage.Repair()
		require.Equal(t, first["access_token"], p.Read("creds/machine")["access_token"])
		require.Empty(t, p.storage.Calls())
		require.Equal(t, 1, p.tokenRequests())
	})

	t.Run("it says when to come back", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		data := p.Read("creds/machine")
		require.InDelta(t, 3600*0.75, data["ttl"], 3600*0.05+2)
		require.InDelta(t, data["ttl"], data["rotation_period"], 2)
		require.InDelta(t, 3600, data["expires_in"], 2)
		require.Equal(t, "api/read api/write", data["scope"])
	})

	t.Run("a read may ask for some of the scopes", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		require.Equal(t, "api/read", p.OK(logical.ReadOperation, "creds/machine", map[string]any{"scopes": "api/read"}).Data["scope"])
		require.Equal(t, "api/read api/write", p.Read("creds/machine")["scope"])
		require.Equal(t, 2, p.tokenRequests())
	})

	t.Run("asking for more is refused with what is allowed", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(map[string]any{"scopes": "api/read"})
		text := p.Refused(logical.ReadOperation, "creds/machine", map[string]any{"scopes": "api/read,api/write"})
		require.Contains(t, text, `scopes holds "api/write"`)
		require.Contains(t, text, "it allows api/read")
		require.Zero(t, p.tokenRequests())
	})

	t.Run("getting less than was asked for is warned about", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		// What AWS's page on the token endpoint says: a scope that is not allowed is ignored.
		p.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultRaw, ContentType: "application/json", Body: tokenWithScope})
		response := p.OK(logical.ReadOperation, "creds/machine", nil)
		require.Contains(t, strings.Join(response.Warnings, ""), "lacks api/write")
	})

	t.Run("a role that changes drops its token, and so does its end", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		first := p.Read("creds/machine")["access_token"]
		p.writeMachine(nil)
		second := p.Read("creds/machine")["access_token"]
		require.NotEqual(t, first, second)
		p.OK(logical.DeleteOperation, "roles/machine", nil)
		p.Refused(logical.ReadOperation, "creds/machine", nil)
		p.writeMachine(nil)
		require.NotEqual(t, second, p.Read("creds/machine")["access_token"])
	})

	t.Run("a config that changes drops the tokens", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		first := p.Read("creds/machine")["access_token"]
		p.WriteOK("config", map[string]any{"max_retries": 1})
		require.NotEqual(t, first, p.Read("creds/machine")["access_token"])
	})

	t.Run("a role that names no region follows the config's", func(t *testing.T) {
		p := newPool(t)
		lookedIn := func() string {
			calls := p.Calls().Of("DescribeUserPoolClient")
			return calls[len(calls)-1].Region
		}
		p.WriteOK("config", map[string]any{"region": "eu-west-1"})
		p.writeMachine(map[string]any{"app_client_secret": "", "user_pool_id": p.Seed.UserPoolID})
		p.Read("creds/machine")
		require.Equal(t, "eu-west-1", lookedIn())
		p.WriteOK("config", map[string]any{"region": "us-east-1"})
		p.Refused(logical.ReadOperation, "creds/machine", nil) // the pool is not there
		require.Equal(t, "us-east-1", lookedIn())
	})

	t.Run("what another node changes is dropped here too", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		first := p.Read("creds/machine")["access_token"]
		entry, err := p.storage.Get(t.Context(), "roles/machine")
		require.NoError(t, err)
		entry.Value = []byte(strings.Replace(string(entry.Value), `["api/read","api/write"]`, `["api/read"]`, 1))
		require.NoError(t, p.storage.Put(t.Context(), entry))
		require.Equal(t, first, p.Read("creds/machine")["access_token"])
		p.Backend.InvalidateKey(t.Context(), "roles/machine")
		require.Equal(t, "api/read", p.Read("creds/machine")["scope"])
	})

	t.Run("two roles with one client and other scopes share nothing", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		entry, err := p.storage.Get(t.Context(), "roles/machine")
		require.NoError(t, err)
		entry.Key = "roles/reader"
		require.NoError(t, p.storage.Put(t.Context(), entry))
		p.WriteOK("roles/reader", map[string]any{"scopes": "api/read"})
		require.Equal(t, "api/read api/write", p.Read("creds/machine")["scope"])
		require.Equal(t, "api/read", p.Read("creds/reader")["scope"])
	})

	t.Run("cache_tokens=false buys each time", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(map[string]any{"cache_tokens": false})
		first := p.Read("creds/machine")["access_token"]
		require.NotEqual(t, first, p.Read("creds/machine")["access_token"])
	})

	t.Run("min_ttl longer than a token lives is a warning, and buys no token per read", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		for _, minTTL := range []string{"2h", "59m30s", "2h"} {
			response := p.OK(logical.ReadOperation, "creds/machine", map[string]any{"min_ttl": minTTL})
			if minTTL == "2h" {
				require.Contains(t, strings.Join(response.Warnings, ""), "less than the 2h that were requested")
			}
		}
		require.Equal(t, 1, p.tokenRequests())
	})

	t.Run("fresh shares a token that is at most a minute old", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		first := p.Read("creds/machine")["access_token"]
		for range 3 {
			require.Equal(t, first, p.OK(logical.ReadOperation, "creds/machine", map[string]any{"fresh": true}).Data["access_token"])
		}
		require.Equal(t, 1, p.tokenRequests())
	})

	t.Run("a token shows its app client and when it was issued", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		data := p.Read("creds/machine")
		require.Equal(t, p.Seed.M2MClientID, data["app_client_id"])
		issued, err := time.Parse(time.RFC3339, data["last_vault_rotation"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), issued, time.Minute)
	})

	t.Run("scopes of one role's readers do not evict another role's token", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		p.WriteOK("roles/other", machineRole(map[string]any{
			"app_client_id": p.Seed.M2MClientID, "app_client_secret": p.Seed.M2MClientSecret, "cognito_pool_domain": p.Seed.Domain,
		}))
		token := p.Read("creds/other")["access_token"]
		for _, scopes := range []string{"api/read", "api/write", "api/read,api/write"} {
			p.OK(logical.ReadOperation, "creds/machine", map[string]any{"scopes": scopes})
		}
		require.Equal(t, token, p.Read("creds/other")["access_token"])
	})

	t.Run("an error names the role and the domain", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(map[string]any{"cognito_pool_domain": "http://127.0.0.1:1"})
		_, err := p.Request(t.Context(), logical.ReadOperation, "creds/machine", nil)
		requireStatus(t, 502, err)
		require.ErrorContains(t, err, `role "machine"`)
		require.ErrorContains(t, err, "http://127.0.0.1:1")
		require.NotContains(t, err.Error(), p.Seed.M2MClientSecret)
	})

	t.Run("the metadata reaches Cognito", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(map[string]any{"client_metadata": map[string]any{"k": "v"}})
		p.Read("creds/machine")
		calls := p.Calls()
		require.Equal(t, map[string]string{"k": "v"}, calls.Of(control.OperationToken)[0].ClientMetadata)
	})

	t.Run("fields of a user's request are refused, and the other way round", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/machine", map[string]any{"ttl": 60}), "ttl is not allowed")
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/ci", map[string]any{"scopes": "a"}), "scopes is not allowed")
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/ci", map[string]any{"min_ttl": 60}), "min_ttl is not allowed")
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/ci", map[string]any{"fresh": true}), "fresh is not allowed")
	})
}

// tokenWithScope grants api/read only, until the year 2100.
const tokenWithScope = `{"access_token":"eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDAsInNjb3BlIjoiYXBpL3JlYWQifQ.c2ln","token_type":"Bearer","expires_in":3600}`

func TestTokensOfAUser(t *testing.T) {
	user := func(t *testing.T, client func(p *pool) map[string]any) (*pool, map[string]any) {
		t.Helper()
		p := newPool(t)
		p.WriteOK("roles/ci", client(p))
		return p, p.Read("creds/ci")
	}
	confidential := func(*pool) map[string]any { return nil }
	public := func(p *pool) map[string]any {
		return map[string]any{"app_client_id": p.Seed.PublicClientID, "app_client_secret": ""}
	}
	exchange := func(p *pool, data map[string]any) map[string]any {
		p.T.Helper()
		response := p.OK(logical.UpdateOperation, "tokens/ci", data)
		require.Nil(p.T, response.Secret, "tokens have no lease")
		return response.Data
	}

	for name, client := range map[string]func(*pool) map[string]any{"confidential": confidential, "public": public} {
		t.Run("a refresh token returns new tokens through a "+name+" client", func(t *testing.T) {
			p, creds := user(t, client)
			tokens := exchange(p, map[string]any{"refresh_token": creds["refresh_token"]})
			require.NotEmpty(t, tokens["access_token"])
			require.NotEmpty(t, tokens["id_token"])
			require.Equal(t, int64(3600), tokens["expires_in"])
		})

		t.Run("a refresh token is exchanged by REFRESH_TOKEN_AUTH through a "+name+" client if Cognito lacks the newer operation", func(t *testing.T) {
			p, creds := user(t, client)
			p.Fault(control.Fault{Operation: "GetTokensFromRefreshToken", Kind: control.FaultError, Code: "UnknownOperationException"})
			tokens := exchange(p, map[string]any{"refresh_token": creds["refresh_token"], "username": creds["username"]})
			require.NotEmpty(t, tokens["access_token"])
		})

		t.Run("username and password return tokens through a "+name+" client", func(t *testing.T) {
			p, creds := user(t, client)
			tokens := exchange(p, map[string]any{"username": creds["username"], "password": creds["password"]})
			require.NotEmpty(t, tokens["refresh_token"])
		})
	}

	t.Run("REFRESH_TOKEN_AUTH through a confidential client requires the username", func(t *testing.T) {
		p, creds := user(t, confidential)
		p.Fault(control.Fault{Operation: "GetTokensFromRefreshToken", Kind: control.FaultError, Code: "UnknownOperationException"})
		text := p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"refresh_token": creds["refresh_token"]})
		require.Contains(t, text, "username is required")
	})

	for name, c := range map[string]struct {
		data func(creds map[string]any) map[string]any
		says string
	}{
		"a wrong password": {func(creds map[string]any) map[string]any {
			return map[string]any{"username": creds["username"], "password": "hush-Wrong-1"}
		}, "tokens/ci refused the request"},
		"an unknown user": {func(map[string]any) map[string]any {
			return map[string]any{"username": "nobody", "password": "hush-Wrong-1"}
		}, "tokens/ci refused the request"},
		"an invalid refresh token": {func(map[string]any) map[string]any {
			return map[string]any{"refresh_token": "hush-nothing"}
		}, "tokens/ci refused the request"},
		"an empty request":       {func(map[string]any) map[string]any { return nil }, "refresh_token is required"},
		"only a username":        {func(map[string]any) map[string]any { return map[string]any{"username": "u"} }, "refresh_token is required"},
		"a token and a password": {func(map[string]any) map[string]any { return map[string]any{"refresh_token": "a", "password": "b"} }, "mutually exclusive"},
	} {
		t.Run(name+" is refused with the reason", func(t *testing.T) {
			p, creds := user(t, confidential)
			text := p.Refused(logical.UpdateOperation, "tokens/ci", c.data(creds))
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "hush")
		})
	}

	t.Run("a disabled user gets no tokens", func(t *testing.T) {
		p, creds := user(t, confidential)
		p.disable(creds["username"].(string))
		text := p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"username": creds["username"], "password": creds["password"]})
		require.Contains(t, text, "tokens/ci refused the request")
		p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"refresh_token": creds["refresh_token"]})
	})

	t.Run("a rotated refresh token is returned and the former one is refused", func(t *testing.T) {
		p := newPool(t)
		client := p.makeRotatingClient()
		p.WriteOK("roles/ci", map[string]any{"app_client_id": client, "app_client_secret": ""})
		creds := p.Read("creds/ci")
		tokens := exchange(p, map[string]any{"refresh_token": creds["refresh_token"]})
		require.NotEmpty(t, tokens["refresh_token"])
		require.NotEqual(t, creds["refresh_token"], tokens["refresh_token"])
		text := p.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"refresh_token": creds["refresh_token"]})
		require.Contains(t, text, "tokens/ci refused the request")
	})

	t.Run("a machine role has no users", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		text := p.Refused(logical.UpdateOperation, "tokens/machine", map[string]any{"refresh_token": "x"})
		require.Contains(t, text, "read creds/machine instead")
	})
}
