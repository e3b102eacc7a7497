// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"
)

// keyedLocks has a lock for each key. A lock exists only while it is held, so that unused keys take
// no memory. A lock may be held during a call to AWS. The zero value is ready.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// tryLock returns false if the key is locked.
func (l *keyedLocks) tryLock(key string) (unlock func(), ok bool) {
	unlock, held := l.lockOrHeld(key)
	return unlock, held == nil
}

// lock waits for the lock of a key, or returns the error of ctx.
func (l *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		unlock, held := l.lockOrHeld(key)
		if held == nil {
			return unlock, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lockOrHeld locks a key, or returns the channel that is closed when its holder unlocks it.
func (l *keyedLocks) lockOrHeld(key string) (unlock func(), held chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held := l.held[key]; held != nil {
		return nil, held
	}
	if l.held == nil {
		l.held = map[string]chan struct{}{}
	}
	released := make(chan struct{})
	l.held[key] = released
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, key)
		close(released)
	}, nil
}
