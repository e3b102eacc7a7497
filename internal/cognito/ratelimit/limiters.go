// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Limiters has the queues of all accounts. They outlive the settings of a mount, so that a change
// of the settings does not reset the use of a quota. The zero value is ready and limits nothing
// until SetRates. It is safe for concurrent use.
type Limiters struct {
	mu       sync.Mutex
	rates    map[string]float64
	accounts map[string]*account
	places   uint64
}

// account is an AWS account, for which AWS counts the quotas.
type account struct {
	queues map[string]*queue
	// reservations has the reservations that are not released, in order of their place.
	reservations []*Reservation
	timer        *time.Timer
}

// SetRates sets the requests per second of every category, for all accounts. A category that is
// absent is not limited. The new rates also apply to waiting requests.
func (l *Limiters) SetRates(rates map[string]float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.rates = rates
	for _, a := range l.accounts {
		for category, q := range a.queues {
			if rate, limited := rates[category]; limited && rate != q.rate {
				q.setRate(rate, now)
			}
		}
		l.dispatch(a)
	}
}

// useTime is how much time a caller must have left when its slot comes. In a queue that is too long
// for the time of its callers, the first caller is always about to give up: without useTime every
// slot would be used too late.
const useTime = 5 * time.Second

// Wait waits for a slot of a category as long as ctx leaves time to use it: until five seconds
// before the deadline of ctx, or for half of a short time. It returns an *Error if no slot comes.
// The request has the class of ctx, or the place of the reservation that ctx carries.
func (l *Limiters) Wait(ctx context.Context, accountID, category string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(useTime, time.Until(deadline)/2)))
		defer cancel()
	}
	t := l.enqueue(ctx, accountID, category)
	if t == nil {
		return nil
	}
	select {
	case <-t.granted:
		if ctx.Err() == nil {
			return nil
		}
	case <-ctx.Done():
	}
	return l.leave(ctx, t)
}

// enqueue adds a request to its queue. It returns nil for a category without a limit.
func (l *Limiters) enqueue(ctx context.Context, accountID, category string) *ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(accountID)
	q := l.queue(a, category)
	if q == nil {
		return nil
	}
	t := &ticket{class: ClassOf(ctx), granted: make(chan struct{})}
	if r := reservationOf(ctx); r != nil && r.account == a && !r.released {
		t.place, t.class = r.place, r.class
		r.remaining[category] = max(0, r.remaining[category]-1)
	} else {
		t.place = l.place()
	}
	q.enqueue(t)
	l.dispatch(a)
	return t
}

// leave removes a request from its queue. If the request got its slot at the same moment, the next
// request gets the slot.
func (l *Limiters) leave(ctx context.Context, t *ticket) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q, now := t.queue, time.Now()
	wait := q.until(q.behind(t.class, t.place), t.class, now)
	if !q.remove(t) {
		q.full = q.full.Add(-q.interval)
	}
	l.dispatch(q.account)
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &Error{Category: q.category, Rate: q.rate, RetryAfter: wait}
}

// Merge adds the queues and reservations of one account to another, because both ids turned out to
// be the same account.
func (l *Limiters) Merge(fromID, intoID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, found := l.accounts[fromID]
	if !found || fromID == intoID {
		return
	}
	delete(l.accounts, fromID)
	into := l.account(intoID)
	for category, q := range from.queues {
		into.mergeQueue(category, q)
	}
	for _, r := range from.reservations {
		r.account = into
	}
	into.reservations = append(into.reservations, from.reservations...)
	slices.SortFunc(into.reservations, func(a, b *Reservation) int { return cmp.Compare(a.place, b.place) })
	*from = account{}
	l.dispatch(into)
}

// mergeQueue adds the queue of another account to this account.
func (a *account) mergeQueue(category string, q *queue) {
	own, found := a.queues[category]
	if !found {
		q.account = a
		a.queues[category] = q
		return
	}
	own.merge(q, time.Now())
}

// merge adds the tickets and the used slots of another queue.
func (q *queue) merge(other *queue, now time.Time) {
	used := max(0, other.full.Sub(now))
	if q.full.Before(now) {
		q.full = now
	}
	q.full = q.full.Add(used)
	for _, tickets := range other.waiting {
		for _, t := range tickets {
			q.enqueue(t)
		}
	}
}

func (l *Limiters) account(id string) *account {
	a, found := l.accounts[id]
	if !found {
		if l.accounts == nil {
			l.accounts = map[string]*account{}
		}
		a = &account{queues: map[string]*queue{}}
		l.accounts[id] = a
	}
	return a
}

func (l *Limiters) queue(a *account, category string) *queue {
	rate, limited := l.rates[category]
	if !limited {
		return nil
	}
	q, found := a.queues[category]
	if !found {
		q = &queue{account: a, category: category}
		q.setRate(rate, time.Now())
		a.queues[category] = q
	}
	return q
}

func (l *Limiters) place() uint64 {
	l.places++
	return l.places
}

// dispatch assigns the free slots of all queues of an account, opens the reservations whose slots
// are about to come, and schedules its next run.
func (l *Limiters) dispatch(a *account) {
	now := time.Now()
	for _, q := range a.queues {
		q.dispatch(now)
		if _, waiting := q.nextClass(); waiting {
			schedule(&q.timer, q.next().Sub(now), func() { l.wake(func() *account { return q.account }) })
		}
	}
	if wait, waiting := a.openReservations(now); waiting {
		schedule(&a.timer, wait, func() { l.wake(func() *account { return a }) })
	}
}

func (l *Limiters) wake(account func() *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dispatch(account())
}

func schedule(timer **time.Timer, wait time.Duration, wake func()) {
	if *timer == nil {
		*timer = time.AfterFunc(wait, wake)
		return
	}
	(*timer).Reset(wait)
}

// Error reports that a category has no slot in the time that a caller has.
type Error struct {
	Category string
	// Rate is the limit of the category, in requests per second.
	Rate float64
	// RetryAfter is how long to wait before another attempt.
	RetryAfter time.Duration
}

func (e *Error) Error() string {
	return fmt.Sprintf("the limit of %g requests per second in category %s leaves no slot in time: try again in %s",
		e.Rate, e.Category, e.Wait())
}

// Wait returns RetryAfter in whole seconds, at least one.
func (e *Error) Wait() time.Duration {
	return max(time.Second, (e.RetryAfter + time.Second - 1).Truncate(time.Second))
}
