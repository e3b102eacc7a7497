// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/leakscan"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// exampleEnv is the set-up that the examples describe: a pool and an IAM role as in
// examples/terraform/aws, and a server as in examples/terraform/vault, with the engine at cognito/.
type exampleEnv struct {
	*env
	infrastructure *infrastructure
	issuer         *issuer
	tofu           *tofu
}

func newExampleEnv(t *testing.T) *exampleEnv {
	t.Helper()
	needsTofu(t)
	e := newBareEnv(t)
	e.infrastructure, e.issuer = &infrastructure{env: e.env}, newIssuer(t)
	variables := applyAWS(e.infrastructure)
	for name, value := range map[string]string{
		"vault_addr":    e.vault.Addr,
		"github_issuer": e.issuer.URL, "github_repository": githubRepository,
		"circleci_url": e.issuer.URL, "circleci_org_id": circleOrg, "circleci_project_id": circleProject,
	} {
		variables[name] = cty.StringVal(value)
	}
	variables["endpoints"] = cty.MapVal(map[string]cty.Value{
		"cognito_endpoint": cty.StringVal(e.Seed.Domain), "sts_endpoint": cty.StringVal(e.Seed.Domain),
	})
	e.tofu = applyVault(e.env, variables)
	return e
}

// newBareEnv starts a server and an emulator and sets up nothing.
func newBareEnv(t *testing.T) *exampleEnv {
	t.Helper()
	return newBareEnvWith(t, sandbox.VaultOptions{
		Env: []string{"AWS_ACCESS_KEY_ID=AKIAINSTANCE", "AWS_SECRET_ACCESS_KEY=" + secretKey}, // like an instance role
	})
}

// newBareEnvWith starts the server with more options.
func newBareEnvWith(t *testing.T, o sandbox.VaultOptions) *exampleEnv {
	t.Helper()
	o.PluginDir = filepath.Dir(binaries.plugin)
	vault := startDev(t, o)
	e := &env{T: t, Cognito: emulatortest.Start(t), vault: watchLeaks(t, vault), client: vault.Client(), mount: "cognito"}
	t.Cleanup(func() { learnSecrets(t, e.Control) })
	return &exampleEnv{env: e}
}

// tokenWith returns a token that has exactly these policies.
func (e *exampleEnv) tokenWith(policies ...string) string {
	e.Helper()
	secret, err := e.client.Auth().Token().CreateWithContext(e.Context(), &api.TokenCreateRequest{Policies: policies, NoDefaultPolicy: true})
	require.NoError(e, err)
	return secret.Auth.ClientToken
}

// environment returns the environment of a program that finds the server's binary on PATH as vault.
func (e *exampleEnv) environment(more ...string) []string {
	e.Helper()
	dir := e.TempDir()
	require.NoError(e, os.Symlink(binaries.vault, filepath.Join(dir, "vault")))
	return append(more, "HOME="+dir, "RUNNER_TEMP="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
}

// needsCommands skips a test whose scripts need a command that is missing.
func needsCommands(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			counters.Skip(t, "the scripts need "+name+", which is not installed")
		}
	}
}

// testers returns the users that the engine created for a lease. All have its prefix.
func (e *exampleEnv) testers() []control.User {
	e.Helper()
	reusable := map[string]any{}
	if status, err := e.tryRead(libraryStatus); err == nil && status != nil {
		reusable = status.Data["users"].(map[string]any)
	}
	return slices.DeleteFunc(e.Users(), func(u control.User) bool {
		return reusable[u.Username] != nil || !strings.HasPrefix(u.Username, "vault-")
	})
}

// awaitNoUsers waits until the users that the engine created and their leases are gone, and those
// that it lent are back.
func (e *exampleEnv) awaitNoUsers() {
	e.Helper()
	gone := func() bool {
		return len(e.testers()) == 0 && len(e.leases("creds/ci-user")) == 0 && len(e.leases("library/e2e/check-out")) == 0
	}
	require.Eventually(e, gone, time.Minute, 20*time.Millisecond, "a user or its lease is left")
}

// requireNoSecretIn checks that the output of a program holds no secret of Cognito or the server.
func (e *exampleEnv) requireNoSecretIn(output string, more ...string) {
	e.Helper()
	known, err := e.Control.Secrets(e.Context())
	require.NoError(e, err)
	var secrets []leakscan.Secret
	for _, secret := range known {
		secrets = append(secrets, leakscan.Secret{Field: secret.Field, Value: secret.Value})
	}
	for _, value := range more {
		secrets = append(secrets, leakscan.Secret{Field: "of the server or CI", Value: value})
	}
	require.Empty(e, leakscan.Find(output, secrets...), "the output shows a secret")
}

// service is an API that accepts bearer tokens of the pool.
type service struct {
	*httptest.Server
	fails atomic.Bool
	// onCall is called in the middle of every call, if it is set.
	onCall func()

	mu   sync.Mutex
	seen []claims
}

type claims struct {
	Username string   `json:"username"`
	Groups   []string `json:"cognito:groups"`
	Scope    string   `json:"scope"`
	ID       string   `json:"jti"`
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *service) answer(rw http.ResponseWriter, req *http.Request) {
	token, err := jwt.ParseSigned(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		http.Error(rw, "no token", http.StatusUnauthorized)
		return
	}
	var caller claims
	var life jwt.Claims
	err = token.Claims(emulatortest.SigningKey().Public(), &caller, &life)
	if err != nil || life.ValidateWithLeeway(jwt.Expected{Time: time.Now()}, 0) != nil {
		http.Error(rw, "no valid token of the pool", http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, caller)
	s.mu.Unlock()
	if s.onCall != nil {
		s.onCall()
	}
	if s.fails.Load() {
		http.Error(rw, "the API is broken", http.StatusInternalServerError)
	}
}

// callers returns the claims of all callers so far.
func (s *service) callers() []claims {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// distinct counts the distinct values of the callers, except the empty one.
func (s *service) distinct(of func(claims) string) int {
	values := map[string]bool{}
	for _, caller := range s.callers() {
		if value := of(caller); value != "" {
			values[value] = true
		}
	}
	return len(values)
}

func TestVaultAgentExample(t *testing.T) {
	t.Parallel()
	e := newExampleEnv(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../examples/vault-agent")))
	e.writeAppRole(dir)

	agent := exec.CommandContext(t.Context(), binaries.vault, "agent", "-config=agent.hcl")
	agent.Dir, agent.Env = dir, e.environment("VAULT_ADDR="+e.vault.Addr)
	var output bytes.Buffer
	agent.Stdout, agent.Stderr = &output, &output
	require.NoError(t, agent.Start())
	stop := sync.OnceFunc(func() {
		_ = agent.Process.Signal(os.Interrupt) // it may have ended already
		_ = agent.Wait()
	})
	t.Cleanup(stop)

	e.awaitFile(filepath.Join(dir, "token"))
	e.awaitFile(filepath.Join(dir, "account.json"))
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	require.NoError(t, err)
	require.Equal(t, "api/read api/write", claimsOf(t, string(token))["scope"])
	text, err := os.ReadFile(filepath.Join(dir, "account.json"))
	require.NoError(t, err)
	var account struct{ Username, Password string }
	require.NoError(t, json.Unmarshal(text, &account))
	require.True(t, e.passwordWorks(account.Username, account.Password))

	stop()
	e.requireNoSecretIn(output.String())
}

// writeAppRole creates an AppRole with the policy of a service, and writes its credentials into a
// directory.
func (e *exampleEnv) writeAppRole(dir string) {
	e.Helper()
	require.NoError(e, e.client.Sys().EnableAuthWithOptionsWithContext(e.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	e.writeAppRoleFiles(dir, map[string]any{"token_policies": "cognito-service", "token_no_default_policy": true})
}

func (e *env) writeAppRoleFiles(dir string, fields map[string]any) {
	e.Helper()
	const role = "auth/approle/role/service"
	vault := e.client.Logical()
	_, err := vault.WriteWithContext(e.Context(), role, fields)
	require.NoError(e, err)
	roleID, err := vault.ReadWithContext(e.Context(), role+"/role-id")
	require.NoError(e, err)
	secretID, err := vault.WriteWithContext(e.Context(), role+"/secret-id", nil)
	require.NoError(e, err)
	for file, value := range map[string]any{"role_id": roleID.Data["role_id"], "secret_id": secretID.Data["secret_id"]} {
		require.NoError(e, os.WriteFile(filepath.Join(dir, file), []byte(value.(string)), 0o600))
	}
}

// awaitFile waits for a file that only its owner may read. It is renamed into place, so it is
// complete.
func (e *exampleEnv) awaitFile(path string) {
	e.Helper()
	require.Eventually(e, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, time.Minute, 20*time.Millisecond, "%s is not there", path)
	info, err := os.Stat(path)
	require.NoError(e, err)
	require.Equal(e, os.FileMode(0o600), info.Mode())
}

func TestGoExample(t *testing.T) {
	t.Parallel()
	e := newExampleEnv(t)
	binary := filepath.Join(t.TempDir(), "probe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/go/probe").CombinedOutput()
	require.NoError(t, err, "%s", out)

	t.Run("the example renews its lease and its tokens", func(t *testing.T) {
		e.write("roles/ci-user", map[string]any{"ttl": "12s", "max_ttl": "1h"})
		// The example requests new tokens ten seconds before the old ones expire.
		require.NoError(t, e.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: e.Seed.PublicClientID, AccessSeconds: 12}))
		renewals := len(e.Calls().Of("AdminGetUser"))
		run := e.startProbe(t, binary)
		require.Eventually(t, func() bool {
			return len(e.Calls().Of("AdminGetUser"))-renewals >= 2 // one at once, and one after two thirds of the lease
		}, time.Minute, 50*time.Millisecond)
		require.GreaterOrEqual(t, run.api.distinct(func(c claims) string {
			if c.Username == "" {
				return ""
			}
			return c.ID
		}), 3, "tokens of its user")
		require.Equal(t, 1, run.api.distinct(func(c claims) string { return c.Username }), "it must keep its user")
		run.stop()
	})

	t.Run("the example requests another user when the lease expires", func(t *testing.T) {
		e.write("roles/ci-user", map[string]any{"ttl": "2s", "max_ttl": "4s"})
		require.NoError(t, e.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: e.Seed.PublicClientID, AccessSeconds: 900}))
		run := e.startProbe(t, binary)
		require.Eventually(t, func() bool {
			return run.api.distinct(func(c claims) string { return c.Username }) >= 2
		}, time.Minute, 50*time.Millisecond)
		run.stop()
	})

	t.Run("the example revokes its user if the API fails", func(t *testing.T) {
		e.write("roles/ci-user", map[string]any{"ttl": "15m", "max_ttl": "1h"})
		run := e.startProbe(t, binary)
		run.api.fails.Store(true)
		require.Error(t, run.process.Wait())
		require.Contains(t, run.output.String(), "the API answered 500")
		e.awaitNoUsers()
	})
}

// probeRun is a run of the Go example.
type probeRun struct {
	api     *service
	process *exec.Cmd
	output  bytes.Buffer
	// stop ends the program like a deployment would, and checks that no user and no secret is left.
	stop func()
}

func (e *exampleEnv) startProbe(t *testing.T, binary string) *probeRun {
	t.Helper()
	token := e.tokenWith("cognito-ci", "cognito-service")
	run := &probeRun{api: newService(t)}
	run.process = exec.CommandContext(t.Context(), binary, "-every", "50ms")
	run.process.Env = e.environment("VAULT_ADDR="+e.vault.Addr, "VAULT_TOKEN="+token, "API_URL="+run.api.URL)
	run.process.Stdout, run.process.Stderr = &run.output, &run.output
	require.NoError(t, run.process.Start())
	run.stop = func() {
		t.Helper()
		require.NoError(t, run.process.Process.Signal(syscall.SIGTERM))
		require.NoError(t, run.process.Wait(), "%s", run.output.String())
		e.awaitNoUsers()
		e.requireNoSecretIn(run.output.String(), token)
	}
	return run
}
