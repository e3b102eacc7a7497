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

// replicationHeld is how long the mount goes on believing what Vault said of
// its place in a cluster. Vault makes its mounts anew when that changes.
const replicationHeld = time.Second

// systemView is what Vault tells of itself. The SDK asks for the replication
// state with every request, to forward it where it may be answered; each time
// that is two round trips to Vault, which take longer than all that a read from
// memory needs.
type systemView struct {
	logical.SystemView
	now  func() time.Time
	held atomic.Pointer[replication]
}

// replication is a mount's place in a cluster, as Vault told it at a time.
type replication struct {
	state consts.ReplicationState
	local bool
	told  time.Time
}

// Setup replaces the view that Vault gives by one that remembers.
func (b *backend) Setup(ctx context.Context, conf *logical.BackendConfig) error {
	remembering := *conf
	if conf.System != nil {
		remembering.System = &systemView{SystemView: conf.System, now: b.now}
	}
	return b.Backend.Setup(ctx, &remembering)
}

// ReplicationState is Vault's, as of a moment ago.
func (v *systemView) ReplicationState() consts.ReplicationState { return v.replication().state }

// LocalMount reports whether the mount is not replicated, as of a moment ago.
func (v *systemView) LocalMount() bool { return v.replication().local }

func (v *systemView) replication() *replication {
	now := v.now()
	if held := v.held.Load(); held != nil && now.Sub(held.told).Abs() < replicationHeld {
		return held
	}
	told := &replication{v.SystemView.ReplicationState(), v.SystemView.LocalMount(), now}
	// Unknown is what the SDK makes of a call to Vault that failed.
	if told.state != consts.ReplicationUnknown {
		v.held.Store(told)
	}
	return told
}
