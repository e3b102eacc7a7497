// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
)

// askedView counts the calls to Vault and makes none itself.
type askedView struct {
	logical.StaticSystemView
	state consts.ReplicationState
	asked int
}

func (v *askedView) ReplicationState() consts.ReplicationState {
	v.asked++
	return v.state
}

func (v *askedView) LocalMount() bool {
	v.asked++
	return false
}

func TestReadsDoNotAskVaultForItsReplicationState(t *testing.T) {
	const onPrimary = consts.ReplicationPerformanceDisabled | consts.ReplicationDRDisabled
	view := &askedView{state: onPrimary}
	clock := &handClock{now: time.Now()}
	m := &backendtest.Mount{T: t, Storage: &logical.InmemStorage{}}
	var err error
	m.Backend, err = backend.Factory(backend.Options{Now: clock.Now})(t.Context(), &logical.BackendConfig{Logger: hclog.NewNullLogger(), System: view})
	require.NoError(t, err)
	require.Zero(t, view.asked, "Vault knows nothing yet when it makes a mount")
	// There is no such role, which is said by the engine and not by the SDK.
	answered := func() bool {
		_, err := m.Request(context.Background(), logical.ReadOperation, "creds/nobody", nil)
		if err != nil {
			require.ErrorIs(t, err, logical.ErrReadOnly)
		}
		return err == nil
	}

	for range 100 {
		require.True(t, answered())
	}
	require.Equal(t, 2, view.asked)

	view.state = consts.ReplicationPerformanceStandby
	clock.advance(time.Second)
	require.False(t, answered(), "a standby lets the active node answer")
	view.state = onPrimary
	clock.advance(time.Second)
	require.True(t, answered())

	view.state = consts.ReplicationUnknown
	clock.advance(time.Second)
	require.True(t, answered())
	before := view.asked
	require.True(t, answered())
	require.Greater(t, view.asked, before, "a failure to ask is not remembered")
}
