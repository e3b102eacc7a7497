// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"
)

const (
	// tickBudget is what one tick may take of the time that Vault gives it.
	tickBudget = 40 * time.Second
	// rotationTimeout bounds one rotation of one role.
	rotationTimeout = 30 * time.Second
	// parallelRotations share a tick, so that one that hangs holds few others up.
	parallelRotations = 8
)

// staticQueue knows of every static role when it needs attention and what it
// owns. It is made of the storage, on first need, and can be made again.
type staticQueue struct {
	loading sync.Mutex

	mu     sync.Mutex
	loaded bool
	wake   map[string]time.Time
	// owners are the names of roles by identity.
	owners map[string]string
	locks  map[string]*sync.RWMutex
}

// lock is the one of a role. Whoever holds it may wait for AWS: it keeps
// nobody from any other role.
func (q *staticQueue) lock(name string) *sync.RWMutex {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.locks == nil {
		q.locks = map[string]*sync.RWMutex{}
	}
	if q.locks[name] == nil {
		q.locks[name] = &sync.RWMutex{}
	}
	return q.locks[name]
}

func (q *staticQueue) set(name string, role *staticRole) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.put(name, role)
}

func (q *staticQueue) put(name string, role *staticRole) {
	q.wakeAt(name, role.wake())
	if q.owners == nil {
		q.owners = map[string]string{}
	}
	q.owners[role.identity()] = name
}

func (q *staticQueue) wakeAt(name string, at time.Time) {
	if q.wake == nil {
		q.wake = map[string]time.Time{}
	}
	q.wake[name] = at
}

// lookAgain lets the next tick processDue to a role that cannot be read now.
func (q *staticQueue) lookAgain(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeAt(name, time.Time{})
}

// claim makes a role the owner of what it names, unless another is.
func (q *staticQueue) claim(name string, role *staticRole) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if owner, taken := q.owners[role.identity()]; taken && owner != name {
		return badRequest("static role %q owns the same %s already", owner, role.CredentialType)
	}
	q.put(name, role)
	return nil
}

func (q *staticQueue) remove(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(name)
}

func (q *staticQueue) drop(name string) {
	delete(q.wake, name)
	maps.DeleteFunc(q.owners, func(_, owner string) bool { return owner == name })
}

// forget makes the queue load again, because another node wrote a role or
// deleted it.
func (q *staticQueue) forget(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(name)
	q.loaded = false
}

// due are the names of roles that need attention, the one that waits longest first.
func (q *staticQueue) due(now time.Time) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var names []string
	for name, wake := range q.wake {
		if !wake.After(now) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(q.wake[a].Compare(q.wake[b]), cmp.Compare(a, b)) })
	return names
}

func (q *staticQueue) isLoaded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded
}

// loadQueue reads all static roles, once. It asks nothing of AWS.
func (b *backend) loadQueue(ctx context.Context, s logical.Storage) error {
	b.queue.loading.Lock()
	defer b.queue.loading.Unlock()
	if b.queue.isLoaded() {
		return nil
	}
	began := time.Now()
	names, err := s.List(ctx, staticRoleStoragePrefix)
	if err != nil {
		return fmt.Errorf("listing static roles: %w", err)
	}
	for _, name := range names {
		role, err := getStaticRole(ctx, s, name)
		if err != nil {
			// One damaged entry must not keep the others from rotating.
			b.Logger().Error("a static role cannot be read; the next tick tries again", "name", name, "error", err)
			b.queue.lookAgain(name)
			continue
		}
		if role != nil {
			b.queue.set(name, role)
		}
	}
	b.Logger().Info("static roles were loaded", "number", len(names), "took", time.Since(began).Round(time.Millisecond).String())
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	b.queue.loaded = true
	return nil
}

// rotateDue is the periodic task: it rotates what is due, several at a time,
// for as long as a tick may take. What is left over comes first next time.
func (b *backend) rotateDue(ctx context.Context, req *logical.Request) error {
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tickBudget+rotationTimeout)
	defer cancel()
	started := b.now()
	var work errgroup.Group
	work.SetLimit(parallelRotations)
	for _, name := range b.queue.due(started) {
		if b.now().Sub(started) > tickBudget {
			break
		}
		work.Go(func() error {
			b.processDue(ctx, req, name)
			return nil
		})
	}
	return work.Wait()
}

// processDue gives one static role what it needs. A failure is the role's own: it
// is kept there, logged and told as an event.
func (b *backend) processDue(ctx context.Context, req *logical.Request, name string) {
	lock := b.queue.lock(name)
	lock.Lock()
	defer lock.Unlock()
	role, err := getStaticRole(ctx, req.Storage, name)
	switch {
	case err != nil:
		b.Logger().Error("a static role cannot be read", "name", name, "error", err)
	case role == nil:
		b.queue.remove(name)
	case role.missed(b.now()):
		b.skipMissed(ctx, req, name, role)
	case role.due(b.now()):
		if err := b.rotate(ctx, req, name, role); err != nil {
			b.Logger().Error("rotating a static role failed", "name", name, "error", err, "next_try", timeText(role.RetryAt))
		}
	default:
		b.queue.set(name, role)
	}
}

// skipMissed waits for the next window.
func (b *backend) skipMissed(ctx context.Context, req *logical.Request, name string, role *staticRole) {
	missed := role.NextRotation
	err := role.reschedule(b.now())
	if err == nil {
		err = b.putStaticRole(ctx, req.Storage, name, role)
	}
	b.Logger().Warn("a static role missed its rotation window", "name", name, "missed", timeText(missed), "next", timeText(role.NextRotation), "error", err)
}
