// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// awsQuotas holds the default quotas of AWS, in requests per second for an account and region.
var awsQuotas = control.Quotas{
	"UserAccountRecovery": 30, "UserAuthentication": 120, "UserCreation": 50, "UserRead": 120, "UserUpdate": 25,
}

const (
	// revocationsAtOnce is how many revocations of one mount the server runs at a time.
	revocationsAtOnce = 180
	// stormPatience is how long a storm may take.
	stormPatience = 10 * time.Minute
	// fillers is the number of clients that create the leases.
	fillers = 16
)

// stormSize returns how many leases end at once: more than the server has workers for, so that each
// revocation competes with as many others as possible, and many more with RELIABILITY=long.
func stormSize() int {
	if os.Getenv("RELIABILITY") == "long" {
		return 2000
	}
	return 220
}

// storm is an env on its own server, with leases that end at once.
type storm struct {
	*env
	users map[string]bool
	// by is the client that creates the leases.
	by *api.Client
	// ends is the time at which they expire, or zero.
	ends time.Time
}

// TestStorm ends all leases at once, with AWS's default quotas and the default limits of a mount.
// No revocation may need a second attempt, AWS may throttle hardly any call, and every read is
// served meanwhile, as fast as if only one other client were reading.
//
// The quotas, the limits, the server's 200 workers, the 90 seconds of an attempt and the pause
// before the next one are real, and 180 leases occupy all workers that one mount may use. So an
// attempt takes as long as it would among any number of leases. Only the duration of the storm is
// shorter in the short run. The tests of the limiters go through 50,000 leases with a fake clock.
func TestStorm(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *storm){
		"leases that expire together": (*storm).endByTime,
		"a revoked prefix":            (*storm).endByPrefix,
		"a revoked token":             (*storm).endByToken,
	} {
		t.Run("users of "+name+" are deleted without failed revocations", func(t *testing.T) {
			t.Parallel()
			s := newStorm(t)
			count := counters.Open(t, "Storm", name)
			end(s)
			s.awaitBegin()
			began := time.Now()
			made, slowest := s.makeUsersWhileItLasts()
			count.Tried(len(s.users))
			count.Note(fmt.Sprintf("%d leases at half of AWS's quota of 25 deletions/s: over in %.0f s; %d users made meanwhile, the slowest in %.1f s",
				len(s.users), time.Since(began).Seconds(), len(made), slowest.Seconds()))
			s.clear()
			count.Lost(counters.UsersLeft, len(s.Users()))
			count.Lost(counters.LeasesStuck, s.irrevocableLeases()+len(s.leases("creds/storm")))
			throttled, overtook := s.requireCalm(), s.requireFair(made)
			count.Note(fmt.Sprintf("%d calls throttled, at most %d deletions between the steps of one user", throttled, overtook))
		})
	}
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	e := newEnvOn(t, startDev(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.plugin)}))
	e.writeRole("storm", map[string]any{"groups": "testers", "issue_tokens": false})
	return &storm{env: e, users: map[string]bool{}, by: e.client}
}

// fill creates the leases as fast as possible, and then applies the quotas and limits.
func (s *storm) fill() {
	s.Helper()
	unlimited := map[string]any{}
	for category := range awsQuotas {
		unlimited[category] = 10_000
	}
	s.configure(map[string]any{"rate_limits": unlimited})
	for _, username := range s.makeLeases() {
		s.users[username] = true
	}
	require.Len(s, s.users, stormSize())
	require.NoError(s, s.Control.SetQuotas(s.Context(), awsQuotas))
	s.configure(map[string]any{"rate_limits": map[string]any{}, "max_retries": 8, "request_timeout": "10s"})
	require.NoError(s, s.Control.ResetCalls(s.Context()))
}

func (s *storm) makeLeases() []string {
	s.Helper()
	usernames := make([]string, stormSize())
	failures := make([]error, fillers)
	var work sync.WaitGroup
	for filler := range fillers {
		work.Go(func() {
			for i := filler; i < len(usernames) && failures[filler] == nil; i += fillers {
				usernames[i], failures[filler] = s.makeLease()
			}
		})
	}
	work.Wait()
	for _, err := range failures {
		require.NoError(s, err)
	}
	return usernames
}

func (s *storm) makeLease() (username string, err error) {
	ask := url.Values{}
	if !s.ends.IsZero() {
		ask.Set("ttl", fmt.Sprintf("%.0fs", max(1, time.Until(s.ends).Seconds())))
	}
	secret, err := s.by.Logical().ReadWithDataWithContext(s.Context(), s.mount+"/creds/storm", ask)
	if err != nil {
		return "", err
	}
	return secret.Data["username"].(string), nil
}

// endByTime lets the leases expire at the same time.
func (s *storm) endByTime() {
	s.Helper()
	s.ends = time.Now().Add(6*time.Second + time.Duration(stormSize())*20*time.Millisecond)
	s.fill()
}

func (s *storm) endByPrefix() {
	s.Helper()
	s.fill()
	s.put("sys/leases/revoke-prefix/"+s.mount+"/creds/storm", map[string]any{"sync": false})
}

// endByToken revokes the token that holds the leases, as a job does at its end.
func (s *storm) endByToken() {
	s.Helper()
	token, err := s.client.Auth().Token().CreateWithContext(s.Context(), &api.TokenCreateRequest{TTL: "1h"})
	require.NoError(s, err)
	s.by = s.vault.Client()
	s.by.SetToken(token.Auth.ClientToken)
	s.fill()
	s.put("auth/token/revoke-self", nil)
}

func (s *storm) put(path string, data map[string]any) {
	s.Helper()
	_, err := s.by.Logical().WriteWithContext(s.Context(), path, data)
	require.NoError(s, err)
}

// awaitBegin waits until the first user is deleted.
func (s *storm) awaitBegin() {
	s.Helper()
	require.Eventually(s, func() bool { return s.left() < len(s.users) }, stormPatience, 100*time.Millisecond)
}

// left returns how many users of the storm still exist.
func (s *storm) left() (n int) {
	for _, user := range s.Users() {
		if s.users[user.Username] {
			n++
		}
	}
	return n
}

// makeUsersWhileItLasts creates one user after the other, each in two groups, until the storm is
// over.
func (s *storm) makeUsersWhileItLasts() (usernames []string, slowest time.Duration) {
	s.Helper()
	for patience := time.Now().Add(stormPatience); s.left() > 0 && time.Now().Before(patience); {
		began := time.Now()
		secret := s.read("creds/ci")
		slowest = max(slowest, time.Since(began))
		usernames = append(usernames, secret.Data["username"].(string))
	}
	return usernames, slowest
}

// requireCalm checks that no revocation was retried and hardly any call was throttled. Calls below
// a quota can still exceed it when a machine stalls for seconds and then sends all of them at once.
func (s *storm) requireCalm() (throttled int) {
	s.Helper()
	require.NotContains(s, s.vault.LogText(), "failed to revoke lease")
	for _, call := range s.Calls().Calls {
		if call.Code == "TooManyRequestsException" {
			throttled++
		}
	}
	require.Less(s, throttled, len(s.users)/4, "calls that were throttled")
	return throttled
}

// requireFair checks that no user waited for all revocations that were queued before it. In order
// of arrival, that would be as many as the server has workers. If reads get every second slot, the
// two groups of a user wait for two or three. The bound between the two allows for machines that
// stall.
func (s *storm) requireFair(made []string) (overtook int) {
	s.Helper()
	calls := s.Calls()
	for _, username := range made {
		created, signedIn := s.begin(calls, "AdminCreateUser", username), s.begin(calls, "AdminInitiateAuth", username)
		between := 0
		for _, deletion := range calls.Of("AdminDeleteUser") {
			if created < deletion.Begin && deletion.Begin < signedIn {
				between++
			}
		}
		overtook = max(overtook, between)
	}
	require.Less(s, overtook, revocationsAtOnce/2, "deletions between the create and the sign-in of one user")
	return overtook
}

// begin returns when the first call of an operation for a user started.
func (s *storm) begin(calls *control.CallLog, operation, username string) int64 {
	s.Helper()
	for _, call := range calls.Of(operation) {
		if call.Resource == username {
			return call.Begin
		}
	}
	require.Failf(s, "no call", "%s of %s", operation, username)
	return 0
}

// clear revokes the leases that were created during the storm, and waits until no user is left.
func (s *storm) clear() {
	s.Helper()
	s.by = s.client
	s.put("sys/leases/revoke-prefix/"+s.mount+"/creds/ci", map[string]any{"sync": false})
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	// Any user that is left after that is counted and fails the test.
	for patience := time.Now().Add(stormPatience); len(s.Users()) > 0 && time.Now().Before(patience); {
		<-look.C
	}
}
