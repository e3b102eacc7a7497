// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// secretLibrary is the lease of a check-out. The id of its record is that of the check-out.
func secretLibrary(b *backend) *framework.Secret {
	return b.secret(leaseKind{
		kind: kindLibrary,
		fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"password": {Type: framework.TypeString, Description: "Password of the user."},
		},
		renew: b.renewCheckOut,
		end: func(ctx context.Context, req *logical.Request, l *lease) error {
			return b.endLibraryRecord(ctx, req, &l.issuedRecord)
		},
	})
}

// renewCheckOut extends a lease as the role of its set allows by now.
func (b *backend) renewCheckOut(ctx context.Context, req *logical.Request, l *lease) (*logical.Response, error) {
	if err := b.refuseSecondary(l.Library); err != nil {
		return nil, err
	}
	set, err := b.existingLibrarySet(ctx, req.Storage, l.Library)
	if err != nil {
		return nil, err
	}
	role, _, err := b.usableRole(ctx, req, set.Role)
	if err != nil {
		return nil, err
	}
	unlock, err := b.lockLibraryUser(ctx, l.Library, l.LibraryUser)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u, err := b.borrowedUser(ctx, req, l)
	if err != nil {
		return nil, err
	}
	return b.confirmCheckOut(ctx, req, l, role, u)
}

// borrowedUser returns the user of a check-out that has not ended, and that Cognito has.
func (b *backend) borrowedUser(ctx context.Context, req *logical.Request, l *lease) (*libraryUser, error) {
	u, err := getLibraryUser(ctx, req.Storage, l.Library, l.LibraryUser)
	if err != nil {
		return nil, err
	}
	if u == nil || u.State != libraryLent || u.CheckOut != l.ID {
		return nil, badRequest("the check-out of user %q has ended, so its lease cannot be renewed", l.Username)
	}
	return u, b.checkUserOfLease(ctx, req, l)
}

// confirmCheckOut stores that there is a lease and when it is due, before it is extended.
func (b *backend) confirmCheckOut(ctx context.Context, req *logical.Request, l *lease, role *roleEntry, u *libraryUser) (*logical.Response, error) {
	response, err := b.confirmLease(ctx, req, l, role)
	if err != nil {
		return nil, err
	}
	times := b.leaseTimes(role, l.ttl)
	u.Due = b.now().Round(0).Add(firstOf(times))
	if end := l.Created.Add(times.longest); u.Due.After(end) {
		u.Due = end
	}
	if err := b.putLibraryUser(ctx, req.Storage, u); err != nil {
		return nil, fmt.Errorf("renewing the lease of %q: %w", l.object(), err)
	}
	return response, nil
}
