// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// emulatorAccount is the account of every key that the emulator takes.
const emulatorAccount = "123456789012"

func TestAccount(t *testing.T) {
	target := cognito.Target{Region: "eu-west-1"}

	t.Run("an assumed role names its account", func(t *testing.T) {
		f := newFixture(t, 0)
		assert.Equal(t, "111111111111", f.service.Account(t.Context(), cognito.Target{AssumeRoleARN: "arn:aws:iam::111111111111:role/a"}))
		assert.Empty(t, f.Calls().Calls)
	})

	t.Run("an unreadable role is an unknown account", func(t *testing.T) {
		f := newFixture(t, 0)
		assert.Empty(t, f.service.Account(t.Context(), cognito.Target{AssumeRoleARN: "role/a"}))
	})

	t.Run("the account of the credentials is asked for once", func(t *testing.T) {
		f := newFixture(t, 0)
		for range 3 {
			assert.Equal(t, emulatorAccount, f.service.Account(t.Context(), target))
		}
		assert.Equal(t, emulatorAccount, f.service.KnownAccount(t.Context(), target))
		assert.Len(t, f.Calls().Of("GetCallerIdentity"), 1)
	})

	t.Run("a known account is not waited for", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultHang})
		assert.Empty(t, f.service.KnownAccount(t.Context(), target))
	})

	t.Run("an account that was not found is asked for again later", func(t *testing.T) {
		f := newFixture(t, 0)
		now := time.Now()
		settings := f.settings(0, time.Second)
		settings.Now = func() time.Time { return now }
		f.service = cognito.New(t.Context(), settings)
		f.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "InternalFailure", Status: 500, Times: 1})
		assert.Empty(t, f.service.Account(t.Context(), target))
		assert.Empty(t, f.service.Account(t.Context(), target), "not yet")
		now = now.Add(time.Minute)
		assert.Equal(t, emulatorAccount, f.service.Account(t.Context(), target))
		assert.Len(t, f.Calls().Of("GetCallerIdentity"), 2)
	})
}

func TestEndpoint(t *testing.T) {
	f := newFixture(t, 0)
	endpoint, err := f.service.Endpoint(t.Context(), cognito.Target{Region: "eu-west-1"})
	require.NoError(t, err)
	require.Equal(t, f.Seed.Domain, endpoint)

	endpoint, err = cognito.New(t.Context(), cognito.Settings{}).Endpoint(t.Context(), cognito.Target{Region: "eu-west-1"})
	require.NoError(t, err)
	require.Empty(t, endpoint, "AWS's own")
}

func TestGone(t *testing.T) {
	f := newFixture(t, 0)
	noUser := f.pool().DeleteUser(t.Context(), "nobody")
	noPool := f.poolOf("eu-west-1_missing").DeleteUser(t.Context(), "nobody")
	assert.True(t, cognito.IsUserGone(noUser))
	assert.False(t, cognito.IsPoolGone(noUser))
	assert.True(t, cognito.IsPoolGone(noPool))
	assert.False(t, cognito.IsUserGone(noPool))
	assert.False(t, cognito.IsPoolGone(nil))
}
