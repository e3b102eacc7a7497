// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// periodicTask is a task that Vault runs once a minute. Vault gives all tasks and the roll-back 90
// seconds together and holds a lock meanwhile, so a task does a bounded amount of work.
type periodicTask func(ctx context.Context, req *logical.Request) error

// periodic runs all tasks. A failure of one does not stop the others. Issued records are local, so
// they are reconciled on the active node of every cluster; the other tasks run only where
// replicated storage can be written. Before an unmount objects are ended and nothing is rotated: a
// new password or key would be lost with the storage.
func (b *backend) periodic(ctx context.Context, req *logical.Request) error {
	if b.System().ReplicationState().HasState(consts.ReplicationPerformanceStandby) {
		return nil
	}
	err := b.runTick(ctx, req)
	b.metrics.ticked(err)
	return err
}

func (b *backend) runTick(ctx context.Context, req *logical.Request) error {
	if b.System().Tainted() {
		return errors.Join(b.endAll(ctx, req), b.retireLibraries(ctx, req), b.takeCensus(ctx, req))
	}
	failures := []error{b.dropLeftRecords(ctx, req), b.reconcile(ctx, req), b.takeCensus(ctx, req)}
	if b.mayWrite() {
		for _, task := range b.periodicTasks {
			if !b.System().Tainted() {
				failures = append(failures, task(ctx, req))
			}
		}
	}
	// An unmount that begins during a tick waits for it and makes no other, so this must come last.
	if b.System().Tainted() {
		failures = append(failures, b.endAll(ctx, req), b.retireLibraries(ctx, req))
	}
	return errors.Join(failures...)
}

// mayWrite reports whether this node may write the storage of the mount: not on a performance
// standby, and on a performance secondary only if the mount is local.
func (b *backend) mayWrite() bool {
	system := b.System()
	state := system.ReplicationState()
	if state.HasState(consts.ReplicationPerformanceStandby) {
		return false
	}
	return system.LocalMount() || !state.HasState(consts.ReplicationPerformanceSecondary)
}
