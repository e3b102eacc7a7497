// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit

import (
	"context"
	"errors"
	"slices"
	"time"
)

// lead is how long before its first slots a reservation opens. It is a little longer than a call to
// AWS, so that the slots of later calls are not missed, and short, so that little work is under way
// when callers give up.
const lead = 2 * time.Second

// Reservation holds slots for the requests of one piece of work.
type Reservation struct {
	limiters *Limiters
	account  *account
	place    uint64
	class    Class
	// remaining has the slots by category that no request has used yet.
	remaining map[string]int
	opened    chan struct{}
	open      bool
	released  bool
}

// Reserve reserves the slots of all categories in needs, all or none, for the class of ctx. It
// returns when the slots are about to come. It returns an *Error at once if they cannot all come
// before the deadline of ctx. The caller must release the reservation.
func (l *Limiters) Reserve(ctx context.Context, accountID string, needs map[string]int) (*Reservation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := l.reserve(ctx, accountID, needs)
	if err != nil {
		return nil, err
	}
	select {
	case <-r.opened:
		return r, nil
	case <-ctx.Done():
		return nil, r.abandon(ctx)
	}
}

func (l *Limiters) reserve(ctx context.Context, accountID string, needs map[string]int) (*Reservation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(accountID)
	r := &Reservation{
		limiters: l, account: a, place: l.place(), class: ClassOf(ctx),
		remaining: map[string]int{}, opened: make(chan struct{}),
	}
	for category, n := range needs {
		if n > 0 && l.queue(a, category) != nil {
			r.remaining[category] = n
		}
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		if err := r.refusal(a.reserved(r.class), time.Until(deadline)); err != nil {
			return nil, err
		}
	}
	a.reservations = append(a.reservations, r)
	l.dispatch(a)
	return r, nil
}

// reserved returns the unused slots of the reservations of a class, by category.
func (a *account) reserved(class Class) map[string]int {
	sum := map[string]int{}
	for _, r := range a.reservations {
		if r.class == class {
			add(sum, r.remaining)
		}
	}
	return sum
}

func add(to, counts map[string]int) {
	for category, n := range counts {
		to[category] += n
	}
}

// refusal returns an error if the slots of a reservation come later than the time that is left.
// Slots that are reserved already come first.
func (r *Reservation) refusal(reserved map[string]int, left time.Duration) error {
	now := time.Now()
	var worst *Error
	for category, n := range r.remaining {
		q := r.account.queues[category]
		wait := q.until(reserved[category]+q.behind(r.class, r.place)+n, r.class, now)
		if wait > left && (worst == nil || wait-left > worst.RetryAfter) {
			worst = &Error{Category: category, Rate: q.rate, RetryAfter: wait - left}
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// openReservations opens every reservation whose first slots are about to come in all of its
// categories. It returns the time until the next one opens, if one waits. A reservation that waits
// for one category does not delay later ones in others.
func (a *account) openReservations(now time.Time) (next time.Duration, waiting bool) {
	var ahead [classes]map[string]int
	for class := range ahead {
		ahead[class] = map[string]int{}
	}
	for _, r := range a.reservations {
		if !r.open {
			if wait := r.untilOpen(ahead[r.class], now); wait > 0 {
				if !waiting || wait < next {
					next, waiting = wait, true
				}
				continue
			}
			r.open = true
			close(r.opened)
		}
		add(ahead[r.class], r.remaining)
	}
	return next, waiting
}

// untilOpen returns the time until the first slots are about to come, after the slots in ahead,
// which the same class has reserved.
func (r *Reservation) untilOpen(ahead map[string]int, now time.Time) (wait time.Duration) {
	for category := range r.remaining {
		q := r.account.queues[category]
		first := q.until(ahead[category]+q.behind(r.class, r.place)+1, r.class, now)
		wait = max(wait, first-lead)
	}
	return wait
}

// abandon releases a reservation that did not open before the end of ctx.
func (r *Reservation) abandon(ctx context.Context) error {
	r.Release()
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	r.limiters.mu.Lock()
	defer r.limiters.mu.Unlock()
	if err := r.refusal(r.account.reserved(r.class), 0); err != nil {
		return err
	}
	return ctx.Err()
}

// Release frees the slots that were not used. It may be called twice.
func (r *Reservation) Release() {
	r.limiters.mu.Lock()
	defer r.limiters.mu.Unlock()
	if r.released {
		return
	}
	r.released = true
	r.account.reservations = slices.DeleteFunc(r.account.reservations, func(other *Reservation) bool { return other == r })
	r.limiters.dispatch(r.account)
}

type reservationKey struct{}

// Use returns a context whose requests have the place of the reservation until it is released.
// Requests beyond the reserved number, such as retries, have that place, too, because their work is
// half done.
func (r *Reservation) Use(ctx context.Context) context.Context {
	return context.WithValue(ctx, reservationKey{}, r)
}

func reservationOf(ctx context.Context) *Reservation {
	r, _ := ctx.Value(reservationKey{}).(*Reservation)
	return r
}
