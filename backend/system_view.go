// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// replicationFresh is how long the replication state is cached. Vault sets up its mounts again when
// it changes.
const replicationFresh = time.Second

// systemView caches the replication state. The SDK reads it for every request, to decide whether to
// forward it, in two round trips to Vault that take longer than a read from the cache.
type systemView struct {
	logical.SystemView
	now    func() time.Time
	cached atomic.Pointer[replication]
}

// replication is a mount's replication state at the time when it was read.
type replication struct {
	state consts.ReplicationState
	local bool
	read  time.Time
}

// Setup replaces the system view with one that caches the replication state.
func (b *backend) Setup(ctx context.Context, conf *logical.BackendConfig) error {
	caching := *conf
	if conf.System != nil {
		caching.System = &systemView{SystemView: conf.System, now: b.now}
	}
	return b.Backend.Setup(ctx, &caching)
}

// ReplicationState returns the replication state, at most a second old.
func (v *systemView) ReplicationState() consts.ReplicationState { return v.replication().state }

// LocalMount reports whether the mount is local to this cluster, as of at most a second ago.
func (v *systemView) LocalMount() bool { return v.replication().local }

func (v *systemView) replication() *replication {
	now := v.now()
	if cached := v.cached.Load(); cached != nil && now.Sub(cached.read).Abs() < replicationFresh {
		return cached
	}
	current := &replication{v.SystemView.ReplicationState(), v.SystemView.LocalMount(), now}
	// The SDK returns Unknown for a call to Vault that failed.
	if current.state != consts.ReplicationUnknown {
		v.cached.Store(current)
	}
	return current
}
