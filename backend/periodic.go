// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// periodicTask is something that Vault reminds the engine of once a minute.
// Vault gives all tasks and the roll-back 90 seconds together and holds a lock
// meanwhile, so a task does a bounded piece of its work and returns.
type periodicTask func(ctx context.Context, req *logical.Request) error

// periodic runs all tasks, on the node that may write only. One that fails
// does not keep the others from their turn. Before an unmount it only ends
// users: a password or key that is rotated now would be lost with the storage,
// and the roll-back that follows, the last one, needs the time.
func (b *backend) periodic(ctx context.Context, req *logical.Request) error {
	if !b.mayWrite() {
		return nil
	}
	if b.System().Tainted() {
		return b.endHandovers(ctx, req)
	}
	var failures []error
	for _, task := range b.periodicTasks {
		failures = append(failures, task(ctx, req))
	}
	return errors.Join(failures...)
}

// mayWrite reports whether what this mount stores is this node's to write: not
// on a performance standby, nor, unless the mount is local, on a performance
// secondary.
func (b *backend) mayWrite() bool {
	system := b.System()
	state := system.ReplicationState()
	if state.HasState(consts.ReplicationPerformanceStandby) {
		return false
	}
	return system.LocalMount() || !state.HasState(consts.ReplicationPerformanceSecondary)
}
