// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// lentUsers are the users of a library set that the caller of a request has checked out: tokens/
// gives tokens to no others.
type lentUsers struct {
	req  *logical.Request
	name string
	set  *librarySet
}

func (l lentUsers) mayTry(ctx context.Context, login cognito.Login) (bool, error) {
	return l.find(ctx, func(u *libraryUser) bool { return u.isNamed(login.Username) })
}

func (lentUsers) try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error) {
	return e.run(ctx, pool)
}

func (lentUsers) knowsPassword() bool { return false }

func (l lentUsers) hasSub(ctx context.Context, sub string) (bool, error) {
	return l.find(ctx, func(u *libraryUser) bool { return sub != "" && u.Sub == sub })
}

func (l lentUsers) find(ctx context.Context, matches func(*libraryUser) bool) (bool, error) {
	users, err := usersOf(ctx, l.req.Storage, l.name, l.set)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(users, func(u *libraryUser) bool {
		return u.State == libraryLent && u.isBorrowedBy(l.req) && matches(u)
	}), nil
}

// libraryOwnedUsers keeps the users of all library sets from tidy.
func (b *backend) libraryOwnedUsers(ctx context.Context, req *logical.Request, keep func(poolID string, names ...string)) error {
	return eachLibraryUser(ctx, req.Storage, func(u *libraryUser) {
		keep(u.UserPoolID, u.Username, u.RequestedName, u.Sub)
	})
}

func eachLibraryUser(ctx context.Context, s logical.Storage, do func(*libraryUser)) error {
	names, err := libraryUserSets(ctx, s)
	if err != nil {
		return err
	}
	for _, name := range names {
		users, err := libraryUsers(ctx, s, name)
		if err != nil {
			return err
		}
		for _, u := range users {
			do(u)
		}
	}
	return nil
}

// isUnseen reports whether the stored password of a user has certainly not been returned to a
// holder. That is not certain if the watch in which it was made has ended: the storage may have
// been restored from a snapshot since, and what happened after the snapshot is unknown.
func (b *backend) isUnseen(ctx context.Context, s logical.Storage, u *libraryUser) (bool, error) {
	beat, err := b.watch.current(ctx, s)
	return u.Watch == beat.Watch, err
}

// ownsLibraryUsers reports whether this cluster has users of library sets.
func (b *backend) ownsLibraryUsers(ctx context.Context, s logical.Storage) (bool, error) {
	if !b.mayWrite() {
		return false, nil
	}
	names, err := libraryUserSets(ctx, s)
	return len(names) > 0, err
}

// libraryOwner returns the name of the library set that has a user, other than one set, or "".
func libraryOwner(ctx context.Context, s logical.Storage, except, poolID string, names ...string) (owner string, err error) {
	err = eachLibraryUser(ctx, s, func(u *libraryUser) {
		for _, name := range names {
			if u.Set != except && u.UserPoolID == poolID && u.isNamed(name) {
				owner = u.Set
			}
		}
	})
	return owner, err
}
