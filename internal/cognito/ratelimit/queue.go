// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit

import (
	"cmp"
	"math"
	"slices"
	"time"
)

const (
	// burstTime is how long a queue saves unused slots. The count of AWS needs room for requests
	// that are delayed and arrive together.
	burstTime = 500 * time.Millisecond
	// intervalMax bounds the time between two slots, so that a sum of intervals cannot overflow.
	intervalMax = 24 * time.Hour
)

// queue assigns the slots of one category of one account. It is a GCRA: full is the time at which
// all saved slots are free again. Limiters locks it.
type queue struct {
	account  *account
	category string
	rate     float64
	interval time.Duration
	burst    int
	full     time.Time

	waiting [classes][]*ticket // in order of their place
	// pass is the time of the next slot of each class, in the virtual time of stride scheduling.
	pass    [classes]int64
	virtual int64
	timer   *time.Timer
}

// ticket is a request that waits for a slot.
type ticket struct {
	place   uint64
	class   Class
	queue   *queue
	granted chan struct{}
}

// setRate changes the rate. Saved slots are kept, as far as the new burst allows.
func (q *queue) setRate(rate float64, now time.Time) {
	saved := q.saved(now)
	q.rate = rate
	q.interval = time.Duration(min(math.Ceil(float64(time.Second)/rate), float64(intervalMax)))
	q.burst = int(max(1, math.Ceil(rate*burstTime.Seconds())))
	q.full = now.Add(time.Duration((float64(q.burst) - min(saved, float64(q.burst))) * float64(q.interval)))
}

// saved returns the number of free slots. It is negative after Merge.
func (q *queue) saved(now time.Time) float64 {
	if q.interval == 0 { // a new queue
		return math.Inf(1)
	}
	return float64(q.burst) - float64(max(0, q.full.Sub(now)))/float64(q.interval)
}

// next returns when a slot is free.
func (q *queue) next() time.Time { return q.full.Add(-time.Duration(q.burst-1) * q.interval) }

func (q *queue) use(now time.Time) {
	if q.full.Before(now) {
		q.full = now
	}
	q.full = q.full.Add(q.interval)
}

// until returns the time until a class has had n more slots, if the classes that wait now continue
// to wait.
func (q *queue) until(n int, class Class, now time.Time) time.Duration {
	from := max(0, q.full.Sub(now))
	alone := float64(from) + float64(n-q.burst)*float64(q.interval)
	return time.Duration(min(max(0, alone)/class.share(q.active()), math.MaxInt64/2))
}

func (q *queue) active() (active [classes]bool) {
	for class := range active {
		active[class] = len(q.waiting[class]) > 0
	}
	return active
}

// enqueue inserts a ticket behind the tickets of its class with an earlier place.
func (q *queue) enqueue(t *ticket) {
	if len(q.waiting[t.class]) == 0 {
		q.pass[t.class] = max(q.pass[t.class], q.virtual)
	}
	t.queue = q
	q.waiting[t.class] = slices.Insert(q.waiting[t.class], q.behind(t.class, t.place), t)
}

// behind returns the number of tickets of a class that have at most the given place.
func (q *queue) behind(class Class, place uint64) int {
	at, _ := slices.BinarySearchFunc(q.waiting[class], place, func(t *ticket, place uint64) int {
		return cmp.Or(cmp.Compare(t.place, place), -1)
	})
	return at
}

// remove removes a ticket. It returns false if the ticket has its slot already.
func (q *queue) remove(t *ticket) bool {
	at := slices.Index(q.waiting[t.class], t)
	if at < 0 {
		return false
	}
	q.waiting[t.class] = slices.Delete(q.waiting[t.class], at, at+1)
	return true
}

// dispatch assigns the free slots.
func (q *queue) dispatch(now time.Time) {
	for {
		class, found := q.nextClass()
		if !found || now.Before(q.next()) {
			return
		}
		first := q.waiting[class][0]
		q.waiting[class] = q.waiting[class][1:]
		q.virtual = q.pass[class]
		q.pass[class] += strides[class]
		q.use(now)
		close(first.granted)
	}
}

// nextClass returns the waiting class whose next slot is due first, and false if none waits.
func (q *queue) nextClass() (next Class, found bool) {
	for class := range Class(classes) {
		if len(q.waiting[class]) > 0 && (!found || q.pass[class] < q.pass[next]) {
			next, found = class, true
		}
	}
	return next, found
}
