// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// secretUser returns the secret of users. Its type is that of the 2021 plugin, so that the leases
// of that plugin are renewed and revoked, too.
func secretUser(b *backend) *framework.Secret {
	return b.secret(leaseKind{
		kind: kindUser,
		fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"password": {Type: framework.TypeString, Description: "Password of the user."},
		},
		renew: b.renewUser,
		end:   b.endUserOfLease,
	})
}

// possiblePlaces returns the places where the user of a lease may be. A lease of the 2021 plugin
// names no pool, so its user is in the present pool of the role or in a former one.
func (b *backend) possiblePlaces(ctx context.Context, req *logical.Request, l *lease) ([]place, error) {
	if !l.isLegacy() {
		return []place{l.place}, nil
	}
	role, err := getRole(ctx, req.Storage, l.Role)
	if err != nil {
		return nil, err
	}
	if role == nil || role.UserPoolID == "" {
		return nil, badRequest("the lease of user %q was issued by the 2021 plugin and does not name its pool, "+
			"and role %q is gone or has no user_pool_id: write the role again to revoke the lease", l.Username, l.Role)
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	places := []place{newPlace(role.target(aws.region))}
	for _, former := range role.FormerPools {
		places = append(places, newPlace(former.target()))
	}
	return places, nil
}

// renewUser extends a lease as its role allows now.
func (b *backend) renewUser(ctx context.Context, req *logical.Request, l *lease) (*logical.Response, error) {
	role, err := b.roleOfLease(ctx, req, l)
	if err != nil {
		return nil, err
	}
	found, err := b.findUserOfLease(ctx, req, l)
	if err != nil {
		return nil, err
	}
	return b.confirmLease(ctx, req, found, role)
}

// findUserOfLease returns the lease with the place where its user was found. It refuses as
// checkUserOfLease does.
func (b *backend) findUserOfLease(ctx context.Context, req *logical.Request, l *lease) (*lease, error) {
	places, err := b.possiblePlaces(ctx, req, l)
	if err != nil {
		return nil, err
	}
	var refusals []error
	for _, place := range places {
		found := *l
		found.place = place
		err := b.checkUserOfLease(ctx, req, &found)
		if err == nil {
			return &found, nil
		}
		refusals = append(refusals, err)
	}
	return nil, refusals[0]
}

// endUserOfLease ends the user of a lease in every place where it may be.
func (b *backend) endUserOfLease(ctx context.Context, req *logical.Request, l *lease) error {
	places, err := b.possiblePlaces(ctx, req, l)
	if err != nil {
		return err
	}
	var failures []error
	for _, place := range places {
		record := l.issuedRecord
		record.place = place
		err := b.endUserRecord(ctx, req, &record)
		if l.isLegacy() && cognito.IsPoolGone(err) { // the lease does not name an account to compare
			b.Logger().Error("the pool of a user of the 2021 plugin is not found, so its lease ends without the user: see that the config reaches the right account",
				"username", record.Username, "user_pool_id", record.UserPoolID, "reason", err)
			continue
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// endUserRecord deletes or disables the user of a record. It succeeds if the user is gone already.
func (b *backend) endUserRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	pool, err := b.userPool(ctx, req, r.target())
	if err != nil {
		return err
	}
	switch {
	case r.Revocation == revocationDisable:
		err = pool.DisableUser(ctx, r.Username)
	case b.now().Sub(r.Created) < lagWindow: // Cognito may not find a user yet that exists
		err = pool.DeleteNewUser(ctx, r.Username)
	default:
		err = pool.DeleteUser(ctx, r.Username)
	}
	return b.acceptGone(ctx, req, r, err)
}
