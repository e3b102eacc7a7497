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

// pathParameter is a place in a path of an OpenAPI document for a name.
var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// apiPaths are the paths of the mount that Vault documents, with a name that exists in the place of every parameter, and
// the HTTP methods of each.
func (w *world) apiPaths() map[string][]string {
	w.Helper()
	document, err := w.client.Logical().ReadWithContext(w.Context(), "sys/internal/specs/openapi")
	require.NoError(w, err)
	found := map[string][]string{}
	for path, item := range document.Data["paths"].(map[string]any) {
		inMount, ours := strings.CutPrefix(path, "/"+w.mount+"/")
		if !ours {
			continue
		}
		inMount = pathParameter.ReplaceAllString(inMount, "ci")
		for _, method := range []string{"get", "post", "delete", "patch"} {
			if item.(map[string]any)[method] != nil {
				found[inMount] = append(found[inMount], strings.ToUpper(method))
			}
		}
		require.NotContains(w, item, "x-vault-unauthenticated", path)
	}
	return found
}

// status is what Vault answers to a request with that token, or with none.
func (w *world) status(method, path, token string) int {
	w.Helper()
	request, err := http.NewRequestWithContext(w.Context(), method, w.vault.Addr+"/v1/"+w.mount+"/"+path, strings.NewReader("{}"))
	require.NoError(w, err)
	if token != "" {
		request.Header.Set("X-Vault-Token", token)
	}
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(w, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(w, err)
	return response.StatusCode
}

func TestNoPathWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	paths := w.apiPaths()
	for _, known := range []string{"config", "config/rotate-root", "roles/ci", "creds/ci", "tokens/ci", "check/ci", "static-roles/ci", "static-creds/ci", "rotate-role/ci"} {
		require.Contains(t, paths, known)
	}
	none, err := w.client.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"default"}, TTL: "5m"})
	require.NoError(t, err)
	before := len(w.Calls().Calls)

	tried := 0
	for path, methods := range paths {
		methods = append(methods, "LIST")
		if !strings.HasSuffix(path, "/") { // Vault looks at no token where nothing can be written
			methods = append(methods, http.MethodPut, http.MethodPatch, http.MethodDelete)
		}
		for _, method := range methods {
			for who, token := range map[string]string{"nobody": "", "a token of another's": "hvs.not-a-token", "a token without a policy": none.Auth.ClientToken} {
				require.Equal(t, http.StatusForbidden, w.status(method, path, token), "%s %s as %s", method, path, who)
				tried++
			}
		}
	}
	require.Greater(t, tried, 100)
	require.Len(t, w.Calls().Calls, before, "Cognito was asked for somebody who may not ask")
	require.Equal(t, http.StatusOK, w.status(http.MethodGet, "roles/ci", w.vault.Token), "the paths must be there for those who may")
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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
			return "roles/machine", map[string]any{"cognito_pool_domain": address}
		},
	}
	for field, request := range fields {
		t.Run(field, func(t *testing.T) {
			for _, address := range []string{
				"http://cognito.example.com", "http://127.0.0.1.example.com", "http://localhost.example.com", "http://0.0.0.0:80",
				"http://hush-user@127.0.0.1", "http://10.0.0.1", "ftp://127.0.0.1",
			} {
				path, data := request(address)
				_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/"+path, data)
				require.Error(t, err, address)
				status, text := w.refusal(err)
				require.Equal(t, http.StatusBadRequest, status, text)
				require.Contains(t, text, field)
			}
			for _, address := range []string{"http://localhost:80", "http://127.9.9.9", "http://[::1]:80", "https://cognito.example.com"} {
				path, data := request(address)
				_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/"+path, data)
				require.NoError(t, err, address)
			}
		})
	}
}

// proxy writes down what it is asked for and passes nothing on.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // whatever came is what is written down
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

// TestProxiesCarryNothingInTheClear runs Vault, and with it the plugin, where everything is to go through a proxy.
func TestProxiesCarryNothingInTheClear(t *testing.T) {
	t.Parallel()
	proxy := newProxy(t)
	vault, err := sandbox.StartVault(t.Context(), sandbox.VaultOptions{
		Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace",
		Env: []string{"HTTP_PROXY=" + proxy.URL, "http_proxy=" + proxy.URL, "HTTPS_PROXY=" + proxy.URL},
	})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	w := newWorldIn(t, vault)

	t.Run("plain http goes straight to the loopback address, however it is spelled", func(t *testing.T) {
		for _, host := range []string{"127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"} {
			address := strings.Replace(w.Seed.Domain, "127.0.0.1", host, 1)
			w.configure(map[string]any{"cognito_endpoint": address, "sts_endpoint": address})
			w.writeMachineRole("machine", map[string]any{"cognito_pool_domain": address})
			for _, path := range []string{"creds/ci", "creds/machine"} {
				_, err := w.tryRead(path)
				require.Empty(t, proxy.requests(), "%s by way of %s", path, host)
				require.NoError(t, err)
			}
		}
	})
	t.Run("https goes through it unread", func(t *testing.T) {
		w.configure(map[string]any{"cognito_endpoint": "https://cognito.example.com"})
		w.writeMachineRole("machine", map[string]any{"cognito_pool_domain": "pool.example.com"})
		for _, path := range []string{"creds/ci", "creds/machine"} {
			_, err := w.tryRead(path)
			require.Error(t, err)
		}
		for _, asked := range proxy.requests() {
			require.Contains(t, []string{"CONNECT cognito.example.com:443 ", "CONNECT pool.example.com:443 "}, asked)
		}
		require.NotEmpty(t, proxy.requests())
	})
}

// TestMlock runs a Vault that locks its memory and has its plugins do so, which is what it does in production, and one
// that does not.
func TestMlock(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		counters.Skip(t, "only Linux shows how much memory a process has locked")
	}
	for name, c := range map[string]struct {
		disabled string
		locks    bool
	}{"on": {"false", true}, "off": {"true", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, err := sandbox.StartServer(t.Context(), sandbox.ServerOptions{
				VaultOptions: sandbox.VaultOptions{
					Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace", Env: []string{"VAULT_DISABLE_MLOCK=" + c.disabled},
				},
				DataDir: t.TempDir(),
			})
			if err != nil && strings.Contains(err.Error(), "Failed to lock memory") {
				counters.Skip(t, "this system lets Vault lock no memory: that takes CAP_IPC_LOCK or a large RLIMIT_MEMLOCK")
			}
			require.NoError(t, err)
			t.Cleanup(server.Stop)
			require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
			w := newWorldIn(t, server.Vault)
			require.Equal(t, c.locks, w.lockedKB() > 0)
			w.read("creds/ci")
			w.read("creds/machine")
		})
	}
}

// lockedKB is how much memory the plugin's process keeps out of the swap space.
func (w *world) lockedKB() int {
	w.Helper()
	pids, err := w.vault.PluginPIDs(pluginName)
	require.NoError(w, err)
	require.Len(w, pids, 1)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pids[0]))
	require.NoError(w, err)
	match := regexp.MustCompile(`VmLck:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(w, match)
	kilobytes, err := strconv.Atoi(string(match[1]))
	require.NoError(w, err)
	return kilobytes
}
