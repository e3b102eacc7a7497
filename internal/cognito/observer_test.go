// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// observed collects what an Observer is called with.
type observed struct {
	mu      sync.Mutex
	calls   []cognito.Call
	waits   map[string]int
	waited  map[string]time.Duration
	refused map[string]int
	tokens  map[string]time.Duration
}

func (o *observed) observer() cognito.Observer {
	o.waits, o.refused, o.tokens = map[string]int{}, map[string]int{}, map[string]time.Duration{}
	o.waited = map[string]time.Duration{}
	return cognito.Observer{
		Call: func(call cognito.Call) {
			o.mu.Lock()
			defer o.mu.Unlock()
			call.Took = 0
			o.calls = append(o.calls, call)
		},
		Wait: func(category string, took time.Duration, refused bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.waits[category]++
			o.waited[category] += took
			if refused {
				o.refused[category]++
			}
		},
		Token: func(partition string, life time.Duration) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.tokens[partition] = life
		},
	}
}

func TestObserver(t *testing.T) {
	type env struct {
		*emulatortest.Cognito
		observed *observed
		service  *cognito.Service
		pool     *cognito.Pool
	}
	newEnv := func(t *testing.T, limits map[string]float64) *env {
		t.Helper()
		s := &env{Cognito: emulatortest.Start(t), observed: &observed{}}
		s.service = cognito.New(t.Context(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", Region: emulatortest.Region, CognitoEndpoint: s.Seed.Domain, STSEndpoint: s.Seed.Domain,
			MaxRetries: 1, Observer: s.observed.observer(), RateLimits: cognito.RateLimits(limits),
		})
		var err error
		s.pool, err = s.service.Pool(t.Context(), cognito.Target{UserPoolID: s.Seed.UserPoolID, Region: emulatortest.Region})
		require.NoError(t, err)
		return s
	}

	t.Run("each attempt of a call is reported with its code", func(t *testing.T) {
		s := newEnv(t, nil)
		s.Fault(control.Fault{Operation: "AdminGetUser", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
		_, err := s.pool.User(t.Context(), "ann")
		require.Error(t, err)
		require.Equal(t, []cognito.Call{
			{Operation: "AdminGetUser", Code: "TooManyRequestsException", Throttled: true},
			{Operation: "AdminGetUser", Code: "UserNotFoundException"},
		}, s.observed.calls)
		require.Equal(t, 2, s.observed.waits["UserRead"])
	})

	t.Run("a call without a response has a code of its own", func(t *testing.T) {
		s := newEnv(t, nil)
		s.Fault(control.Fault{Operation: "AdminGetUser", Kind: control.FaultCutBefore})
		_, err := s.pool.User(t.Context(), "ann")
		require.Error(t, err)
		require.Equal(t, cognito.Call{Operation: "AdminGetUser", Code: cognito.CodeNoAnswer}, s.observed.calls[0])
	})

	t.Run("a request that gets no slot in time is a refusal", func(t *testing.T) {
		s := newEnv(t, map[string]float64{"UserRead": 0.001})
		_, _ = s.pool.User(t.Context(), "ann")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.pool.User(ctx, "ann")
		require.Error(t, err)
		require.Equal(t, 1, s.observed.refused["UserRead"])
		require.InDelta(t, 0.001, s.service.RateLimits()["UserRead"], 1e-9)
	})

	t.Run("each call of a new user waits once, the first one also for the reservation of all slots", func(t *testing.T) {
		s := newEnv(t, map[string]float64{"UserCreation": 2})
		for n := range 5 {
			_, err := s.pool.IssueUser(t.Context(), cognito.UserRequest{
				NewUser: cognito.NewUser{Username: fmt.Sprintf("user-%d", n), TemporaryPassword: "Hush-temp-1234"}, Password: "Hush-hush-1234", NoTokens: true, Groups: []string{"testers", "admins"},
			})
			require.NoError(t, err)
		}
		require.Equal(t, map[string]int{"UserCreation": 5, "UserAccountRecovery": 5, "UserUpdate": 10}, s.observed.waits)
		require.Greater(t, s.observed.waited["UserCreation"], 500*time.Millisecond, "the queue is in the time of the first call")
		require.Empty(t, s.observed.refused)
	})

	t.Run("a user whose slots come too late is one refusal of the category that is full", func(t *testing.T) {
		s := newEnv(t, map[string]float64{"UserUpdate": 0.001})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := s.pool.IssueUser(ctx, cognito.UserRequest{NewUser: cognito.NewUser{Username: "ann", TemporaryPassword: "Hush-temp-1234"}, Password: "Hush-hush-1234", NoTokens: true, Groups: []string{"testers", "admins"}})
		require.Error(t, err)
		require.Equal(t, map[string]int{"UserUpdate": 1}, s.observed.refused)
		require.Equal(t, map[string]int{"UserUpdate": 1}, s.observed.waits)
	})

	t.Run("a token is reported once, however often it is read", func(t *testing.T) {
		s := newEnv(t, nil)
		request := cognito.MachineTokenRequest{
			Domain: s.Seed.Domain, Partition: "machine", AppClient: cognito.AppClient{ID: s.Seed.M2MClientID, Secret: s.Seed.M2MClientSecret},
		}
		for range 3 {
			_, err := s.service.MachineToken(t.Context(), request)
			require.NoError(t, err)
		}
		require.Equal(t, []cognito.Call{{Operation: cognito.OperationToken}}, s.observed.calls)
		require.InDelta(t, time.Hour, s.observed.tokens["machine"], float64(time.Minute))
		stats := s.service.TokenCacheStats()
		require.EqualValues(t, 2, stats.Hits)
		require.EqualValues(t, 1, stats.Misses)
		s.service.DropPartition("machine")
		require.EqualValues(t, 2, s.service.TokenCacheStats().Hits, "a counter never goes back")
		require.Zero(t, s.service.TokenCacheStats().Entries)
	})

	t.Run("a request that the token endpoint refuses is reported with its error", func(t *testing.T) {
		s := newEnv(t, nil)
		_, err := s.service.MachineToken(t.Context(), cognito.MachineTokenRequest{
			Domain: s.Seed.Domain, AppClient: cognito.AppClient{ID: s.Seed.M2MClientID, Secret: "hush-wrong"},
		})
		require.Error(t, err)
		require.Equal(t, []cognito.Call{{Operation: cognito.OperationToken, Code: "invalid_client"}}, s.observed.calls)
		require.Empty(t, s.observed.tokens)
	})
}
