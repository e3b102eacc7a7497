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

const (
	// secretTypeUser is also the secret type of the 2021 plugin, whose leases are taken over.
	secretTypeUser = "user"

	// renewCheckTimeout bounds the look at the user before a renewal.
	renewCheckTimeout = 5 * time.Second

	// lagWindow is how old a user must be before Cognito certainly knows it. Vault revokes a
	// user of that age when it fails to store the lease.
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

// userLease is what the lease of a user carries: everything that its end needs, because the
// role may have changed and the record may be gone.
type userLease struct {
	// The fields that a lease has no value for are empty.
	issuedRecord
	// ttl is what the request asked for, or 0 for the role's.
	ttl time.Duration
	// legacy leases are those of the 2021 plugin, which name their user and role only.
	legacy bool
}

// internalData returns strings only: numbers change their type at the plugin boundary.
func (l *userLease) internalData() map[string]any {
	data := map[string]any{
		"username":            l.Username,
		"user_pool_id":        l.UserPoolID,
		"region":              l.Region,
		"aws_assume_role_arn": l.AssumeRoleARN,
		"aws_external_id":     l.ExternalID,
		"account_id":          l.Account,
		"endpoint":            l.Endpoint,
		"role":                l.Role,
		"record":              l.ID,
		"created":             l.Created.UTC().Format(time.RFC3339),
		"revocation":          l.Revocation,
	}
	if l.ttl != 0 {
		data["ttl"] = l.ttl.String()
	}
	return data
}

// leasePlace reads where the object of a lease is.
func leasePlace(text func(key string) string) place {
	return place{
		UserPoolID:    text("user_pool_id"),
		Region:        text("region"),
		AssumeRoleARN: text("aws_assume_role_arn"),
		ExternalID:    text("aws_external_id"),
		Account:       text("account_id"),
		Endpoint:      text("endpoint"),
	}
}

// readUserLease reads the lease of a request. Its record id is that of the record that it was
// issued with, or else the one that follows from the user.
func readUserLease(secret *logical.Secret) (*userLease, error) {
	text := func(key string) string {
		value, _ := secret.InternalData[key].(string)
		return value
	}
	lease := &userLease{issuedRecord: issuedRecord{
		Kind:       kindUser,
		place:      leasePlace(text),
		Role:       text("role"),
		ID:         text("record"),
		Username:   text("username"),
		Revocation: text("revocation"),
	}}
	switch {
	case lease.Username == "":
		return nil, errors.New("reading the lease of a user: it names no user")
	case !roleNamePattern.MatchString(lease.Role):
		return nil, fmt.Errorf("reading the lease of user %q: it names no role", lease.Username)
	}
	lease.legacy = lease.UserPoolID == ""
	if !recordIDPattern.MatchString(lease.ID) {
		lease.ID = adoptedRecordID(lease.Username, lease.UserPoolID)
	}
	return lease, lease.readTimes(text("created"), text("ttl"))
}

func (l *userLease) readTimes(created, ttl string) (err error) {
	if created != "" {
		if l.Created, err = time.Parse(time.RFC3339, created); err != nil {
			return fmt.Errorf("reading the lease of user %q: created is not a time: %w", l.Username, err)
		}
	}
	if ttl != "" {
		if l.ttl, err = time.ParseDuration(ttl); err != nil {
			return fmt.Errorf("reading the lease of user %q: ttl is not a duration: %w", l.Username, err)
		}
	}
	return nil
}

// possiblePlaces returns where the user of a lease may be. Leases of the 2021 plugin name the
// role only, so their user is in the pool that the role has now, or in one that it had before.
func (b *backend) possiblePlaces(ctx context.Context, req *logical.Request, lease *userLease) ([]place, error) {
	if !lease.legacy {
		return []place{lease.place}, nil
	}
	role, err := getRole(ctx, req.Storage, lease.Role)
	if err != nil {
		return nil, err
	}
	if role == nil || role.UserPoolID == "" {
		return nil, badRequest("the lease of user %q was issued by the 2021 plugin and does not name its pool, "+
			"and role %q is gone or has no user_pool_id: write the role again to revoke the lease", lease.Username, lease.Role)
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

// userRenewal is one renewal of a lease. Its methods are called in their order.
type userRenewal struct {
	b     *backend
	req   *logical.Request
	lease *userLease
	role  *roleEntry
	place place
}

// userRenew extends a lease as its role allows by now. It refuses with an error: without one
// Vault's client takes the lease for renewed, and an error response is printed as a Go value.
func (b *backend) userRenew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	response, err := b.renewUser(ctx, req)
	b.metrics.failed(stepRenew, err)
	return response, err
}

func (b *backend) renewUser(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	lease, err := readUserLease(req.Secret)
	if err != nil {
		return nil, err
	}
	r := &userRenewal{b: b, req: req, lease: lease}
	if err := r.checkRole(ctx); err != nil {
		return nil, err
	}
	// The reconciler must not end the user between the check and the renewal.
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", lease.Username, err)
	}
	defer unlock()
	if err := r.checkUser(ctx); err != nil {
		return nil, err
	}
	return r.confirm(ctx)
}

func (r *userRenewal) checkRole(ctx context.Context) (err error) {
	r.role, err = getRole(ctx, r.req.Storage, r.lease.Role)
	switch {
	case err != nil:
		return err
	case r.role == nil:
		return badRequest("role %q is gone, so the lease of user %q cannot be renewed", r.lease.Role, r.lease.Username)
	case r.role.CredentialType != credentialTypeUser:
		return badRequest("role %q no longer issues users, so the lease of user %q cannot be renewed", r.lease.Role, r.lease.Username)
	}
	return nil
}

// checkUser refuses a user that was deleted or disabled at Cognito. If Cognito or IAM does not
// say, the lease is renewed: max_ttl still bounds it.
func (r *userRenewal) checkUser(ctx context.Context) error {
	places, err := r.b.possiblePlaces(ctx, r.req, r.lease)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, renewCheckTimeout)
	defer cancel()
	for _, r.place = range places {
		err = r.checkUserAt(ctx)
		if !cognito.IsGone(err) {
			break
		}
	}
	var refused *userError
	switch {
	case cognito.IsGone(err):
		return badRequest("user %q is gone from user pool %q, so its lease cannot be renewed", r.lease.Username, places[0].UserPoolID)
	case errors.As(err, &refused):
		return err
	case err != nil:
		r.b.Logger().Debug("renewing a lease without having seen its user", "username", r.lease.Username, "error", err)
	}
	return nil
}

func (r *userRenewal) checkUserAt(ctx context.Context) error {
	pool, err := r.b.userPool(ctx, r.req, r.place.target())
	if err != nil {
		return err
	}
	user, err := pool.User(ctx, r.lease.Username)
	if err == nil && !user.Enabled {
		return badRequest("user %q of user pool %q is disabled, so its lease cannot be renewed", r.lease.Username, r.place.UserPoolID)
	}
	return err
}

// confirm stores that there is a lease, and for how long there can be one, before it is
// extended.
func (r *userRenewal) confirm(ctx context.Context) (*logical.Response, error) {
	times := r.b.leaseTimes(r.role, r.lease.ttl)
	if err := r.b.confirmRecord(ctx, r.req.Storage, r.record(), times); err != nil {
		return nil, fmt.Errorf("renewing the lease of user %q: %w", r.lease.Username, err)
	}
	secret := r.req.Secret
	// A TTL of 0 stands for the mount's. The lease must not live longer than the record says.
	secret.TTL, secret.MaxTTL = cmp.Or(r.lease.ttl, r.role.TTL), times.longest
	return &logical.Response{Secret: secret}, nil
}

// record returns the record for a lease that has none: of the 2021 plugin, or from before a
// snapshot of Vault's storage was restored.
func (r *userRenewal) record() *issuedRecord {
	record := r.lease.issuedRecord
	record.place = r.place
	if r.lease.Created.IsZero() {
		record.Created = cmp.Or(r.req.Secret.IssueTime, r.b.now()).Round(0)
	}
	return &record
}

func (b *backend) userRevoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	began := b.now()
	err := b.revokeUser(inBackground(ctx), req)
	b.metrics.revoked(credentialTypeUser, b.now().Sub(began), err)
	return nil, err
}

// revokeUser ends the user of a lease and deletes its record.
func (b *backend) revokeUser(ctx context.Context, req *logical.Request) error {
	lease, err := readUserLease(req.Secret)
	if err != nil {
		return err
	}
	places, err := b.possiblePlaces(ctx, req, lease)
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
	var failures []error
	for _, lease.place = range places {
		failures = append(failures, b.endUser(ctx, req, lease))
	}
	if err := errors.Join(failures...); err != nil {
		b.hastenEnd(ctx, req.Storage, lease.Role, lease.ID, err)
		return err
	}
	return b.dropRecord(ctx, req.Storage, lease.Role, lease.ID)
}

// endUserRecord ends the user of a record.
func (b *backend) endUserRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	return b.endUser(ctx, req, &userLease{issuedRecord: *r})
}

// endUser deletes or disables the user of a lease. A user that is gone already is ended.
func (b *backend) endUser(ctx context.Context, req *logical.Request, lease *userLease) error {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return err
	}
	pool, err := aws.Pool(ctx, lease.target())
	if err != nil {
		return err
	}
	switch {
	case lease.Revocation == revocationDisable:
		err = pool.DisableUser(ctx, lease.Username)
	case b.now().Sub(lease.Created) < lagWindow: // that Cognito does not know it yet proves nothing
		err = pool.DeleteNewUser(ctx, lease.Username)
	default:
		err = pool.DeleteUser(ctx, lease.Username)
	}
	return b.acceptGone(ctx, aws, lease, err)
}

// acceptGone accepts that a user is gone. A pool that is not found counts as gone only if AWS is
// reached as it was when the user was created: another account or endpoint has other pools.
func (b *backend) acceptGone(ctx context.Context, aws *connection, lease *userLease, err error) error {
	switch {
	case cognito.IsUserGone(err):
		b.Logger().Warn("a user was gone before its end", "username", lease.Username, "user_pool_id", lease.UserPoolID, "reason", err)
		return nil
	case !cognito.IsPoolGone(err):
		return err
	case lease.legacy: // it does not say how AWS was reached
		b.Logger().Error("the pool of a user of the 2021 plugin is not found, so its lease ends without the user: see that the config reaches the right account",
			"username", lease.Username, "user_pool_id", lease.UserPoolID, "reason", err)
		return nil
	}
	account, endpoint, same := aws.reachesAsBefore(ctx, lease.place)
	if same {
		b.Logger().Warn("a user is gone with its pool", "username", lease.Username, "user_pool_id", lease.UserPoolID, "reason", err)
		return nil
	}
	return fmt.Errorf("user pool %q is not found in account %q at endpoint %q, and user %q was created in account %q at endpoint %q, "+
		"so the user may still be there: let config reach that account again: %w",
		lease.UserPoolID, account, endpoint, lease.Username, lease.Account, lease.Endpoint, err)
}
