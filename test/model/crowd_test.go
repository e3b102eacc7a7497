// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// crowdSize is how many reads arrive at the same moment: more than the default limits serve in the
// 90 seconds that Vault gives a request.
const crowdSize = 1500

// answer is that of one read, and how long it took.
type answer struct {
	response *logical.Response
	err      error
	took     time.Duration
}

// TestManyReadsAtOnce reads more users at once than the default limits of a mount allow. Those that
// cannot be served learn it at once and when to come back, and no user is created for them.
func TestManyReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop(false)
		w.configureByDefault()
		// AWS's defaults: the limits of the mount must keep the calls below.
		w.cognito.SetQuotas(control.Quotas{"UserCreation": 50, "UserAccountRecovery": 30, "UserUpdate": 25, "UserAuthentication": 120})
		w.cognito.ResetCalls()

		served, refused, slowest := 0, 0, time.Duration(0)
		for _, a := range w.readAtOnce(crowdSize) {
			if a.err == nil {
				served, slowest = served+1, max(slowest, a.took)
				continue
			}
			refused++
			requireComeBack(t, a)
		}
		t.Logf("%d served, the last one after %s; %d answered 429 at once", served, slowest, refused)
		require.InDelta(t, 80*12.5, served, 20, "what UserUpdate allows in the time that a read may wait")

		calls := w.cognito.Calls()
		require.Len(t, calls.Of("AdminCreateUser"), served, "no user is created for a read that is refused")
		require.Empty(t, calls.Of("AdminDeleteUser"))
		require.Len(t, w.users(), served)
		for _, call := range calls.Calls {
			require.Empty(t, call.Code, "AWS accepts every call")
		}
	})
}

// TestStormsLeaveRoom makes a read while as many leases are revoked as Vault revokes at once, and
// revokes a lease while as many reads wait.
func TestStormsLeaveRoom(t *testing.T) {
	const revocationsAtOnce, soon = 180, 2 * time.Second
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop(false)
		w.configureByDefault()
		leases := w.readAtOnce(revocationsAtOnce + 1)
		var storm sync.WaitGroup
		for _, lease := range leases[1:] {
			storm.Go(func() { require.NoError(t, w.revoke(lease.response.Secret).err) })
		}
		synctest.Wait()
		read := w.readAtOnce(1)[0]
		require.NoError(t, read.err)
		require.Less(t, read.took, soon, "a read while leases are revoked")
		storm.Wait()

		storm.Go(func() { w.readAtOnce(crowdSize) })
		synctest.Wait()
		revoked := w.revoke(leases[0].response.Secret)
		require.NoError(t, revoked.err)
		require.Less(t, revoked.took, soon, "a revocation while users are read")
		storm.Wait()
	})
}

func (w *world) revoke(secret *logical.Secret) answer {
	began := time.Now()
	_, err := w.request(&logical.Request{Operation: logical.RevokeOperation, Path: "creds/ci", Secret: secret})
	return answer{nil, err, time.Since(began)}
}

// configureByDefault writes a config without any limit of its own, and a role with one group.
func (w *world) configureByDefault() {
	w.must(w.write("config", map[string]any{
		"aws_access_key_id": "AKIAMODEL", "aws_secret_access_key": "secret", "region": emulatortest.Region,
		"cognito_endpoint": emulatortest.Endpoint, "sts_endpoint": emulatortest.Endpoint,
	}))
	w.must(w.write("roles/ci", map[string]any{
		"credential_type": "user", "user_pool_id": w.seed.UserPoolID,
		"app_client_id": w.seed.AppClientID, "app_client_secret": w.seed.AppClientSecret, "groups": "testers", "ttl": "1h",
	}))
}

// readAtOnce makes reads at the same moment.
func (w *world) readAtOnce(count int) []answer {
	answers := make([]answer, count)
	var group sync.WaitGroup
	for n := range answers {
		group.Go(func() {
			began := time.Now()
			response, err := w.request(&logical.Request{Operation: logical.ReadOperation, Path: "creds/ci"})
			answers[n] = answer{response, err, time.Since(began)}
		})
	}
	group.Wait()
	return answers
}

// requireComeBack requires a refusal at once that says when to come back.
func requireComeBack(t *testing.T, a answer) {
	t.Helper()
	var coded logical.HTTPCodedError
	require.ErrorAs(t, a.err, &coded)
	require.Equal(t, http.StatusTooManyRequests, coded.Code())
	require.ErrorContains(t, a.err, "try again in")
	require.Zero(t, a.took, "it is refused at once")
}
