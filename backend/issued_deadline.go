// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// unknownMaxTTL is the maximum of leases while the mount's maximum cannot be read from Vault. It is
// the default of Vault's max_lease_ttl.
const unknownMaxTTL = 768 * time.Hour

// leaseTimes are the TTL of a lease that is not renewed, and its maximum TTL. The lease is issued
// with both, so that Vault cannot make it longer.
type leaseTimes struct {
	// first is 0 if the mount's default applies and cannot be read from Vault.
	first, longest time.Duration
}

// leaseTimes returns the times of a lease of a role. A requested ttl of 0 stands for the role's.
func (b *backend) leaseTimes(role *roleEntry, requested time.Duration) leaseTimes {
	var times leaseTimes
	mountMax := b.System().MaxLeaseTTL()
	if mountMax == 0 { // the call to Vault failed
		mountMax = unknownMaxTTL
	}
	times.longest = min(mountMax, cmp.Or(role.MaxTTL, mountMax))
	times.first = cmp.Or(requested, role.TTL)
	if times.first == 0 {
		times.first = b.System().DefaultLeaseTTL()
	}
	times.first = min(times.first, times.longest)
	return times
}

// longestPossible returns the longest that a renewal at any time can have made a lease of a role,
// or 0 if the mount's maximum cannot be read from Vault. A role that was deleted and written again
// does not say which max_ttl it had before.
func (b *backend) longestPossible(role *roleEntry, beat heartbeat) time.Duration {
	mountMax := b.System().MaxLeaseTTL()
	if mountMax == 0 {
		return 0
	}
	longest := max(mountMax, beat.MaxTTL)
	if role != nil {
		longest = min(longest, role.longestTTL())
	}
	return longest
}

// setFirstDeadline sets the end of a lease that begins now and is not renewed.
func (b *backend) setFirstDeadline(r *issuedRecord, times leaseTimes) {
	r.Longest = times.longest
	r.Deadline = b.now().Round(0).Add(cmp.Or(times.first, times.longest) + b.leaseGrace())
}

// extendDeadline moves the deadline to the end of the longest possible lease, unless it is later
// already.
func (b *backend) extendDeadline(r *issuedRecord, longest time.Duration) {
	if end := r.Created.Add(longest + b.leaseGrace()); end.After(r.Deadline) {
		r.Deadline = end
	}
}

// updateDeadline moves the deadline of a record to a later time if the engine may have missed a
// renewal since the record was stored, or if the clock was set forward. It reports whether the
// record must be stored.
func (b *backend) updateDeadline(ctx context.Context, s logical.Storage, r *issuedRecord, beat heartbeat) (moved bool, err error) {
	if r.State != stateDelivered && r.State != stateConfirmed {
		return false, nil
	}
	if r.Watch != beat.Watch {
		role, err := b.role(ctx, s, r.Role)
		if err != nil {
			return false, err
		}
		longest := b.longestPossible(role, beat)
		if longest == 0 {
			r.Deadline = b.now().Add(unknownTTLPause)
			return false, nil
		}
		b.extendDeadline(r, max(longest, r.Longest))
		r.Watch, moved = beat.Watch, true
	}
	if beat.ClockShift > r.ClockShift {
		r.Deadline = r.Deadline.Add(beat.ClockShift - r.ClockShift)
		r.ClockShift, moved = beat.ClockShift, true
	}
	return moved, nil
}

// dueTime returns when the object of a record is to be ended.
func (b *backend) dueTime(r *issuedRecord) time.Time {
	switch r.State {
	case stateCreating: // no response was sent, so there is no lease
		return r.Created.Add(b.createGrace)
	case stateEnding:
		return r.LastAttempt
	default:
		return r.Deadline
	}
}
