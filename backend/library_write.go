// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// libraryWrite is one write of a set. Its methods are called in their order.
type libraryWrite struct {
	b    *backend
	req  *logical.Request
	name string
	in   input

	stored, set *librarySet
	role        *roleEntry
	aws         *connection
	pool        *cognito.Pool
	taken       map[string]*libraryUser
}

func (w *libraryWrite) run(ctx context.Context) error {
	unlock, err := w.b.libraryLocks.lock(ctx, librarySetStoragePrefix+w.name)
	if err != nil {
		return fmt.Errorf("waiting for library set %q: %w", w.name, err)
	}
	defer unlock()
	if err := w.readFields(ctx); err != nil {
		return err
	}
	if w.stored != nil && reflect.DeepEqual(w.stored, w.set) {
		return nil
	}
	for _, step := range []func(context.Context) error{w.checkPool, w.lookUpUsers, w.storeAll} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	w.b.maintainSoon(w.req)
	return nil
}

// storeAll stores the set and its users. Meanwhile nothing else can take the users over.
func (w *libraryWrite) storeAll(ctx context.Context) error {
	var identities []string
	for _, u := range w.taken {
		for _, name := range []string{u.Sub, u.Username, u.RequestedName} {
			identities = append(identities, identityOf(staticTypePassword, u.UserPoolID, name))
		}
	}
	release, err := w.b.queue.reserve(w.name, identities)
	if err != nil {
		return err
	}
	defer release()
	for _, u := range w.taken {
		if err := w.b.refuseOwned(ctx, w.req, u.place, u.RequestedName, cognito.UserState{User: cognito.User{Username: u.Username, Sub: u.Sub}}); err != nil {
			return err
		}
	}
	if err := w.store(ctx); err != nil {
		return err
	}
	return w.fill(ctx)
}

// readFields sets the fields of the set from the request and checks them.
func (w *libraryWrite) readFields(ctx context.Context) (err error) {
	if w.stored, err = getLibrarySet(ctx, w.req.Storage, w.name); err != nil {
		return err
	}
	switch {
	case w.stored != nil:
		changed := *w.stored
		w.set = &changed
	case w.in.patch:
		return notFound("library set", w.name)
	default:
		w.set = &librarySet{ID: randomText(recordRandomLen)}
	}
	if err := w.set.update(w.in); err != nil {
		return err
	}
	if err := w.set.validate(w.name); err != nil {
		return err
	}
	return w.checkRole(ctx)
}

func (w *libraryWrite) checkRole(ctx context.Context) (err error) {
	if w.role, w.aws, err = w.b.usableRole(ctx, w.req, w.set.Role); err != nil {
		return err
	}
	if w.role.CredentialType != credentialTypeUser {
		return badRequest("role %q is not allowed: it is of credential_type %q, and a library set needs one of type %q", w.set.Role, w.role.CredentialType, credentialTypeUser)
	}
	if err := checkLibraryTemplates(w.aws, w.set.Role, w.req.MountPoint, w.role); err != nil {
		return err
	}
	if w.stored == nil {
		return nil
	}
	if (w.stored.Size > 0) != (w.set.Size > 0) {
		return badRequest("size and usernames cannot replace each other: delete library set %q and write another", w.name)
	}
	if w.stored.Role == w.set.Role {
		return nil
	}
	before, _, err := w.b.usableRole(ctx, w.req, w.stored.Role)
	if err != nil {
		return err
	}
	if one, other := before.target(w.aws.region), w.role.target(w.aws.region); one.UserPoolID != other.UserPoolID || one.Region != other.Region {
		return badRequest("role %q is not allowed: its user pool is %q, and the users of library set %q are in %q", w.set.Role, other.UserPoolID, w.name, one.UserPoolID)
	}
	return nil
}

// checkPool refuses a pool whose users can register a passkey: no administrator can take it from a
// holder again.
func (w *libraryWrite) checkPool(ctx context.Context) (err error) {
	if w.pool, err = w.aws.Pool(ctx, w.role.target(w.aws.region)); err != nil {
		return err
	}
	rules, err := w.pool.Rules(ctx)
	if err != nil {
		return roleError(w.set.Role, err)
	}
	if rules.Passkeys {
		return badRequest("role %q is not allowed: its user pool %q allows passkeys, and no administrator can take a passkey from a holder that registered one", w.set.Role, w.role.UserPoolID)
	}
	return nil
}

// lookUpUsers reads the users of usernames that the set does not have yet.
func (w *libraryWrite) lookUpUsers(ctx context.Context) error {
	w.taken = map[string]*libraryUser{}
	var mu sync.Mutex
	var work errgroup.Group
	work.SetLimit(parallelLibraryUsers)
	own, err := usersOf(ctx, w.req.Storage, w.name, w.set)
	if err != nil {
		return err
	}
	for _, username := range w.set.Usernames {
		isOwn := func(u *libraryUser) bool { return u.RequestedName == username } // also one that is being given up
		if w.stored != nil && (slices.Contains(w.stored.Usernames, username) || slices.ContainsFunc(own, isOwn)) {
			continue
		}
		work.Go(func() error {
			u, err := w.b.lookUpLibraryUser(ctx, w.req, newPlace(w.role.target(w.aws.region)), username)
			mu.Lock()
			defer mu.Unlock()
			w.taken[username] = u
			return err
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return w.refuseTwins()
}

// refuseTwins refuses two names of one user.
func (w *libraryWrite) refuseTwins() error {
	bySub := map[string]string{}
	for _, username := range w.set.Usernames {
		u := w.taken[username]
		if u == nil {
			continue
		}
		if other, found := bySub[u.Sub]; found {
			return badRequest("usernames holds %q and %q, which are names of the same user", other, username)
		}
		bySub[u.Sub] = username
	}
	return nil
}

// lookUpLibraryUser returns an existing user that a set may take over.
func (b *backend) lookUpLibraryUser(ctx context.Context, req *logical.Request, where place, username string) (*libraryUser, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	pool, err := aws.Pool(ctx, where.target())
	if err != nil {
		return nil, err
	}
	state, err := pool.User(ctx, username)
	if err != nil {
		return nil, err
	}
	if state.Status == cognito.StatusExternalProvider {
		return nil, badRequest("usernames holds %q, which is not allowed: the user signs in with another provider, and a password would end that", username)
	}
	if err := b.refuseOwned(ctx, req, where, username, state); err != nil {
		return nil, err
	}
	groups, err := pool.GroupsOf(ctx, state.Username)
	if err != nil {
		return nil, err
	}
	if where, err = aws.place(ctx, where.target()); err != nil {
		return nil, err
	}
	return &libraryUser{
		place: where, RequestedName: username, Username: state.Username, Sub: state.Sub,
		Baseline: baseline(state.Attributes, nil), BaselineGroups: groups,
	}, nil
}

// refuseOwned refuses a user whose password a static role or another set owns.
func (b *backend) refuseOwned(ctx context.Context, req *logical.Request, where place, username string, state cognito.UserState) error {
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return err
	}
	for _, name := range []string{state.Sub, state.Username, username} {
		if owner := b.queue.owner(identityOf(staticTypePassword, where.UserPoolID, name)); name != "" && owner != "" {
			return badRequest("usernames holds %q, which is not allowed: static role %q owns the user's password", username, owner)
		}
	}
	owner, err := libraryOwner(ctx, req.Storage, "", where.UserPoolID, state.Sub, state.Username, username)
	if err == nil && owner != "" {
		err = badRequest("usernames holds %q, which is not allowed: library set %q has the user", username, owner)
	}
	return err
}

// store stores the set under the lock of its role, which a deletion or change of the role holds,
// too.
func (w *libraryWrite) store(ctx context.Context) error {
	lock := locksutil.LockForKey(w.b.roleLocks, w.set.Role)
	lock.Lock()
	defer lock.Unlock()
	if err := w.checkRole(ctx); err != nil { // it may have changed since
		return err
	}
	w.b.checkOuts.setFilled(w.name, false)
	defer w.b.librarySets.Drop(w.name)
	return putJSON(ctx, w.req.Storage, librarySetStoragePrefix+w.name, w.set)
}

// fill stores the entries of the users. If that fails the set is stored, and the next tick goes on.
func (w *libraryWrite) fill(ctx context.Context) error {
	if err := w.b.loadLibraries(ctx, w.req.Storage); err != nil {
		return err
	}
	fill := &libraryFill{b: w.b, req: w.req, name: w.name, set: w.set, taken: w.taken}
	if err := fill.run(ctx); err != nil {
		return err
	}
	w.b.checkOuts.setFilled(w.name, true)
	if w.stored != nil && w.stored.Role != w.set.Role {
		w.b.checkOuts.scheduleAll(w.name, w.b.now())
	}
	return nil
}

// deleteLibrary deletes a set whose users are not lent. Its users are deleted, or given up, behind
// the request.
func (b *backend) deleteLibrary(ctx context.Context, req *logical.Request, name string) error {
	unlock, err := b.libraryLocks.lock(ctx, librarySetStoragePrefix+name)
	if err != nil {
		return fmt.Errorf("waiting for library set %q: %w", name, err)
	}
	defer unlock()
	set, err := getLibrarySet(ctx, req.Storage, name)
	if err != nil || set == nil {
		return err
	}
	users, err := usersOf(ctx, req.Storage, name, set)
	if err != nil {
		return err
	}
	for _, u := range users {
		if u.State == libraryLent {
			return badRequest("library set %q cannot be deleted: user %q is checked out; check it in with library/manage/%[1]s/check-in", name, u.Username)
		}
	}
	if err := b.loadLibraries(ctx, req.Storage); err != nil {
		return err
	}
	defer b.librarySets.Drop(name)
	if err := req.Storage.Delete(ctx, librarySetStoragePrefix+name); err != nil {
		return fmt.Errorf("deleting library set %q: %w", name, err)
	}
	b.librarySets.Drop(name)
	b.checkOuts.scheduleAll(name, b.now())
	b.checkOuts.setGone(name)
	b.maintainSoon(req)
	return nil
}
