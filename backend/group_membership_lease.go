// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const secretTypeMembership = "group_membership"

func secretMembership(b *backend) *framework.Secret {
	return &framework.Secret{
		Type: secretTypeMembership,
		Fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"groups":   {Type: framework.TypeStringSlice, Description: "Groups that the lease grants."},
		},
		Renew:  b.membershipRenew,
		Revoke: b.membershipRevoke,
	}
}

// membershipLease is what the lease of memberships carries.
type membershipLease struct {
	issuedRecord
	// ttl is what the request asked for, or 0 for the role's.
	ttl time.Duration
}

// groupSeparator cannot be part of a group's name.
const groupSeparator = " "

// internalData returns strings only: other types change at the plugin boundary.
func (l *membershipLease) internalData() map[string]any {
	data := map[string]any{
		"username":            l.Username,
		"sub":                 l.Sub,
		"groups":              strings.Join(l.Groups, groupSeparator),
		"sign_out":            fmt.Sprint(l.SignOut),
		"user_pool_id":        l.UserPoolID,
		"region":              l.Region,
		"aws_assume_role_arn": l.AssumeRoleARN,
		"aws_external_id":     l.ExternalID,
		"account_id":          l.Account,
		"endpoint":            l.Endpoint,
		"role":                l.Role,
		"record":              l.ID,
		"created":             l.Created.UTC().Format(time.RFC3339),
	}
	if l.ttl != 0 {
		data["ttl"] = l.ttl.String()
	}
	return data
}

func readMembershipLease(secret *logical.Secret) (*membershipLease, error) {
	text := func(key string) string {
		value, _ := secret.InternalData[key].(string)
		return value
	}
	lease := &membershipLease{issuedRecord: issuedRecord{
		Kind: kindMembership, place: leasePlace(text), Role: text("role"), ID: text("record"),
		Username: text("username"), Sub: text("sub"), SignOut: text("sign_out") == "true",
	}}
	if groups := text("groups"); groups != "" {
		lease.Groups = strings.Split(groups, groupSeparator)
	}
	switch {
	case lease.Username == "" || lease.UserPoolID == "" || !subPattern.MatchString(lease.Sub):
		return nil, errors.New("reading the lease of memberships: it names no user")
	case !roleNamePattern.MatchString(lease.Role) || !recordIDPattern.MatchString(lease.ID):
		return nil, fmt.Errorf("reading the lease of memberships of user %q: it names no role or no record", lease.Username)
	}
	var err error
	if lease.Created, err = time.Parse(time.RFC3339, text("created")); err != nil {
		return nil, fmt.Errorf("reading the lease of memberships of user %q: created is not a time: %w", lease.Username, err)
	}
	if ttl := text("ttl"); ttl != "" {
		if lease.ttl, err = time.ParseDuration(ttl); err != nil {
			return nil, fmt.Errorf("reading the lease of memberships of user %q: ttl is not a duration: %w", lease.Username, err)
		}
	}
	return lease, nil
}

func (b *backend) membershipRenew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	response, err := b.renewMembership(ctx, req)
	b.metrics.failed(stepRenew, err)
	return response, err
}

// renewMembership extends a lease as its role allows by now. A membership that an administrator
// removed meanwhile is not restored.
func (b *backend) renewMembership(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	lease, err := readMembershipLease(req.Secret)
	if err != nil {
		return nil, err
	}
	role, err := getRole(ctx, req.Storage, lease.Role)
	switch {
	case err != nil:
		return nil, err
	case role == nil:
		return nil, badRequest("role %q is gone, so the memberships of user %q cannot be renewed", lease.Role, lease.Username)
	case role.CredentialType != credentialTypeGroupMembership:
		return nil, badRequest("role %q no longer grants memberships, so those of user %q cannot be renewed", lease.Role, lease.Username)
	}
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return nil, fmt.Errorf("renewing the memberships of user %q: %w", lease.Username, err)
	}
	defer unlock()
	if err := b.checkMembership(ctx, req, lease); err != nil {
		return nil, err
	}
	times := b.leaseTimes(role, lease.ttl)
	record := lease.issuedRecord
	if err := b.confirmRecord(ctx, req.Storage, &record, times); err != nil {
		return nil, fmt.Errorf("renewing the memberships of user %q: %w", lease.Username, err)
	}
	req.Secret.TTL, req.Secret.MaxTTL = cmp.Or(lease.ttl, role.TTL), times.longest
	return &logical.Response{Secret: req.Secret}, nil
}

// checkMembership refuses a lease whose memberships have ended or begun to end, and one whose user is
// gone or disabled. If Cognito or IAM does not say, the lease is renewed: max_ttl still bounds it.
func (b *backend) checkMembership(ctx context.Context, req *logical.Request, lease *membershipLease) error {
	record, err := getRecord(ctx, req.Storage, lease.Role, lease.ID)
	if err != nil {
		return err
	}
	if record == nil || record.State == stateEnding {
		return badRequest("the memberships of user %q have ended, so they cannot be renewed: read creds/%s again", lease.Username, lease.Role)
	}
	ctx, cancel := context.WithTimeout(ctx, renewCheckTimeout)
	defer cancel()
	pool, err := b.userPool(ctx, req, lease.target())
	if err != nil {
		return err
	}
	user, err := pool.User(ctx, lease.Username)
	switch {
	case cognito.IsGone(err), err == nil && user.Sub != lease.Sub:
		return badRequest("user %q is gone from user pool %q, so its memberships cannot be renewed", lease.Username, lease.UserPoolID)
	case err == nil && !user.Enabled:
		return badRequest("user %q of user pool %q is disabled, so its memberships cannot be renewed", lease.Username, lease.UserPoolID)
	case err != nil:
		b.Logger().Debug("renewing memberships without having seen their user", "username", lease.Username, "error", err)
	}
	return nil
}

func (b *backend) membershipRevoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	began := b.now()
	err := b.revokeMembership(inBackground(ctx), req)
	b.metrics.revoked(credentialTypeGroupMembership, b.now().Sub(began), err)
	return nil, err
}

// revokeMembership ends the memberships of a lease and deletes its record. Without a record they were
// ended before: removing them again could take away what an administrator gave since.
func (b *backend) revokeMembership(ctx context.Context, req *logical.Request) error {
	lease, err := readMembershipLease(req.Secret)
	if err != nil {
		return err
	}
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return fmt.Errorf("revoking the memberships of user %q: %w", lease.Username, err)
	}
	defer unlock()
	record, err := getRecord(ctx, req.Storage, lease.Role, lease.ID)
	if err != nil || record == nil {
		return err
	}
	if record.State == stateUnreadable {
		record = &lease.issuedRecord
	}
	if err := b.endMembership(ctx, req, record); err != nil {
		b.hastenEnd(ctx, req.Storage, lease.Role, lease.ID, err)
		return err
	}
	return b.dropRecord(ctx, req.Storage, lease.Role, lease.ID)
}
