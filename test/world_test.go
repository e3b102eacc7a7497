// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	region    = "eu-west-1"
	secretKey = "hush-secret-access-key"
)

// signingKey spares each test the making of one.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, emulator.SigningKeyBits)
	if err != nil {
		panic(err)
	}
	return key
})

// world is what one test has to itself: a mount in a Vault, configured for a
// Cognito that nobody else uses.
type world struct {
	*testing.T
	vault   *sandbox.Vault
	client  *api.Client
	mount   string
	seed    emulator.Seed
	control *control.Client
	admin   *cip.Client
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
	running, err := emulator.Start(emulator.Options{SigningKey: signingKey()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, running.Close()) })
	seed, err := running.Seed(region)
	require.NoError(t, err)
	w := &world{
		T:       t,
		vault:   vault,
		client:  vault.Client(),
		mount:   "cognito-" + strings.ToLower(rand.Text()[:8]),
		seed:    seed,
		control: control.New(running.URL),
		admin: cip.New(cip.Options{
			Region: region, BaseEndpoint: aws.String(running.URL),
			Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", "s", ""),
		}),
	}
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
		"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": secretKey, "region": region,
		"cognito_endpoint": w.seed.Domain, "sts_endpoint": w.seed.Domain,
		"max_retries": 0, "request_timeout": "1s",
	}
	maps.Copy(config, more)
	w.write("config", config)
}

func (w *world) writeRole(name string, more map[string]any) {
	w.Helper()
	role := map[string]any{
		"credential_type": "user", "user_pool_id": w.seed.UserPoolID,
		"app_client_id": w.seed.AppClientID, "app_client_secret": w.seed.AppClientSecret,
		"groups": "testers,admins", "ttl": "5m", "max_ttl": "1h",
	}
	maps.Copy(role, more)
	w.write("roles/"+name, role)
}

func (w *world) writeMachineRole(name string, more map[string]any) {
	w.Helper()
	role := map[string]any{
		"app_client_id": w.seed.M2MClientID, "app_client_secret": w.seed.M2MClientSecret,
		"cognito_pool_domain": w.seed.Domain, "scopes": "api/read",
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

func (w *world) fault(fault control.Fault) {
	w.Helper()
	require.NoError(w, w.control.Fault(w.Context(), fault))
}

func (w *world) heal() {
	w.Helper()
	require.NoError(w, w.control.ClearFaults(w.Context()))
}

func (w *world) users() []control.User {
	w.Helper()
	users, err := w.control.Users(w.Context(), "")
	require.NoError(w, err)
	return users
}

func (w *world) calls() *control.CallLog {
	w.Helper()
	calls, err := w.control.Calls(w.Context())
	require.NoError(w, err)
	return calls
}

// awaitCall waits until the plugin has begun a call to AWS.
func (w *world) awaitCall(operation string) {
	w.Helper()
	require.Eventually(w, func() bool { return len(w.calls().Of(operation)) > 0 }, 20*time.Second, 5*time.Millisecond, "no call of %s", operation)
}

// makePool makes a pool with a group "testers" and an app client with a secret.
func (w *world) makePool(input *cip.CreateUserPoolInput) (poolID, clientID, clientSecret string) {
	w.Helper()
	input.PoolName = aws.String("another")
	pool, err := w.admin.CreateUserPool(w.Context(), input)
	require.NoError(w, err)
	_, err = w.admin.CreateGroup(w.Context(), &cip.CreateGroupInput{UserPoolId: pool.UserPool.Id, GroupName: aws.String("testers")})
	require.NoError(w, err)
	client, err := w.admin.CreateUserPoolClient(w.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: pool.UserPool.Id, ClientName: aws.String("users"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
	})
	require.NoError(w, err)
	return *pool.UserPool.Id, *client.UserPoolClient.ClientId, *client.UserPoolClient.ClientSecret
}

// killPlugin kills the plugin's process as the kernel would, and returns its id.
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
	require.NoError(t, parsed.Claims(signingKey().Public(), &claims), "the token must be signed by the pool")
	return claims
}
