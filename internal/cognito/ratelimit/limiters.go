// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Limiters has the queues of all accounts. They outlive the settings of a mount, so that a change
// of the settings does not reset the use of a quota. The zero value is ready and limits nothing
// until SetRates. It is safe for concurrent use.
type Limiters struct {
	mu    sync.Mutex
	rates map[string]float64
	// fixed are the categories that have the same rate for all accounts.
	fixed []string
	// accountRates are the rates of single accounts, by account and category.
	accountRates map[string]map[string]float64

	accounts map[string]*account
	places   uint64
}

// account is an AWS account, for which AWS counts the quotas.
type account struct {
	id     string
	queues map[string]*queue
	// reservations has the reservations that are not released, in order of their place.
	reservations []*Reservation
	timer        *time.Timer
}

// SetRates sets the requests per second of every category, for all accounts, and drops what
// SetAccountRates set. A category that is absent is not limited. The fixed ones keep their rate
// whatever SetAccountRates says. The new rates also apply to waiting requests.
func (l *Limiters) SetRates(rates map[string]float64, fixed ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rates, l.fixed, l.accountRates = rates, fixed, nil
	for _, a := range l.accounts {
		l.applyRates(a)
	}
}

// SetAccountRates replaces the rates of some categories for one account, but
// not those that are fixed.
func (l *Limiters) SetAccountRates(accountID string, rates map[string]float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.accountRates == nil {
		l.accountRates = map[string]map[string]float64{}
	}
	l.accountRates[accountID] = rates
	if a, found := l.accounts[accountID]; found {
		l.applyRates(a)
	}
}

// LowestRates returns the rate of every category that is limited: the lowest,
// if the accounts that SetAccountRates was called for differ.
func (l *Limiters) LowestRates() map[string]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	lowest := maps.Clone(l.rates)
	for category := range lowest {
		first := true
		for id := range l.accountRates {
			if rate, _ := l.rate(id, category); first || rate < lowest[category] {
				lowest[category], first = rate, false
			}
		}
	}
	return lowest
}

// rate returns the rate of a category for an account, and false if it is not limited.
func (l *Limiters) rate(accountID, category string) (rate float64, limited bool) {
	rate, limited = l.rates[category]
	if own, known := l.accountRates[accountID][category]; known && limited && !slices.Contains(l.fixed, category) {
		return own, true
	}
	return rate, limited
}

// applyRates lets the queues of an account go at the rates that are set for it.
func (l *Limiters) applyRates(a *account) {
	now := time.Now()
	for category, q := range a.queues {
		if rate, limited := l.rate(a.id, category); limited && rate != q.rate {
			q.setRate(rate, now)
		}
	}
	l.dispatch(a)
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
	if fromID == intoID {
		return
	}
	l.mergeRates(fromID, intoID)
	from, found := l.accounts[fromID]
	if !found {
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
	l.applyRates(into)
}

// mergeRates moves the rates of an account to the one that it turned out to be,
// unless that has its own.
func (l *Limiters) mergeRates(fromID, intoID string) {
	rates, known := l.accountRates[fromID]
	if !known {
		return
	}
	delete(l.accountRates, fromID)
	if _, has := l.accountRates[intoID]; !has {
		l.accountRates[intoID] = rates
	}
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
		a = &account{id: id, queues: map[string]*queue{}}
		l.accounts[id] = a
	}
	return a
}

func (l *Limiters) queue(a *account, category string) *queue {
	rate, limited := l.rate(a.id, category)
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
