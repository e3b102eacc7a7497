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
	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// secretTypeUser is also the older plugin's, whose leases are taken over.
	secretTypeUser = "user"

	// renewCheckTimeout bounds the look at the user before a renewal.
	renewCheckTimeout = 5 * time.Second

	// lagWindow is how old a user must be before Cognito surely knows it. Vault
	// revokes a user of that age when it fails to store the lease.
	lagWindow = 10 * time.Second
)

func secretUser(b *backend) *framework.Secret {
	return &framework.Secret{
		Type: secretTypeUser,
		Fields: map[string]*framework.FieldSchema{
			"username": {Type: framework.TypeString, Description: "Username of the user."},
			"password": {Type: framework.TypeString, Description: "Password of the user."},
		},
		Renew:  b.userRenew,
		Revoke: b.userRevoke,
	}
}

// userLease is what a lease remembers of its user: everything that revocation
// needs, because by then the role may have changed or gone.
type userLease struct {
	userRef
	role string
	// created is zero in leases of the older plugin.
	created time.Time
	// ttl is what the request asked for, or zero for the role's.
	ttl time.Duration
	// revocation is the role's word for what happens at the end.
	revocation string
	// handover is the id of the handover that is over when the lease is proven.
	handover string
}

// internalData holds strings only, because numbers change their type on the
// way through the plugin boundary.
func (l userLease) internalData() map[string]any {
	data := map[string]any{
		"username":            l.Username,
		"user_pool_id":        l.UserPoolID,
		"region":              l.Region,
		"aws_assume_role_arn": l.AssumeRoleARN,
		"aws_external_id":     l.ExternalID,
		"role":                l.role,
		"created":             l.created.UTC().Format(time.RFC3339),
		"revocation":          l.revocation,
		"handover":            l.handover,
	}
	if l.ttl != 0 {
		data["ttl"] = l.ttl.String()
	}
	return data
}

func readUserLease(data map[string]any) (userLease, error) {
	text := func(key string) string {
		value, _ := data[key].(string)
		return value
	}
	lease := userLease{
		userRef: userRef{
			Username:      text("username"),
			UserPoolID:    text("user_pool_id"),
			Region:        text("region"),
			AssumeRoleARN: text("aws_assume_role_arn"),
			ExternalID:    text("aws_external_id"),
		},
		role:       text("role"),
		revocation: text("revocation"),
		handover:   text("handover"),
	}
	if lease.Username == "" {
		return lease, errors.New("the lease does not name its user")
	}
	return lease, lease.readTimes(text("created"), text("ttl"))
}

func (l *userLease) readTimes(created, ttl string) (err error) {
	if created != "" {
		if l.created, err = time.Parse(time.RFC3339, created); err != nil {
			return fmt.Errorf("the lease of user %q does not say when it was made: %w", l.Username, err)
		}
	}
	if ttl != "" {
		if l.ttl, err = time.ParseDuration(ttl); err != nil {
			return fmt.Errorf("the lease of user %q does not say how long it lasts: %w", l.Username, err)
		}
	}
	return nil
}

// possibleUsers finds out where the user of a lease may be. Those of the older plugin
// name the role only, so their user is in the pool that the role has now, or in
// one that it had before.
func (b *backend) possibleUsers(ctx context.Context, req *logical.Request, lease userLease) ([]userRef, error) {
	if lease.UserPoolID != "" {
		return []userRef{lease.userRef}, nil
	}
	role, err := getRole(ctx, req.Storage, lease.role)
	if err != nil {
		return nil, err
	}
	if role == nil || role.UserPoolID == "" {
		return nil, badRequest("the lease of user %q was made by an older version and does not name its pool, "+
			"and role %q, which did, is gone or names none: write the role again to revoke it", lease.Username, lease.role)
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	refs := []userRef{newUserRef(lease.Username, role.target(aws.region))}
	for _, former := range role.FormerPools {
		refs = append(refs, newUserRef(lease.Username, former.target()))
	}
	return refs, nil
}

func newUserRef(username string, target cognito.Target) userRef {
	return userRef{username, target.UserPoolID, target.Region, target.AssumeRoleARN, target.ExternalID}
}

// userRenew extends a lease as its role allows by now. It refuses with an
// error: without one Vault's client believes that the lease was renewed, and of
// an error response Vault prints the Go value.
func (b *backend) userRenew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	lease, err := readUserLease(req.Secret.InternalData)
	if err != nil {
		return nil, err
	}
	role, err := getRole(ctx, req.Storage, lease.role)
	if err != nil {
		return nil, err
	}
	switch {
	case role == nil:
		return nil, badRequest("role %q is gone, so the lease of user %q cannot be renewed", lease.role, lease.Username)
	case role.CredentialType != credentialTypeUser:
		return nil, badRequest("role %q no longer issues users, so the lease of user %q cannot be renewed", lease.role, lease.Username)
	}
	if err := b.checkRenewable(ctx, req, lease); err != nil {
		return nil, err
	}
	// The renewed lease may outlive the end that the handover knows of.
	if err := dropHandover(ctx, req.Storage, lease.handover); err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", lease.Username, err)
	}
	secret := req.Secret
	// A TTL of zero stands for the mount's.
	secret.TTL, secret.MaxTTL = cmp.Or(lease.ttl, role.TTL), role.MaxTTL
	return &logical.Response{Secret: secret}, nil
}

// checkRenewable refuses a user that somebody deleted or disabled. When Cognito or
// IAM does not tell, the lease is renewed: its end stays bounded by max_ttl.
func (b *backend) checkRenewable(ctx context.Context, req *logical.Request, lease userLease) error {
	refs, err := b.possibleUsers(ctx, req, lease)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, renewCheckTimeout)
	defer cancel()
	for _, ref := range refs {
		err = b.checkUser(ctx, req, ref)
		if !cognito.IsGone(err) {
			break
		}
	}
	var refused *userError
	switch {
	case cognito.IsGone(err):
		return badRequest("user %q is gone from user pool %q, so its lease cannot be renewed", lease.Username, refs[0].UserPoolID)
	case errors.As(err, &refused):
		return err
	case err != nil:
		b.Logger().Debug("renewing a lease without having seen its user", "username", lease.Username, "error", err)
	}
	return nil
}

func (b *backend) checkUser(ctx context.Context, req *logical.Request, ref userRef) error {
	pool, err := b.userPool(ctx, req, ref.target())
	if err != nil {
		return err
	}
	user, err := pool.User(ctx, ref.Username)
	if err == nil && !user.Enabled {
		return badRequest("user %q of user pool %q is disabled, so its lease cannot be renewed", ref.Username, ref.UserPoolID)
	}
	return err
}

func (b *backend) userRevoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	lease, err := readUserLease(req.Secret.InternalData)
	if err != nil {
		return nil, err
	}
	refs, err := b.possibleUsers(ctx, req, lease)
	if err != nil {
		return nil, err
	}
	ctx = ratelimit.WithClass(ctx, ratelimit.Revocation)
	var failures []error
	for _, ref := range refs {
		failures = append(failures, b.endUser(ctx, req, ref, lease))
	}
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	return nil, dropHandover(ctx, req.Storage, lease.handover)
}

func (b *backend) endUser(ctx context.Context, req *logical.Request, ref userRef, lease userLease) error {
	if lease.revocation == revocationDisable {
		return b.disableUser(ctx, req, ref)
	}
	return b.deleteUser(ctx, req, ref, lease.created)
}

// disableUser takes a user or a pool that is gone for done.
func (b *backend) disableUser(ctx context.Context, req *logical.Request, ref userRef) error {
	pool, err := b.userPool(ctx, req, ref.target())
	if err != nil {
		return err
	}
	return b.ignoreGone(ref, pool.DisableUser(ctx, ref.Username))
}

// deleteUser takes a user or a pool that is gone for done. Of a user that was
// just created it does not believe it at once, because Cognito may lag.
func (b *backend) deleteUser(ctx context.Context, req *logical.Request, ref userRef, created time.Time) error {
	pool, err := b.userPool(ctx, req, ref.target())
	if err != nil {
		return err
	}
	remove := pool.DeleteUser
	if b.now().Sub(created) < lagWindow {
		remove = pool.DeleteNewUser
	}
	return b.ignoreGone(ref, remove(ctx, ref.Username))
}

func (b *backend) ignoreGone(ref userRef, err error) error {
	if cognito.IsGone(err) {
		b.Logger().Warn("a user whose time was over was gone already", "username", ref.Username, "user_pool_id", ref.UserPoolID, "reason", err)
		return nil
	}
	return err
}
