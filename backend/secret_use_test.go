// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// attacker is a server that whoever may write a role names as the domain of the pool.
func attacker(t *testing.T) (url string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		http.Error(w, "thank you", http.StatusBadRequest)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// TestStoredSecretsAreNotRedirected changes every field that decides where a stored secret is sent.
func TestStoredSecretsAreNotRedirected(t *testing.T) {
	evil, requests := attacker(t)
	for field, value := range map[string]any{
		"cognito_pool_domain": evil, "user_pool_id": "eu-west-1_Attacker1", "app_client_id": "attacker", "token_source": "api",
	} {
		t.Run("a change of "+field+" requires the secret again", func(t *testing.T) {
			p := newPool(t)
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1"})
			before := p.Read("roles/machine")
			for _, op := range []logical.Operation{logical.UpdateOperation, logical.PatchOperation} {
				text := p.Refused(op, "roles/machine", map[string]any{field: value})
				require.Contains(t, text, "app_client_secret is required")
				require.Contains(t, text, field)
			}
			require.Equal(t, before, p.Read("roles/machine"))
			p.Read("creds/machine")
		})
	}

	t.Run("a change of type requires the secret again", func(t *testing.T) {
		p := newPool(t)
		text := p.WriteRefused("roles/ci", map[string]any{"credential_type": "client_credentials_grant", "cognito_pool_domain": evil})
		require.Contains(t, text, "app_client_secret is required")
	})

	t.Run("a write that changes nothing needs no secret", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(nil)
		p.WriteOK("roles/machine", map[string]any{"cognito_pool_domain": p.Seed.Domain, "app_client_id": p.Seed.M2MClientID, "token_source": "endpoint"})
	})
	require.Zero(t, requests.Load())
}

func TestSecretsOfThePoolGoToItsDomainOnly(t *testing.T) {
	t.Run("a secret that is looked up is not sent to another domain", func(t *testing.T) {
		evil, requests := attacker(t)
		p := newPool(t)
		p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1", "app_client_secret": "", "cognito_pool_domain": evil})
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/machine", nil), "the client secret is not sent to it")
		require.Zero(t, requests.Load())
		p.WriteOK("config", map[string]any{"sts_endpoint": p.Seed.Domain})
		result := p.check("machine")
		require.Equal(t, []string{"token"}, result.of("fail"), result)
	})

	t.Run("a secret of a static role is not sent to another domain", func(t *testing.T) {
		evil, requests := attacker(t)
		p := newPool(t)
		static := map[string]any{
			"credential_type": "app_client_secret", "user_pool_id": p.Seed.UserPoolID, "region": "eu-west-1",
			"app_client_id": p.Seed.M2MClientID, "rotation_period": "1h", "cognito_pool_domain": evil,
		}
		require.Contains(t, p.WriteRefused("static-roles/api", static), "the client secret is not sent to it")
		static["cognito_pool_domain"] = p.Seed.Domain
		p.WriteOK("static-roles/api", static)
		require.Contains(t, p.WriteRefused("static-roles/api", map[string]any{"cognito_pool_domain": evil}), "the client secret is not sent to it")

		p.WriteOK("roles/machine", map[string]any{"static_role": "api", "cognito_pool_domain": evil})
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/machine", nil), "the client secret is not sent to it")
		require.Zero(t, requests.Load())
		p.WriteOK("roles/machine", map[string]any{"cognito_pool_domain": p.Seed.Domain})
		p.Read("creds/machine")
	})
}

func TestSecretsWithControlCharactersAreRefused(t *testing.T) {
	p := newPool(t)
	for path, data := range map[string]map[string]any{
		"config":   {"aws_secret_access_key": "hush\nvault write cognito/roles/x"},
		"roles/ci": {"app_client_secret": "hush\x00"},
	} {
		text := p.WriteRefused(path, data)
		require.Contains(t, text, "it holds a line break or another control character")
		require.NotContains(t, text, "hush")
	}
	p.WriteOK("roles/ci", map[string]any{"app_client_secret": p.Seed.AppClientSecret + "\n"})
	p.Read("creds/ci")
}
