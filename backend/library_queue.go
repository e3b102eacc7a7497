// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// checkOutQueues know which users of library sets are free, who waits for one, and which users the
// periodic task must look at. They are read from storage once and follow what this process stores.
type checkOutQueues struct {
	loading sync.Mutex

	mu     sync.Mutex
	loaded bool
	// reloads counts how often another node wrote, so that a load that misses it is repeated.
	reloads int
	sets    map[string]*checkOutQueue
}

// checkOutQueue is that of one set.
type checkOutQueue struct {
	users map[string]*queuedUser
	// waiters come first come first served.
	waiters []*checkOutWaiter
	// isFilled says that the set has entries for the users that it wants.
	isFilled bool
	// isGone says that the set was deleted. The queue is dropped after its last user and waiter.
	isGone bool
}

// queuedUser is what is known of a user.
type queuedUser struct {
	state libraryUserState
	// taken says that a check-out has claimed the user.
	taken bool
	// since is when it became free, and due when the check-out ends.
	since, due time.Time
	isBroken   bool
	// watch is the one in which its password was made.
	watch string
	// wake is when the periodic task looks at the user, or zero for never.
	wake time.Time
}

// checkOutWaiter is a request that waits for a user, whose id it gets.
type checkOutWaiter struct {
	ready chan string
	since time.Time
}

// libraryRef names a user of a set.
type libraryRef struct{ set, id string }

// of returns the queue of a set. The caller holds mu.
func (q *checkOutQueues) of(set string) *checkOutQueue {
	if q.sets == nil {
		q.sets = map[string]*checkOutQueue{}
	}
	if q.sets[set] == nil {
		q.sets[set] = &checkOutQueue{users: map[string]*queuedUser{}}
	}
	return q.sets[set]
}

// user returns what is known of a user. The caller holds mu.
func (q *checkOutQueues) user(set, id string) *queuedUser {
	queue := q.of(set)
	if queue.users[id] == nil {
		queue.users[id] = &queuedUser{}
	}
	return queue.users[id]
}

// update records what was stored of a user. A user that became free goes to the first request that
// waits.
func (q *checkOutQueues) update(u *libraryUser) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.user(u.Set, u.ID)
	known.state, known.since, known.due, known.isBroken, known.watch = u.State, u.Since, u.Due, u.LastError != "", u.Watch
	if u.State == libraryAvailable && u.Retire {
		known.state = libraryRetiring
	}
	if known.state == libraryAvailable || known.state == libraryLent {
		known.wake = time.Time{}
	}
	q.of(u.Set).serve()
}

// invalidate records that it is not known what is stored of a user.
func (q *checkOutQueues) invalidate(set, id string, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.user(set, id)
	known.state, known.wake = libraryUnknown, now
}

// schedule makes the periodic task look at a user at a time.
func (q *checkOutQueues) schedule(set, id string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.user(set, id).wake = at
}

// scheduleAll makes the periodic task look at all users of a set.
func (q *checkOutQueues) scheduleAll(set string, at time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, known := range q.of(set).users {
		known.wake = at
	}
}

// scheduleSeen makes the periodic task look at the free users whose password is of another watch
// than the present one, and returns how many there are.
func (q *checkOutQueues) scheduleSeen(watch string, at time.Time) (seen int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range q.sets {
		for _, known := range queue.users {
			if known.state != libraryAvailable || known.watch == watch {
				continue
			}
			seen++
			if known.wake.IsZero() {
				known.wake = at
			}
		}
	}
	return seen
}

func (q *checkOutQueues) remove(set, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.of(set).users, id)
	q.dropLocked(set)
}

// setGone records that a set was deleted. Requests that wait find that it is gone.
func (q *checkOutQueues) setGone(set string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.of(set)
	queue.isFilled, queue.isGone = true, true
	q.dropLocked(set)
}

// dropLocked drops the queue of a deleted set that nothing needs any more. The caller holds mu.
func (q *checkOutQueues) dropLocked(set string) {
	if queue := q.sets[set]; queue != nil && queue.isGone && len(queue.users) == 0 && len(queue.waiters) == 0 {
		delete(q.sets, set)
	}
}

// reload makes the queues read the storage again, because another node wrote it.
func (q *checkOutQueues) reload() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loaded = false
	q.reloads++
}

// beginLoad returns what endLoad needs to know.
func (q *checkOutQueues) beginLoad() (reloads int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.reloads
}

// endLoad records that all was read, unless another node wrote meanwhile.
func (q *checkOutQueues) endLoad(reloads int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.loaded = q.reloads == reloads
}

func (q *checkOutQueues) isLoaded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded
}

// setFilled records that a set exists, and whether it has entries for the users that it wants.
func (q *checkOutQueues) setFilled(set string, isFilled bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.of(set)
	queue.isFilled, queue.isGone = isFilled, false
}

// unfilled returns the names of the sets that may lack users.
func (q *checkOutQueues) unfilled() (names []string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, queue := range q.sets {
		if !queue.isFilled {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// claim takes the user that has been free longest, or waits for one in turn. The caller releases
// it.
func (q *checkOutQueues) claim(ctx context.Context, set string, wait time.Duration, now time.Time) (id string, err error) {
	q.mu.Lock()
	queue := q.of(set)
	if len(queue.waiters) == 0 {
		if id = queue.take(); id != "" {
			q.mu.Unlock()
			return id, nil
		}
	}
	if wait <= 0 {
		q.mu.Unlock()
		return "", nil
	}
	waiter := &checkOutWaiter{ready: make(chan string, 1), since: now}
	queue.waiters = append(queue.waiters, waiter)
	q.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case id := <-waiter.ready:
		return id, nil
	case <-timer.C:
	case <-ctx.Done():
		err = fmt.Errorf("waiting for a user of library set %q: %w", set, ctx.Err())
	}
	return q.leave(set, queue, waiter, err)
}

// leave ends a wait. A user that was given to the request in the meantime is its own, unless the
// request has gone away.
func (q *checkOutQueues) leave(set string, queue *checkOutQueue, waiter *checkOutWaiter, failure error) (string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.dropLocked(set)
	queue.waiters = slices.DeleteFunc(queue.waiters, func(other *checkOutWaiter) bool { return other == waiter })
	select {
	case id := <-waiter.ready:
		if failure == nil {
			return id, nil
		}
		if known := queue.users[id]; known != nil {
			known.taken = false
		}
		queue.serve()
	default:
	}
	return "", failure
}

// release ends the claim of a user.
func (q *checkOutQueues) release(set, id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	queue := q.of(set)
	if known := queue.users[id]; known != nil {
		known.taken = false
	}
	queue.serve()
}

// take claims the user that has been free longest, or returns "". The caller holds mu.
func (q *checkOutQueue) take() string {
	first := ""
	for id, known := range q.users {
		if known.state != libraryAvailable || known.taken {
			continue
		}
		if first == "" || cmp.Or(known.since.Compare(q.users[first].since), cmp.Compare(id, first)) < 0 {
			first = id
		}
	}
	if first != "" {
		q.users[first].taken = true
	}
	return first
}

// serve gives free users to the requests that wait. The caller holds mu.
func (q *checkOutQueue) serve() {
	for len(q.waiters) > 0 {
		id := q.take()
		if id == "" {
			return
		}
		q.waiters[0].ready <- id
		q.waiters = q.waiters[1:]
	}
}

// nextDue returns when the check-out that ends first is due, or zero if none is under way.
func (q *checkOutQueues) nextDue(set string) (next time.Time, lent, all int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, known := range q.of(set).users {
		all++
		if known.state != libraryLent {
			continue
		}
		lent++
		if next.IsZero() || known.due.Before(next) {
			next = known.due
		}
	}
	return next, lent, all
}

// dueUsers returns the users that the periodic task must look at by now. The sets take turns, so
// that one with many users, or in a pool that does not answer, does not delay the others.
func (q *checkOutQueues) dueUsers(now time.Time) []libraryRef {
	q.mu.Lock()
	defer q.mu.Unlock()
	type turn struct {
		libraryRef
		round int
	}
	var turns []turn
	for name, queue := range q.sets {
		for round, id := range queue.due(now) {
			turns = append(turns, turn{libraryRef{name, id}, round})
		}
	}
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(a.set, b.set)) })
	refs := make([]libraryRef, len(turns))
	for i, turn := range turns {
		refs[i] = turn.libraryRef
	}
	return refs
}

// due returns the ids of the users that are due, in order. The caller holds mu.
func (q *checkOutQueue) due(now time.Time) (ids []string) {
	for id, known := range q.users {
		if !known.wake.IsZero() && !known.wake.After(now) && !known.taken {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// states returns how the users of each set are used, once all of them are known.
func (q *checkOutQueues) states(now time.Time) ([]libraryState, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.loaded {
		return nil, false
	}
	uses := make([]libraryState, 0, len(q.sets))
	for name, queue := range q.sets {
		uses = append(uses, queue.use(name, now))
	}
	return uses, true
}

func (q *checkOutQueue) use(name string, now time.Time) libraryState {
	use := libraryState{name: name, waiting: len(q.waiters)}
	for _, known := range q.users {
		switch {
		case known.state == libraryAvailable:
			use.free++
		case known.state == libraryLent:
			use.lent++
		case known.isBroken:
			use.broken++
		}
	}
	if len(q.waiters) > 0 {
		use.longest = now.Sub(q.waiters[0].since)
	}
	return use
}

// loadLibraries reads all sets and their users, once. It does not call AWS.
func (b *backend) loadLibraries(ctx context.Context, s logical.Storage) error {
	b.checkOuts.loading.Lock()
	defer b.checkOuts.loading.Unlock()
	if b.checkOuts.isLoaded() {
		return nil
	}
	reloads := b.checkOuts.beginLoad()
	names, err := listSorted(ctx, s, librarySetStoragePrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		b.checkOuts.setFilled(name, false)
	}
	sets, err := libraryUserSets(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range sets {
		if err := b.loadLibraryUsers(ctx, s, name); err != nil {
			return err
		}
	}
	b.checkOuts.endLoad(reloads)
	return nil
}

// loadLibraryUsers reads the users of a set. The periodic task looks at all of them: the record of
// a lent one may be lost, and the role of a free one may have changed.
func (b *backend) loadLibraryUsers(ctx context.Context, s logical.Storage, set string) error {
	ids, err := listSorted(ctx, s, libraryUserStoragePrefix+set+"/")
	if err != nil {
		return err
	}
	for _, id := range ids {
		u, err := getLibraryUser(ctx, s, set, id)
		switch {
		case err != nil:
			b.Logger().Error("a user of a library set cannot be read; it is not lent", "library", set, "id", id, "error", err)
			b.checkOuts.invalidate(set, id, b.now().Add(unreadablePause))
		case u == nil:
		default:
			b.checkOuts.update(u)
			b.checkOuts.schedule(set, id, b.now())
		}
	}
	return nil
}
