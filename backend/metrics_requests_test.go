// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// TestMetricsCountEveryRequest makes each request that the metrics count, once with and once
// without success.
func TestMetricsCountEveryRequest(t *testing.T) {
	denied := func(step string) string { return "code=AccessDeniedException,step=" + step }

	t.Run("a renewal that is refused", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "1h", "max_ttl": "24h"})
		secret := i.issue()
		i.renew(secret)
		require.NotContains(t, i.Read("metrics"), "failures_total")
		i.OK(logical.DeleteOperation, "roles/ci", nil)
		_, err := i.lease(logical.RenewOperation, secret)
		require.Error(t, err)
		require.EqualValues(t, 1, i.metric("failures_total", "code=bad_request,step=renew"))
	})

	t.Run("a role whose limit is reached", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"max_issued": 1})
		i.issue()
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.Error(t, err)
		require.EqualValues(t, 1, i.metric("failures_total", "code=limit_reached,step=issue"))
	})

	t.Run("tokens of a user", func(t *testing.T) {
		p := newPool(t)
		response, err := p.signIn("nobody", "hush")
		require.True(t, err != nil || response.IsError())
		require.Regexp(t, `step=tokens`, p.Read("metrics")["failures_total"])
	})

	t.Run("machine tokens", func(t *testing.T) {
		i := newIssuer(t, nil)
		i.writeMachine(nil)
		i.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBefore})
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/machine", nil)
		require.Error(t, err)
		require.EqualValues(t, 1, i.metric("failures_total", "code=no_answer,step=issue"))
		require.Zero(t, i.metric("token_reads_total", "role=machine"))
		require.Zero(t, i.metric("tokens_bought_total", "role=machine"))
	})

	t.Run("app clients", func(t *testing.T) {
		i := newClientIssuer(t, nil)
		require.NoError(t, i.revoke(i.issue()))
		i.Deny("cognito-idp:CreateUserPoolClient")
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.Error(t, err)
		require.EqualValues(t, 1, i.metric("issued_total", "kind=app_client,role=ci"))
		require.EqualValues(t, 1, i.metric("ended_total", "cause=lease,kind=app_client"))
		require.EqualValues(t, 1, i.metric("failures_total", denied("issue")))
	})

	t.Run("group memberships", func(t *testing.T) {
		e := newElevator(t, nil)
		require.NoError(t, e.revoke(e.issue()))
		e.Deny("cognito-idp:AdminAddUserToGroup")
		_, err := e.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.Error(t, err)
		require.EqualValues(t, 1, e.metric("issued_total", "kind=group_membership,role=ci"))
		require.EqualValues(t, 1, e.metric("ended_total", "cause=lease,kind=group_membership"))
		require.EqualValues(t, 1, e.metric("failures_total", denied("issue")))
	})

	t.Run("check-outs and check-ins", func(t *testing.T) {
		l := newLender(t, nil, map[string]any{"size": 1})
		l.checkOut("ann", nil)
		require.EqualValues(t, 1, l.metric("issued_total", "kind=library,role=ci"))
		require.EqualValues(t, 1, l.metric("library_users", "library=e2e,state=lent"))
		l.noneFree(nil)
		require.EqualValues(t, 1, l.metric("failures_total", "code=none_free,step=check_out"))
		l.checkIn("bob", "nobody")
		require.EqualValues(t, 1, l.metric("failures_total", "code=bad_request,step=check_in"))

		l.checkIn("ann")
		l.requireReady(1)
		l.OK(logical.DeleteOperation, "library/e2e", nil)
		l.requireNoEntries()
		require.Eventually(t, func() bool { return l.Read("metrics")["library_users"] == nil }, 10*time.Second, 10*time.Millisecond,
			"a deleted set needs no series")
	})

	t.Run("a check-out that waits", func(t *testing.T) {
		l := newLender(t, nil, map[string]any{"size": 1})
		l.checkOut("ann", nil)
		waits := make(chan error, 1)
		go func() {
			_, err := l.as("bob", "library/e2e/check-out", map[string]any{"wait": 30})
			waits <- err
		}()
		require.Eventually(t, func() bool { return l.waiting() == 1 }, 10*time.Second, time.Millisecond)
		l.clocks.advance(7 * time.Second)
		require.EqualValues(t, 7, l.metric("library_longest_wait_seconds", "library=e2e"))
		l.checkIn("ann")
		require.NoError(t, <-waits)
		require.Zero(t, l.metric("library_longest_wait_seconds", "library=e2e"))
		require.Zero(t, l.metric("library_waiting", "library=e2e"))
	})

	t.Run("a tick that cannot read the storage", func(t *testing.T) {
		i := newIssuer(t, nil)
		i.storage.Fail(backendtest.StorageFault{At: 1, ForGood: true})
		require.Error(t, i.tick())
		require.EqualValues(t, 1, i.metric("failures_total", "code=internal,step=tick"))
		require.EqualValues(t, i.clocks.now().Unix(), i.metric("last_tick_timestamp_seconds", ""), "Vault does call the engine")
		require.NotContains(t, i.Read("metrics"), "records_due")
		i.storage.Repair()
		require.NoError(t, i.tick())
		require.Contains(t, i.Read("metrics"), "records_due")
	})

	t.Run("rotations of the access key", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "24h"})
		r.OK(logical.RollbackOperation, "", nil)
		require.EqualValues(t, 1, r.metric("rotated_objects", "kind=root_access_key"))
		require.EqualValues(t, 24*time.Hour/time.Second, r.metric("rotation_until_next_seconds", "kind=root_access_key"))
		r.Deny("iam:CreateAccessKey")
		response, err := r.rotate()
		require.True(t, err != nil || response.IsError())
		require.EqualValues(t, 1, r.metric("rotations_total", "kind=root_access_key,result=failed"))
		require.EqualValues(t, 1, r.metric("failures_total", "code=AccessDenied,step=rotate"))
		r.clock.advance(25 * time.Hour)
		require.EqualValues(t, 1, r.metric("rotations_overdue", "kind=root_access_key"))
		r.Deny()
		_, err = r.rotate()
		require.NoError(t, err)
		require.EqualValues(t, 1, r.metric("rotations_total", "kind=root_access_key,result=done"))
		require.EqualValues(t, 0, r.metric("rotations_overdue", "kind=root_access_key"), "before the next tick, too")
		r.OK(logical.DeleteOperation, "config", nil)
		require.NotContains(t, r.Read("metrics"), "rotated_objects", "a deleted config has nothing to rotate")
	})
}

// TestMetricsCountCallsUnderFaults compares the counted calls with those that the emulator saw,
// while calls of requests fail in each way.
func TestMetricsCountCallsUnderFaults(t *testing.T) {
	for _, kind := range []string{
		control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter,
		control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody, control.FaultRaw,
	} {
		t.Run("a call that ends with "+kind, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t, nil)
			i.writeMachine(nil)
			i.WriteOK("config", map[string]any{"request_timeout": 1, "max_retries": 1})
			i.issue()
			issued := 1
			for _, operation := range []string{"AdminCreateUser", "AdminSetUserPassword", "AdminAddUserToGroup", "AdminInitiateAuth", control.OperationToken} {
				fault := control.Fault{Operation: operation, Kind: kind, Times: 1}
				switch kind {
				case control.FaultError, control.FaultErrorAfter:
					fault.Code = "InternalErrorException"
				case control.FaultRaw:
					fault.Status, fault.ContentType, fault.Body = 502, "text/html", "<h1>Bad Gateway</h1>"
				}
				i.Fault(fault)
				if _, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil); err == nil {
					issued++
				}
				_, _ = i.Request(t.Context(), logical.ReadOperation, "creds/machine", nil) // may fail
				i.Heal()
			}
			seen := map[string]float64{}
			for _, call := range i.Calls().Calls {
				if call.AccessKey != "AKIAADMIN" {
					seen[call.Operation]++
				}
			}
			counted := map[string]float64{}
			for _, series := range i.metrics()["vault_cognito_aws_calls_total"].GetMetric() {
				for _, label := range series.GetLabel() {
					if label.GetName() == "operation" {
						counted[label.GetValue()] += series.GetCounter().GetValue()
					}
				}
			}
			delete(counted, "GetProvisionedLimit") // Calls leaves out the quotas
			require.Equal(t, seen, counted)
			require.EqualValues(t, issued, i.metric("issued_total", "kind=user,role=ci"))
		})
	}
}
