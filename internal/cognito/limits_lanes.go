// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// bucket gives requests their turns, in two lanes: one for revocations, one
// for all others. Each lane lets one request at a time ask the limiter, which
// serves in the order of asking. So two lanes with somebody in them have every
// second turn each, and a lane that is alone has them all.
//
// When thousands of leases end at once, Vault revokes as many of them at a
// time as it has workers for, and each time that one gets its turn the next
// one lines up. A request of another kind never waits for all of these: with
// r requests a second and n others of its own lane before it, it has its turn
// within 2(n+1)/r seconds. So a user among c that are made at once, each with
// g groups, is in all of them within 2cg/r seconds, however many leases end.
// Revocations are as safe from a storm of reads.
type bucket struct {
	limiter             *rate.Limiter
	revocations, others lane
}

// lane is a queue, in order of arrival.
type lane struct {
	// head holds the request whose turn is next.
	head chan struct{}
	// length counts all that wait, and the head.
	length atomic.Int64
}

func newBucket(perSecond float64) *bucket {
	b := &bucket{limiter: rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))}
	b.revocations.head = make(chan struct{}, 1)
	b.others.head = make(chan struct{}, 1)
	return b
}

func burst(perSecond float64) int { return int(max(1, math.Ceil(perSecond*burstShare))) }

// setSpeed leaves those alone that have been given their turn.
func (b *bucket) setSpeed(perSecond float64) {
	if b.limiter.Limit() != rate.Limit(perSecond) {
		b.limiter.SetLimit(rate.Limit(perSecond))
		b.limiter.SetBurst(burst(perSecond))
	}
}

// errNoTime says that a turn would come too late.
var errNoTime = errors.New("no time left to wait for a turn")

// wait waits for a turn that leaves time to use it. A request that cannot have
// one is refused as soon as that is certain, so that its caller can try later;
// but a revocation stays to the end: it would lose one of the few attempts
// that Vault makes, while all that Vault has no worker for waits at no cost.
func (b *bucket) wait(ctx context.Context) error {
	ctx, cancel := inTimeToAct(ctx)
	defer cancel()
	lane, patient := &b.others, isForRevocation(ctx)
	if patient {
		lane = &b.revocations
	}
	before := lane.length.Add(1) - 1
	defer lane.length.Add(-1)
	if !patient && b.tooLate(ctx, before) {
		return errNoTime
	}
	select {
	case lane.head <- struct{}{}:
		defer func() { <-lane.head }()
		return b.limiter.Wait(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tooLate reports that a request has no chance, even if all turns from now on
// go to its lane.
func (b *bucket) tooLate(ctx context.Context, before int64) bool {
	deadline, bounded := ctx.Deadline()
	turn := time.Duration(float64(before) / float64(b.limiter.Limit()) * float64(time.Second))
	return bounded && time.Until(deadline) < turn
}

// inTimeToAct ends the wait before its caller's time is over. Half of a short
// time is enough.
func inTimeToAct(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(timeToAct, time.Until(deadline)/2)))
}

type forRevocationKey struct{}

// ForRevocation marks the requests of a context as those of a revocation. They
// wait for the limits in a queue of their own, see bucket.
func ForRevocation(ctx context.Context) context.Context {
	return context.WithValue(ctx, forRevocationKey{}, true)
}

func isForRevocation(ctx context.Context) bool {
	marked, _ := ctx.Value(forRevocationKey{}).(bool)
	return marked
}
