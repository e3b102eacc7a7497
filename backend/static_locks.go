// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"
)

// staticLocks has a lock for each static role that is in use now, so that
// requests for names that do not exist leave nothing behind. Whoever holds one
// may wait for AWS. The zero value is ready.
type staticLocks struct {
	mu    sync.Mutex
	locks map[string]*staticLock
}

// staticLock is the lock of one static role.
type staticLock struct {
	// held has an item while the lock is held.
	held chan struct{}
	// users hold the lock or wait for it.
	users int
	// attempts counts rotations, and last is the result of the newest one. They are
	// changed by the holder only, and read with it or before it waits.
	attempts int
	last     error
}

// heldLock is a lock that the caller holds.
type heldLock struct {
	all  *staticLocks
	name string
	lock *staticLock
	// before is how many attempts there were when the caller began to wait.
	before int
}

// acquire waits for the lock of a static role, as long as ctx lives.
func (l *staticLocks) acquire(ctx context.Context, name string) (*heldLock, error) {
	lock, before := l.join(name)
	held := &heldLock{l, name, lock, before}
	select {
	case lock.held <- struct{}{}:
		return held, nil
	case <-ctx.Done():
		l.leave(name, lock)
		return nil, ctx.Err()
	}
}

// tryAcquire returns false if another request works on the role.
func (l *staticLocks) tryAcquire(name string) (*heldLock, bool) {
	lock, before := l.join(name)
	select {
	case lock.held <- struct{}{}:
		return &heldLock{l, name, lock, before}, true
	default:
		l.leave(name, lock)
		return nil, false
	}
}

func (l *staticLocks) join(name string) (*staticLock, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock := l.locks[name]
	if lock == nil {
		lock = &staticLock{held: make(chan struct{}, 1)}
		if l.locks == nil {
			l.locks = map[string]*staticLock{}
		}
		l.locks[name] = lock
	}
	lock.users++
	return lock, lock.attempts
}

func (l *staticLocks) leave(name string, lock *staticLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock.users--
	if lock.users == 0 {
		delete(l.locks, name)
	}
}

func (h *heldLock) release() {
	<-h.lock.held
	h.all.leave(h.name, h.lock)
}

// attempted records the result of a rotation for those who wait for the lock.
func (h *heldLock) attempted(err error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.lock.attempts++
	h.lock.last = err
}

// shared returns the result of the newest rotation that ended while the caller
// waited, and false if there was none.
func (h *heldLock) shared() (ended bool, err error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	return h.lock.attempts != h.before, h.lock.last
}
