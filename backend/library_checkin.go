// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"
)

// checkIn is one request that returns users of a set.
type checkIn struct {
	b    *backend
	req  *logical.Request
	name string
	// forced is set for an operator, who may return every user and reset a free one again.
	forced bool

	set      *librarySet
	users    []*libraryUser
	returned []string
	warnings []string
}

func (c *checkIn) run(ctx context.Context, in input) (*logical.Response, error) {
	if err := c.returnAll(ctx, in); err != nil {
		c.b.metrics.failed(stepCheckIn, err)
		return toResponse(err)
	}
	return &logical.Response{Data: map[string]any{"check_ins": append([]string{}, c.returned...)}, Warnings: c.warnings}, nil
}

func (c *checkIn) returnAll(ctx context.Context, in input) (err error) {
	if err = c.b.refuseSecondary(c.name); err != nil {
		return err
	}
	if err = in.checkSizes(); err != nil {
		return err
	}
	if c.set, err = c.b.existingLibrarySet(ctx, c.req.Storage, c.name); err != nil {
		return err
	}
	if err = c.b.loadLibraries(ctx, c.req.Storage); err != nil {
		return err
	}
	var usernames []string
	setField(in, "usernames", &usernames)
	if err = c.choose(ctx, usernames); err != nil {
		return err
	}
	for _, u := range c.users {
		if err := c.returnUser(ctx, u); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the users that the request means. It refuses a request as a whole.
func (c *checkIn) choose(ctx context.Context, usernames []string) error {
	all, err := usersOf(ctx, c.req.Storage, c.name, c.set)
	if err != nil {
		return err
	}
	if len(usernames) == 0 {
		return c.chooseOwn(all)
	}
	for _, username := range usernames {
		i := slices.IndexFunc(all, func(u *libraryUser) bool { return u.isNamed(username) })
		if i < 0 {
			return badRequest("usernames holds %q: library set %q has no such user", username, c.name)
		}
		u := all[i]
		switch {
		case c.forced:
		case u.State != libraryLent:
			continue // it is back already
		case !c.set.NoEnforcement && !u.isBorrowedBy(c.req):
			return badRequest("usernames holds %q, which another caller checked out: "+
				"its holder can check it in, or an operator with library/manage/%s/check-in", username, c.name)
		}
		if !slices.Contains(c.users, u) {
			c.users = append(c.users, u)
		}
	}
	return nil
}

// chooseOwn finds the one user that the caller has.
func (c *checkIn) chooseOwn(all []*libraryUser) error {
	if c.forced {
		return requiredField("usernames", "the users to check in")
	}
	own := slices.DeleteFunc(all, func(u *libraryUser) bool { return u.State != libraryLent || !u.isBorrowedBy(c.req) })
	if len(own) > 1 {
		return requiredField("usernames", fmt.Sprintf("the caller has checked out %d users of library set %q", len(own), c.name))
	}
	c.users = own
	return nil
}

// isBorrowedBy reports whether the caller of a request has checked the user out, by its entity or
// its token.
func (u *libraryUser) isBorrowedBy(req *logical.Request) bool {
	sameEntity := req.EntityID != "" && req.EntityID == u.BorrowerEntityID
	sameToken := req.ClientToken != "" && tokenDigest(req) == u.BorrowerToken
	return sameEntity || sameToken
}

// returnUser ends the check-out of a user. The lease finds that it has ended. If the reset fails,
// the user is not free and not the caller's any more: the caller gets a warning.
func (c *checkIn) returnUser(ctx context.Context, u *libraryUser) error {
	if err := c.end(ctx, u); err != nil {
		stored, readErr := getLibraryUser(ctx, c.req.Storage, u.Set, u.ID)
		if readErr != nil || stored == nil || stored.State != libraryResetting && stored.State != libraryCreating && stored.State != libraryRetiring {
			return err
		}
		c.warnings = append(c.warnings, fmt.Sprintf("user %q was checked in but is not free yet; the engine tries again: %s", u.name(), err))
	}
	c.returned = append(c.returned, u.name())
	return nil
}

// end ends the check-out of a user, or resets a free one. The record's lock is taken before the
// user's.
func (c *checkIn) end(ctx context.Context, u *libraryUser) error {
	if u.CheckOut == "" {
		return c.endFree(ctx, u)
	}
	unlock, err := c.b.recordLocks.lock(ctx, recordKey(u.RecordRole, u.CheckOut))
	if err != nil {
		return fmt.Errorf("checking in user %q: %w", u.Username, err)
	}
	defer unlock()
	return c.endCheckOut(ctx, u)
}

func (c *checkIn) endCheckOut(ctx context.Context, u *libraryUser) error {
	if err := c.b.endCheckOut(ctx, c.req, u.Set, u.ID, u.CheckOut); err != nil {
		c.b.hastenEnd(ctx, c.req.Storage, u.RecordRole, u.CheckOut, err)
		return err
	}
	if err := c.b.dropRecord(ctx, c.req.Storage, u.RecordRole, u.CheckOut); err != nil {
		c.b.Logger().Warn("the record of a check-out that has ended is left until its lease ends", "id", u.CheckOut, "error", err)
	}
	return nil
}

// endFree resets a user that is not lent: after a restored snapshot that is younger than restartGap
// its password may be known. If the user was lent meanwhile, it ends that check-out.
func (c *checkIn) endFree(ctx context.Context, chosen *libraryUser) error {
	lent, err := c.resetFree(ctx, chosen)
	if err != nil || lent == nil {
		return err
	}
	return c.end(ctx, lent)
}

// resetFree resets a user, or returns its entry if it is lent by now.
func (c *checkIn) resetFree(ctx context.Context, chosen *libraryUser) (lent *libraryUser, err error) {
	unlock, err := c.b.lockLibraryUser(ctx, chosen.Set, chosen.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u, err := getLibraryUser(ctx, c.req.Storage, chosen.Set, chosen.ID)
	switch {
	case err != nil || u == nil:
		return nil, err
	case u.State == libraryLent:
		return u, nil
	default:
		return nil, c.b.resetLibraryUser(ctx, c.req, u)
	}
}
