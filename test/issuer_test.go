// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// TestLocalIssuer lets a stock OpenID Connect client verify the tokens of users: the JWT login of
// the server, which uses github.com/coreos/go-oidc and knows nothing of the emulator but a URL.
func TestLocalIssuer(t *testing.T) {
	t.Parallel()

	t.Run("a client that discovers the keys at the local issuer accepts ID tokens", func(t *testing.T) {
		t.Parallel()
		e := newEnvWith(t, shared, emulatortest.StartWith(t, emulator.Options{Issuer: emulator.LocalIssuer}))
		login := e.enableJWT()
		require.NoError(t, e.discover(login))
		e.writeTo(login+"/role/any", map[string]any{"role_type": "jwt", "user_claim": "cognito:username", "bound_audiences": e.Seed.AppClientID})
		user := e.read("creds/ci")
		secret := e.writeTo(login+"/login", map[string]any{"role": "any", "jwt": user.Data["id_token"]})
		entity, err := e.client.Logical().ReadWithContext(t.Context(), "identity/entity/id/"+secret.Auth.EntityID)
		require.NoError(t, err)
		require.Equal(t, user.Data["username"], entity.Data["aliases"].([]any)[0].(map[string]any)["name"])
		require.Equal(t, e.poolURL(), claimsOf(t, e.read("creds/machine").Data["access_token"])["iss"])
	})

	t.Run("it refuses the address of the emulator if the issuer is Cognito", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		status, text := e.refusal(e.discover(e.enableJWT()))
		require.Equal(t, 400, status)
		require.Contains(t, text, "error checking oidc discovery URL")
	})
}

// enableJWT enables another JWT login and returns its path.
func (e *env) enableJWT() string {
	e.Helper()
	name := e.mount + "-jwt"
	require.NoError(e, e.client.Sys().EnableAuthWithOptionsWithContext(e.Context(), name, &api.EnableAuthOptions{Type: "jwt"}))
	return "auth/" + name
}

// discover lets a JWT login read the OpenID configuration of the user pool.
func (e *env) discover(login string) error {
	_, err := e.client.Logical().WriteWithContext(e.Context(), login+"/config", map[string]any{
		"oidc_discovery_url": e.poolURL(), "bound_issuer": e.poolURL(),
	})
	return err
}

// poolURL returns the address of the user pool at the emulator.
func (e *env) poolURL() string { return e.Seed.Domain + "/" + e.Seed.UserPoolID }

// writeTo writes to a path outside the mount.
func (e *env) writeTo(path string, data map[string]any) *api.Secret {
	e.Helper()
	secret, err := e.client.Logical().WriteWithContext(e.Context(), path, data)
	require.NoError(e, err)
	return secret
}
