// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// clocks are the wall clock and the monotonic clock of a machine.
type clocks struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
	asleep  time.Duration
}

func (c *clocks) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

func (c *clocks) monotonic() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

func (c *clocks) suspended() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asleep
}

func (c *clocks) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

// suspend lets time pass while the machine is suspended.
func (c *clocks) suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.asleep = c.wall.Add(d), c.asleep+d
}

// set moves the wall clock only.
func (c *clocks) set(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(by)
}

// issuer is a mount that issues users of role "ci", with clocks and a log.
type issuer struct {
	*pool
	clocks *clocks
	log    *bytes.Buffer
}

func newIssuer(t *testing.T, role map[string]any) *issuer {
	t.Helper()
	c := &clocks{wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	i := &issuer{clocks: c, log: &bytes.Buffer{}}
	i.pool = newPoolOn(t, i.options())
	i.newProcess()
	i.WriteOK("config", map[string]any{"sts_endpoint": i.Seed.Domain, "rate_limits": noLimits})
	i.WriteOK("roles/ci", role)
	return i
}

func (i *issuer) options() backend.Options {
	return backend.Options{Version: "v1.2.3", Now: i.clocks.now, Elapsed: i.clocks.monotonic, Boot: "machine", Suspended: i.clocks.suspended, WALMinAge: 5 * time.Minute}
}

// noLimits keeps the engine's own limits out of a test.
var noLimits = map[string]any{"UserUpdate": 1000, "UserCreation": 1000, "UserAccountRecovery": 1000, "UserAuthentication": 1000}

// newProcess starts another process for the mount, as after the death of the one before.
func (i *issuer) newProcess() {
	i.T.Helper()
	i.Mount = i.mountOn(i.storage, i.System)
}

func (i *issuer) mountOn(storage logical.Storage, system *logical.StaticSystemView) *backendtest.Mount {
	i.T.Helper()
	b, err := backend.Factory(i.options())(i.T.Context(), &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: i.log}), System: system,
	})
	require.NoError(i.T, err)
	return &backendtest.Mount{T: i.T, Backend: b, Storage: storage, System: system}
}

func (i *issuer) issue() *logical.Secret {
	i.T.Helper()
	return i.OK(logical.ReadOperation, "creds/ci", nil).Secret
}

func (i *issuer) renew(secret *logical.Secret) *logical.Secret {
	i.T.Helper()
	response, err := i.lease(logical.RenewOperation, secret)
	require.NoError(i.T, err)
	return response.Secret
}

func (i *issuer) revoke(secret *logical.Secret) error {
	i.T.Helper()
	_, err := i.lease(logical.RevokeOperation, secret)
	return err
}

// pass lets time pass, with the tick that Vault makes each minute.
func (i *issuer) pass(d time.Duration) {
	i.T.Helper()
	for ; d > 0; d -= time.Minute {
		i.clocks.advance(min(d, time.Minute))
		require.NoError(i.T, i.tick())
	}
}

// sealed lets time pass without a process.
func (i *issuer) sealed(d time.Duration) {
	i.T.Helper()
	i.clocks.advance(d)
	i.newProcess()
}

func (i *issuer) tick() error {
	i.T.Helper()
	response, err := i.Request(i.T.Context(), logical.RollbackOperation, "", nil)
	if err == nil && response.IsError() {
		return response.Error()
	}
	return err
}

func (i *issuer) requireUsers(count int, why string) {
	i.T.Helper()
	require.Len(i.T, i.Users(), count, why)
}

// states are those of the records of role "ci", in order of time.
func (i *issuer) states() (states []string) {
	i.T.Helper()
	response := i.OK(logical.ListOperation, "issued/ci", nil)
	for _, id := range stringsOf(response.Data["keys"]) {
		states = append(states, response.Data["key_info"].(map[string]any)[id].(map[string]any)["state"].(string))
	}
	return states
}

func stringsOf(keys any) []string {
	list, _ := keys.([]string)
	return list
}

// failing lets every call of an operation fail until Heal.
func (i *issuer) failing(operation string) {
	i.T.Helper()
	i.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: "InternalErrorException"})
}

// hourly roles issue leases of an hour, which can be renewed for a day.
func hourly() map[string]any { return map[string]any{"ttl": "1h", "max_ttl": "24h"} }

func TestUserWithoutALease(t *testing.T) {
	t.Run("ends soon after its first ttl", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.issue()
		require.Equal(t, []string{"delivered"}, i.states())
		i.pass(time.Hour)
		i.requireUsers(1, "its lease may have begun a little later")
		i.pass(8 * time.Minute)
		i.requireUsers(0, "no lease can have it any more")
		require.Empty(t, i.states())
		i.pass(2 * time.Minute)
		require.Empty(t, i.entries("issued/"), "nothing is stored about it any more")
	})

	for name, c := range map[string]struct {
		role map[string]any
		ttl  time.Duration
	}{
		"without a ttl that is the mount's default":      {map[string]any{"ttl": 0, "max_ttl": 0}, time.Hour},
		"max_ttl bounds it where it is less than that":   {map[string]any{"ttl": 0, "max_ttl": "20m"}, 20 * time.Minute},
		"the mount's maximum bounds it, too":             {map[string]any{"ttl": "8760h", "max_ttl": 0}, 24 * time.Hour},
		"a ttl of the request is shorter than the roles": {map[string]any{"ttl": "8h", "max_ttl": 0}, 8 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, c.role)
			secret := i.issue()
			require.Equal(t, c.ttl, secret.TTL)
			i.pass(c.ttl)
			i.requireUsers(1, "its lease may be alive")
			i.pass(8 * time.Minute)
			i.requireUsers(0, "its lease is over")
		})
	}

	t.Run("is ended by another process as its role said, when the role is gone", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "10m", "max_ttl": "1h", "revocation": "disable"})
		i.issue()
		i.OK(logical.DeleteOperation, "roles/ci", nil)
		i.newProcess()
		i.pass(20 * time.Minute)
		i.requireUsers(1, "it is kept")
		require.False(t, i.Users()[0].Enabled)
		require.Empty(t, i.states())
	})

	t.Run("stays for the longest life after a renewal", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		i.pass(30 * time.Minute)
		i.renew(secret)
		require.Equal(t, []string{"confirmed"}, i.states())
		i.pass(23*time.Hour + 30*time.Minute)
		i.requireUsers(1, "its lease may have been renewed until now")
		i.pass(8 * time.Minute)
		i.requireUsers(0, "no lease of it can be alive, so one that Vault lost does not keep it")
	})

	t.Run("stays for the longest life that its lease could have had when the mount's maximum is lowered", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "1h", "max_ttl": 0})
		secret := i.issue()
		i.renew(secret)
		i.System.MaxLeaseTTLVal = 2 * time.Hour
		i.renew(secret)
		i.pass(23 * time.Hour)
		i.requireUsers(1, "the first renewal could be for 24 hours")
		i.pass(2 * time.Hour)
		i.requireUsers(0, "that is over")
	})

	t.Run("does not end before its lease if the mount's TTLs were raised just before", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": 0, "max_ttl": 0})
		i.issue() // the TTLs are cached now
		i.System.DefaultLeaseTTLVal, i.System.MaxLeaseTTLVal = 40*time.Hour, 60*time.Hour
		secret := i.issue()
		ttl, _, err := framework.CalculateTTL(i.System, 0, secret.TTL, 0, secret.MaxTTL, 0, time.Time{})
		require.NoError(t, err)
		i.pass(ttl)
		require.Contains(t, i.states(), "delivered", "Vault gave the lease %s", ttl)
	})

	t.Run("stays as long as a raised maximum allows", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "1h", "max_ttl": 0})
		secret := i.issue()
		i.System.MaxLeaseTTLVal = 48 * time.Hour
		i.pass(time.Minute)
		require.Equal(t, 48*time.Hour, i.renew(secret).MaxTTL)
		i.pass(47 * time.Hour)
		i.requireUsers(1, "its lease may be alive")
	})
}

func TestUserThatWasNotDelivered(t *testing.T) {
	// leftover leaves a user at Cognito whose sign-in and undo failed.
	leftover := func(t *testing.T) *issuer {
		t.Helper()
		i := newIssuer(t, hourly())
		i.failing("AdminInitiateAuth")
		i.failing("AdminDeleteUser")
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		requireStatus(t, 502, err)
		i.requireUsers(1, "it could not be undone")
		require.Equal(t, []string{"creating"}, i.states())
		return i
	}

	t.Run("ends without role and config", func(t *testing.T) {
		i := leftover(t)
		i.Heal()
		i.OK(logical.DeleteOperation, "roles/ci", nil)
		i.pass(4 * time.Minute)
		i.requireUsers(1, "its process may still be creating it")
		i.pass(3 * time.Minute)
		i.requireUsers(0, "its process is dead")
		require.Empty(t, i.states())
	})

	t.Run("leaves no record behind if it was undone", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.failing("AdminInitiateAuth")
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		requireStatus(t, 502, err)
		require.Empty(t, i.states())
	})

	t.Run("keeps its record while its create may still take effect", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultHang})
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		requireStatus(t, 502, err)
		require.Equal(t, []string{"creating"}, i.states())
		i.Heal()
		i.pass(7 * time.Minute)
		require.Empty(t, i.states())
	})

	t.Run("is deleted if its record was deleted meanwhile", func(t *testing.T) {
		i := newIssuer(t, hourly())
		require.NoError(t, i.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminInitiateAuth": 300}}))
		failed := make(chan error, 1)
		go func() {
			_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			failed <- err
		}()
		require.Eventually(t, func() bool { return len(i.Calls().Of("AdminInitiateAuth")) > 0 }, 10*time.Second, time.Millisecond)
		require.NoError(t, logical.ClearView(t.Context(), i.storage.Storage.(logical.ClearableView)))
		require.Error(t, <-failed)
		i.requireUsers(0, "nothing would end it")
	})
}

// TestProcessDiesWhileIssuing lets the process die at each storage call of a read.
func TestProcessDiesWhileIssuing(t *testing.T) {
	i := newIssuer(t, hourly())
	i.storage.Repair()
	i.issue()
	for n, call := range i.storage.Calls() {
		t.Run(fmt.Sprintf("at storage call %d, %s", n+1, call), func(t *testing.T) {
			i := newIssuer(t, hourly())
			i.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultHang})
			i.storage.Fail(backendtest.StorageFault{At: n + 1, ForGood: true})
			_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			require.Error(t, err)
			i.Heal()
			i.storage.Repair()
			i.newProcess()
			i.pass(25 * time.Hour)
			i.requireUsers(0, "no lease was stored")
			require.Empty(t, i.states())
		})
	}
}

func TestUnseenRenewals(t *testing.T) {
	const day = 24 * time.Hour
	for name, gap := range map[string]func(i *issuer){
		"another plugin version served the mount": func(i *issuer) { i.sealed(10 * time.Minute) },
		"Vault was sealed":                        func(i *issuer) { i.sealed(40 * time.Minute) },
		"the machine was suspended":               func(i *issuer) { i.clocks.advance(6 * time.Minute) },
		"the clock was set forward":               func(i *issuer) { i.clocks.set(2 * time.Hour) },
	} {
		t.Run("a living lease keeps its user after "+name, func(t *testing.T) {
			i := newIssuer(t, hourly())
			i.issue()
			i.pass(5 * time.Minute)
			gap(i)
			i.pass(3 * time.Hour)
			i.requireUsers(1, "its lease may have been renewed unseen")
			i.pass(day + 2*time.Hour)
			i.requireUsers(0, "its longest life is over")
		})
	}

	t.Run("a lease that was stored after a suspension keeps its user though the clock is set back right after it", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "10m", "max_ttl": "10m"})
		i.System.MaxLeaseTTLVal = 10 * time.Minute
		i.issue()
		i.clocks.suspend(12 * time.Minute) // then Vault stores the lease: by the wall clock it ends 22 minutes after the issue
		i.clocks.set(-20 * time.Minute)
		i.newProcess() // Vault is unsealed: from here on the lease ends by the wall clock
		i.pass(29 * time.Minute)
		i.requireUsers(1, "its lease is alive")
		i.pass(10 * time.Minute)
		i.requireUsers(0, "its lease is over")
	})

	t.Run("a clock that is set forward by more than the longest life ends nothing early", func(t *testing.T) {
		i := newIssuer(t, hourly())
		renewed, fresh := i.issue(), i.issue()
		i.pass(5 * time.Minute)
		i.renew(renewed)
		i.clocks.set(30 * time.Hour)
		i.pass(50 * time.Minute)
		i.requireUsers(2, "by Vault's timers both leases are alive")
		require.NoError(t, i.revoke(renewed))
		require.NoError(t, i.revoke(fresh))
		i.requireUsers(0, "they are revoked")
	})

	t.Run("a clock that is set back by a day keeps a living lease", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		i.pass(5 * time.Minute)
		i.clocks.set(-day)
		i.pass(10 * time.Minute)
		i.renew(secret)
		i.pass(20 * time.Hour)
		i.requireUsers(1, "its lease may be alive")
		i.pass(2*day + time.Hour)
		i.requireUsers(0, "its longest life is over, also by the clock that was set back")
	})

	t.Run("a short restart is no gap", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.issue()
		i.pass(5 * time.Minute)
		i.sealed(30 * time.Second)
		i.pass(65 * time.Minute)
		i.requireUsers(0, "its first ttl is over, and no renewal can have gone unseen")
	})

	t.Run("a failed call for the mount's TTLs is not a TTL of 0", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": 0, "max_ttl": 0})
		i.System.DefaultLeaseTTLVal, i.System.MaxLeaseTTLVal = 0, 0 // as when the call to Vault fails
		secret := i.issue()
		require.Equal(t, 768*time.Hour, secret.MaxTTL, "the lease must not be longer than the record says")
		i.pass(3 * time.Hour)
		i.System.DefaultLeaseTTLVal, i.System.MaxLeaseTTLVal = time.Hour, day
		i.sealed(760 * time.Hour)
		i.pass(time.Minute)
		i.requireUsers(1, "its lease may have been of this length")
		i.pass(20 * time.Hour)
		i.requireUsers(0, "no lease can be alive")
	})

	t.Run("a renewal of a lease whose record was lost creates one", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		require.NoError(t, logical.ClearView(t.Context(), issuedView(i)))
		require.Empty(t, i.states())
		i.renew(secret)
		require.Equal(t, []string{"confirmed"}, i.states())
		i.pass(25 * time.Hour)
		i.requireUsers(0, "its longest life is over")
	})

	t.Run("a renewal of a lease of the 2021 plugin creates one", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		secret.InternalData = map[string]any{"secret_type": "user", "username": secret.InternalData["username"], "role": "ci"}
		require.NoError(t, logical.ClearView(t.Context(), issuedView(i)))
		i.renew(secret)
		i.renew(secret)
		require.Equal(t, []string{"confirmed"}, i.states())
		require.NoError(t, i.revoke(secret))
		require.Empty(t, i.states())
		i.requireUsers(0, "it is revoked")
	})
}

// issuedView is all that is stored about issued objects.
func issuedView(i *issuer) logical.ClearableView {
	return logical.NewStorageView(i.storage.Storage, "issued/")
}

func TestEndsThatFail(t *testing.T) {
	t.Run("nothing is given up after an outage of more than a day", func(t *testing.T) {
		i := newIssuer(t, hourly())
		for range 40 {
			i.issue()
		}
		i.sealed(50 * time.Hour)
		i.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserUpdate": 0.001}})
		_ = i.tick()
		require.NotEmpty(t, i.states(), "the engine's own limit is no attempt")
		require.NotContains(t, i.states(), "ending", "the engine's own limit is no attempt")
		i.failing("AdminDeleteUser")
		i.WriteOK("config", map[string]any{"rate_limits": noLimits})
		for range 30 {
			i.clocks.advance(time.Hour)
			_ = i.tick()
		}
		require.Len(t, i.states(), len(i.Users()), "nothing is forgotten")
		require.Greater(t, len(i.Users()), 30, "most could not be ended")
		i.Heal()
		for range 5 {
			i.clocks.advance(time.Hour)
			require.NoError(t, i.tick())
		}
		i.requireUsers(0, "the outage is over")
		require.Empty(t, i.states())
	})

	t.Run("the record says why, and the error names how many and the first three", func(t *testing.T) {
		i := newIssuer(t, hourly())
		for range 20 {
			i.issue()
		}
		i.Deny("cognito-idp:AdminDeleteUser")
		i.sealed(25 * time.Hour)
		err := i.tick()
		require.ErrorContains(t, err, "issued objects could not be ended")
		require.ErrorContains(t, err, "AdminDeleteUser")
		require.Equal(t, 3, strings.Count(err.Error(), "deleting user"), err)
		require.Less(t, len(err.Error()), 4<<10)
		ending := 0
		for _, id := range i.records() {
			if record := i.Read("issued/ci/" + id); record["state"] == "ending" {
				ending++
				require.Contains(t, record["last_error"], "AdminDeleteUser")
			}
		}
		require.Positive(t, ending)
		i.Deny()
		for range 3 {
			i.clocks.advance(time.Hour)
			require.NoError(t, i.tick())
		}
		i.requireUsers(0, "the right is back")
	})

	t.Run("a pool that is out of reach does not keep another waiting", func(t *testing.T) {
		i := newIssuer(t, hourly())
		for range 20 {
			i.issue()
		}
		unreachable := i.Users()
		other := i.MakePool(&cip.CreateUserPoolInput{})
		id, secret := i.MakeClient(other)
		i.WriteOK("roles/other", userRole(map[string]any{"user_pool_id": other, "app_client_id": id, "app_client_secret": secret, "ttl": "1h"}))
		i.Read("creds/other")
		for _, user := range unreachable {
			i.Fault(control.Fault{Operation: "AdminDeleteUser", Username: user.Username, Kind: control.FaultError, Code: "InternalErrorException"})
		}
		i.sealed(25 * time.Hour)
		_ = i.tick()
		i.requireUsers(20, "the one of the other pool is gone")
	})

	t.Run("the reconciler repeats the end that a revocation failed at", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		i.renew(secret)
		i.failing("AdminDeleteUser")
		require.Error(t, i.revoke(secret))
		require.Equal(t, []string{"ending"}, i.states())
		i.Heal()
		i.pass(3 * time.Minute)
		i.requireUsers(0, "Vault may have given up")
		require.NoError(t, i.revoke(secret), "and if it has not, there is nothing left to do")
	})

	t.Run("a record that cannot be read is kept and reported", func(t *testing.T) {
		for name, stored := range map[string]string{
			"damaged":           `{"versio`,
			"of a later format": `{"version":99,"kind":"user","state":"delivered"}`,
			"of a later kind":   `{"version":1,"kind":"phone_number","state":"delivered","deadline":"2001-01-01T01:01:01Z"}`,
		} {
			t.Run(name, func(t *testing.T) {
				i := newIssuer(t, hourly())
				id := "20260301-1100-abcd-abcdefgh2345"
				for key, value := range map[string]string{"issued/records/ci/20260301-1100-abcd/abcdefgh2345": stored, "issued/due/20260301/1105/ci/20260301-1100-abcd": "{}"} {
					require.NoError(t, i.storage.Put(t.Context(), &logical.StorageEntry{Key: key, Value: []byte(value)}))
				}
				require.ErrorContains(t, i.tick(), id)
				i.pass(10 * time.Minute) // it is not reported each minute
				i.clocks.advance(24 * time.Hour)
				require.ErrorContains(t, i.tick(), id)
				require.Equal(t, []string{id}, i.records())
				require.NotNil(t, i.Read("issued/ci/"+id))
			})
		}
	})
}

func TestWrongAccount(t *testing.T) {
	t.Run("a lease stays if another account says that there is no such pool", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		other := emulatortest.Start(t)
		i.WriteOK("config", map[string]any{"cognito_endpoint": other.Seed.Domain, "sts_endpoint": other.Seed.Domain})
		require.ErrorContains(t, i.revoke(secret), "so it may still be there")
		i.requireUsers(1, "it is in the other account")
		i.WriteOK("config", map[string]any{"cognito_endpoint": i.Seed.Domain, "sts_endpoint": i.Seed.Domain})
		require.NoError(t, i.revoke(secret))
		i.requireUsers(0, "it is revoked")
	})

	t.Run("a lease stays if the assumed role is of another account", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		i.WriteOK("config", map[string]any{"aws_assume_role_arn": "arn:aws:iam::999999999999:role/other"})
		i.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "ResourceNotFoundException"})
		require.ErrorContains(t, i.revoke(secret), `in account "999999999999"`)
		require.NotEmpty(t, i.states())
	})

	t.Run("a lease ends with its pool", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		i.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "ResourceNotFoundException"})
		require.NoError(t, i.revoke(secret))
		require.Empty(t, i.states())
	})

	t.Run("a lease of the 2021 plugin ends with its pool, and the log says so as an error", func(t *testing.T) {
		i := newIssuer(t, hourly())
		secret := i.issue()
		secret.InternalData = map[string]any{"secret_type": "user", "username": secret.InternalData["username"], "role": "ci"}
		i.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "ResourceNotFoundException"})
		require.NoError(t, i.revoke(secret))
		require.Contains(t, i.log.String(), "[ERROR] the pool of a user of the 2021 plugin is not found")
	})
}

func TestUnmount(t *testing.T) {
	t.Run("ends every user once and without a warning for each", func(t *testing.T) {
		i := newIssuer(t, hourly())
		var leases []*logical.Secret
		for n := range 51 {
			leases = append(leases, i.issue())
			if n%2 == 0 {
				i.renew(leases[n])
			}
		}
		i.System.TaintedVal = true
		require.NoError(t, i.tick())
		for _, lease := range leases {
			require.NoError(t, i.revoke(lease))
		}
		i.requireUsers(0, "the mount is gone")
		require.Len(t, i.Calls().Of("AdminDeleteUser"), 51)
		require.NotContains(t, i.log.String(), "[WARN]")
	})

	t.Run("undoes a create that waits for AWS", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultHang, Times: 1})
		failed := i.issueInBackground("AdminInitiateAuth")
		i.System.TaintedVal = true
		require.NoError(t, i.tick())
		i.requireUsers(0, "no tick follows")
		require.Error(t, <-failed)
		require.Empty(t, i.records())
		i.requireUsers(0, "nothing is created any more")
	})

	t.Run("lets no create begin that waits for a rate limit", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserCreation": 0.2}})
		i.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultHang, Times: 1}) // or the first one may be done
		failed := make(chan error, 8)
		for range cap(failed) {
			go func() {
				_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
				failed <- err
			}()
		}
		require.Eventually(t, func() bool { return len(i.Calls().Of("AdminCreateUser")) > 0 }, 10*time.Second, time.Millisecond)
		i.System.TaintedVal = true
		require.NoError(t, i.tick())
		for range cap(failed) {
			require.Error(t, <-failed)
		}
		i.requireUsers(0, "no tick follows")
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		requireStatus(t, http.StatusServiceUnavailable, err)
	})

	t.Run("ends every user even if it begins while a tick rotates", func(t *testing.T) {
		i := newIssuer(t, hourly())
		lease := i.issue()
		i.makePerson("ann", "hush-Right-1")
		i.WriteOK("static-roles/ann", map[string]any{
			"user_pool_id": i.Seed.UserPoolID, "region": "eu-west-1", "username": "ann", "rotation_period": "1m",
		})
		i.clocks.advance(2 * time.Minute)
		i.storage.Fail(backendtest.StorageFault{When: func() bool {
			if slices.Contains(i.storage.Calls(), "put static-roles") {
				i.System.TaintedVal = true
			}
			return false
		}})
		require.NoError(t, i.tick())
		require.True(t, i.System.TaintedVal, "the tick must have rotated")
		require.Empty(t, i.records(), "Vault waits for this tick and makes no other")
		require.NoError(t, i.revoke(lease))
	})

	t.Run("a moved mount issues again", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.System.TaintedVal = true
		require.NoError(t, i.tick())
		i.System.TaintedVal = false
		i.issue()
	})

	t.Run("the end of a process undoes its creates", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultHang, Times: 1})
		failed := i.issueInBackground("AdminInitiateAuth")
		i.Backend.Cleanup(t.Context())
		require.Error(t, <-failed)
		i.requireUsers(0, "its answer was not sent")
	})
}

// issueInBackground returns when a read has made a call of an operation.
func (i *issuer) issueInBackground(operation string) <-chan error {
	i.T.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := i.Request(context.WithoutCancel(i.T.Context()), logical.ReadOperation, "creds/ci", nil)
		failed <- err
	}()
	require.Eventually(i.T, func() bool { return len(i.Calls().Of(operation)) > 0 }, 10*time.Second, time.Millisecond)
	return failed
}

// TestPerformanceSecondary has two clusters, which share what is replicated and have local
// storage of their own.
func TestPerformanceSecondary(t *testing.T) {
	i := newIssuer(t, hourly())
	system := *i.System
	system.ReplicationStateVal = consts.ReplicationPerformanceSecondary
	local := &logical.InmemStorage{}
	storage := &backendtest.SplitStorage{Replicated: i.storage, Local: local, LocalPrefixes: i.Backend.SpecialPaths().LocalStorage, ReadOnly: true}
	secondary := &issuer{pool: &pool{Mount: i.mountOn(storage, &system), Cognito: i.Cognito, storage: &backendtest.Storage{Storage: storage}}, clocks: i.clocks, log: i.log}

	lease := secondary.issue()
	lost := secondary.issue()
	i.requireUsers(2, "the secondary issues itself")
	require.Empty(t, i.states(), "the primary has no record of them")
	require.Len(t, secondary.states(), 2)

	both := func(d time.Duration) {
		for ; d > 0; d -= time.Minute {
			i.clocks.advance(time.Minute)
			require.NoError(t, i.tick())
			require.NoError(t, secondary.tick())
		}
	}
	both(30 * time.Minute)
	_, err := secondary.Backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.RenewOperation, Path: "creds/ci", Secret: lease, Storage: storage})
	require.NoError(t, err)
	both(time.Hour)
	i.requireUsers(1, "the renewed one stays, and the secondary's reconciler ended the other")
	require.NotEqual(t, lost.InternalData["username"], i.Users()[0].Username)
	_, err = secondary.Backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.RevokeOperation, Path: "creds/ci", Secret: lease, Storage: storage})
	require.NoError(t, err)
	i.requireUsers(0, "it is revoked")
}

// TestStorageWrites counts what an object costs in storage.
func TestStorageWrites(t *testing.T) {
	i := newIssuer(t, hourly())
	i.issue() // the first of a minute opens a batch, and the first of all starts the heartbeat
	i.storage.Repair()
	secret := i.issue()
	require.Equal(t, []string{"put issued", "put issued"}, writes(i.storage.Calls()), "a read")
	i.storage.Repair()
	i.renew(secret)
	require.Equal(t, []string{"put issued"}, writes(i.storage.Calls()), "the first renewal")
	i.storage.Repair()
	i.renew(secret)
	require.Empty(t, writes(i.storage.Calls()), "a renewal that proves nothing new")
	i.storage.Repair()
	require.NoError(t, i.revoke(secret))
	require.Equal(t, []string{"delete issued"}, writes(i.storage.Calls()), "a revocation")
}

func writes(calls []string) (writes []string) {
	for _, call := range calls {
		if !strings.HasPrefix(call, "get") && !strings.HasPrefix(call, "list") {
			writes = append(writes, call)
		}
	}
	return writes
}

func TestTickReadsOnlyWhatIsDue(t *testing.T) {
	i := newIssuer(t, map[string]any{"ttl": "20h", "max_ttl": "20h"})
	i.issue()
	i.pass(10 * time.Minute)
	i.storage.Repair()
	i.pass(time.Minute)
	calls := i.storage.Calls()
	for range 50 {
		i.issue()
	}
	i.pass(10 * time.Minute)
	i.storage.Repair()
	i.pass(time.Minute)
	require.Equal(t, calls, i.storage.Calls(), "living users cost a tick nothing")
}

func TestMaxIssued(t *testing.T) {
	i := newIssuer(t, map[string]any{"ttl": "1h", "max_issued": 3})
	first := i.issue()
	i.issue()
	i.newProcess() // which has to count first
	i.issue()
	_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
	requireStatus(t, http.StatusTooManyRequests, err)
	require.ErrorContains(t, err, "max_issued=3")
	i.requireUsers(3, "the role's bound")
	require.NoError(t, i.revoke(first))
	i.issue()

	t.Run("holds for reads at once", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "1h", "max_issued": 3})
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { _, _ = i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil) })
		}
		group.Wait()
		i.requireUsers(3, "the role's bound")
	})

	t.Run("a failed read gives its place back", func(t *testing.T) {
		i := newIssuer(t, map[string]any{"ttl": "1h", "max_issued": 1})
		i.failing("AdminInitiateAuth")
		_, err := i.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		requireStatus(t, 502, err)
		i.Heal()
		i.issue()
	})

	t.Run("a negative number is refused", func(t *testing.T) {
		require.Contains(t, newPool(t).WriteRefused("roles/ci", map[string]any{"max_issued": -1}), "max_issued -1 is not allowed")
	})
}

func TestIssuedPaths(t *testing.T) {
	i := newIssuer(t, hourly())
	secret := i.issue()
	for range 4 {
		i.issue()
		i.pass(time.Minute)
	}
	i.renew(secret)

	t.Run("list the roles with their counts", func(t *testing.T) {
		response := i.OK(logical.ListOperation, "issued", nil)
		require.Equal(t, []string{"ci"}, response.Data["keys"])
		require.Equal(t, map[string]any{"ci": map[string]any{"count": 5}}, response.Data["key_info"])
	})

	t.Run("list the records of a role page by page", func(t *testing.T) {
		var all []string
		for after := ""; ; {
			response := i.OK(logical.ListOperation, "issued/ci", map[string]any{"limit": 2, "after": after})
			page := stringsOf(response.Data["keys"])
			all = append(all, page...)
			if len(response.Warnings) == 0 {
				break
			}
			after = page[len(page)-1]
			require.Contains(t, response.Warnings[0], "after="+after)
		}
		require.ElementsMatch(t, i.records(), all)
		require.IsIncreasing(t, all)
	})

	t.Run("show who asked, the state and the end at the latest", func(t *testing.T) {
		id := secret.InternalData["record"].(string)
		info := i.OK(logical.ListOperation, "issued/ci", nil).Data["key_info"].(map[string]any)[id].(map[string]any)
		require.Equal(t, map[string]any{
			"kind": "user", "state": "confirmed", "username": secret.InternalData["username"], "display_name": "token", "entity_id": "",
			"created": "2026-03-01T12:00:00Z", "expires": "2026-03-02T12:06:00Z",
		}, info)
		record := i.Read("issued/ci/" + id)
		require.Equal(t, i.Seed.UserPoolID, record["user_pool_id"])
		require.Equal(t, i.Seed.Domain, record["cognito_endpoint"])
		require.Equal(t, "123456789012", record["account_id"])
	})

	t.Run("answer nothing for what does not exist", func(t *testing.T) {
		for _, path := range []string{"issued/ci/20260301-1100-abcd-abcdefgh2345", "issued/ci/x", "issued/nobody/20260301-1100-abcd-abcdefgh2345"} {
			require.Nil(t, i.Read(path))
		}
	})

	t.Run("refuse a limit or an id that makes no sense", func(t *testing.T) {
		require.Contains(t, i.Refused(logical.ListOperation, "issued/ci", map[string]any{"limit": 0}), "limit 0 is not allowed")
		require.Contains(t, i.Refused(logical.ListOperation, "issued/ci", map[string]any{"after": "../x"}), `after "../x" is not allowed`)
	})
}

// hookedStorage calls functions before its calls.
type hookedStorage struct {
	logical.Storage
	beforeGet, beforePut func(key string)
}

func (s *hookedStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.beforeGet(key)
	return s.Storage.Get(ctx, key)
}

func (s *hookedStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.beforePut(entry.Key)
	return s.Storage.Put(ctx, entry)
}

// TestRecordStoredDuringATick stores a record after a tick has listed its batch, and ends its
// creation before the tick is done with the batch.
func TestRecordStoredDuringATick(t *testing.T) {
	i := newIssuer(t, map[string]any{"ttl": "1m", "max_ttl": "24h"})
	i.issue()
	stalled, goOn, issued := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var put, get atomic.Bool
	isRecord := func(key string) bool { return strings.HasPrefix(key, "issued/records/") }
	get.Store(true)
	i.Mount.Storage = &hookedStorage{
		Storage: i.storage,
		beforePut: func(key string) {
			if isRecord(key) && put.CompareAndSwap(false, true) {
				close(stalled)
				<-goOn
			}
		},
		beforeGet: func(key string) {
			if isRecord(key) && get.CompareAndSwap(false, true) {
				close(goOn)
				<-issued
			}
		},
	}
	go func() {
		defer close(issued)
		_, _ = i.Request(context.WithoutCancel(t.Context()), logical.ReadOperation, "creds/ci", nil)
	}()
	<-stalled
	i.pass(6 * time.Minute)
	get.Store(false)
	i.clocks.advance(time.Minute) // the first user is due
	require.NoError(t, i.tick())
	require.Len(t, i.records(), 1)
	i.pass(26 * time.Hour)
	i.requireUsers(0, "neither lease can live any more")
}
