// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// timeToStore is the time that is left to store a failure, but at most half of an attempt.
const timeToStore = 2 * time.Second

// lockLibraryUser locks a user while ctx lives. A record lock is never taken under it.
func (b *backend) lockLibraryUser(ctx context.Context, set, id string) (unlock func(), err error) {
	unlock, err = b.libraryLocks.lock(ctx, libraryUserKey(set, id))
	if err != nil {
		return nil, fmt.Errorf("waiting for user %q of library set %q: %w", id, set, err)
	}
	return unlock, nil
}

// endLibraryRecord ends the check-out of a record.
func (b *backend) endLibraryRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	return b.endCheckOut(ctx, req, r.Library, r.LibraryUser, r.ID)
}

// endCheckOut resets the user of a check-out. One that has ended is no error, nor one of a cluster
// that is a secondary by now: the primary resets the users whose record it does not have.
func (b *backend) endCheckOut(ctx context.Context, req *logical.Request, set, id, checkOut string) error {
	if !b.mayWrite() {
		return nil
	}
	if err := b.loadLibraries(ctx, req.Storage); err != nil {
		return err
	}
	unlock, err := b.lockLibraryUser(ctx, set, id)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := getLibraryUser(ctx, req.Storage, set, id)
	if err != nil || u == nil || u.CheckOut != checkOut {
		return err
	}
	return b.resetLibraryUser(ctx, req, u)
}

// resetLibraryUser makes a locked user free, or ends it if its set does not want it. A failure is
// stored, and the periodic task tries again.
func (b *backend) resetLibraryUser(ctx context.Context, req *logical.Request, u *libraryUser) error {
	attempt, cancel := withTimeToStore(ctx)
	defer cancel()
	err := b.tryResetLibraryUser(attempt, req, u)
	if err != nil {
		err = fmt.Errorf("library set %q: %w", u.Set, err)
		b.storeLibraryFailure(ctx, req.Storage, u, err)
	}
	return err
}

// withTimeToStore returns a context that ends timeToStore before ctx, or after half of the time if
// there is less: the failure of a call that takes until then can still be stored.
func withTimeToStore(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, found := ctx.Deadline()
	if !found {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-min(timeToStore, time.Until(deadline)/2)))
}

func (b *backend) tryResetLibraryUser(ctx context.Context, req *logical.Request, u *libraryUser) error {
	set, err := b.librarySet(ctx, req.Storage, u.Set)
	if err != nil {
		return err
	}
	isWanted := u.belongsTo(set) && !u.Retire && !b.System().Tainted()
	if !isWanted {
		if done, err := b.leaveWithItsPassword(ctx, req.Storage, u); done || err != nil {
			return err
		}
	}
	r, err := b.newUserReset(ctx, req, set, u)
	if err != nil {
		return err
	}
	if u.Owned && (!isWanted || u.State == libraryRetiring) {
		return r.retire(ctx)
	}
	if err := r.make(ctx); err != nil {
		return err
	}
	if !u.belongsTo(set) || u.Retire {
		return b.deleteLibraryUser(ctx, req.Storage, u)
	}
	return r.setFree(ctx)
}

// leaveWithItsPassword deletes the entry of a free user of usernames, if the password of its last
// reset was never returned. It reports whether it did.
func (b *backend) leaveWithItsPassword(ctx context.Context, s logical.Storage, u *libraryUser) (done bool, err error) {
	if u.Owned || u.State != libraryAvailable {
		return false, nil
	}
	unseen, err := b.isUnseen(ctx, s, u)
	if err != nil || !unseen {
		return false, err
	}
	return true, b.deleteLibraryUser(ctx, s, u)
}

// make brings a user to Cognito that is not there, and resets one that is.
func (r *userReset) make(ctx context.Context) error {
	if r.user.State != libraryCreating {
		if err := r.begin(ctx); err != nil {
			return err
		}
		err := r.run(ctx)
		if !cognito.IsUserGone(err) {
			return err
		}
		if again, err := r.replaceGone(ctx, err); err != nil || !again {
			return err
		}
	}
	if err := r.create(ctx); err != nil {
		return err
	}
	return r.run(ctx)
}

// replaceGone lets a user that was deleted at Cognito be created again, and reports whether to
// create it. A user of usernames was not made by the engine and is not made again.
func (r *userReset) replaceGone(ctx context.Context, gone error) (again bool, err error) {
	u := r.user
	switch {
	case !u.Owned && (r.role == nil || u.Retire): // the set gives it up anyway
		return false, nil
	case !u.Owned:
		return false, fmt.Errorf("user %q is missing: create it again in the user pool, or remove it from usernames: %w", u.RequestedName, gone)
	case r.b.now().Sub(u.Created) < lagWindow: // that Cognito does not know it yet proves nothing
		return false, gone
	}
	// If the answer was wrong, a user without an entry would be left.
	if err := r.pool.DeleteUser(ctx, u.name()); err != nil && !cognito.IsUserGone(err) {
		return false, err
	}
	r.b.Logger().Warn("a user of a library set was deleted at Cognito and is created again", "library", u.Set, "username", u.name())
	u.State, u.RequestedName, u.Username, u.Sub, u.Baseline, u.Pending = libraryCreating, "", "", "", nil, ""
	return true, r.b.putLibraryUser(ctx, r.req.Storage, u)
}

// storeLibraryFailure stores why a user is not free, and when to try again.
func (b *backend) storeLibraryFailure(ctx context.Context, s logical.Storage, u *libraryUser, failure error) {
	now := b.now().Round(0)
	b.checkOuts.schedule(u.Set, u.ID, now.Add(u.retryPause(now)))
	if !wasTried(ctx, failure) || u.LastError == failure.Error() || u.State == libraryLent {
		return
	}
	stored, err := getLibraryUser(ctx, s, u.Set, u.ID)
	if err != nil || stored == nil {
		return
	}
	if stored.LastError = failure.Error(); stored.FailingSince.IsZero() {
		stored.FailingSince = now
	}
	if err := b.putLibraryUser(ctx, s, stored); err != nil {
		b.Logger().Warn("why a user of a library set is not free could not be stored", "library", u.Set, "username", u.name(), "error", err)
	}
	b.checkOuts.schedule(u.Set, u.ID, now.Add(stored.retryPause(now)))
}

// retryPause grows with the time since the first failure.
func (u *libraryUser) retryPause(now time.Time) time.Duration {
	if u.FailingSince.IsZero() {
		return shortestRetry
	}
	return min(max(now.Sub(u.FailingSince)/8, shortestRetry), longestRetry)
}

func (u *libraryUser) clearFailure() { u.LastError, u.FailingSince = "", time.Time{} }
