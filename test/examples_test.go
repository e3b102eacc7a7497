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
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// exampleWorld is what the examples describe: a pool and an IAM role as in examples/terraform/aws, and a Vault of its own
// as in examples/terraform/vault, with the engine at cognito/.
type exampleWorld struct {
	*world
	infrastructure *infrastructure
	issuer         *issuer
	tofu           *tofu
}

func newExampleWorld(t *testing.T) *exampleWorld {
	t.Helper()
	needsTofu(t)
	w := newBareWorld(t)
	w.infrastructure, w.issuer = &infrastructure{world: w.world}, newIssuer(t)
	variables := applyAWS(w.infrastructure)
	for name, value := range map[string]string{
		"vault_addr":    w.vault.Addr,
		"github_issuer": w.issuer.URL, "github_repository": githubRepository,
		"circleci_url": w.issuer.URL, "circleci_org_id": circleOrg, "circleci_project_id": circleProject,
	} {
		variables[name] = cty.StringVal(value)
	}
	variables["endpoints"] = cty.MapVal(map[string]cty.Value{
		"cognito_endpoint": cty.StringVal(w.Seed.Domain), "sts_endpoint": cty.StringVal(w.Seed.Domain),
	})
	w.tofu = applyVault(w.world, variables)
	return w
}

// newBareWorld is one in which nothing is set up yet.
func newBareWorld(t *testing.T) *exampleWorld {
	t.Helper()
	vault, err := sandbox.StartVault(t.Context(), sandbox.VaultOptions{
		Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin),
		Env: []string{"AWS_ACCESS_KEY_ID=AKIAINSTANCE", "AWS_SECRET_ACCESS_KEY=" + secretKey}, // as an instance role would
	})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	w := &world{T: t, Cognito: emulatortest.Start(t), vault: watched(t, vault), client: vault.Client(), mount: "cognito"}
	t.Cleanup(func() { remembered(t, w.Control) })
	return &exampleWorld{world: w}
}

// tokenWith makes a Vault token that has some of the examples' policies, and no other.
func (w *exampleWorld) tokenWith(policies ...string) string {
	w.Helper()
	secret, err := w.client.Auth().Token().CreateWithContext(w.Context(), &api.TokenCreateRequest{Policies: policies, NoDefaultPolicy: true})
	require.NoError(w, err)
	return secret.Auth.ClientToken
}

// environment is that of a program that finds the vault command on its path.
func (w *exampleWorld) environment(more ...string) []string {
	w.Helper()
	dir := w.TempDir()
	require.NoError(w, os.Symlink(binaries.vault, filepath.Join(dir, "vault")))
	return append(more, "HOME="+dir, "RUNNER_TEMP="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
}

// needsCommands skips a test whose scripts call what is not there.
func needsCommands(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			counters.Skip(t, "the scripts call "+name+", and there is none here")
		}
	}
}

// testers are the users of the pool that the engine made: all have its prefix.
func (w *exampleWorld) testers() []control.User {
	w.Helper()
	return slices.DeleteFunc(w.Users(), func(u control.User) bool { return !strings.HasPrefix(u.Username, "vault-") })
}

// awaitNobody waits until the users that the engine made are gone, and their leases.
func (w *exampleWorld) awaitNobody() {
	w.Helper()
	gone := func() bool { return len(w.testers()) == 0 && len(leases(w.world, "creds/ci-user")) == 0 }
	require.Eventually(w, gone, time.Minute, 20*time.Millisecond, "a user or its lease is left")
}

// showsNoSecret demands that a program's output holds nothing that Cognito or Vault keeps secret.
func (w *exampleWorld) showsNoSecret(output string, more ...string) {
	w.Helper()
	secrets, err := w.Control.Secrets(w.Context())
	require.NoError(w, err)
	for _, value := range more {
		secrets = append(secrets, control.Secret{Field: "of Vault or CI", Value: value})
	}
	require.Empty(w, newNeedles(secrets).in([]byte(output)), "the output shows a secret")
}

// service is an API that takes bearer tokens of the pool.
type service struct {
	*httptest.Server
	fails atomic.Bool

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
		http.Error(rw, "no token of the pool's that is good now", http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, caller)
	s.mu.Unlock()
	if s.fails.Load() {
		http.Error(rw, "the API is broken", http.StatusInternalServerError)
	}
}

// callers are those of all calls so far.
func (s *service) callers() []claims {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// distinct counts the values that callers have, less the empty one.
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
	w := newExampleWorld(t)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../examples/vault-agent")))
	w.writeAppRole(dir)

	agent := exec.CommandContext(t.Context(), binaries.vault, "agent", "-config=agent.hcl")
	agent.Dir, agent.Env = dir, w.environment("VAULT_ADDR="+w.vault.Addr)
	var output bytes.Buffer
	agent.Stdout, agent.Stderr = &output, &output
	require.NoError(t, agent.Start())
	stop := sync.OnceFunc(func() {
		_ = agent.Process.Signal(os.Interrupt) // it may have ended already
		_ = agent.Wait()
	})
	t.Cleanup(stop)

	w.awaitFile(filepath.Join(dir, "token"))
	w.awaitFile(filepath.Join(dir, "account.json"))
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	require.NoError(t, err)
	require.Equal(t, "api/read api/write", claimsOf(t, string(token))["scope"])
	text, err := os.ReadFile(filepath.Join(dir, "account.json"))
	require.NoError(t, err)
	var account struct{ Username, Password string }
	require.NoError(t, json.Unmarshal(text, &account))
	require.True(t, w.passwordWorks(account.Username, account.Password))

	stop()
	w.showsNoSecret(output.String())
}

// writeAppRole makes an AppRole with the policy of a service, and puts what logs in with it into a directory.
func (w *exampleWorld) writeAppRole(dir string) {
	w.Helper()
	const role = "auth/approle/role/service"
	vault := w.client.Logical()
	require.NoError(w, w.client.Sys().EnableAuthWithOptionsWithContext(w.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	_, err := vault.WriteWithContext(w.Context(), role, map[string]any{"token_policies": "cognito-service", "token_no_default_policy": true})
	require.NoError(w, err)
	roleID, err := vault.ReadWithContext(w.Context(), role+"/role-id")
	require.NoError(w, err)
	secretID, err := vault.WriteWithContext(w.Context(), role+"/secret-id", nil)
	require.NoError(w, err)
	for file, value := range map[string]any{"role_id": roleID.Data["role_id"], "secret_id": secretID.Data["secret_id"]} {
		require.NoError(w, os.WriteFile(filepath.Join(dir, file), []byte(value.(string)), 0o600))
	}
}

// awaitFile waits for a file that nobody but its owner may read. It is there at once with all that is in it.
func (w *exampleWorld) awaitFile(path string) {
	w.Helper()
	require.Eventually(w, func() bool {
		_, err := os.Stat(path)
		return err == nil
	}, time.Minute, 20*time.Millisecond, "%s is not there", path)
	info, err := os.Stat(path)
	require.NoError(w, err)
	require.Equal(w, os.FileMode(0o600), info.Mode())
}

func TestGoExample(t *testing.T) {
	t.Parallel()
	w := newExampleWorld(t)
	binary := filepath.Join(t.TempDir(), "probe")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/go/probe").CombinedOutput()
	require.NoError(t, err, "%s", out)

	t.Run("it keeps its user and has good tokens", func(t *testing.T) {
		w.write("roles/ci-user", map[string]any{"ttl": "12s", "max_ttl": "1h"})
		// It asks for another ten seconds before a token ends.
		require.NoError(t, w.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: w.Seed.PublicClientID, AccessSeconds: 12}))
		renewals := len(w.Calls().Of("AdminGetUser"))
		run := w.startProbe(t, binary)
		require.Eventually(t, func() bool {
			return len(w.Calls().Of("AdminGetUser"))-renewals >= 2 // one at once, and one after two thirds of the lease
		}, time.Minute, 50*time.Millisecond)
		require.GreaterOrEqual(t, run.api.distinct(func(c claims) string {
			if c.Username == "" {
				return ""
			}
			return c.ID
		}), 3, "tokens of its user")
		require.Equal(t, 1, run.api.distinct(func(c claims) string { return c.Username }), "it has one user all the time")
		run.stop()
	})

	t.Run("it takes another user when the first has had its time", func(t *testing.T) {
		w.write("roles/ci-user", map[string]any{"ttl": "2s", "max_ttl": "4s"})
		require.NoError(t, w.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: w.Seed.PublicClientID, AccessSeconds: 900}))
		run := w.startProbe(t, binary)
		require.Eventually(t, func() bool {
			return run.api.distinct(func(c claims) string { return c.Username }) >= 2
		}, time.Minute, 50*time.Millisecond)
		run.stop()
	})

	t.Run("it gives its user back when the API fails", func(t *testing.T) {
		w.write("roles/ci-user", map[string]any{"ttl": "15m", "max_ttl": "1h"})
		run := w.startProbe(t, binary)
		run.api.fails.Store(true)
		require.Error(t, run.process.Wait())
		require.Contains(t, run.output.String(), "the API answered 500")
		w.awaitNobody()
	})
}

// probeRun is a run of the Go example.
type probeRun struct {
	api     *service
	process *exec.Cmd
	output  bytes.Buffer
	// stop ends the program as a deployment would, and sees that nothing is left of it.
	stop func()
}

func (w *exampleWorld) startProbe(t *testing.T, binary string) *probeRun {
	t.Helper()
	token := w.tokenWith("cognito-ci", "cognito-service")
	run := &probeRun{api: newService(t)}
	run.process = exec.CommandContext(t.Context(), binary, "-every", "50ms")
	run.process.Env = w.environment("VAULT_ADDR="+w.vault.Addr, "VAULT_TOKEN="+token, "API_URL="+run.api.URL)
	run.process.Stdout, run.process.Stderr = &run.output, &run.output
	require.NoError(t, run.process.Start())
	run.stop = func() {
		t.Helper()
		require.NoError(t, run.process.Process.Signal(syscall.SIGTERM))
		require.NoError(t, run.process.Wait(), "%s", run.output.String())
		w.awaitNobody()
		w.showsNoSecret(run.output.String(), token)
	}
	return run
}
