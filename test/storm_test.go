// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
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

// awsQuotas are AWS's own, in requests a second for an account and region.
var awsQuotas = control.Quotas{
	"UserAccountRecovery": 30, "UserAuthentication": 120, "UserCreation": 50, "UserRead": 120, "UserUpdate": 25,
}

const (
	// revocationsAtOnce is how many of one mount Vault's workers carry out at a time.
	revocationsAtOnce = 180
	// stormPatience is for a storm that does not end.
	stormPatience = 10 * time.Minute
	// fillers make the leases of a storm.
	fillers = 16
)

// stormSize is how many leases end at once: more than Vault has workers for, so that each revocation meets as many
// others as it ever can, and with RELIABILITY=long as many as somebody might have.
func stormSize() int {
	if os.Getenv("RELIABILITY") == "long" {
		return 2000
	}
	return 220
}

// storm is leases of a mount that end at once, in a Vault of its own.
type storm struct {
	*world
	users map[string]bool
	// by is who makes the leases.
	by *api.Client
	// ends is when they end, if not for another reason.
	ends time.Time
}

// TestStorm ends leases all at once, against AWS's quotas and with the limits that a mount has by default. Vault must
// not use up an attempt at a single revocation, AWS must throttle hardly a call, and every read must be served
// meanwhile, as fast as if only one other were asking.
//
// Quotas, limits, Vault's 200 workers, the 90 seconds of an attempt and the pause before the next are the real ones,
// and 180 leases are enough to hold all workers that one mount may have: so an attempt takes as long as it would among
// any number of leases. What the short run leaves out is how long the storm lasts. The tests of the limits themselves
// go through 50,000 leases, by a clock of their own.
func TestStorm(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s *storm){
		"leases of one end":        (*storm).endByTime,
		"a prefix that is revoked": (*storm).endByPrefix,
		"the token of a job":       (*storm).endByToken,
	} {
		t.Run(name, func(t *testing.T) {
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
			count.Lost(counters.LeasesStuck, s.irrevocable()+len(leases(s.world, "creds/storm")))
			throttled, overtook := s.requireCalm(), s.requireFair(made)
			count.Note(fmt.Sprintf("%d calls throttled, at most %d deletions between the steps of one user", throttled, overtook))
		})
	}
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	vault, err := sandbox.StartVault(t.Context(), sandbox.VaultOptions{Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin)})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	w := newWorldIn(t, vault)
	w.writeRole("storm", map[string]any{"groups": "testers", "issue_tokens": false})
	return &storm{world: w, users: map[string]bool{}, by: w.client}
}

// fill makes the leases as fast as the machine can, and then lets the quotas and limits of the storm hold.
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

// endByTime lets the leases ask for what is left until a moment that they have in common.
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

// endByToken revokes the token that holds the leases, as a job does when it is done.
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

// awaitBegin waits for the first user to go.
func (s *storm) awaitBegin() {
	s.Helper()
	require.Eventually(s, func() bool { return s.left() < len(s.users) }, stormPatience, 100*time.Millisecond)
}

// left is how many users of the storm are still there.
func (s *storm) left() (n int) {
	for _, user := range s.Users() {
		if s.users[user.Username] {
			n++
		}
	}
	return n
}

// makeUsersWhileItLasts makes one after the other, each in two groups.
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

// requireCalm sees to it that Vault had to try no revocation again, and the plugin hardly a call. Calls that stay below
// a quota can still exceed it when a machine stands still for seconds and then takes all of them at once.
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

// requireFair sees to it that no user had to wait for all revocations that were there before it. Where each waits for
// its turn in the order of arrival, that is as many as Vault has workers for; where every second turn is a read's, the
// two groups of a user wait for two or three. The bound between them is for machines that stand still now and then.
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

// begin is when a user's first call of an operation began.
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

// clear ends the leases that were made in the storm, and waits until no user is left.
func (s *storm) clear() {
	s.Helper()
	s.by = s.client
	s.put("sys/leases/revoke-prefix/"+s.mount+"/creds/ci", map[string]any{"sync": false})
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	// Whoever is left at the end of all patience is counted, and fails the test.
	for patience := time.Now().Add(stormPatience); len(s.Users()) > 0 && time.Now().Before(patience); {
		<-look.C
	}
}

// irrevocable is how many leases Vault has given up on.
func (s *storm) irrevocable() int {
	s.Helper()
	secret, err := s.client.Logical().ReadWithDataWithContext(s.Context(), "sys/leases/count", url.Values{"type": {"irrevocable"}})
	require.NoError(s, err)
	n, err := secret.Data["lease_count"].(json.Number).Int64()
	require.NoError(s, err)
	return int(n)
}
