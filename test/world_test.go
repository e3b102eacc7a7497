// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const secretKey = "hush-secret-access-key"

// world is what one test has to itself: a mount in a Vault, configured for a
// Cognito that nobody else uses.
type world struct {
	*testing.T
	*emulatortest.Cognito
	vault  *sandbox.Vault
	client *api.Client
	mount  string
}

// newWorld mounts the engine in the Vault that the tests share.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldIn(t, shared)
}

// newWorldApart has a Vault of its own, to be broken, with the plugin that
// rolls back early.
func newWorldApart(t *testing.T) *world {
	t.Helper()
	vault, err := sandbox.StartVault(t.Context(), sandbox.VaultOptions{
		Binary: binaries.vault, PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace",
	})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	return newWorldIn(t, vault)
}

func newWorldIn(t *testing.T, vault *sandbox.Vault) *world {
	t.Helper()
	w := &world{
		T:       t,
		Cognito: emulatortest.Start(t),
		vault:   watched(t, vault),
		client:  vault.Client(),
		mount:   "cognito-" + strings.ToLower(rand.Text()[:8]),
	}
	t.Cleanup(func() { remembered(t, w.Control) })
	require.NoError(t, w.client.Sys().MountWithContext(t.Context(), w.mount, &api.MountInput{Type: pluginName}))
	w.configure(nil)
	w.writeRole("ci", nil)
	w.writeMachineRole("machine", nil)
	return w
}

// configure points the mount at the emulator, and makes it give up soon.
func (w *world) configure(more map[string]any) {
	w.Helper()
	config := map[string]any{
		"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": secretKey, "region": emulatortest.Region,
		"cognito_endpoint": w.Seed.Domain, "sts_endpoint": w.Seed.Domain,
		"max_retries": 0, "request_timeout": "1s",
	}
	maps.Copy(config, more)
	w.write("config", config)
}

func (w *world) writeRole(name string, more map[string]any) {
	w.Helper()
	role := map[string]any{
		"credential_type": "user", "user_pool_id": w.Seed.UserPoolID,
		"app_client_id": w.Seed.AppClientID, "app_client_secret": w.Seed.AppClientSecret,
		"groups": "testers,admins", "ttl": "5m", "max_ttl": "1h",
	}
	maps.Copy(role, more)
	w.write("roles/"+name, role)
}

func (w *world) writeMachineRole(name string, more map[string]any) {
	w.Helper()
	role := map[string]any{
		"app_client_id": w.Seed.M2MClientID, "app_client_secret": w.Seed.M2MClientSecret,
		"cognito_pool_domain": w.Seed.Domain, "scopes": "api/read",
	}
	maps.Copy(role, more)
	w.write("roles/"+name, role)
}

func (w *world) write(path string, data map[string]any) *api.Secret {
	w.Helper()
	secret, err := w.client.Logical().WriteWithContext(w.Context(), w.mount+"/"+path, data)
	require.NoError(w, err)
	return secret
}

func (w *world) read(path string) *api.Secret {
	w.Helper()
	secret, err := w.tryRead(path)
	require.NoError(w, err)
	return secret
}

func (w *world) tryRead(path string) (*api.Secret, error) {
	return w.client.Logical().ReadWithContext(w.Context(), w.mount+"/"+path)
}

func (w *world) delete(path string) {
	w.Helper()
	_, err := w.client.Logical().DeleteWithContext(w.Context(), w.mount+"/"+path)
	require.NoError(w, err)
}

// refusal is the status and text with which Vault answers.
func (w *world) refusal(err error) (int, string) {
	w.Helper()
	var response *api.ResponseError
	require.ErrorAs(w, err, &response)
	return response.StatusCode, strings.Join(response.Errors, "\n")
}

func (w *world) revoke(leaseID string) {
	w.Helper()
	_, err := w.client.Logical().WriteWithContext(w.Context(), "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	require.NoError(w, err)
}

// awaitCall waits until the plugin has begun a call to AWS.
func (w *world) awaitCall(operation string) {
	w.Helper()
	require.Eventually(w, func() bool { return len(w.Calls().Of(operation)) > 0 }, 20*time.Second, 5*time.Millisecond, "no call of %s", operation)
}

// awaitPlugin waits until requests reach the plugin again after its death: Vault answers an error or two before it
// notices.
func awaitPlugin(ctx context.Context, client *api.Client, mount string) error {
	for end := time.Now().Add(hangLimit); ; <-time.After(20 * time.Millisecond) {
		_, err := client.Logical().ReadWithContext(ctx, mount+"/config")
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// killPlugin kills the plugin's process as the kernel would, and returns its id. The first request after it may find
// that Vault has not noticed: see awaitPlugin.
func (w *world) killPlugin() int {
	w.Helper()
	pids, err := w.vault.PluginPIDs(pluginName)
	require.NoError(w, err)
	require.Len(w, pids, 1, "all mounts of one plugin share a process")
	require.NoError(w, syscall.Kill(pids[0], syscall.SIGKILL))
	require.Eventually(w, func() bool { return errors.Is(syscall.Kill(pids[0], 0), syscall.ESRCH) }, 10*time.Second, 5*time.Millisecond)
	return pids[0]
}

func claimsOf(t *testing.T, token any) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token.(string), []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	claims := map[string]any{}
	require.NoError(t, parsed.Claims(emulatortest.SigningKey().Public(), &claims), "the token must be signed by the pool")
	return claims
}
