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

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// tickStarts is how long a tick starts rotations, and tickTimeout bounds each of them. Together
	// they leave the other periodic tasks most of the 90 seconds that Vault allows for a tick.
	tickStarts  = 15 * time.Second
	tickTimeout = 15 * time.Second
	// parallelRotations is how many rotations run at a time, so that one that hangs delays few
	// others.
	parallelRotations = 8
)

// staticQueue has the time at which each static role must be processed next, and the owner of each
// user and app client. It is built from the storage on first use, and can be rebuilt at any time.
type staticQueue struct {
	loading sync.Mutex

	mu        sync.Mutex
	loaded    bool
	wakeTimes map[string]time.Time
	// owners has the names of static roles by identity.
	owners map[string]string
	// reserved has the names of library sets by identity, while they adopt users.
	reserved map[string]string
	// times has the rotation times of each role, for the metrics.
	times map[string]rotationTimes
	// lastTime is the latest time that was seen. An earlier time shows that the clock was set back.
	lastTime time.Time
}

func (q *staticQueue) set(name string, role *staticRole, now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setLocked(name, role, now)
}

func (q *staticQueue) setLocked(name string, role *staticRole, now time.Time) {
	q.setWakeTime(name, role.wakeTime(now))
	q.lastTime = latest(q.lastTime, now)
	if q.owners == nil {
		q.owners = map[string]string{}
	}
	if q.times == nil {
		q.times = map[string]rotationTimes{}
	}
	q.times[name] = rotationTimes{role.CredentialType, role.LastRotation, role.NextRotation, role.Missed}
	for _, identity := range role.identities() {
		q.owners[identity] = name
	}
}

func (q *staticQueue) setWakeTime(name string, at time.Time) {
	if q.wakeTimes == nil {
		q.wakeTimes = map[string]time.Time{}
	}
	q.wakeTimes[name] = at
}

// readAgain makes the next tick process a role that could not be read.
func (q *staticQueue) readAgain(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.setWakeTime(name, time.Time{})
}

// owner returns the name of the role that owns an identity, or "".
func (q *staticQueue) owner(identity string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.owners[identity]
}

// claim makes a role the owner of its user or app client, unless it has another owner.
func (q *staticQueue) claim(name string, role *staticRole, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, identity := range role.identities() {
		if set, reserved := q.reserved[identity]; reserved {
			return badRequest("username %q is not allowed: library set %q has the user", role.Username, set)
		}
		if owner, taken := q.owners[identity]; taken && owner != name {
			return badRequest("static role %q owns the same %s already", owner, role.CredentialType)
		}
	}
	q.setLocked(name, role, now)
	return nil
}

// reserve prevents static roles from claiming users that a library set is about to store, until
// release is called.
func (q *staticQueue) reserve(set string, identities []string) (release func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, identity := range identities {
		if owner, taken := q.owners[identity]; taken {
			return nil, badRequest("usernames is not allowed: static role %q owns the password of one of the users", owner)
		}
		if other, taken := q.reserved[identity]; taken {
			return nil, badRequest("usernames is not allowed: library set %q is taking over one of the users", other)
		}
	}
	if q.reserved == nil {
		q.reserved = map[string]string{}
	}
	for _, identity := range identities {
		q.reserved[identity] = set
	}
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		for _, identity := range identities {
			delete(q.reserved, identity)
		}
	}, nil
}

func (q *staticQueue) remove(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removeLocked(name)
}

func (q *staticQueue) removeLocked(name string) {
	delete(q.wakeTimes, name)
	delete(q.times, name)
	maps.DeleteFunc(q.owners, func(_, owner string) bool { return owner == name })
}

// reload makes the queue load again after another node wrote or deleted a role.
func (q *staticQueue) reload(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.removeLocked(name)
	q.loaded = false
}

// tick makes the queue load again if the clock was set back, because the times of all roles may
// then be wrong.
func (q *staticQueue) tick(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Before(q.lastTime) {
		q.loaded = false
	}
	q.lastTime = now
}

// due returns the names of the roles that must be processed now, the longest overdue first.
func (q *staticQueue) due(now time.Time) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	var names []string
	for name, wake := range q.wakeTimes {
		if !wake.After(now) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(q.wakeTimes[a].Compare(q.wakeTimes[b]), cmp.Compare(a, b)) })
	return names
}

// eachTimes calls do with the rotation times of each role.
func (q *staticQueue) eachTimes(do func(rotationTimes)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, times := range q.times {
		do(times)
	}
}

func (q *staticQueue) isLoaded() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.loaded
}

// loadQueue reads all static roles, once. It does not call AWS.
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
			b.queue.readAgain(name)
			continue
		}
		if role != nil {
			b.queue.set(name, role, b.now())
		}
	}
	b.Logger().Info("static roles were loaded", "number", len(names), "took", time.Since(began).Round(time.Millisecond).String())
	b.queue.mu.Lock()
	defer b.queue.mu.Unlock()
	b.queue.loaded = true
	return nil
}

// rotateDue is the periodic task that processes the static roles that are due, several at a time.
// Roles for which a tick has no time come first in the next one.
func (b *backend) rotateDue(ctx context.Context, req *logical.Request) error {
	b.queue.tick(b.now())
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return err
	}
	if err := b.deleteOldSignIns(ctx, req.Storage); err != nil {
		b.Logger().Warn("counts of sign-ins could not be deleted; the next tick tries again", "error", err)
	}
	ctx = ratelimit.WithClass(ctx, ratelimit.Background)
	started, began := b.now(), time.Now()
	timeLeft := func() bool { return max(b.now().Sub(started), time.Since(began)) < tickStarts }
	var work errgroup.Group
	work.SetLimit(parallelRotations)
	for _, name := range b.queue.due(started) {
		work.Go(func() error {
			if !timeLeft() {
				return nil
			}
			if err := b.processDue(ctx, req, name); err != nil {
				b.Logger().Error("rotating a static role failed", "name", name, "error", err)
			}
			return nil
		})
	}
	return work.Wait()
}

// processDue rotates one static role, or continues its rotation, unless a request works on it.
func (b *backend) processDue(ctx context.Context, req *logical.Request, name string) error {
	lock, free := b.staticLocks.tryAcquire(name)
	if !free {
		return nil
	}
	defer lock.release()
	role, err := getStaticRole(ctx, req.Storage, name)
	if err != nil {
		return err
	}
	if role == nil {
		b.queue.remove(name)
		return nil
	}
	if err := b.adjustSchedule(ctx, req, name, role); err != nil {
		return err
	}
	if !role.due(b.now()) && !role.mayResume(b.now()) {
		b.queue.set(name, role, b.now())
		return nil
	}
	r := &staticRotation{b: b, req: req, name: name, role: role}
	err = r.run(ctx, tickTimeout)
	if r.promoted {
		lock.setResult(nil)
	}
	return err
}

// adjustSchedule schedules the next rotation again if its window was missed or the clock was set
// back.
func (b *backend) adjustSchedule(ctx context.Context, req *logical.Request, name string, role *staticRole) error {
	now := b.now()
	missed := role.missed(now) && role.State != staticSetting
	if !missed && !role.aheadOfClock(now) {
		return nil
	}
	scheduled := role.NextRotation
	if missed && role.Missed.IsZero() {
		role.Missed = scheduled
	}
	if err := role.reschedule(now); err != nil {
		return err
	}
	role.RetryAt = time.Time{}
	b.Logger().Warn("the next rotation of a static role is scheduled again: its window was missed, or the clock was set back",
		"name", name, "was", timeText(scheduled), "next", timeText(role.NextRotation))
	return b.putStaticRole(ctx, req.Storage, name, role)
}
