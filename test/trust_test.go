// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// pathParameter matches a parameter in a path of an OpenAPI document.
var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// apiPaths returns the documented paths of the mount, with an existing name in place of every
// parameter, and the HTTP methods of each.
func (e *env) apiPaths() map[string][]string {
	e.Helper()
	document, err := e.client.Logical().ReadWithContext(e.Context(), "sys/internal/specs/openapi")
	require.NoError(e, err)
	found := map[string][]string{}
	for path, item := range document.Data["paths"].(map[string]any) {
		inMount, ours := strings.CutPrefix(path, "/"+e.mount+"/")
		if !ours {
			continue
		}
		inMount = pathParameter.ReplaceAllString(inMount, "ci")
		for _, method := range []string{"get", "post", "delete", "patch"} {
			if item.(map[string]any)[method] != nil {
				found[inMount] = append(found[inMount], strings.ToUpper(method))
			}
		}
		require.NotContains(e, item, "x-vault-unauthenticated", path)
	}
	return found
}

// status returns the status of a request with that token, or without one.
func (e *env) status(method, path, token string) int {
	e.Helper()
	request, err := http.NewRequestWithContext(e.Context(), method, e.vault.Addr+"/v1/"+e.mount+"/"+path, strings.NewReader("{}"))
	require.NoError(e, err)
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(e, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(e, err)
	return response.StatusCode
}

func TestNoPathWithoutAToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	paths := e.apiPaths()
	for _, known := range []string{"config", "config/rotate-root", "roles/ci", "creds/ci", "tokens/ci", "check/ci", "static-roles/ci", "static-creds/ci", "rotate-role/ci"} {
		require.Contains(t, paths, known)
	}
	none, err := e.client.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"default"}, TTL: "5m"})
	require.NoError(t, err)
	before := len(e.Calls().Calls)

	tried := 0
	for path, methods := range paths {
		methods = append(methods, "LIST")
		if !strings.HasSuffix(path, "/") { // the server checks no token where nothing can be written
			methods = append(methods, http.MethodPut, http.MethodPatch, http.MethodDelete)
		}
		for _, method := range methods {
			for who, token := range map[string]string{"no token": "", "an invalid token": "hvs.not-a-token", "a token without a policy": none.Auth.ClientToken} {
				require.Equal(t, http.StatusForbidden, e.status(method, path, token), "%s %s with %s", method, path, who)
				tried++
			}
		}
	}
	require.Greater(t, tried, 100)
	require.Len(t, e.Calls().Calls, before, "a rejected request must not reach Cognito")
	require.Equal(t, http.StatusOK, e.status(http.MethodGet, "roles/ci", e.vault.Token), "an allowed request must succeed")
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	writer := e.attacker("config", `"update"`, "roles/*", `"update"`)
	fields := map[string]func(string) (string, map[string]any){
		"cognito_endpoint": func(address string) (string, map[string]any) {
			return "config", map[string]any{"cognito_endpoint": address}
		},
		"sts_endpoint": func(address string) (string, map[string]any) {
			return "config", map[string]any{"sts_endpoint": address}
		},
		"iam_endpoint": func(address string) (string, map[string]any) {
			return "config", map[string]any{"iam_endpoint": address}
		},
		"cognito_pool_domain": func(address string) (string, map[string]any) {
			return "roles/machine", map[string]any{"cognito_pool_domain": address, "app_client_secret": e.Seed.M2MClientSecret}
		},
	}
	for field, request := range fields {
		t.Run(field+" accepts plain http to loopback addresses only", func(t *testing.T) {
			for _, address := range []string{
				"http://cognito.example.com", "http://127.0.0.1.example.com", "http://localhost.example.com", "http://0.0.0.0:80",
				"http://hush-user@127.0.0.1", "http://10.0.0.1", "ftp://127.0.0.1",
			} {
				path, data := request(address)
				_, err := writer.Logical().WriteWithContext(t.Context(), e.mount+"/"+path, data)
				require.Error(t, err, address)
				status, text := e.refusal(err)
				require.Equal(t, http.StatusBadRequest, status, text)
				require.Contains(t, text, field)
			}
			for _, address := range []string{"http://localhost:80", "http://127.9.9.9", "http://[::1]:80", "https://cognito.example.com"} {
				path, data := request(address)
				_, err := writer.Logical().WriteWithContext(t.Context(), e.mount+"/"+path, data)
				require.NoError(t, err, address)
			}
		})
	}
}

// proxy records the requests that it receives and forwards none.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a partial body is recorded as it is
		p.mu.Lock()
		p.asked = append(p.asked, fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body))
		p.mu.Unlock()
		http.Error(w, "no", http.StatusBadGateway)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Start()
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestProxiesCarryNothingInTheClear runs the server and the plugin with a proxy for all requests.
func TestProxiesCarryNothingInTheClear(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t)
	vault := startDev(t, sandbox.VaultOptions{
		PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace",
		Env: []string{"HTTP_PROXY=" + proxy.URL, "http_proxy=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL},
	})
	e := newEnvOn(t, vault)

	t.Run("http requests to any loopback address bypass the proxy", func(t *testing.T) {
		for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"} {
			address := strings.Replace(e.Seed.Domain, "127.0.0.1", host, 1)
			e.configure(map[string]any{"cognito_endpoint": address, "sts_endpoint": address})
			e.writeMachineRole("machine", map[string]any{"cognito_pool_domain": address})
			for _, path := range []string{"creds/ci", "creds/machine"} {
				_, err := e.tryRead(path)
				require.Empty(t, proxy.requests(), "%s through %s", path, host)
				require.NoError(t, err)
			}
		}
	})
	t.Run("https requests pass the proxy in a tunnel", func(t *testing.T) {
		e.configure(map[string]any{"cognito_endpoint": "https://cognito.example.com"})
		e.writeMachineRole("machine", map[string]any{"cognito_pool_domain": "pool.example.com"})
		for _, path := range []string{"creds/ci", "creds/machine"} {
			_, err := e.tryRead(path)
			require.Error(t, err)
		}
		for _, asked := range proxy.requests() {
			require.Contains(t, []string{"CONNECT cognito.example.com:443 ", "CONNECT pool.example.com:443 "}, asked)
		}
		require.NotEmpty(t, proxy.requests())
	})
}

// TestMlock runs a server that locks its memory and lets its plugins do so, as in production, and
// one that does not.
func TestMlock(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		counters.Skip(t, "only Linux shows how much memory a process has locked")
	}
	if !shared.Product().LocksMemory() {
		counters.Skip(t, "OpenBao does not lock memory")
	}
	for name, c := range map[string]struct {
		disabled string
		locks    bool
	}{"on": {"false", true}, "off": {"true", false}} {
		t.Run("with mlock "+name+" in the server, the plugin does the same", func(t *testing.T) {
			t.Parallel()
			server, err := tryStartServer(t, sandbox.VaultOptions{
				PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace", Env: []string{"VAULT_DISABLE_MLOCK=" + c.disabled},
			})
			if err != nil && strings.Contains(err.Error(), "Failed to lock memory") {
				counters.Skip(t, "this system does not allow the server to lock memory: that needs CAP_IPC_LOCK or a large RLIMIT_MEMLOCK")
			}
			require.NoError(t, err)
			require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
			e := newEnvOn(t, server.Vault)
			require.Equal(t, c.locks, e.lockedKB() > 0)
			e.read("creds/ci")
			e.read("creds/machine")
		})
	}
}

// lockedKB returns how much memory the plugin's process has locked.
func (e *env) lockedKB() int {
	e.Helper()
	pids, err := e.vault.PluginPIDs(pluginName)
	require.NoError(e, err)
	require.Len(e, pids, 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	require.NoError(e, err)
	match := regexp.MustCompile(`VmLck:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(e, match)
	kilobytes, err := strconv.Atoi(string(match[1]))
	require.NoError(e, err)
	return kilobytes
}
