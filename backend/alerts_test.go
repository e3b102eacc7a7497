// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const alertRules = "../examples/monitoring/alerts.yml"

// history is what Prometheus would have stored of a mount: what it answered, at equal intervals.
type history struct {
	*issuer
	interval time.Duration
	began    time.Time
	// samples has one value for each interval; a series that begins later has gaps first.
	samples map[string][]float64
	length  int
}

func newHistory(t *testing.T, role map[string]any, interval time.Duration) *history {
	t.Helper()
	if _, err := exec.LookPath("promtool"); err != nil {
		counters.Skip(t, "promtool is not on PATH; Debian has it in the package prometheus")
	}
	h := &history{issuer: newIssuer(t, role), interval: interval, samples: map[string][]float64{}}
	h.began = h.clocks.now()
	return h
}

// gap stands for a series without a value.
const gap = -1e9

// scrape stores what the mount answers now.
func (h *history) scrape() {
	h.T.Helper()
	now := map[string]float64{`up{job="vault-cognito",mount="cognito"}`: 1}
	for name, family := range h.metrics() {
		for _, series := range family.GetMetric() {
			for suffix, value := range valuesOf(series) {
				if strings.HasSuffix(name, "_timestamp_seconds") {
					value -= float64(h.began.Unix()) // promtool's time begins at 0
				}
				now[name+suffix+labelsOf(series)] = value
			}
		}
	}
	h.store(now)
}

func (h *history) store(now map[string]float64) {
	for series := range now {
		if h.samples[series] == nil {
			h.samples[series] = slices.Repeat([]float64{gap}, h.length)
		}
	}
	for series, values := range h.samples {
		value, found := now[series]
		if !found {
			value = gap
		}
		h.samples[series] = append(values, value)
	}
	h.length++
}

// fail stores a scrape that had no answer.
func (h *history) fail() { h.store(map[string]float64{`up{job="vault-cognito",mount="cognito"}`: 0}) }

func valuesOf(series *dto.Metric) map[string]float64 {
	switch {
	case series.GetHistogram() != nil:
		return map[string]float64{"_count": float64(series.GetHistogram().GetSampleCount()), "_sum": series.GetHistogram().GetSampleSum()}
	case series.GetCounter() != nil:
		return map[string]float64{"": series.GetCounter().GetValue()}
	default:
		return map[string]float64{"": series.GetGauge().GetValue()}
	}
}

// labelsOf adds the label that the example's configuration adds.
func labelsOf(series *dto.Metric) string {
	labels := []string{`mount="cognito"`}
	for _, label := range series.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", label.GetName(), label.GetValue()))
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// goOn repeats for a time what happened in the last interval.
func (h *history) goOn(d time.Duration) {
	for range int(d / h.interval) {
		next := map[string]float64{}
		for series, values := range h.samples {
			last, before := values[h.length-1], values[h.length-2]
			if before == gap {
				before = 0
			}
			next[series] = last
			if strings.Contains(series, "_total{") || strings.Contains(series, "_count{") || strings.Contains(series, "_sum{") {
				next[series] = last + last - before
			}
		}
		h.store(next)
	}
}

// during lets time pass: each minute something happens, Vault makes its tick, and Prometheus
// scrapes.
func (h *history) during(d time.Duration, happens func()) {
	h.T.Helper()
	for range int(d / time.Minute) {
		happens()
		h.clocks.advance(time.Minute)
		_ = h.tick() // what fails is what the alerts are about
		h.scrape()
	}
}

// requireFiring demands that exactly these of the example's alerts fire at the end.
func (h *history) requireFiring(alerts ...string) {
	h.T.Helper()
	rules, err := filepath.Abs(alertRules)
	require.NoError(h.T, err)
	var series []map[string]string
	for name, values := range h.samples {
		texts := make([]string, 0, len(values))
		for _, value := range values {
			if value == gap {
				texts = append(texts, "_")
			} else {
				texts = append(texts, strconv.FormatFloat(value, 'f', -1, 64))
			}
		}
		series = append(series, map[string]string{"series": name, "values": strings.Join(texts, " ")})
	}
	expected := []map[string]any{}
	for _, alert := range alerts {
		expected = append(expected, map[string]any{"labels": fmt.Sprintf("{alertname=%q}", alert), "value": 1})
	}
	content, err := yaml.Marshal(map[string]any{
		"rule_files": []string{rules}, "evaluation_interval": "30s",
		"tests": []map[string]any{{
			"interval": fmt.Sprintf("%dms", h.interval.Milliseconds()), "input_series": series,
			"promql_expr_test": []map[string]any{{
				"expr":      `max by (alertname) (ALERTS{alertstate="firing"})`,
				"eval_time": (time.Duration(h.length-1) * h.interval).Truncate(30 * time.Second).String(), "exp_samples": expected,
			}},
		}},
	})
	require.NoError(h.T, err)
	path := filepath.Join(h.T.TempDir(), "alerts_test.yml")
	require.NoError(h.T, os.WriteFile(path, content, 0o600))
	output, err := exec.CommandContext(h.T.Context(), "promtool", "test", "rules", path).CombinedOutput()
	require.NoError(h.T, err, "%s", output)
}

// TestAlerts breaks what each alert of examples/monitoring is about and lets promtool say which
// alerts fire. What Prometheus would have seen is scraped from the mount, while the mount's clock
// runs ahead.
func TestAlerts(t *testing.T) {
	nothing := func() {}

	t.Run("none fires while all is well", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "5m", "max_ttl": "5m"}, time.Minute)
		h.writeMachine(nil)
		h.own("ann")
		h.lend(2)
		h.during(90*time.Minute, func() {
			require.NoError(t, h.revoke(h.issue()))
			require.NoError(t, h.revoke(h.borrow()))
			h.Read("creds/machine")
		})
		h.issue()
		h.during(15*time.Minute, nothing)
		h.requireFiring()
	})

	t.Run("CognitoNoTick fires when Vault no longer calls the engine", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.during(5*time.Minute, nothing)
		for range 9 {
			h.clocks.advance(time.Minute)
			h.scrape()
		}
		h.requireFiring("CognitoNoTick")
	})

	t.Run("CognitoNoTick fires when there never was a tick", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		for range 9 {
			h.clocks.advance(time.Minute)
			h.scrape()
		}
		h.requireFiring("CognitoNoTick")
	})

	t.Run("CognitoNoTick fires when the metrics cannot be read", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.during(5*time.Minute, nothing)
		for range 5 {
			h.fail()
		}
		h.requireFiring("CognitoNoTick")
	})

	t.Run("CognitoRotationOverdue fires when a password cannot be set", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.own("ann")
		h.Deny("cognito-idp:AdminSetUserPassword")
		h.during(30*time.Minute, nothing)
		h.requireFiring("CognitoRotationOverdue")
	})

	t.Run("CognitoRotationOverdue fires when the window of a schedule passed without a rotation, until the next one", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.own("ann")
		h.WriteOK("static-roles/ann", map[string]any{"rotation_period": 0, "rotation_schedule": "0 13 * * *", "rotation_window": "1h"})
		h.Deny("cognito-idp:AdminSetUserPassword")
		h.during(3*time.Hour, nothing) // from noon
		h.requireFiring("CognitoRotationOverdue")
		h.Deny()
		h.OK(logical.UpdateOperation, "rotate-role/ann", nil)
		h.during(30*time.Minute, nothing)
		h.requireFiring()
	})

	t.Run("CognitoUsersNotEnded fires when a user without a lease cannot be deleted", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "5m", "max_ttl": "5m"}, time.Minute)
		h.issue()
		h.Deny("cognito-idp:AdminDeleteUser")
		h.during(60*time.Minute, nothing)
		h.requireFiring("CognitoUsersNotEnded")
	})

	t.Run("CognitoUsersNotEnded fires when revocations fail", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "24h", "max_ttl": "24h"}, time.Minute)
		secret := h.issue()
		h.scrape()
		h.Deny("cognito-idp:AdminDeleteUser")
		h.during(12*time.Minute, func() { require.Error(t, h.revoke(secret)) })
		h.requireFiring("CognitoUsersNotEnded")
	})

	t.Run("CognitoUsersNotEnded does not fire after a short outage, when all users are ended", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "24h", "max_ttl": "24h"}, time.Minute)
		failing := func() (secrets []*logical.Secret) {
			for range 5 {
				secret := h.issue()
				secrets = append(secrets, secret)
			}
			h.Deny("cognito-idp:AdminDeleteUser")
			for _, secret := range secrets {
				require.Error(t, h.revoke(secret))
			}
			return secrets
		}
		var living []*logical.Secret
		h.during(2*time.Minute, func() { // the first failure ever begins a series, and shows no increase
			living = append(living, failing()...)
			h.Deny()
		})
		for _, secret := range living {
			require.NoError(t, h.revoke(secret))
		}
		h.during(7*time.Minute, nothing)
		h.requireFiring()
	})

	t.Run("CognitoQuotaNearlyFull fires when as much is asked as the limit allows", func(t *testing.T) {
		h := newHistory(t, map[string]any{"groups": "testers,admins"}, time.Second)
		h.WriteOK("config", map[string]any{"rate_limits": "UserUpdate=2"})
		h.scrape()
		began := time.Now()
		for time.Since(began) < time.Second { // so that the burst that a limiter allows counts for little
			h.issue()
		}
		h.interval = time.Since(began).Round(time.Millisecond)
		h.clocks.advance(h.interval)
		h.scrape()
		h.goOn(15 * time.Minute)
		h.samples[`vault_cognito_start_timestamp_seconds{mount="cognito"}`] = slices.Repeat([]float64{gap}, h.length) // it does tick
		h.requireFiring("CognitoQuotaNearlyFull")
	})

	t.Run("CognitoThrottled fires when AWS throttles", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException"})
		h.during(15*time.Minute, func() {
			for range 10 {
				_, err := h.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
				require.Error(t, err)
			}
		})
		h.requireFiring("CognitoThrottled")
	})

	t.Run("CognitoLibraryEmpty fires when all users are lent for long", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "24h", "max_ttl": "24h"}, time.Minute)
		h.lend(1)
		h.borrow()
		h.during(20*time.Minute, nothing)
		h.requireFiring("CognitoLibraryEmpty")
	})

	t.Run("CognitoLibraryStuck fires when a user cannot be reset", func(t *testing.T) {
		h := newHistory(t, map[string]any{"ttl": "24h", "max_ttl": "24h"}, time.Minute)
		h.lend(2)
		h.Deny("cognito-idp:AdminUserGlobalSignOut")
		h.WriteOK("library/e2e", map[string]any{"size": 3})
		h.during(20*time.Minute, nothing)
		h.requireFiring("CognitoLibraryStuck")
	})

	t.Run("CognitoTokensBoughtTooOften fires when a role does not cache", func(t *testing.T) {
		h := newHistory(t, nil, time.Minute)
		h.writeMachine(map[string]any{"cache_tokens": false})
		h.during(90*time.Minute, func() { h.Read("creds/machine") })
		h.requireFiring("CognitoTokensBoughtTooOften")
	})
}

// lend writes the library set e2e and waits until its users are free.
func (i *issuer) lend(size int) {
	i.T.Helper()
	i.WriteOK("library/e2e", map[string]any{"role": "ci", "size": size})
	(&lender{i}).requireReady(size)
}

// borrow checks out a user of the library set e2e.
func (i *issuer) borrow() *logical.Secret {
	i.T.Helper()
	return (&lender{i}).checkOut("job", nil).Secret
}

// own gives the engine the password of a new user, to be rotated each minute.
func (i *issuer) own(username string) {
	i.T.Helper()
	_, err := i.Admin.AdminCreateUser(i.T.Context(), &cip.AdminCreateUserInput{UserPoolId: &i.Seed.UserPoolID, Username: &username})
	require.NoError(i.T, err)
	i.WriteOK("static-roles/"+username, map[string]any{
		"user_pool_id": i.Seed.UserPoolID, "username": username, "rotation_period": "60s",
		"app_client_id": i.Seed.AppClientID, "app_client_secret": i.Seed.AppClientSecret,
	})
}
