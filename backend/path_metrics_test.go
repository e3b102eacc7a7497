// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// metrics reads the text for Prometheus and returns its families by name.
func (p *pool) metrics() map[string]*dto.MetricFamily {
	p.T.Helper()
	body := p.OK(logical.ReadOperation, "metrics", map[string]any{"format": "prometheus"}).Data[logical.HTTPRawBody].([]byte)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	require.NoError(p.T, err)
	return families
}

// metric reads one value of the data form, or 0 if it is not there.
func (p *pool) metric(name, labels string) float64 {
	p.T.Helper()
	switch value := p.Read("metrics")[name].(type) {
	case float64:
		return value
	case map[string]any:
		number, _ := value[labels].(float64)
		return number
	default:
		return 0
	}
}

func TestMetricsPath(t *testing.T) {
	t.Run("a format that does not exist is refused", func(t *testing.T) {
		m := backendtest.New(t)
		require.Equal(t, `format "json" is not allowed: it must be "data", "prometheus" or "openmetrics"`,
			m.Refused(logical.ReadOperation, "metrics", map[string]any{"format": "json"}))
	})

	t.Run("a read needs no storage and no AWS", func(t *testing.T) {
		i := newIssuer(t, nil)
		i.issue()
		i.own("ann")
		require.NoError(t, i.tick())
		i.storage.Repair()
		before := len(i.Calls().Calls)
		for _, format := range []string{"data", "prometheus", "openmetrics"} {
			i.OK(logical.ReadOperation, "metrics", map[string]any{"format": format})
		}
		require.Empty(t, i.storage.Calls())
		require.Len(t, i.Calls().Calls, before)
	})
}

func TestMetricsCountRequests(t *testing.T) {
	i := newIssuer(t, nil)
	secret := i.issue()
	i.issue()
	require.NoError(t, i.revoke(secret))
	i.Deny("cognito-idp:AdminCreateUser")
	_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
	require.Error(t, err)
	i.Deny("cognito-idp:AdminDeleteUser")
	require.Error(t, i.revoke(i.issue()))

	require.EqualValues(t, 3, i.metric("issued_total", "kind=user,role=ci"))
	require.EqualValues(t, 1, i.metric("ended_total", "cause=lease,kind=user"))
	require.EqualValues(t, 1, i.metric("failures_total", "code=AccessDeniedException,step=issue"))
	require.EqualValues(t, 1, i.metric("failures_total", "code=AccessDeniedException,step=revoke"))
	calls := i.Calls()
	for _, operation := range []string{"AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth", "AdminDeleteUser", "GetCallerIdentity"} {
		answered := map[string]float64{}
		for _, call := range calls.Of(operation) {
			code := "ok"
			if call.Code != "" {
				code = call.Code
			}
			answered[code]++
		}
		for code, number := range answered {
			require.Equal(t, number, i.metric("aws_calls_total", "code="+code+",operation="+operation), "%s: %s", operation, code)
		}
	}
}

func TestMetricsCountTokens(t *testing.T) {
	i := newIssuer(t, nil)
	i.writeMachine(nil)
	for range 5 {
		i.Read("creds/machine")
	}
	require.EqualValues(t, 5, i.metric("token_reads_total", "role=machine"))
	require.EqualValues(t, 1, i.metric("tokens_bought_total", "role=machine"))
	require.InDelta(t, 0.00225, i.metric("token_cost_dollars_total", "role=machine"), 1e-9)
	require.InDelta(t, 3600, i.metric("token_life_seconds_total", "role=machine"), 5)
	require.EqualValues(t, i.tokenRequests(), i.metric("aws_calls_total", "code=ok,operation="+control.OperationToken))
	i.OK(logical.DeleteOperation, "roles/machine", nil)
	require.Zero(t, i.metric("token_reads_total", "role=machine"), "a deleted role needs no series")
}

func TestMetricsOfRecords(t *testing.T) {
	role := map[string]any{"ttl": "5m", "max_ttl": "2h"}
	i := newIssuer(t, role)

	t.Run("living objects are absent until the first scan", func(t *testing.T) {
		i.issue()
		require.NotContains(t, i.Read("metrics"), "living_objects")
		require.NoError(t, i.tick())
		require.EqualValues(t, 1, i.metric("living_objects", "kind=user,role=ci,state=delivered"))
	})

	t.Run("they follow what is issued, renewed and revoked", func(t *testing.T) {
		first, second := i.issue(), i.issue()
		require.EqualValues(t, 3, i.metric("living_objects", "kind=user,role=ci,state=delivered"))
		i.renew(first)
		require.EqualValues(t, 2, i.metric("living_objects", "kind=user,role=ci,state=delivered"))
		require.EqualValues(t, 1, i.metric("living_objects", "kind=user,role=ci,state=confirmed"))
		require.NoError(t, i.revoke(second))
		require.EqualValues(t, 1, i.metric("living_objects", "kind=user,role=ci,state=delivered"))
		require.Len(t, i.Users(), 2)
	})

	t.Run("another process counts the same after its first tick", func(t *testing.T) {
		before := i.Read("metrics")["living_objects"]
		i.newProcess()
		require.NotContains(t, i.Read("metrics"), "living_objects")
		i.issue()
		require.NoError(t, i.tick())
		require.EqualValues(t, 2, i.metric("living_objects", "kind=user,role=ci,state=delivered"))
		require.Equal(t, before.(map[string]any)["kind=user,role=ci,state=confirmed"], i.metric("living_objects", "kind=user,role=ci,state=confirmed"))
	})

	t.Run("records past their deadline are due until their object is gone", func(t *testing.T) {
		i.Deny("cognito-idp:AdminDeleteUser")
		i.passAnyway(3 * time.Hour)
		require.EqualValues(t, 3, i.metric("records_due", ""))
		require.Greater(t, i.metric("records_oldest_due_seconds", ""), 600.)
		require.NotZero(t, i.metric("failures_total", "code=AccessDeniedException,step=reconcile"))
		i.Deny()
		i.passAnyway(2 * time.Hour)
		require.Zero(t, i.metric("records_due", ""))
		require.Zero(t, i.metric("records_oldest_due_seconds", ""))
		require.EqualValues(t, 3, i.metric("ended_total", "cause=record,kind=user"))
		require.NotContains(t, i.Read("metrics"), "living_objects")
	})
}

// passAnyway lets time pass with ticks that may fail.
func (i *issuer) passAnyway(d time.Duration) {
	i.T.Helper()
	for ; d > 0; d -= time.Minute {
		i.clocks.advance(min(d, time.Minute))
		_ = i.tick() // the test is about ticks that fail
	}
}

func TestMetricsOfRotations(t *testing.T) {
	i := newIssuer(t, nil)
	i.own("ann")
	require.EqualValues(t, 1, i.metric("rotations_total", "kind=user_password,result=done"))
	require.EqualValues(t, 1, i.metric("rotated_objects", "kind=user_password"))
	require.EqualValues(t, 0, i.metric("rotations_overdue", "kind=user_password"))
	require.EqualValues(t, 60, i.metric("rotation_until_next_seconds", "kind=user_password"))

	i.Deny("cognito-idp:AdminSetUserPassword")
	i.passAnyway(10 * time.Minute)
	require.EqualValues(t, 1, i.metric("rotations_overdue", "kind=user_password"))
	require.EqualValues(t, 540, i.metric("rotations_overdue_seconds", "kind=user_password"))
	require.EqualValues(t, -540, i.metric("rotation_until_next_seconds", "kind=user_password"))
	require.EqualValues(t, 600, i.metric("rotation_since_last_seconds", "kind=user_password"))
	require.NotZero(t, i.metric("rotations_total", "kind=user_password,result=failed"))
	require.NotZero(t, i.metric("failures_total", "code=AccessDeniedException,step=rotate"))

	i.Deny()
	i.passAnyway(time.Hour)
	require.EqualValues(t, 0, i.metric("rotations_overdue", "kind=user_password"))
	i.OK(logical.DeleteOperation, "static-roles/ann", nil)
	require.NotContains(t, i.Read("metrics"), "rotated_objects")
}

func TestMetricsOfTicks(t *testing.T) {
	i := newIssuer(t, nil)
	require.NotContains(t, i.Read("metrics"), "last_tick_timestamp_seconds", "there was no tick yet")
	i.pass(time.Minute)
	require.EqualValues(t, i.clocks.now().Unix(), i.metric("last_tick_timestamp_seconds", ""))
}
