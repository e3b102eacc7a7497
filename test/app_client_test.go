// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// writeAppClientRole writes a role that issues app clients of the seeded pool.
func (e *env) writeAppClientRole(name string, more map[string]any) {
	e.Helper()
	role := map[string]any{
		"credential_type": "app_client", "user_pool_id": e.Seed.UserPoolID, "cognito_pool_domain": e.Seed.Domain,
		"scopes": "api/read", "ttl": "10m", "access_token_ttl": "5m",
	}
	maps.Copy(role, more)
	e.write("roles/"+name, role)
}

func TestAppClient(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeAppClientRole("service", nil)

	secret := e.read("creds/service")
	require.NotEmpty(t, secret.LeaseID)
	require.Equal(t, e.Seed.Domain+"/oauth2/token", secret.Data["token_endpoint"])
	require.Equal(t, []any{"api/read"}, secret.Data["scopes"])
	other := e.read("creds/service")
	require.NotEqual(t, secret.Data["app_client_id"], other.Data["app_client_id"], "each read gets its own")

	requestToken := func() error {
		_, err := cognito.New(t.Context(), cognito.Settings{}).MachineToken(t.Context(), cognito.MachineTokenRequest{
			Domain: e.Seed.Domain, Scopes: []string{"api/read"}, NoCache: true,
			AppClient: cognito.AppClient{ID: secret.Data["app_client_id"].(string), Secret: secret.Data["app_client_secret"].(string)},
		})
		return err
	}
	require.NoError(t, requestToken())
	renewed, err := e.client.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
	require.NoError(t, err)
	require.Equal(t, 600, renewed.LeaseDuration)
	require.NoError(t, requestToken(), "a renewed lease keeps its app client")

	e.revoke(secret.LeaseID)
	require.ErrorContains(t, requestToken(), "Cognito does not know the app client")
	e.revoke(other.LeaseID)
	require.Empty(t, e.leases("creds/service"))
}
