// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/leakscan"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const secretKey = "hush-secret-access-key"

// env is what one test has to itself: a mount on a server, and the emulator that it is configured
// for.
type env struct {
	*testing.T
	*emulatortest.Cognito
	vault  *sandbox.Vault
	client *api.Client
	mount  string
}

// newEnv mounts the engine on the server that the tests share.
func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOn(t, shared)
}

// newIsolatedEnv starts a server for one test, with the plugin that rolls back early.
func newIsolatedEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOn(t, startDev(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.fastPlugin), LogLevel: "trace"}))
}

// startDev starts a dev server that stops when the test ends.
func startDev(t *testing.T, o sandbox.VaultOptions) *sandbox.Vault {
	t.Helper()
	o.Binary = binaries.vault
	vault, err := sandbox.StartVault(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	return vault
}

// startServer starts a server with storage on disk and the plugin registered, which stops when the
// test ends.
func startServer(t *testing.T, o sandbox.VaultOptions) *sandbox.Server {
	t.Helper()
	server, err := tryStartServer(t, o)
	require.NoError(t, err)
	require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
	return server
}

// tryStartServer starts a server with storage on disk, which stops when the test ends.
func tryStartServer(t *testing.T, o sandbox.VaultOptions) (*sandbox.Server, error) {
	t.Helper()
	o.Binary = binaries.vault
	server, err := sandbox.StartServer(t.Context(), sandbox.ServerOptions{VaultOptions: o, DataDir: t.TempDir()})
	if err == nil {
		t.Cleanup(server.Stop)
	}
	return server, err
}

// newEnvOn mounts the engine on a server and configures it, with a role for users and one for
// machine tokens.
func newEnvOn(t *testing.T, vault *sandbox.Vault) *env {
	t.Helper()
	return newEnvWith(t, vault, emulatortest.Start(t))
}

// newEnvWith does the same with an emulator.
func newEnvWith(t *testing.T, vault *sandbox.Vault, cognito *emulatortest.Cognito) *env {
	t.Helper()
	e := &env{
		T:       t,
		Cognito: cognito,
		vault:   watchLeaks(t, vault),
		client:  vault.Client(),
		mount:   "cognito-" + strings.ToLower(rand.Text()[:8]),
	}
	t.Cleanup(func() { learnSecrets(t, e.Control) })
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	awaitMount(t, e.client, e.mount)
	e.configure(nil)
	e.writeRole("ci", nil)
	e.writeMachineRole("machine", nil)
	return e
}

// awaitMount waits until a server knows a new mount: standbys that run plugins get it with a delay.
func awaitMount(t *testing.T, client *api.Client, mount string) {
	t.Helper()
	require.Eventually(t, func() bool {
		mounts, err := client.Sys().ListMountsWithContext(t.Context())
		return err == nil && mounts[mount+"/"] != nil
	}, hangLimit, 10*time.Millisecond, "the server does not know the mount %s", mount)
}

// watchLeaks makes leakscan watch a server's logs and all answers to its clients. The server must
// be unsealed and active. Every server that a test starts is watched; watching it twice has no
// effect.
func watchLeaks(t testing.TB, vault *sandbox.Vault) *sandbox.Vault {
	t.Helper()
	require.NoError(t, leaks.WatchAnswers(vault))
	return watchLogs(t, vault)
}

// watchLogs makes leakscan watch a server's logs only. The 2021 plugin returns secrets from every
// read.
func watchLogs(t testing.TB, vault *sandbox.Vault) *sandbox.Vault {
	t.Helper()
	require.NoError(t, leaks.WatchLogs(t.Context(), vault))
	return vault
}

// learnSecrets makes leakscan search for the secrets of an emulator that is about to stop.
func learnSecrets(t testing.TB, cognito *control.Client) {
	t.Helper()
	secrets, err := cognito.Secrets(context.WithoutCancel(t.Context()))
	require.NoError(t, err)
	for _, secret := range secrets {
		leaks.Learn(leakscan.Secret{Field: secret.Field, Value: secret.Value})
	}
}

// configure points the mount at the emulator. The time-out is long enough for a busy machine.
func (e *env) configure(more map[string]any) {
	e.Helper()
	config := map[string]any{
		"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": secretKey, "region": emulatortest.Region,
		"cognito_endpoint": e.Seed.Domain, "sts_endpoint": e.Seed.Domain,
		"max_retries": 0, "request_timeout": "10s",
	}
	maps.Copy(config, more)
	e.write("config", config)
}

func (e *env) writeRole(name string, more map[string]any) {
	e.Helper()
	role := map[string]any{
		"credential_type": "user", "user_pool_id": e.Seed.UserPoolID,
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
		"groups": "testers,admins", "ttl": "5m", "max_ttl": "1h",
	}
	maps.Copy(role, more)
	e.write("roles/"+name, role)
}

func (e *env) writeMachineRole(name string, more map[string]any) {
	e.Helper()
	role := map[string]any{
		"app_client_id": e.Seed.M2MClientID, "app_client_secret": e.Seed.M2MClientSecret,
		"cognito_pool_domain": e.Seed.Domain, "scopes": "api/read",
	}
	maps.Copy(role, more)
	e.write("roles/"+name, role)
}

func (e *env) write(path string, data map[string]any) *api.Secret {
	e.Helper()
	secret, err := e.client.Logical().WriteWithContext(e.Context(), e.mount+"/"+path, data)
	require.NoError(e, err)
	return secret
}

func (e *env) read(path string) *api.Secret {
	e.Helper()
	secret, err := e.tryRead(path)
	require.NoError(e, err)
	return secret
}

func (e *env) tryRead(path string) (*api.Secret, error) {
	return e.client.Logical().ReadWithContext(e.Context(), e.mount+"/"+path)
}

func (e *env) delete(path string) {
	e.Helper()
	_, err := e.client.Logical().DeleteWithContext(e.Context(), e.mount+"/"+path)
	require.NoError(e, err)
}

// refusal returns the status and the text of an error answer.
func (e *env) refusal(err error) (int, string) {
	e.Helper()
	var response *api.ResponseError
	require.ErrorAs(e, err, &response)
	return response.StatusCode, strings.Join(response.Errors, "\n")
}

func (e *env) revoke(leaseID string) {
	e.Helper()
	_, err := e.client.Logical().WriteWithContext(e.Context(), "sys/leases/revoke", map[string]any{"lease_id": leaseID, "sync": true})
	require.NoError(e, err)
}

// awaitCall waits until the plugin has started a call to AWS.
func (e *env) awaitCall(operation string) {
	e.Helper()
	require.Eventually(e, func() bool { return len(e.Calls().Of(operation)) > 0 }, 20*time.Second, 5*time.Millisecond, "no call of %s", operation)
}

// awaitPlugin waits until requests reach the plugin again after its process ended: the server
// answers with one or two errors before it starts another.
func awaitPlugin(ctx context.Context, client *api.Client, mount string) error {
	for end := time.Now().Add(hangLimit); ; <-time.After(20 * time.Millisecond) {
		_, err := client.Logical().ReadWithContext(ctx, mount+"/config")
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// killPlugin kills the plugin's process with SIGKILL and returns its id. The next request may fail
// because the server has not noticed: see awaitPlugin.
func (e *env) killPlugin() int {
	e.Helper()
	pids, err := e.vault.PluginPIDs(pluginName)
	require.NoError(e, err)
	require.Len(e, pids, 1, "all mounts of one plugin share a process")
	require.NoError(e, syscall.Kill(pids[0], syscall.SIGKILL))
	require.Eventually(e, func() bool { return errors.Is(syscall.Kill(pids[0], 0), syscall.ESRCH) }, 10*time.Second, 5*time.Millisecond)
	return pids[0]
}

// leases returns the keys of the leases below a path of the mount.
func (e *env) leases(path string) []any {
	e.Helper()
	secret, err := e.client.Logical().ListWithContext(e.Context(), "sys/leases/lookup/"+e.mount+"/"+path)
	require.NoError(e, err)
	if secret == nil {
		return nil
	}
	return secret.Data["keys"].([]any)
}

// irrevocableLeases returns how many leases the server has stopped trying to revoke.
func (e *env) irrevocableLeases() int {
	e.Helper()
	answer, err := e.client.Logical().ReadWithDataWithContext(e.Context(), "sys/leases/count", url.Values{"type": {"irrevocable"}})
	require.NoError(e, err)
	n, err := strconv.Atoi(fmt.Sprint(answer.Data["lease_count"]))
	require.NoError(e, err)
	return n
}

// containsUser reports whether a user is among users.
func containsUser(users []control.User, username string) bool {
	return slices.ContainsFunc(users, func(u control.User) bool { return u.Username == username })
}

// claimsOf returns the claims of a token, which must be signed by the emulator.
func claimsOf(t *testing.T, token any) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token.(string), []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	claims := map[string]any{}
	require.NoError(t, parsed.Claims(emulatortest.SigningKey().Public(), &claims), "the token must be signed by the pool")
	return claims
}
