// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// ttlView counts the questions for the maximum TTL.
type ttlView struct {
	logical.StaticSystemView
	asked int
}

func (v *ttlView) MaxLeaseTTL() time.Duration {
	v.asked++
	return v.MaxLeaseTTLVal
}

func TestMountTTLsAreCachedForAMoment(t *testing.T) {
	vault, now := &ttlView{}, time.Now()
	view := &systemView{SystemView: vault, now: func() time.Time { return now }}
	vault.MaxLeaseTTLVal = time.Hour
	for range 100 {
		require.Equal(t, time.Hour, view.MaxLeaseTTL())
	}
	require.Equal(t, 1, vault.asked)

	vault.MaxLeaseTTLVal = 2 * time.Hour
	now = now.Add(systemFresh)
	require.Equal(t, 2*time.Hour, view.MaxLeaseTTL(), "a tuned mount is noticed")

	vault.MaxLeaseTTLVal = 0
	now = now.Add(systemFresh)
	require.Zero(t, view.MaxLeaseTTL())
	vault.MaxLeaseTTLVal = time.Hour
	require.Equal(t, time.Hour, view.MaxLeaseTTL(), "a failed question is not cached")
}
