// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// unknownMaxTTL bounds leases while Vault does not say how long they may be. It is the default of
// max_lease_ttl in Vault.
const unknownMaxTTL = 768 * time.Hour

// leaseTimes are how long a lease lasts that is not renewed, and how long it can last if it is. The
// lease gets both, so that Vault cannot make it longer.
type leaseTimes struct {
	// first is 0 if it is Vault's default and Vault did not say what that is.
	first, longest time.Duration
}

// leaseTimes returns those of a lease of a role. A requested ttl of 0 stands for the role's.
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

// longestSeen returns the longest that a lease of a role can have been renewed to at any time, or 0
// if Vault does not say what the mount allows. A role that was deleted and written again has
// forgotten what it allowed before.
func (b *backend) longestSeen(role *roleEntry, beat heartbeat) time.Duration {
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

// extendDeadline sets the end of the longest life that the lease of a record can have, unless a
// later one was seen before.
func (b *backend) extendDeadline(r *issuedRecord, longest time.Duration) {
	if end := r.Created.Add(longest + b.leaseGrace()); end.After(r.Deadline) {
		r.Deadline = end
	}
}

// moveDeadline moves the deadline of a record if it is later than was known: a renewal may have
// gone unseen since the record was stored, or the clock was set forward. It reports whether the
// record must be stored.
func (b *backend) moveDeadline(ctx context.Context, s logical.Storage, r *issuedRecord, beat heartbeat) (moved bool, err error) {
	if r.State != stateDelivered && r.State != stateConfirmed {
		return false, nil
	}
	if r.Watch != beat.Watch {
		role, err := b.role(ctx, s, r.Role)
		if err != nil {
			return false, err
		}
		longest := b.longestSeen(role, beat)
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

// due returns from when on the object of a record is to be ended.
func (b *backend) due(r *issuedRecord) time.Time {
	switch r.State {
	case stateCreating: // no answer was sent, so there is no lease
		return r.Created.Add(b.createGrace)
	case stateEnding:
		return r.LastAttempt
	default:
		return r.Deadline
	}
}
