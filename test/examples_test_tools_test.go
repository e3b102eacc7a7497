// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	// testToolsVariable names the environment variable with the directory that
	// scripts/test-tools.sh fills.
	testToolsVariable = "TEST_TOOLS"
	testToolsExample  = "../examples/test-tools"
	nodeModules       = "node_modules"
)

// testTools runs examples/test-tools against a mount, an API and a web application, with a token
// that has the policy of the example.
type testTools struct {
	*env
	// dir is a copy of the example, with the installed packages.
	dir, installed, token string
	api                   *service
	app                   *httptest.Server
}

func newTestTools(t *testing.T) *testTools {
	t.Helper()
	installed := os.Getenv(testToolsVariable)
	if installed == "" {
		counters.Skip(t, testToolsVariable+" is not set: `make test-tools` installs the tools and sets it")
	}
	e := newEnv(t)
	e.Contract.AllowInvalidRequests() // the clients of browsers send what the model of the API does not have
	e.writeRole("ci", map[string]any{"app_client_id": e.Seed.PublicClientID, "app_client_secret": ""})
	tools := &testTools{env: e, installed: installed, dir: t.TempDir(), api: newService(t)}
	require.NoError(t, os.CopyFS(tools.dir, os.DirFS(testToolsExample)))
	require.NoError(t, os.RemoveAll(filepath.Join(tools.dir, nodeModules)))
	require.NoError(t, os.Symlink(filepath.Join(installed, nodeModules), filepath.Join(tools.dir, nodeModules)))
	tools.token = tools.tokenOfPolicy()
	tools.app = tools.serveApp()
	return tools
}

// tokenOfPolicy returns a token with the example's policy, for the paths of this mount.
func (x *testTools) tokenOfPolicy() string {
	x.Helper()
	text, err := os.ReadFile(filepath.Join(testToolsExample, "policy.hcl"))
	require.NoError(x, err)
	policy := strings.ReplaceAll(string(text), "cognito/creds/ci-user", x.mount+"/creds/ci")
	require.NoError(x, x.client.Sys().PutPolicyWithContext(x.Context(), x.mount, policy))
	secret, err := x.client.Auth().Token().CreateWithContext(x.Context(), &api.TokenCreateRequest{Policies: []string{x.mount}, NoDefaultPolicy: true})
	require.NoError(x, err)
	return secret.Auth.ClientToken
}

// serveApp serves the web application of the example.
func (x *testTools) serveApp() *httptest.Server {
	const library = "amazon-cognito-identity.min.js"
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServer(http.Dir(filepath.Join(x.dir, "app"))))
	mux.HandleFunc("GET /"+library, func(rw http.ResponseWriter, req *http.Request) {
		http.ServeFile(rw, req, filepath.Join(x.installed, nodeModules, "amazon-cognito-identity-js", "dist", library))
	})
	mux.HandleFunc("GET /pool.json", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(map[string]string{ // it fails if the browser is gone
			"UserPoolId": x.Seed.UserPoolID, "ClientId": x.Seed.PublicClientID, "endpoint": x.Seed.Domain,
		})
	})
	app := httptest.NewServer(mux)
	x.Cleanup(app.Close)
	return app
}

// run runs a program in the copy of the example and returns its output.
func (x *testTools) run(program string, args ...string) (string, error) {
	x.Helper()
	command := exec.CommandContext(x.Context(), program, args...)
	command.Dir = x.dir
	command.Env = []string{
		"HOME=" + x.TempDir(), "PATH=" + os.Getenv("PATH"), "CI=true", "NO_COLOR=1", "PYTHONDONTWRITEBYTECODE=1",
		"VAULT_ADDR=" + x.vault.Addr, "VAULT_TOKEN=" + x.token, "COGNITO_CREDS_PATH=" + x.mount + "/creds/ci",
		"API_URL=" + x.api.URL, "APP_URL=" + x.app.URL, "CHROMIUM_BIN=" + chromium(),
	}
	command.WaitDelay = 10 * time.Second
	output, err := command.CombinedOutput()
	return string(output), err
}

// node runs a program of node_modules.
func (x *testTools) node(program string, args ...string) (string, error) {
	x.Helper()
	return x.run(filepath.Join(x.dir, nodeModules, ".bin", program), args...)
}

// python runs a program of the Python packages.
func (x *testTools) python(program string, args ...string) (string, error) {
	x.Helper()
	return x.run(filepath.Join(x.installed, "venv", "bin", program), args...)
}

// chromium returns the path of the browser, which is empty without one.
func chromium() string {
	path, _ := exec.LookPath("chromium")
	return path
}

// made counts the users that the run made.
func (x *testTools) made() int { return len(x.Calls().Of("AdminCreateUser")) }

// leftNothing checks that no user, no lease, and no secret in the output is left of a run.
func (x *testTools) leftNothing(output string) {
	x.Helper()
	require.False(x, slices.ContainsFunc(x.Users(), func(u control.User) bool { return strings.HasPrefix(u.Username, "vault-") }), "a user is left")
	require.Empty(x, x.leases("creds/ci"))
	(&exampleEnv{env: x.env}).requireNoSecretIn(output, x.token)
}

// TestPlaywrightExample signs users of two workers in, in a real browser, by SRP.
func TestPlaywrightExample(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	if chromium() == "" {
		counters.Skip(t, "there is no chromium on PATH")
	}
	output, err := tools.node("playwright", "test", "--reporter=line")
	require.NoError(t, err, output)
	require.Contains(t, output, "2 passed")
	require.Equal(t, 2, tools.made(), "each worker has a user of its own")
	tools.leftNothing(output)
}

// TestPlaywrightExampleFails breaks the application: the users must end all the same.
func TestPlaywrightExampleFails(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	if chromium() == "" {
		counters.Skip(t, "there is no chromium on PATH")
	}
	page := filepath.Join(tools.dir, "app", "index.html")
	require.NoError(t, os.WriteFile(page, []byte(`<label>Username <input></label><label>Password <input></label><button>Sign in</button><p role="status">broken</p>`), 0o600))
	output, err := tools.node("playwright", "test", "--reporter=line")
	require.Error(t, err)
	require.Contains(t, output, "2 failed")
	require.GreaterOrEqual(t, tools.made(), 2)
	tools.leftNothing(output)
}

// TestTypesOfExamples checks the types of the Playwright and the Cypress examples. Cypress itself
// has not run here: its binary comes from a server that the tests do not use.
func TestTypesOfExamples(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	output, err := tools.node("tsc", "--noEmit")
	require.NoError(t, err, output)
	broken := filepath.Join(tools.dir, "cypress", "e2e", "broken.cy.ts")
	require.NoError(t, os.WriteFile(broken, []byte(`import type {} from '../support/e2e.ts'
cy.testUser().then((user) => cy.get('#username').type(user.leaseDuration))`), 0o600))
	output, err = tools.node("tsc", "--noEmit")
	require.Error(t, err, "a field that a user does not have must be found")
	require.Contains(t, output, "leaseDuration")
}

func TestNewmanExample(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	output, err := tools.run("node", "postman/run.mjs")
	require.NoError(t, err, output)
	require.Len(t, tools.api.callers(), 1)
	tools.leftNothing(output)

	tools.api.fails.Store(true)
	output, err = tools.run("node", "postman/run.mjs")
	require.Error(t, err, "the run must be red")
	require.Equal(t, 2, tools.made())
	tools.leftNothing(output)
}

func TestPytestExample(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	output, err := tools.python("pytest", "-p", "no:cacheprovider", "-n", "2", "pytest")
	require.NoError(t, err, output)
	require.Contains(t, output, "2 passed")
	require.Equal(t, 2, tools.made(), "each worker has a user of its own")
	tools.leftNothing(output)

	tools.api.fails.Store(true)
	output, err = tools.python("pytest", "-p", "no:cacheprovider", "pytest")
	require.Error(t, err, "the run must be red")
	tools.leftNothing(output)
}

// TestLocustExample has ten users at once, each with a user of Cognito.
func TestLocustExample(t *testing.T) {
	t.Parallel()
	tools := newTestTools(t)
	output, err := tools.python("locust", "-f", "locust/locustfile.py", "--headless", "-u", "10", "-r", "10", "-t", "8s", "--stop-timeout", "60")
	require.NoError(t, err, output)
	require.Equal(t, 10, tools.made())
	require.Equal(t, 10, tools.api.distinct(func(c claims) string { return c.Username }), output)
	require.Eventually(t, func() bool { return len(tools.leases("creds/ci")) == 0 }, hangLimit, 20*time.Millisecond)
	tools.leftNothing(output)
}
