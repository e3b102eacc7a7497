// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func secretMembership(b *backend) *framework.Secret {
	return b.secret(leaseKind{
		kind: kindMembership,
		fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"groups":   {Type: framework.TypeStringSlice, Description: "Groups that the lease grants."},
		},
		renew: b.renewMembership,
		end:   b.endMembershipOfLease,
	})
}

// renewMembership extends a lease as its role allows by now. A membership that an administrator
// removed meanwhile is not restored.
func (b *backend) renewMembership(ctx context.Context, req *logical.Request, l *lease) (*logical.Response, error) {
	role, err := b.roleOfLease(ctx, req, l)
	if err != nil {
		return nil, err
	}
	if err := b.checkMembership(ctx, req, l); err != nil {
		return nil, err
	}
	return b.confirmLease(ctx, req, l, role)
}

// checkMembership refuses a lease whose memberships have ended or begun to end, and one whose user
// is gone or disabled.
func (b *backend) checkMembership(ctx context.Context, req *logical.Request, l *lease) error {
	record, err := getRecord(ctx, req.Storage, l.Role, l.ID)
	if err != nil {
		return err
	}
	if record == nil || record.State == stateEnding {
		return badRequest("the memberships of user %q have ended, so they cannot be renewed: read creds/%s again", l.Username, l.Role)
	}
	return b.checkUserOfLease(ctx, req, l)
}

// endMembershipOfLease ends the memberships of a lease. Without a record they were ended before:
// removing them again could take away what an administrator gave since.
func (b *backend) endMembershipOfLease(ctx context.Context, req *logical.Request, l *lease) error {
	record, err := getRecord(ctx, req.Storage, l.Role, l.ID)
	if err != nil || record == nil {
		return err
	}
	if record.State == stateUnreadable {
		record = &l.issuedRecord
	}
	return b.endMembership(ctx, req, record)
}
