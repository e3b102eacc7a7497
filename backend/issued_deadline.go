// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// leaseTimes are how long a lease lasts that is not renewed, and how long it can last if it is.
// Each is 0 if it is not known: the mount's TTLs are asked of Vault, and a call that fails
// returns 0.
type leaseTimes struct{ first, longest time.Duration }

// leaseTimes returns those of a lease of a role, which is nil if it is gone. A requested ttl of
// 0 stands for the role's.
func (b *backend) leaseTimes(role *roleEntry, requested time.Duration) leaseTimes {
	var times leaseTimes
	mountMax := b.System().MaxLeaseTTL()
	if role == nil {
		return leaseTimes{longest: mountMax}
	}
	times.longest = smallerKnown(role.MaxTTL, mountMax)
	if mountMax == 0 && role.MaxTTL == 0 {
		return leaseTimes{first: cmp.Or(requested, role.TTL)}
	}
	times.first = cmp.Or(requested, role.TTL)
	if times.first == 0 {
		times.first = b.System().DefaultLeaseTTL()
	}
	times.first = min(times.first, times.longest)
	return times
}

func smallerKnown(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// setFirstDeadline sets the end of a lease that begins now and is not renewed. If that is not
// known, the reconciler computes the deadline when it looks at the record.
func (b *backend) setFirstDeadline(r *issuedRecord, times leaseTimes) {
	if times.first != 0 {
		r.Deadline = b.now().Round(0).Add(times.first + b.leaseGrace())
	}
}

// extendDeadline sets the end of the longest life that the lease of a record can have, unless a
// later one was seen before. It reports whether that is known.
func (b *backend) extendDeadline(r *issuedRecord, times leaseTimes) bool {
	if times.longest == 0 {
		return false
	}
	if end := r.Created.Add(times.longest + b.leaseGrace()); end.After(r.Deadline) {
		r.Deadline = end
	}
	return true
}

// moveDeadline moves the deadline of a record if it is later than was known: a renewal may have
// gone unseen since the record was stored, or the clock was set forward. It reports whether the
// record must be stored.
func (b *backend) moveDeadline(ctx context.Context, s logical.Storage, r *issuedRecord, beat heartbeat) (moved bool, err error) {
	if r.State != stateDelivered && r.State != stateConfirmed {
		return false, nil
	}
	if r.Deadline.IsZero() || r.State == stateDelivered && r.Watch != beat.Watch {
		role, err := b.role(ctx, s, r.Role)
		if err != nil {
			return false, err
		}
		if !b.extendDeadline(r, b.leaseTimes(role, 0)) {
			r.Deadline = time.Time{}
			return false, nil
		}
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
	switch {
	case r.State == stateCreating: // no answer was sent, so there is no lease
		return r.Created.Add(b.createGrace())
	case r.State == stateEnding:
		return r.LastAttempt
	case r.Deadline.IsZero():
		return b.now().Add(unknownTTLPause)
	default:
		return r.Deadline
	}
}
