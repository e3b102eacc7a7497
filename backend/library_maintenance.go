// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"
)

const (
	// libraryTickBudget is how long a tick starts work on users, and libraryUserTimeout bounds one.
	libraryTickBudget  = 15 * time.Second
	libraryUserTimeout = 15 * time.Second
	// parallelLibraryUsers are worked on at a time.
	parallelLibraryUsers = 8
	// libraryLastBudget is how long the users are deleted before an unmount.
	libraryLastBudget = 15 * time.Second
)

// maintainLibraries is the periodic task: it makes the users that sets lack, and resets, creates
// and deletes those that need it.
func (b *backend) maintainLibraries(ctx context.Context, req *logical.Request) error {
	if err := b.loadLibraries(ctx, req.Storage); err != nil {
		return err
	}
	if err := b.scheduleSeenUsers(ctx, req.Storage); err != nil {
		return err
	}
	began := time.Now()
	failures := []error{b.fillLibraries(ctx, req)}
	skipped, err := b.maintainDue(ctx, req, func() bool { return time.Since(began) < libraryTickBudget })
	if skipped {
		b.maintainSoon(req) // the worker looks again after what it does now
	}
	return errors.Join(append(failures, err)...)
}

// scheduleSeenUsers schedules the reset of the free users whose password may have been seen.
func (b *backend) scheduleSeenUsers(ctx context.Context, s logical.Storage) error {
	beat, err := b.watch.known(ctx, s) // the reconciler has continued the watch in this tick
	if err != nil {
		return err
	}
	if seen := b.checkOuts.scheduleSeen(beat.Watch, b.now()); seen > 0 {
		b.Logger().Warn("free users of library sets are reset before they are lent, because the engine did not run for a while, the clock was set, or a snapshot was restored", "users", seen)
	}
	return nil
}

// maintainDue works on the users that are due, several at a time, while it may start. It skips the
// users that something else works on, and reports whether there were any.
func (b *backend) maintainDue(ctx context.Context, req *logical.Request, mayStart func() bool) (skipped bool, err error) {
	ctx = inBackground(ctx)
	var mu sync.Mutex
	var failures []error
	var work errgroup.Group
	work.SetLimit(parallelLibraryUsers)
	for _, ref := range b.checkOuts.dueUsers(b.now()) {
		work.Go(func() error {
			if ctx.Err() != nil || !mayStart() {
				return nil
			}
			attempt, cancel := context.WithTimeout(ctx, libraryUserTimeout)
			defer cancel()
			isLocked, err := b.maintainUser(attempt, req, ref)
			mu.Lock()
			defer mu.Unlock()
			skipped = skipped || isLocked
			if err != nil {
				failures = append(failures, err)
			}
			return nil
		})
	}
	_ = work.Wait() // failures are collected
	return skipped, errors.Join(failures[:min(len(failures), reportedFailures)]...)
}

// maintainUser does what one user needs, unless a request, a tick or the worker has it locked. A
// request looks again by itself.
func (b *backend) maintainUser(ctx context.Context, req *logical.Request, ref libraryRef) (isLocked bool, err error) {
	unlock, free := b.libraryLocks.tryLock(libraryUserKey(ref.set, ref.id))
	if !free {
		return true, nil
	}
	defer unlock()
	return false, b.maintainLocked(ctx, req, ref)
}

func (b *backend) maintainLocked(ctx context.Context, req *logical.Request, ref libraryRef) error {
	b.checkOuts.schedule(ref.set, ref.id, b.now().Add(shortestRetry)) // if this attempt does not say when
	u, err := getLibraryUser(ctx, req.Storage, ref.set, ref.id)
	if err != nil {
		return err
	}
	if u == nil {
		b.checkOuts.remove(ref.set, ref.id)
		return nil
	}
	isIdle, err := b.isIdle(ctx, req, u)
	if err != nil {
		return err
	}
	if isIdle {
		b.checkOuts.update(u)
		return nil
	}
	return b.resetLibraryUser(ctx, req, u)
}

// isIdle reports whether a user needs nothing: it is free and as its role says by now, or lent and
// its check-out has a record.
func (b *backend) isIdle(ctx context.Context, req *logical.Request, u *libraryUser) (bool, error) {
	switch u.State {
	case libraryAvailable:
		set, err := b.librarySet(ctx, req.Storage, u.Set)
		if err != nil || !u.belongsTo(set) || u.Retire {
			return false, err
		}
		if unseen, err := b.isUnseen(ctx, req.Storage, u); err != nil || !unseen {
			return false, err
		}
		role, _, err := b.usableRole(ctx, req, set.Role)
		return err == nil && u.Shape == role.userShape(set.Role), err
	case libraryLent:
		record, err := getRecord(ctx, req.Storage, u.RecordRole, u.CheckOut)
		return record != nil, err
	default:
		return false, nil
	}
}

// libraryWorker works on users behind the requests, so that a user need not wait for the next tick.
type libraryWorker struct {
	mu      sync.Mutex
	running bool
	again   bool
	done    sync.WaitGroup
}

// maintainSoon starts work on the users that are due, unless it is under way.
func (b *backend) maintainSoon(req *logical.Request) {
	w := &b.libraryWorker
	w.mu.Lock()
	defer w.mu.Unlock()
	w.again = true
	if w.running || b.lifetime.Err() != nil {
		return
	}
	w.running = true
	later := &logical.Request{Storage: req.Storage, MountPoint: req.MountPoint}
	w.done.Go(func() {
		for w.next() {
			if err := b.maintainInBackground(later); err != nil {
				b.Logger().Warn("users of library sets are not free yet; the next tick tries again", "error", err)
			}
		}
	})
}

// next reports whether there is work, and otherwise ends the worker.
func (w *libraryWorker) next() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running, w.again = w.again, false
	return w.running
}

// wait waits until the worker has ended, or ctx ends. No other one begins after the end of the
// lifetime.
func (w *libraryWorker) wait(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		w.done.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (b *backend) maintainInBackground(req *logical.Request) error {
	if !b.mayWrite() || b.System().Tainted() {
		return nil
	}
	if err := b.loadLibraries(b.lifetime, req.Storage); err != nil {
		return err
	}
	filled := b.fillLibraries(b.lifetime, req)
	_, err := b.maintainDue(b.lifetime, req, func() bool { return true })
	return errors.Join(filled, err)
}

// fillLibraries stores the entries that sets lack, and marks those that they no longer want.
func (b *backend) fillLibraries(ctx context.Context, req *logical.Request) error {
	var failures []error
	for _, name := range b.checkOuts.unfilled() {
		failures = append(failures, b.fillLibrary(ctx, req, name))
	}
	return errors.Join(failures...)
}

func (b *backend) fillLibrary(ctx context.Context, req *logical.Request, name string) error {
	unlock, err := b.libraryLocks.lock(ctx, librarySetStoragePrefix+name)
	if err != nil {
		return err
	}
	defer unlock()
	set, err := getLibrarySet(ctx, req.Storage, name)
	if err != nil {
		return err
	}
	if set == nil {
		b.checkOuts.scheduleAll(name, b.now())
		b.checkOuts.setGone(name)
		return nil
	}
	f := &libraryFill{b: b, req: req, name: name, set: set}
	if err := f.run(ctx); err != nil {
		return err
	}
	b.checkOuts.setFilled(name, true)
	return nil
}

// libraryFill makes the entries of a locked set those that it wants.
type libraryFill struct {
	b    *backend
	req  *logical.Request
	name string
	set  *librarySet
	// taken are the users of usernames that were looked up already, by the name that was written.
	taken map[string]*libraryUser
}

func (f *libraryFill) run(ctx context.Context) error {
	users, err := usersOf(ctx, f.req.Storage, f.name, f.set)
	if err != nil {
		return err
	}
	if f.set.Size > 0 {
		return f.fillSize(ctx, users)
	}
	return f.fillUsernames(ctx, users)
}

// retireOrder has the states of the users that retire first.
var retireOrder = []libraryUserState{libraryCreating, libraryResetting, libraryAvailable, libraryLent}

func (f *libraryFill) fillSize(ctx context.Context, users []*libraryUser) error {
	users = slices.DeleteFunc(users, func(u *libraryUser) bool { return u.State == libraryRetiring })
	slices.SortStableFunc(users, func(a, b *libraryUser) int {
		return cmp.Compare(slices.Index(retireOrder, b.State), slices.Index(retireOrder, a.State))
	})
	kept := 0
	for _, u := range users {
		stays, err := f.setRetire(ctx, u, kept >= f.set.Size)
		if err != nil {
			return err
		}
		if stays {
			kept++
		}
	}
	place, err := f.place(ctx)
	if err != nil {
		return err
	}
	for range f.set.Size - kept {
		u := &libraryUser{Set: f.name, ID: randomText(recordRandomLen), SetID: f.set.ID, State: libraryCreating, Owned: true, place: place}
		if err := f.add(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (f *libraryFill) fillUsernames(ctx context.Context, users []*libraryUser) error {
	byName := map[string]*libraryUser{}
	for _, u := range users {
		stays, err := f.setRetire(ctx, u, !slices.Contains(f.set.Usernames, u.RequestedName))
		if err != nil {
			return err
		}
		if stays {
			byName[u.RequestedName] = u
		}
	}
	place, err := f.place(ctx)
	if err != nil {
		return err
	}
	for _, username := range f.set.Usernames {
		if byName[username] != nil {
			continue
		}
		u := f.taken[username]
		if u == nil { // the process that looked it up is dead
			if u, err = f.b.lookUpLibraryUser(ctx, f.req, place, username); err != nil {
				return err
			}
		}
		u.Set, u.ID, u.SetID, u.State = f.name, randomText(recordRandomLen), f.set.ID, libraryResetting
		if err := f.add(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

func (f *libraryFill) add(ctx context.Context, u *libraryUser) error {
	if err := f.b.putLibraryUser(ctx, f.req.Storage, u); err != nil {
		return err
	}
	f.b.checkOuts.schedule(u.Set, u.ID, f.b.now())
	return nil
}

// setRetire marks a user that is no longer wanted, or wanted again, and reports whether the set
// keeps it: one that is being deleted cannot be wanted again.
func (f *libraryFill) setRetire(ctx context.Context, u *libraryUser, retire bool) (stays bool, err error) {
	if u.Retire == retire {
		return !retire, nil
	}
	unlock, err := f.b.lockLibraryUser(ctx, u.Set, u.ID)
	if err != nil {
		return false, err
	}
	defer unlock()
	current, err := getLibraryUser(ctx, f.req.Storage, u.Set, u.ID)
	if err != nil || current == nil || current.State == libraryRetiring {
		return false, err
	}
	current.Retire = retire
	if err := f.b.putLibraryUser(ctx, f.req.Storage, current); err != nil {
		return false, err
	}
	if current.State != libraryLent {
		f.b.checkOuts.schedule(u.Set, u.ID, f.b.now())
	}
	return !retire, nil
}

// place returns where the users of the set are.
func (f *libraryFill) place(ctx context.Context) (place, error) {
	role, aws, err := f.b.usableRole(ctx, f.req, f.set.Role)
	if err != nil {
		return place{}, err
	}
	return newPlace(role.target(aws.region)), nil
}

// retireLibraries deletes the users that the engine created, before the mount is unmounted or
// moved. After a move the sets get new ones.
func (b *backend) retireLibraries(ctx context.Context, req *logical.Request) error {
	if !b.mayWrite() {
		return nil
	}
	ctx, cancel := context.WithTimeout(inBackground(ctx), libraryLastBudget)
	defer cancel()
	names, err := libraryUserSets(ctx, req.Storage)
	if err != nil {
		return err
	}
	var failures []error
	for _, name := range names {
		failures = append(failures, b.retireSetBeforeUnmount(ctx, req, name)...)
		b.checkOuts.setFilled(name, false)
	}
	if len(failures) > 0 {
		b.Logger().Warn("the mount goes before all users of its library sets were deleted; they stay at Cognito", "users", len(failures))
	}
	return errors.Join(failures[:min(len(failures), reportedFailures)]...)
}

// retireSetBeforeUnmount deletes the users of a set, several at a time.
func (b *backend) retireSetBeforeUnmount(ctx context.Context, req *logical.Request, set string) (failures []error) {
	ids, err := listSorted(ctx, req.Storage, libraryUserStoragePrefix+set+"/")
	if err != nil {
		return []error{err}
	}
	var mu sync.Mutex
	var work errgroup.Group
	work.SetLimit(parallelLibraryUsers)
	for _, id := range ids {
		work.Go(func() error {
			if err := b.retireBeforeUnmount(ctx, req, set, id); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
			return nil
		})
	}
	_ = work.Wait() // failures are collected
	return failures
}

func (b *backend) retireBeforeUnmount(ctx context.Context, req *logical.Request, set, id string) error {
	unlock, err := b.lockLibraryUser(ctx, set, id)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := getLibraryUser(ctx, req.Storage, set, id)
	if err != nil || u == nil || !u.Owned {
		return err
	}
	return b.resetLibraryUser(ctx, req, u)
}
