// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// telemetry turns on the metrics of the server itself.
const telemetry = "telemetry { prometheus_retention_time = \"1h\" }\n"

// scrape reads the metrics as Prometheus does, and returns the media type and the text.
func (e *env) scrape(token, path, format string) (mediaType, text string) {
	e.Helper()
	request, err := http.NewRequestWithContext(e.Context(), http.MethodGet, e.vault.Addr+"/v1/"+path+"?format="+format, http.NoBody)
	require.NoError(e, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	require.NoError(e, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(e, err)
	require.Equal(e, http.StatusOK, response.StatusCode, "%s", body)
	return response.Header.Get("Content-Type"), string(body)
}

func TestMetricsThroughTheServer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)

	t.Run("as data they say that they are of one node", func(t *testing.T) {
		data := e.read("metrics").Data
		require.Equal(t, "node", data["scope"])
		since, err := time.Parse(time.RFC3339, data["since"].(string))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), since, time.Hour)
		require.Contains(t, data["build_info"], "version="+(&exampleEnv{env: e}).runningVersion())
	})

	t.Run("as text for Prometheus they come without JSON around them", func(t *testing.T) {
		mediaType, text := e.scrape(e.vault.Token, e.mount+"/metrics", "prometheus")
		require.True(t, strings.HasPrefix(mediaType, "text/plain; version=0.0.4"), mediaType)
		require.True(t, strings.HasPrefix(text, "# HELP vault_cognito_"), text[:40])
		requirePromtool(t, text, "check", "metrics")
	})

	t.Run("as OpenMetrics they have its media type and its end", func(t *testing.T) {
		mediaType, text := e.scrape(e.vault.Token, e.mount+"/metrics", "openmetrics")
		require.True(t, strings.HasPrefix(mediaType, "application/openmetrics-text; version="), mediaType)
		require.True(t, strings.HasSuffix(text, "\n# EOF\n"))
	})

	t.Run("the CLI prints the text", func(t *testing.T) {
		text, err := e.vault.CLI(t.Context(), "read", "-format=raw", e.mount+"/metrics", "format=prometheus")
		require.NoError(t, err)
		require.Contains(t, text, "vault_cognito_build_info{")
	})

	t.Run("another format is a 400 that names those that exist", func(t *testing.T) {
		_, err := e.client.Logical().ReadWithDataWithContext(t.Context(), e.mount+"/metrics", url.Values{"format": {"graphite"}})
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, `format "graphite" is not allowed: it must be "data", "prometheus" or "openmetrics"`)
	})
}

// requirePromtool gives a text to promtool, which must not complain.
func requirePromtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	needsCommands(t, "promtool")
	command := exec.CommandContext(t.Context(), "promtool", args...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// prometheus is a running Prometheus server.
type prometheus struct {
	t    *testing.T
	addr string
}

// startPrometheus starts Prometheus with a configuration file.
func startPrometheus(t *testing.T, config string) *prometheus {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	log := &strings.Builder{}
	command := exec.CommandContext(ctx, "prometheus", "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+addr)
	command.Stdout, command.Stderr = log, log
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		stop()
		_ = command.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return &prometheus{t, addr}
}

// query returns the values of an expression by their labels.
func (p *prometheus) query(expression string) model.Vector {
	p.t.Helper()
	vector, err := p.tryQuery(expression)
	require.NoError(p.t, err, expression)
	return vector
}

func (p *prometheus) tryQuery(expression string) (model.Vector, error) {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.addr+"/api/v1/query?query="+url.QueryEscape(expression), http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string
		Data  struct{ Result model.Vector }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", expression, answer.Error)
	}
	return answer.Data.Result, nil
}

// await waits until an expression has this value.
func (p *prometheus) await(expression string, want float64) {
	p.t.Helper()
	p.awaitFunc(expression, func() float64 { return want })
}

// awaitFunc waits until an expression has the value that want returns at that time.
func (p *prometheus) awaitFunc(expression string, want func() float64) {
	p.t.Helper()
	var wanted float64
	var got model.Vector
	if !assert.Eventually(p.t, func() bool {
		var err error
		wanted = want()
		got, err = p.tryQuery(expression)
		return err == nil && len(got) == 1 && float64(got[0].Value) == wanted
	}, time.Minute, 100*time.Millisecond) {
		require.Fail(p.t, fmt.Sprintf("%s is %v, and not %v", expression, got, wanted))
	}
}

// monitoring copies an example with other values for what its reader has to replace.
func monitoring(t *testing.T, dir, name string, values map[string]string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples/monitoring", name))
	require.NoError(t, err)
	content := string(text)
	for old, value := range values {
		require.Contains(t, content, old, "%s has another value in its place", name)
		content = strings.ReplaceAll(content, old, value)
	}
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// newMonitoredEnv is an env at cognito/, as the examples have it, on a server with metrics of its
// own. Prometheus scrapes both with a token that has the policy of the example.
func newMonitoredEnv(t *testing.T) (*env, *prometheus) {
	t.Helper()
	needsCommands(t, "prometheus", "promtool")
	e := newBareEnvWith(t, sandbox.VaultOptions{Config: telemetry})
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.configure(nil)
	e.writeRole("ci", nil)
	e.writeMachineRole("machine", nil)

	dir := t.TempDir()
	policy, err := os.ReadFile("../examples/monitoring/policy.hcl")
	require.NoError(t, err)
	require.NoError(t, e.client.Sys().PutPolicyWithContext(t.Context(), "prometheus", string(policy)))
	token := filepath.Join(dir, "vault-token")
	require.NoError(t, os.WriteFile(token, []byte(e.tokenWith("prometheus")), 0o600))
	monitoring(t, dir, "alerts.yml", nil)
	config := monitoring(t, dir, "prometheus.yml", map[string]string{
		"scheme: https": "scheme: http", "active.vault.example.com:8200": strings.TrimPrefix(e.vault.Addr, "http://"),
		"/etc/prometheus/vault-token": token, "scrape_interval: 30s": "scrape_interval: 1s", "evaluation_interval: 30s": "evaluation_interval: 1s",
	})
	requirePromtool(t, "", "check", "config", config)
	return e.env, startPrometheus(t, config)
}

// TestPrometheus lets a real Prometheus scrape a real server with the configuration of
// examples/monitoring.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	e, p := newMonitoredEnv(t)
	for range 3 {
		e.read("creds/ci")
	}
	e.revoke(e.read("creds/ci").LeaseID)
	e.read("creds/machine")
	e.read("creds/machine")
	e.addUser("ann")
	e.ownPassword("ann", "ann")
	e.write("library/e2e", map[string]any{"role": "ci", "size": 2})
	e.awaitFree(2)
	e.checkOut(e.client, nil)
	e.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
	_, err := e.tryRead("creds/ci")
	require.Error(t, err)

	t.Run("both targets of the example answer", func(*testing.T) {
		p.await(`sum(up)`, 2)
	})

	t.Run("what was counted is what the emulator counted", func(*testing.T) {
		calls := e.engineCalls()
		for expression, want := range map[string]int{
			`vault_cognito_aws_calls_total{operation="AdminCreateUser",code="ok"}`:                       6,
			`vault_cognito_aws_calls_total{operation="AdminCreateUser",code="TooManyRequestsException"}`: 1,
			`sum(vault_cognito_aws_calls_total{operation="AdminCreateUser"})`:                            len(calls.Of("AdminCreateUser")),
			`sum(vault_cognito_aws_calls_total{operation="AdminDeleteUser"})`:                            len(calls.Of("AdminDeleteUser")),
			`sum(vault_cognito_aws_calls_total{operation="AdminAddUserToGroup"})`:                        len(calls.Of("AdminAddUserToGroup")),
			`vault_cognito_throttles_total`:                                                              1,
			`vault_cognito_issued_total{mount="cognito",kind="user",role="ci"}`:                          4,
			`vault_cognito_issued_total{kind="library",role="ci"}`:                                       1,
			`vault_cognito_library_users{library="e2e",state="free"}`:                                    1,
			`vault_cognito_library_users{library="e2e",state="lent"}`:                                    1,
			`vault_cognito_library_users{library="e2e",state="broken"}`:                                  0,
			`vault_cognito_ended_total{kind="user",cause="lease"}`:                                       1,
			`vault_cognito_revoke_duration_seconds_count`:                                                1,
			`vault_cognito_failures_total{step="issue",code="TooManyRequestsException"}`:                 1,
			`vault_cognito_tokens_bought_total{role="machine"}`:                                          len(calls.Of(control.OperationToken)),
			`vault_cognito_token_reads_total{role="machine"}`:                                            2,
			`vault_cognito_rotations_total{kind="user_password",result="done"}`:                          1,
			`vault_cognito_rotated_objects{kind="user_password"}`:                                        1,
		} {
			p.await(expression, float64(want))
		}
		p.await(`vault_cognito_token_cost_dollars_total`, 0.00225)
		// Calls leaves out the quotas, which the engine may still be reading in the background.
		p.awaitFunc(`sum(vault_cognito_aws_calls_total)`, func() float64 { return float64(len(e.engineCalls().Calls) + len(e.QuotaReads())) })
	})

	t.Run("living objects appear with the first scan", func(t *testing.T) {
		p.await(`sum(vault_cognito_living_objects)`, 4) // Vault makes the engine scan within a minute
		require.Len(t, e.engineUsers(), 3)
	})

	t.Run("every panel of the dashboard is a query that Prometheus understands", func(t *testing.T) {
		text, err := os.ReadFile("../examples/monitoring/dashboard.json")
		require.NoError(t, err)
		var dashboard struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &dashboard))
		require.NotEmpty(t, dashboard.Panels)
		empty := map[string]bool{"Refused by the engine, throttled by AWS": true}
		for _, panel := range dashboard.Panels {
			found := 0
			for _, target := range panel.Targets {
				found += len(p.query(strings.ReplaceAll(target.Expr, "$mount", "cognito")))
			}
			require.True(t, found > 0 || empty[panel.Title], "the panel %q shows nothing", panel.Title)
		}
	})

	t.Run("no alert fires while all is well", func(t *testing.T) {
		require.Empty(t, p.query(`ALERTS{alertstate="firing"}`))
	})

	t.Run("no metric holds a secret or the name of a user", func(t *testing.T) {
		_, text := e.scrape(e.vault.Token, "cognito/metrics", "prometheus")
		secrets, err := e.Control.Secrets(t.Context())
		require.NoError(t, err)
		for _, secret := range secrets {
			require.NotContains(t, text, secret.Value)
		}
		for _, user := range e.engineUsers() {
			require.NotContains(t, text, user.Username)
		}
	})

	t.Run("the policy of the example reads metrics and nothing else", func(t *testing.T) {
		client := e.vault.Client()
		client.SetToken((&exampleEnv{env: e}).tokenWith("prometheus"))
		for _, path := range []string{"cognito/config", "cognito/creds/ci", "cognito/roles/ci"} {
			_, err := client.Logical().ReadWithContext(t.Context(), path)
			status, _ := e.refusal(err)
			require.Equal(t, 403, status, path)
		}
	})
}

// engineCalls are the calls to AWS so far, without those of the test itself.
func (e *env) engineCalls() *control.CallLog {
	log := e.Calls()
	log.Calls = slices.DeleteFunc(log.Calls, func(call control.Call) bool { return call.AccessKey == "AKIAADMIN" })
	return log
}

// engineUsers are the users that the engine issued.
func (e *env) engineUsers() []control.User {
	return (&exampleEnv{env: e}).testers()
}
