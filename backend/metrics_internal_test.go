// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cache"
	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/counters"
)

// everySource has something for every gauge.
func everySource(now time.Time) metricSources {
	return metricSources{
		records: func() (recordsState, bool) {
			living := []livingCount{{"user", "ci", "delivered", 2}, {"user", "ci", "confirmed", 3}, {"app_client", "svc", "creating", 1}}
			return recordsState{living: living, due: 4, oldest: time.Minute}, true
		},
		rotations: func() ([]rotationState, bool) {
			return []rotationState{{kind: "user_password", number: 9, overdue: 1, longest: time.Hour, last: now.Add(-time.Minute), next: now.Add(time.Minute)}}, true
		},
		libraries: func() ([]libraryState, bool) {
			return []libraryState{{name: "e2e", free: 1, lent: 2, broken: 3, waiting: 4, longest: 5 * time.Second}}, true
		},
		caches: func() []cacheState { return []cacheState{{"roles", cache.Stats{Hits: 7, Misses: 2, Entries: 1}}} },
		limits: func() map[string]float64 { return map[string]float64{"UserUpdate": 12.5} },
	}
}

// recordEverything adds to every counter and histogram.
func recordEverything(m *metrics) {
	m.issued("user", "ci", time.Second, nil)
	m.issued("user", "ci", time.Second, errors.New("no"))
	m.revoked("user", time.Second, nil)
	m.revoked("user", time.Second, errors.New("no"))
	m.reconciled("user", nil)
	m.reconciled("user", errors.New("no"))
	m.tokenRead("machine")
	m.tokenBought("machine", time.Hour)
	m.awsCall("AdminCreateUser", "", time.Second, false)
	m.awsCall("AdminCreateUser", "TooManyRequestsException", time.Second, true)
	m.waited("UserUpdate", time.Second, true)
	m.rotated("user_password", nil)
	m.rotated("user_password", errors.New("no"))
	m.ticked(nil)
}

func scrape(tb testing.TB, b *backend, format string) string {
	tb.Helper()
	fields := pathMetrics(b)[0].Fields
	response, err := b.pathMetricsRead(context.Background(), nil, &framework.FieldData{Raw: map[string]any{"format": format}, Schema: fields})
	require.NoError(tb, err)
	require.Equal(tb, http.StatusOK, response.Data[logical.HTTPStatusCode])
	return string(response.Data[logical.HTTPRawBody].([]byte))
}

func parse(tb testing.TB, text string) map[string]*dto.MetricFamily {
	tb.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(tb, err)
	return families
}

// countingBackend has counted something of everything.
func countingBackend() *backend {
	now := time.Now()
	m := newMetrics("v1.2.3", func() time.Time { return now })
	m.watch(everySource(now))
	recordEverything(m)
	return &backend{metrics: m}
}

func TestMetricsText(t *testing.T) {
	b := countingBackend()

	t.Run("every family is in the text with its help and its type", func(t *testing.T) {
		families := parse(t, scrape(t, b, formatPrometheus))
		require.Len(t, families, len(b.metrics.families))
		for _, family := range b.metrics.families {
			found := families[metricsPrefix+family.name]
			require.NotNil(t, found, "%s is missing", family.name)
			require.Equal(t, family.help, found.GetHelp())
			require.Equal(t, family.kind, strings.ToLower(found.GetType().String()))
		}
	})

	t.Run("values carry their labels", func(t *testing.T) {
		text := scrape(t, b, formatPrometheus)
		for _, line := range []string{
			`vault_cognito_issued_total{kind="user",role="ci"} 1`,
			`vault_cognito_failures_total{code="internal",step="issue"} 1`,
			`vault_cognito_aws_calls_total{code="ok",operation="AdminCreateUser"} 1`,
			`vault_cognito_throttles_total{operation="AdminCreateUser"} 1`,
			`vault_cognito_token_cost_dollars_total{role="machine"} 0.00225`,
			`vault_cognito_token_life_seconds_total{role="machine"} 3600`,
			`vault_cognito_quota_wait_seconds_sum{category="UserUpdate"} 1`,
			`vault_cognito_living_objects{kind="user",role="ci",state="confirmed"} 3`,
			`vault_cognito_records_oldest_due_seconds 60`,
			`vault_cognito_rotations_overdue_seconds{kind="user_password"} 3600`,
			`vault_cognito_rotation_since_last_seconds{kind="user_password"} 60`,
			`vault_cognito_rotation_until_next_seconds{kind="user_password"} 60`,
			`vault_cognito_library_users{library="e2e",state="broken"} 3`,
			`vault_cognito_library_longest_wait_seconds{library="e2e"} 5`,
			`vault_cognito_cache_requests_total{cache="roles",result="hit"} 7`,
			`vault_cognito_quota_limit_per_second{category="UserUpdate"} 12.5`,
			`vault_cognito_build_info{version="v1.2.3"} 1`,
		} {
			require.Contains(t, text, line+"\n")
		}
	})

	t.Run("OpenMetrics ends with its mark", func(t *testing.T) {
		require.True(t, strings.HasSuffix(scrape(t, b, formatOpenMetrics), "# EOF\n"))
	})

	t.Run("promtool has nothing to complain about", func(t *testing.T) {
		promtool, err := exec.LookPath("promtool")
		if err != nil {
			counters.Skip(t, "promtool is not on PATH; Debian has it in the package prometheus")
		}
		command := exec.CommandContext(t.Context(), promtool, "check", "metrics")
		command.Stdin = strings.NewReader(scrape(t, b, formatPrometheus))
		output, err := command.CombinedOutput()
		require.NoError(t, err, "%s", output)
		require.Empty(t, string(bytes.TrimSpace(output)))
	})
}

func TestMetricsWithoutState(t *testing.T) {
	m := newMetrics("v1.2.3", time.Now)
	m.watch(metricSources{records: func() (recordsState, bool) { return recordsState{}, false }})
	families := parse(t, scrape(t, &backend{metrics: m}, formatPrometheus))
	for _, absent := range []string{"living_objects", "records_due", "records_oldest_due_seconds", "rotations_overdue", "library_users"} {
		require.NotContains(t, families, metricsPrefix+absent, "the gauge is there before anything was scanned")
	}
}

func TestMetricsNilRecordsNothing(t *testing.T) {
	var none *metrics
	require.NotPanics(t, func() {
		recordEverything(none)
		none.failed(stepTokens, errors.New("no"))
		none.dropRole("ci")
	})
}

func TestMetricsLabelsAreBounded(t *testing.T) {
	b := &backend{metrics: newMetrics("v1.2.3", time.Now)}
	living := make([]livingCount, 0, 3*metricRolesMax)
	for n := range 3 * metricRolesMax {
		role := fmt.Sprintf("role-%d", n)
		b.metrics.issued("user", role, time.Second, nil)
		b.metrics.tokenRead(role)
		b.metrics.awsCall(role, role, time.Second, true)
		b.metrics.waited(role, time.Second, true)
		living = append(living, livingCount{"user", role, "confirmed", 1})
	}
	b.metrics.watch(metricSources{records: func() (recordsState, bool) { return recordsState{living: living}, true }})
	families := parse(t, scrape(t, b, formatPrometheus))
	for name, most := range map[string]int{
		"issued_total": metricRolesMax, "token_reads_total": metricRolesMax, "living_objects": metricRolesMax,
		"aws_calls_total": metricCodesMax, "throttles_total": metricCodesMax, "quota_wait_seconds": metricCodesMax,
	} {
		require.Len(t, families[metricsPrefix+name].GetMetric(), most+1, "%s has those within the bound and one for all others", name)
	}
	var living2, issued float64
	for _, series := range families[metricsPrefix+"living_objects"].GetMetric() {
		living2 += series.GetGauge().GetValue()
	}
	for _, series := range families[metricsPrefix+"issued_total"].GetMetric() {
		issued += series.GetCounter().GetValue()
	}
	require.EqualValues(t, 3*metricRolesMax, living2, "nothing is lost beyond the bound")
	require.EqualValues(t, 3*metricRolesMax, issued, "nothing is lost beyond the bound")
}

// TestMetricsNamesOfGaugesComeAndGo reads the metrics while many jobs, one after another, have a
// role and a library set of their own.
func TestMetricsNamesOfGaugesComeAndGo(t *testing.T) {
	b := &backend{metrics: newMetrics("v1.2.3", time.Now)}
	var job string
	b.metrics.watch(metricSources{
		records: func() (recordsState, bool) {
			return recordsState{living: []livingCount{{"user", job, "confirmed", 1}}}, true
		},
		libraries: func() ([]libraryState, bool) { return []libraryState{{name: "set-" + job, free: 1}}, true },
	})
	for n := range metricRolesMax + 1 {
		job = fmt.Sprintf("job-%d", n)
		_, err := b.metrics.registry.Gather()
		require.NoError(t, err)
	}
	b.metrics.issued("user", "ci", time.Second, nil)
	text := scrape(t, b, formatPrometheus)
	for _, line := range []string{
		`vault_cognito_issued_total{kind="user",role="ci"} 1`,
		fmt.Sprintf(`vault_cognito_living_objects{kind="user",role="job-%d",state="confirmed"} 1`, metricRolesMax),
		fmt.Sprintf(`vault_cognito_library_users{library="set-job-%d",state="free"} 1`, metricRolesMax),
	} {
		require.Contains(t, text, line+"\n")
	}
	require.NotContains(t, text, metricOther)
}

// TestMetricsTokenReadsDuringDeletions reads a role while it is deleted, and counts the reads that
// come later.
func TestMetricsTokenReadsDuringDeletions(t *testing.T) {
	m := newMetrics("v1.2.3", time.Now)
	for range 200 {
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 100 {
					m.tokenRead("machine")
				}
			})
			all.Go(func() {
				for range 100 {
					m.dropRole("machine")
				}
			})
		}
		all.Wait()
		before := counted(t, m, "token_reads_total")
		m.tokenRead("machine")
		require.InDelta(t, before+1, counted(t, m, "token_reads_total"), 0, "a read is counted in a series that is not shown")
		m.dropRole("machine")
	}
}

// counted returns the sum of the values of a counter.
func counted(t *testing.T, m *metrics, name string) (sum float64) {
	t.Helper()
	families, err := m.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != metricsPrefix+name {
			continue
		}
		for _, series := range family.GetMetric() {
			sum += series.GetCounter().GetValue()
		}
	}
	return sum
}

func TestMetricsForgetDeletedRoles(t *testing.T) {
	b := countingBackend()
	b.metrics.dropRole("machine")
	text := scrape(t, b, formatPrometheus)
	require.NotContains(t, text, `role="machine"`)
	require.Contains(t, text, `role="ci"`)
	b.metrics.tokenRead("machine")
	require.Contains(t, scrape(t, b, formatPrometheus), `token_reads_total{role="machine"} 1`)
}

func TestFailureCode(t *testing.T) {
	for want, err := range map[string]error{
		"TooManyRequestsException": fmt.Errorf("role: %w", &cognito.Error{Code: "TooManyRequestsException", Kind: cognito.KindThrottled}),
		codeLimit:                  &cognito.Error{Kind: cognito.KindThrottled},
		codeNoAnswer:               &cognito.Error{Kind: cognito.KindUnavailable},
		codeBadRequest:             badRequest("no"),
		codeInternal:               errors.New("storage"),
	} {
		require.Equal(t, want, failureCode(err))
	}
}

// BenchmarkMetricsTokenRead is all that a cached token read spends on metrics.
func BenchmarkMetricsTokenRead(b *testing.B) {
	m := newMetrics("v1.2.3", time.Now)
	for n := range 1000 {
		m.tokenRead(fmt.Sprintf("role-%d", n))
	}
	for b.Loop() {
		m.tokenRead("role-500")
	}
}

// countedStorage counts the calls that reach the storage.
type countedStorage struct {
	logical.Storage
	calls atomic.Int64
}

func (s *countedStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.calls.Add(1)
	return s.Storage.Get(ctx, key)
}

func (s *countedStorage) List(ctx context.Context, prefix string) ([]string, error) {
	s.calls.Add(1)
	return s.Storage.List(ctx, prefix)
}

// tokenEndpoint answers every request with a token.
type tokenEndpoint struct{}

func (tokenEndpoint) RoundTrip(*http.Request) (*http.Response, error) {
	body := io.NopCloser(strings.NewReader(`{"access_token":"hush-token","token_type":"Bearer","expires_in":3600}`))
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
}

// newMeasuredBackend returns a mount over counted storage.
func newMeasuredBackend(tb testing.TB) (*backend, *countedStorage) {
	tb.Helper()
	b := newBackend(Options{Version: "v1.2.3", Transport: tokenEndpoint{}})
	system := &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour}
	require.NoError(tb, b.Setup(context.Background(), &logical.BackendConfig{Logger: hclog.NewNullLogger(), System: system}))
	return b, &countedStorage{Storage: &logical.InmemStorage{}}
}

func handle(tb testing.TB, b *backend, s logical.Storage, op logical.Operation, path string, data map[string]any) *logical.Response {
	tb.Helper()
	response, err := b.HandleRequest(context.Background(), &logical.Request{Operation: op, Path: path, Data: data, Storage: s, MountPoint: "cognito/"})
	require.NoError(tb, err)
	require.False(tb, response.IsError(), "%v", response)
	return response
}

// fill gives a mount 1,000 roles, 10,000 static roles and 100,000 living users, as far as its
// memory goes.
func fill(b *backend) {
	now := b.now()
	for n := range 1000 {
		role := fmt.Sprintf("role-%d", n)
		b.metrics.issued(credentialTypeUser, role, time.Second, nil)
		b.metrics.tokenRead(role)
		b.metrics.tokenBought(role, time.Hour)
		for user := range 100 {
			record := &issuedRecord{
				ID: newRecordID("20261124-1200-abcd"), Role: role, Kind: kindUser,
				State: []recordState{stateDelivered, stateConfirmed, stateEnding}[user%3], Deadline: now.Add(time.Hour),
			}
			b.census.put(record.key(), b.censusRecord(record))
		}
	}
	b.census.setDone()
	for n := range 10_000 {
		role := &staticRole{CredentialType: staticTypePassword, Username: fmt.Sprintf("user-%d", n), RotationPeriod: time.Hour, NextRotation: now.Add(time.Hour)}
		b.queue.set(fmt.Sprintf("static-%d", n), role, now)
	}
	b.queue.loaded = true
	recordEverything(b.metrics)
}

func TestMetricsOfALargeMountReadNoStorage(t *testing.T) {
	b, storage := newMeasuredBackend(t)
	fill(b)
	text := string(handle(t, b, storage, logical.ReadOperation, "metrics", map[string]any{"format": formatPrometheus}).Data[logical.HTTPRawBody].([]byte))
	require.Zero(t, storage.calls.Load())
	families := parse(t, text)
	living := 0.
	for _, series := range families[metricsPrefix+"living_objects"].GetMetric() {
		living += series.GetGauge().GetValue()
	}
	require.EqualValues(t, 100_000, living)
	require.Contains(t, text, `vault_cognito_rotated_objects{kind="user_password"} 10000`)
}

// BenchmarkMetricsScrape reads the metrics of a mount with 1,000 roles, 10,000 static roles and
// 100,000 living users.
func BenchmarkMetricsScrape(b *testing.B) {
	mount, storage := newMeasuredBackend(b)
	fill(mount)
	b.ReportAllocs()
	for b.Loop() {
		handle(b, mount, storage, logical.ReadOperation, "metrics", map[string]any{"format": formatPrometheus})
	}
	b.ReportMetric(float64(storage.calls.Load()), "storage-calls")
}

// BenchmarkCachedTokenRead is a whole read of a cached machine token, of which
// BenchmarkMetricsTokenRead is a part.
func BenchmarkCachedTokenRead(b *testing.B) {
	mount, storage := newMeasuredBackend(b)
	handle(b, mount, storage, logical.CreateOperation, "config", map[string]any{"region": "eu-west-1"})
	handle(b, mount, storage, logical.CreateOperation, "roles/machine", map[string]any{
		"app_client_id": "1h57kf5cpq17m0eml12", "app_client_secret": "hush", "cognito_pool_domain": "http://127.0.0.1:1", "scopes": "api/read",
	})
	for b.Loop() {
		handle(b, mount, storage, logical.ReadOperation, "creds/machine", nil)
	}
}
