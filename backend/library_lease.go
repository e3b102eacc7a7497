// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const secretTypeLibrary = "library"

func secretLibrary(b *backend) *framework.Secret {
	return &framework.Secret{
		Type: secretTypeLibrary,
		Fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"password": {Type: framework.TypeString, Description: "Password of the user."},
		},
		Renew:  b.libraryRenew,
		Revoke: b.libraryRevoke,
	}
}

// libraryLease is what the lease of a check-out carries. The id of its record is that of the check-out.
type libraryLease struct {
	issuedRecord
	// ttl is what the request asked for, or 0 for the role's.
	ttl time.Duration
}

// internalData returns strings only: numbers change their type at the plugin boundary.
func (l *libraryLease) internalData() map[string]any {
	data := map[string]any{
		"library":      l.Library,
		"library_user": l.LibraryUser,
		"role":         l.Role,
		"record":       l.ID,
		"username":     l.Username,
		"user_pool_id": l.UserPoolID,
		"created":      l.Created.UTC().Format(time.RFC3339),
	}
	if l.ttl != 0 {
		data["ttl"] = l.ttl.String()
	}
	return data
}

func readLibraryLease(secret *logical.Secret) (*libraryLease, error) {
	text := func(key string) string {
		value, _ := secret.InternalData[key].(string)
		return value
	}
	lease := &libraryLease{issuedRecord: issuedRecord{
		Kind:        kindLibrary,
		Role:        text("role"),
		ID:          text("record"),
		Library:     text("library"),
		LibraryUser: text("library_user"),
		Username:    text("username"),
		place:       place{UserPoolID: text("user_pool_id")},
	}}
	if !roleNamePattern.MatchString(lease.Role) || !roleNamePattern.MatchString(lease.Library) ||
		!roleNamePattern.MatchString(lease.LibraryUser) || !recordIDPattern.MatchString(lease.ID) {
		return nil, errors.New("reading the lease of a check-out: it names no role, library set, user or record")
	}
	var err error
	if lease.Created, err = time.Parse(time.RFC3339, text("created")); err != nil {
		return nil, fmt.Errorf("reading the lease of user %q: created is not a time: %w", lease.Username, err)
	}
	if ttl := text("ttl"); ttl != "" {
		if lease.ttl, err = time.ParseDuration(ttl); err != nil {
			return nil, fmt.Errorf("reading the lease of user %q: ttl is not a duration: %w", lease.Username, err)
		}
	}
	return lease, nil
}

// libraryRenew extends a lease as the role of its set allows by now.
func (b *backend) libraryRenew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	response, err := b.renewCheckOut(ctx, req)
	b.metrics.failed(stepRenew, err)
	return response, err
}

func (b *backend) renewCheckOut(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	lease, err := readLibraryLease(req.Secret)
	if err != nil {
		return nil, err
	}
	if err := b.refuseSecondary(lease.Library); err != nil {
		return nil, err
	}
	set, err := b.existingLibrarySet(ctx, req.Storage, lease.Library)
	if err != nil {
		return nil, err
	}
	role, _, err := b.usableRole(ctx, req, set.Role)
	if err != nil {
		return nil, err
	}
	unlockRecord, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", lease.Username, err)
	}
	defer unlockRecord()
	unlock, err := b.lockLibraryUser(ctx, lease.Library, lease.LibraryUser)
	if err != nil {
		return nil, err
	}
	defer unlock()
	u, err := b.borrowedUser(ctx, req, lease)
	if err != nil {
		return nil, err
	}
	return b.confirmCheckOut(ctx, req, lease, role, u)
}

// borrowedUser returns the user of a check-out that has not ended, and that Cognito has.
func (b *backend) borrowedUser(ctx context.Context, req *logical.Request, lease *libraryLease) (*libraryUser, error) {
	u, err := getLibraryUser(ctx, req.Storage, lease.Library, lease.LibraryUser)
	if err != nil {
		return nil, err
	}
	if u == nil || u.State != libraryLent || u.CheckOut != lease.ID {
		return nil, badRequest("the check-out of user %q has ended, so its lease cannot be renewed", lease.Username)
	}
	ctx, cancel := context.WithTimeout(ctx, renewCheckTimeout)
	defer cancel()
	pool, err := b.userPool(ctx, req, u.target())
	var state cognito.UserState
	if err == nil {
		state, err = pool.User(ctx, u.Username)
	}
	switch {
	case cognito.IsGone(err):
		return nil, badRequest("user %q is gone from user pool %q, so its lease cannot be renewed", u.Username, u.UserPoolID)
	case err == nil && !state.Enabled:
		return nil, badRequest("user %q of user pool %q is disabled, so its lease cannot be renewed", u.Username, u.UserPoolID)
	case err != nil:
		b.Logger().Debug("renewing a lease without having seen its user", "username", u.Username, "error", err)
	}
	return u, nil
}

// confirmCheckOut stores that there is a lease and when it is due, before it is extended.
func (b *backend) confirmCheckOut(ctx context.Context, req *logical.Request, lease *libraryLease, role *roleEntry, u *libraryUser) (*logical.Response, error) {
	times := b.leaseTimes(role, lease.ttl)
	record := lease.issuedRecord
	record.place, record.RequestedName, record.Sub = u.place, u.RequestedName, u.Sub
	if err := b.confirmRecord(ctx, req.Storage, &record, times); err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", lease.Username, err)
	}
	end := lease.Created.Add(times.longest)
	u.Due = b.now().Round(0).Add(firstOf(times))
	if u.Due.After(end) {
		u.Due = end
	}
	if err := b.putLibraryUser(ctx, req.Storage, u); err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", lease.Username, err)
	}
	secret := req.Secret
	secret.TTL, secret.MaxTTL = cmp.Or(lease.ttl, role.TTL), times.longest
	return &logical.Response{Secret: secret}, nil
}

func (b *backend) libraryRevoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	began := b.now()
	err := b.revokeCheckOut(inBackground(ctx), req)
	b.metrics.revoked(string(kindLibrary), b.now().Sub(began), err)
	return nil, err
}

// revokeCheckOut ends the check-out of a lease and deletes its record.
func (b *backend) revokeCheckOut(ctx context.Context, req *logical.Request) error {
	lease, err := readLibraryLease(req.Secret)
	if err != nil {
		return err
	}
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return fmt.Errorf("revoking the lease of user %q: %w", lease.Username, err)
	}
	defer unlock()
	if _, ended := b.endedBeforeUnmount.Load(lease.key()); ended {
		return nil
	}
	if err := b.endCheckOut(ctx, req, lease.Library, lease.LibraryUser, lease.ID); err != nil {
		b.hastenEnd(ctx, req.Storage, lease.Role, lease.ID, err)
		return err
	}
	return b.dropRecord(ctx, req.Storage, lease.Role, lease.ID)
}
