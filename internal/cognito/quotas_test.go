// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// limit makes the fixture's Service anew, with limits of its own.
func (f *fixture) limit(limits map[string]float64) {
	f.Helper()
	f.service = cognito.New(context.Background(), cognito.Settings{
		AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", CognitoEndpoint: f.Seed.Domain, STSEndpoint: f.Seed.Domain,
		RequestTimeout: 5 * time.Second, RateLimits: limits,
	})
}

func (f *fixture) namedRequest(name string) cognito.UserRequest {
	f.Helper()
	request := f.request(f.Seed.Groups...)
	request.Username = name
	return request
}

func (f *fixture) tokenRequest() cognito.MachineTokenRequest {
	return cognito.MachineTokenRequest{
		Domain: f.Seed.Domain, Target: cognito.Target{Region: "eu-west-1"}, NoCache: true,
		AppClient: cognito.AppClient{ID: f.Seed.M2MClientID, Secret: f.Seed.M2MClientSecret},
	}
}

// requireLimited checks for an error that says whose limit it was, and that no
// request left.
func (f *fixture) requireLimited(err error, category, operation string, calls int) {
	f.Helper()
	require.Error(f, err)
	require.Equal(f, cognito.KindThrottled, cognito.KindOf(err), err)
	for _, text := range []string{"the engine's own limit", category, "rate_limits"} {
		require.ErrorContains(f, err, text)
	}
	require.Len(f, f.Calls().Of(operation), calls)
}

// soon is a context that ends before a tiny limit gives another turn.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const tiny = 0.001

func TestLimitsKeepUnderTheQuota(t *testing.T) {
	f := newFixture(t, 0)
	quotas := control.Quotas{"UserCreation": 20, "UserAccountRecovery": 20, "UserAuthentication": 20, "UserUpdate": 40}
	require.NoError(t, f.Control.SetQuotas(t.Context(), quotas))
	f.limit(quotas)

	pool := f.pool()
	var group sync.WaitGroup
	failures := make([]error, 30)
	for i := range failures {
		group.Go(func() {
			issued, err := pool.IssueUser(t.Context(), f.namedRequest(username+string(rune('a'+i%26))+string(rune('0'+i/26))))
			if err == nil {
				err = pool.DeleteUser(t.Context(), issued.Username)
			}
			failures[i] = err
		})
	}
	group.Wait()
	for _, err := range failures {
		require.NoError(t, err)
	}
	for _, call := range f.Calls().Calls {
		require.Equal(t, 200, call.Status, "nothing may be throttled: %v", call)
	}
}

func TestLimitsOfOperations(t *testing.T) {
	t.Run("issuing", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"UserCreation": tiny})
		_, err := f.pool().IssueUser(soon(t), f.namedRequest("first"))
		require.NoError(t, err)
		_, err = f.pool().IssueUser(soon(t), f.namedRequest("second"))
		f.requireLimited(err, "UserCreation", "AdminCreateUser", 1)
	})

	t.Run("revoking", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"UserUpdate": tiny})
		require.True(t, cognito.IsGone(f.pool().DeleteUser(soon(t), "nobody")))
		f.requireLimited(f.pool().DeleteUser(soon(t), "nobody"), "UserUpdate", "AdminDeleteUser", 1)
	})

	t.Run("tokens of the endpoint and of the API share one limit", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"ClientAuthentication": tiny})
		_, err := f.service.MachineToken(soon(t), f.tokenRequest())
		require.NoError(t, err)
		_, err = f.service.MachineToken(soon(t), f.tokenRequest())
		f.requireLimited(err, "ClientAuthentication", control.OperationToken, 1)
		request := f.tokenRequest()
		request.Source = cognito.SourceAPI
		_, err = f.service.MachineToken(soon(t), request)
		f.requireLimited(err, "ClientAuthentication", "GetClientToken", 0)
	})

	t.Run("a challenge that sets a password counts for both", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword")
		f.limit(map[string]float64{"UserAccountRecovery": tiny})
		_, err := f.pool().IssueUser(soon(t), f.namedRequest("first"))
		f.requireLimited(err, "UserAccountRecovery", "AdminRespondToAuthChallenge", 0)
	})

	t.Run("every attempt counts", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "DescribeUserPool", Kind: control.FaultError, Code: "TooManyRequestsException"})
		f.service = cognito.New(context.Background(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", CognitoEndpoint: f.Seed.Domain,
			MaxRetries: 3, RateLimits: map[string]float64{"UserPoolRead": tiny},
		})
		_, err := f.pool().Rules(soon(t))
		f.requireLimited(err, "UserPoolRead", "DescribeUserPool", 1)
	})

	t.Run("a caller that goes away learns of no limit", func(t *testing.T) {
		f := newFixture(t, 0)
		f.limit(map[string]float64{"UserPoolRead": tiny})
		_, err := f.pool().Rules(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err = f.pool().Rules(ctx)
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestLimitsAreOfAccountsAndRegions(t *testing.T) {
	describe := func(f *fixture, target cognito.Target) error {
		target.UserPoolID = f.Seed.UserPoolID
		pool, err := f.service.Pool(t.Context(), target)
		require.NoError(f, err)
		_, err = pool.Rules(soon(t))
		return err
	}
	first := cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::111111111111:role/a"}
	for name, c := range map[string]struct {
		second cognito.Target
		shared bool
	}{
		"the same role":                      {first, true},
		"another role of the same account":   {cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::111111111111:role/b"}, true},
		"a role of another account":          {cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::222222222222:role/a"}, false},
		"the same role, in another region":   {cognito.Target{Region: "eu-west-2", AssumeRoleARN: first.AssumeRoleARN}, false},
		"the credentials of the mount alone": {cognito.Target{Region: "eu-west-1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.limit(map[string]float64{"UserPoolRead": tiny})
			require.NoError(t, describe(f, first))
			err := describe(f, c.second)
			require.Equal(t, c.shared, cognito.KindOf(err) == cognito.KindThrottled && err != nil, err)
		})
	}
}

// TestLimitsOfTheOwnAccount is about a role of the account that the engine's own credentials belong
// to.
func TestLimitsOfTheOwnAccount(t *testing.T) {
	own := cognito.Target{Region: "eu-west-1"}
	role := cognito.Target{Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::123456789012:role/a"}
	describe := func(f *fixture, target cognito.Target) error {
		target.UserPoolID = f.Seed.UserPoolID
		pool, err := f.service.Pool(t.Context(), target)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err = pool.Rules(ctx)
		return err
	}
	for name, order := range map[string][]cognito.Target{
		"the role and then the credentials themselves share one quota":         {role, own},
		"the credentials themselves, the role, and both again share one quota": {own, role, own},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.limit(map[string]float64{"UserPoolRead": tiny})
			for _, target := range order[:len(order)-1] {
				require.NoError(t, describe(f, target), "unknown so far")
			}
			require.Equal(t, emulatorAccount, f.service.Account(t.Context(), own))
			require.Equal(t, cognito.KindThrottled, cognito.KindOf(describe(f, order[len(order)-1])))
		})
	}

	t.Run("an account that cannot be looked up holds nothing up", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultHang})
		require.NoError(t, describe(f, role))
		require.NoError(t, describe(f, own))
	})

	t.Run("without assumed roles the account is not asked for", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, describe(f, own))
		require.Empty(t, f.Calls().Of("GetCallerIdentity"))
	})
}

func TestLimitsOfEndpointsGoByTheirDomain(t *testing.T) {
	const domain = "example.auth.eu-west-1.amazoncognito.com"
	service := cognito.New(t.Context(), cognito.Settings{RateLimits: map[string]float64{"ClientAuthentication": tiny}})
	named := cognito.MachineTokenRequest{Domain: domain, Target: cognito.Target{Region: "eu-west-1"}}
	unnamed := cognito.MachineTokenRequest{Domain: domain}
	require.NoError(t, service.WaitForEndpoint(soon(t), named, domain))
	require.ErrorContains(t, service.WaitForEndpoint(soon(t), unnamed, domain), "ClientAuthentication")
	require.NoError(t, service.WaitForEndpoint(soon(t), unnamed, "auth.example.com"), "another region, as far as can be known")
}

func TestRateLimits(t *testing.T) {
	limits := cognito.RateLimits(map[string]float64{"UserUpdate": 3})
	require.InDelta(t, 3, limits["UserUpdate"], 0)
	require.InDelta(t, 25, limits["UserCreation"], 0, "half of AWS's default")
	require.Len(t, limits, len(cognito.RateLimits(nil)))
}
