// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"
)

// staticLocks has a lock for each static role that is in use, so that requests for names that do
// not exist leave nothing in memory. A lock may be held during calls to AWS. The zero value is
// ready.
type staticLocks struct {
	mu    sync.Mutex
	locks map[string]*staticLock
}

// staticLock is the lock of one static role.
type staticLock struct {
	// held contains an item while the lock is held.
	held chan struct{}
	// references is the number of requests that hold the lock or wait for it.
	references int
	// attempts counts the rotations, and last is the result of the newest one. The mutex of
	// staticLocks guards them.
	attempts int
	last     error
}

// heldStaticLock is a lock that the caller holds.
type heldStaticLock struct {
	all  *staticLocks
	name string
	lock *staticLock
	// before is the value of attempts when the caller began to wait.
	before int
}

// acquire waits for the lock of a static role, or returns the error of ctx.
func (l *staticLocks) acquire(ctx context.Context, name string) (*heldStaticLock, error) {
	lock, before := l.join(name)
	held := &heldStaticLock{l, name, lock, before}
	select {
	case lock.held <- struct{}{}:
		return held, nil
	case <-ctx.Done():
		l.leave(name, lock)
		return nil, ctx.Err()
	}
}

// tryAcquire returns false if another request works on the role.
func (l *staticLocks) tryAcquire(name string) (*heldStaticLock, bool) {
	lock, before := l.join(name)
	select {
	case lock.held <- struct{}{}:
		return &heldStaticLock{l, name, lock, before}, true
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
	lock.references++
	return lock, lock.attempts
}

func (l *staticLocks) leave(name string, lock *staticLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lock.references--
	if lock.references == 0 {
		delete(l.locks, name)
	}
}

func (h *heldStaticLock) release() {
	<-h.lock.held
	h.all.leave(h.name, h.lock)
}

// setResult stores the result of a rotation for the requests that wait for the lock.
func (h *heldStaticLock) setResult(err error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	h.lock.attempts++
	h.lock.last = err
}

// newResult returns the result of the newest rotation that ended while the caller waited, and false
// if there was none.
func (h *heldStaticLock) newResult() (ended bool, err error) {
	h.all.mu.Lock()
	defer h.all.mu.Unlock()
	return h.lock.attempts != h.before, h.lock.last
}
