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

// systemFresh is how long an answer of Vault is cached. Vault sets up its mounts again when the
// replication state changes. A lease is issued with the TTLs that its record was made with, so that
// one issued within a second after the mount was tuned never outlives its record.
const systemFresh = time.Second

// systemView caches what Vault says about the mount, because each question is a round trip that
// takes about as long as a read from the cache. The SDK asks for the replication state in every
// request, to decide whether to forward it; each lease needs the mount's TTLs.
type systemView struct {
	logical.SystemView
	now         func() time.Time
	replication recent[replication]
	defaultTTL  recent[time.Duration]
	maxTTL      recent[time.Duration]
}

// replication is a mount's place in a cluster.
type replication struct {
	state consts.ReplicationState
	local bool
}

// Setup replaces the system view with one that caches.
func (b *backend) Setup(ctx context.Context, conf *logical.BackendConfig) error {
	caching := *conf
	if conf.System != nil {
		caching.System = &systemView{SystemView: conf.System, now: b.now}
	}
	return b.Backend.Setup(ctx, &caching)
}

// ReplicationState returns the replication state, at most a second old.
func (v *systemView) ReplicationState() consts.ReplicationState { return v.readReplication().state }

// LocalMount reports whether the mount is local to this cluster, as of at most a second ago.
func (v *systemView) LocalMount() bool { return v.readReplication().local }

func (v *systemView) readReplication() replication {
	return v.replication.get(v.now(), systemFresh, func() (replication, bool) {
		state := v.SystemView.ReplicationState()
		// The SDK returns Unknown for a call to Vault that failed.
		return replication{state, v.SystemView.LocalMount()}, state != consts.ReplicationUnknown
	})
}

// DefaultLeaseTTL returns the mount's default TTL, at most a second old, or 0 if Vault cannot be
// asked.
func (v *systemView) DefaultLeaseTTL() time.Duration {
	return v.defaultTTL.get(v.now(), systemFresh, func() (time.Duration, bool) {
		ttl := v.SystemView.DefaultLeaseTTL()
		return ttl, ttl != 0
	})
}

// MaxLeaseTTL returns the mount's maximum TTL, at most a second old, or 0 if Vault cannot be asked.
func (v *systemView) MaxLeaseTTL() time.Duration {
	return v.maxTTL.get(v.now(), systemFresh, func() (time.Duration, bool) {
		ttl := v.SystemView.MaxLeaseTTL()
		return ttl, ttl != 0
	})
}

// recent caches a value for a short time. It is safe for concurrent use.
type recent[T any] struct {
	cached atomic.Pointer[reading[T]]
}

type reading[T any] struct {
	value T
	at    time.Time
}

// get returns the cached value if it is fresh, or what read returns. A value that read did not get
// is not cached.
func (r *recent[T]) get(now time.Time, fresh time.Duration, read func() (value T, ok bool)) T {
	if cached := r.cached.Load(); cached != nil && now.Sub(cached.at).Abs() < fresh {
		return cached.value
	}
	value, ok := read()
	if ok {
		r.cached.Store(&reading[T]{value, now})
	}
	return value
}
