// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const quotaOperation = "GetProvisionedLimit"

// newFollowing returns a fixture whose Service follows the account's quotas.
func newFollowing(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t, 0)
	f.limit(nil)
	return f
}

// readUser makes a request that counts for UserRead, whose quota AWS raises for some accounts.
func (f *fixture) readUser(target cognito.Target) {
	f.Helper()
	target.UserPoolID = f.Seed.UserPoolID
	pool, err := f.service.Pool(f.Context(), target)
	require.NoError(f, err)
	_, err = pool.User(f.Context(), "nobody")
	require.True(f, cognito.IsUserGone(err), err)
}

func (f *fixture) waitForLimit(category string, limit float64) {
	f.Helper()
	require.Eventually(f, func() bool { return f.service.RateLimits()[category] == limit }, 10*time.Second, time.Millisecond)
}

func (f *fixture) waitForQuotaCalls(n int) {
	f.Helper()
	require.Eventually(f, func() bool { return len(f.QuotaReads()) == n }, 10*time.Second, time.Millisecond)
}

func ireland() cognito.Target { return cognito.Target{Region: "eu-west-1"} }

func TestLimitsFollowTheAccount(t *testing.T) {
	t.Run("half of what AWS allows the account", func(t *testing.T) {
		f := newFollowing(t)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserCreation": 200, "UserAuthentication": 100}))
		f.readUser(ireland())
		f.waitForLimit("UserCreation", 100)
		require.InDelta(t, 50, f.service.RateLimits()["UserAuthentication"], 0)
		require.InDelta(t, 150, f.service.RateLimits()["UserAuthentication/challenges"], 0)
		require.InDelta(t, 12.5, f.service.RateLimits()["UserUpdate"], 0, "AWS raises this for no account")
		for range 3 {
			f.readUser(ireland())
		}
		require.Len(t, f.QuotaReads(), 5, "once for each category that AWS raises")
	})

	t.Run("what the config says wins", func(t *testing.T) {
		f := newFollowing(t)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserCreation": 200, "UserAuthentication": 200, "UserRead": 200}))
		f.limit(map[string]float64{"UserAuthentication": 7, "UserCreation": 300})
		f.readUser(ireland())
		f.waitForLimit("UserRead", 100)
		require.InDelta(t, 300, f.service.RateLimits()["UserCreation"], 0)
		require.InDelta(t, 7, f.service.RateLimits()["UserAuthentication"], 0)
		require.InDelta(t, 21, f.service.RateLimits()["UserAuthentication/challenges"], 0)
	})

	t.Run("nothing is asked where the config says it all", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(cognito.RateLimits(nil))
		f.readUser(ireland())
		f.readUser(ireland())
		require.Empty(t, f.QuotaReads())
	})

	t.Run("nothing is asked for requests whose quotas are the same for all", func(t *testing.T) {
		f := newFollowing(t)
		_, err := f.pool().Rules(t.Context())
		require.NoError(t, err)
		_, err = f.pool().Rules(t.Context())
		require.NoError(t, err)
		require.Empty(t, f.QuotaReads())
	})

	t.Run("a category that AWS does not know keeps its default", func(t *testing.T) {
		f := newFollowing(t)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserCreation": 200}))
		f.Fault(control.Fault{Operation: quotaOperation, Kind: control.FaultError, Code: "ResourceNotFoundException", Times: 1})
		f.readUser(ireland())
		f.waitForLimit("UserCreation", 100)
		require.InDelta(t, 60, f.service.RateLimits()["UserAuthentication"], 0)
	})

	t.Run("the limits of another account stay", func(t *testing.T) {
		f := newFollowing(t)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserRead": 400}))
		f.readUser(cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::111111111111:role/a"})
		f.waitForLimit("UserRead", 200)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserRead": 100}))
		f.readUser(cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::222222222222:role/a"})
		f.waitForLimit("UserRead", 50)
		quotas, err := f.service.Quotas(t.Context(), cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::222222222222:role/a"})
		require.NoError(t, err)
		require.Contains(t, quotas, cognito.Quota{Category: "UserRead", Quota: 100, Limit: 50})
	})
}

func TestUnreadableQuotasFailNothing(t *testing.T) {
	requireDefaults := func(f *fixture) {
		f.Helper()
		require.InDelta(f, 25, f.service.RateLimits()["UserCreation"], 0)
	}

	t.Run("without the permission the defaults stay", func(t *testing.T) {
		f := newFollowing(t)
		f.Deny("cognito-idp:" + quotaOperation)
		f.readUser(ireland())
		f.waitForQuotaCalls(1)
		_, err := f.service.Quotas(t.Context(), ireland())
		require.Equal(t, "cognito-idp:"+quotaOperation, cognito.DeniedAction(err))
		for range 3 {
			f.readUser(ireland())
		}
		require.LessOrEqual(t, len(f.QuotaReads()), 2, "a refusal is not asked for again, except by who wants to know")
		requireDefaults(f)
	})

	t.Run("no request waits for them", func(t *testing.T) {
		f := newFollowing(t)
		f.Fault(control.Fault{Operation: quotaOperation, Kind: control.FaultHang})
		f.readUser(ireland())
		f.readUser(ireland())
		requireDefaults(f)
	})

	t.Run("a stand-in for AWS that knows no quotas is asked once", func(t *testing.T) {
		f := newFixture(t, 0)
		f.service = cognito.New(t.Context(), f.settings(8, time.Second))
		f.Fault(control.Fault{Operation: quotaOperation, Kind: control.FaultRaw, Status: 500, ContentType: "text/html", Body: "<html>500</html>"})
		_, err := f.service.Quotas(t.Context(), ireland())
		require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err), err)
		require.Len(t, f.QuotaReads(), 1)
	})

	t.Run("no answer is asked for again later", func(t *testing.T) {
		f := newFixture(t, 0)
		var later atomic.Int64
		settings := f.settings(3, time.Second)
		settings.RateLimits = nil
		began := time.Now()
		settings.Now = func() time.Time { return began.Add(time.Duration(later.Load())) }
		f.service = cognito.New(t.Context(), settings)
		require.NoError(t, f.Control.SetQuotas(t.Context(), control.Quotas{"UserCreation": 200}))
		f.Fault(control.Fault{Operation: quotaOperation, Kind: control.FaultError, Code: "InternalErrorException", Status: 500, Times: 2})
		_, err := f.service.Quotas(t.Context(), ireland())
		require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
		f.readUser(ireland())
		require.Len(t, f.QuotaReads(), 1, "one attempt, and not yet another")
		later.Store(int64(10 * time.Minute))
		f.readUser(ireland())
		f.waitForQuotaCalls(2)
		later.Store(int64(25 * time.Minute))
		f.readUser(ireland())
		f.waitForLimit("UserCreation", 100)
	})
}
