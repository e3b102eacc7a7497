// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// This file has what the leases of all kinds of objects share. Each kind has a file x_lease.go.

const (
	// renewCheckTimeout bounds how long a renewal waits for the state of its user.
	renewCheckTimeout = 5 * time.Second

	// lagWindow is how long a new object may be unknown to some operations of Cognito. Vault
	// revokes such a new object when it fails to store the lease.
	lagWindow = 10 * time.Second

	// groupSeparator cannot be part of a group's name.
	groupSeparator = " "
)

// lease is the internal data of the lease of an issued object. It holds everything that is needed
// to end the object, because the role may have changed and the record may be gone.
type lease struct {
	// issuedRecord is filled as far as the internal data has its fields.
	issuedRecord
	// ttl is what the request asked for, or 0 for the role's.
	ttl time.Duration
}

// isLegacy reports whether the 2021 plugin issued the lease. Such a lease names only its user and
// role.
func (l *lease) isLegacy() bool { return l.UserPoolID == "" }

// internalData returns the lease as strings, because other types change at the plugin boundary.
func (l *lease) internalData() map[string]any {
	texts := map[string]string{
		"role":    l.Role,
		"record":  l.ID,
		"created": l.Created.UTC().Format(time.RFC3339),

		"user_pool_id":        l.UserPoolID,
		"region":              l.Region,
		"aws_assume_role_arn": l.AssumeRoleARN,
		"aws_external_id":     l.ExternalID,
		"account_id":          l.Account,
		"endpoint":            l.Endpoint,

		"username":      l.Username,
		"sub":           l.Sub,
		"revocation":    l.Revocation,
		"app_client_id": l.ClientID,
		"client_name":   l.ClientName,
		"groups":        strings.Join(l.Groups, groupSeparator),
		"library":       l.Library,
		"library_user":  l.LibraryUser,
	}
	if l.SignOut {
		texts["sign_out"] = strconv.FormatBool(true)
	}
	if l.ttl != 0 {
		texts["ttl"] = l.ttl.String()
	}
	data := map[string]any{}
	for key, text := range texts {
		if text != "" {
			data[key] = text
		}
	}
	return data
}

// readLease reads the lease of a request. If the lease was issued without a record, its id is the
// adoptedRecordID of the object.
func readLease(kind recordKind, secret *logical.Secret) (*lease, error) {
	text := func(key string) string {
		value, _ := secret.InternalData[key].(string)
		return value
	}
	l := &lease{issuedRecord: issuedRecord{
		Kind: kind,
		Role: text("role"),
		ID:   text("record"),
		place: place{
			UserPoolID:    text("user_pool_id"),
			Region:        text("region"),
			AssumeRoleARN: text("aws_assume_role_arn"),
			ExternalID:    text("aws_external_id"),
			Account:       text("account_id"),
			Endpoint:      text("endpoint"),
		},
		Username:    text("username"),
		Sub:         text("sub"),
		Revocation:  text("revocation"),
		ClientID:    text("app_client_id"),
		ClientName:  text("client_name"),
		Groups:      strings.Fields(text("groups")),
		SignOut:     text("sign_out") == strconv.FormatBool(true),
		Library:     text("library"),
		LibraryUser: text("library_user"),
	}}
	if !l.isComplete() {
		return nil, fmt.Errorf("reading the lease of a %s: it does not say what was issued for which role", kind)
	}
	if !recordIDPattern.MatchString(l.ID) {
		l.ID = adoptedRecordID(cmp.Or(l.Username, l.ClientID), l.UserPoolID)
	}
	return l, l.readTimes(text("created"), text("ttl"))
}

// isComplete reports whether the lease has what is needed to end its object.
func (l *lease) isComplete() bool {
	if !roleNamePattern.MatchString(l.Role) {
		return false
	}
	hasRecord := recordIDPattern.MatchString(l.ID)
	switch l.Kind {
	case kindUser:
		return l.Username != ""
	case kindAppClient:
		return l.ClientID != "" && l.UserPoolID != ""
	case kindMembership:
		return hasRecord && l.Username != "" && l.UserPoolID != "" && subPattern.MatchString(l.Sub)
	case kindLibrary:
		return hasRecord && roleNamePattern.MatchString(l.Library) && roleNamePattern.MatchString(l.LibraryUser)
	}
	return false
}

// readTimes reads the creation time of the object and the ttl of the lease. Legacy leases have
// neither.
func (l *lease) readTimes(created, ttl string) (err error) {
	if created != "" || !l.isLegacy() {
		if l.Created, err = time.Parse(time.RFC3339, created); err != nil {
			return fmt.Errorf("reading the lease of %q: created is not a time: %w", l.object(), err)
		}
	}
	if ttl != "" {
		if l.ttl, err = time.ParseDuration(ttl); err != nil {
			return fmt.Errorf("reading the lease of %q: ttl is not a duration: %w", l.object(), err)
		}
	}
	return nil
}

// leaseKind is what distinguishes the leases of one kind.
type leaseKind struct {
	// kind is also Vault's secret type.
	kind   recordKind
	fields map[string]*framework.FieldSchema
	// renew extends a lease. The caller holds the record's lock, so that the reconciler does not
	// end the object between a check and the renewal.
	renew func(ctx context.Context, req *logical.Request, l *lease) (*logical.Response, error)
	// end ends the object of a lease, and succeeds if it is gone already. The caller holds the
	// record's lock.
	end func(ctx context.Context, req *logical.Request, l *lease) error
}

func (b *backend) secret(k leaseKind) *framework.Secret {
	return &framework.Secret{
		Type:   string(k.kind),
		Fields: k.fields,
		Renew: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
			response, err := b.renewLease(ctx, req, k)
			b.metrics.failed(stepRenew, err)
			return response, err
		},
		Revoke: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
			began := b.now()
			err := b.revokeLease(inBackground(ctx), req, k)
			b.metrics.revoked(string(k.kind), b.now().Sub(began), err)
			return nil, err
		},
	}
}

// leaseResponse returns a response with data and a new lease.
func (b *backend) leaseResponse(record *issuedRecord, ttl time.Duration, times leaseTimes, data map[string]any) *logical.Response {
	l := lease{issuedRecord: *record, ttl: ttl}
	response := b.Secret(string(record.Kind)).Response(data, l.internalData())
	// The lease must not outlive the deadline of the record, even if the mount is tuned meanwhile.
	response.Secret.TTL, response.Secret.MaxTTL = times.first, times.longest
	return response
}

// renewLease extends a lease. A refusal is an error and not an error response: Vault's client would
// print the response as a Go value, and without an error it would consider the lease renewed.
func (b *backend) renewLease(ctx context.Context, req *logical.Request, k leaseKind) (*logical.Response, error) {
	l, err := readLease(k.kind, req.Secret)
	if err != nil {
		return nil, err
	}
	unlock, err := b.recordLocks.lock(ctx, l.key())
	if err != nil {
		return nil, fmt.Errorf("renewing the lease of %q: %w", l.object(), err)
	}
	defer unlock()
	return k.renew(ctx, req, l)
}

// roleOfLease returns the role of a lease that is renewed. The role must still have the
// credential_type of the lease.
func (b *backend) roleOfLease(ctx context.Context, req *logical.Request, l *lease) (*roleEntry, error) {
	role, err := getRole(ctx, req.Storage, l.Role)
	switch {
	case err != nil:
		return nil, err
	case role == nil:
		return nil, badRequest("role %q is gone, so the lease of %q cannot be renewed", l.Role, l.object())
	case role.CredentialType != string(l.Kind):
		return nil, badRequest("role %q has credential_type %q by now, so the lease of %q cannot be renewed", l.Role, role.CredentialType, l.object())
	}
	return role, nil
}

// checkUserOfLease refuses to renew the lease of a user that was deleted or disabled at Cognito. If
// the user cannot be read, the lease is renewed: max_ttl still bounds it.
func (b *backend) checkUserOfLease(ctx context.Context, req *logical.Request, l *lease) error {
	ctx, cancel := context.WithTimeout(ctx, renewCheckTimeout)
	defer cancel()
	pool, err := b.userPool(ctx, req, l.target())
	var user cognito.UserState
	if err == nil {
		user, err = pool.User(ctx, l.Username)
	}
	switch {
	case cognito.IsGone(err), err == nil && l.Sub != "" && user.Sub != l.Sub:
		return badRequest("user %q is gone from user pool %q, so its lease cannot be renewed", l.Username, l.UserPoolID)
	case err == nil && !user.Enabled:
		return badRequest("user %q of user pool %q is disabled, so its lease cannot be renewed", l.Username, l.UserPoolID)
	case err != nil:
		b.Logger().Debug("renewing a lease without having seen its user", "username", l.Username, "error", err)
	}
	return nil
}

// confirmLease stores in the record that the lease exists and when it ends at the latest, and
// extends it.
func (b *backend) confirmLease(ctx context.Context, req *logical.Request, l *lease, role *roleEntry) (*logical.Response, error) {
	times := b.leaseTimes(role, l.ttl)
	record := l.issuedRecord
	if record.Created.IsZero() {
		record.Created = cmp.Or(req.Secret.IssueTime, b.now()).Round(0)
	}
	if err := b.confirmRecord(ctx, req.Storage, &record, times); err != nil {
		return nil, fmt.Errorf("renewing the lease of %q: %w", l.object(), err)
	}
	// A TTL of 0 stands for the mount's. The lease must not outlive the deadline of the record.
	req.Secret.TTL, req.Secret.MaxTTL = cmp.Or(l.ttl, role.TTL), times.longest
	return &logical.Response{Secret: req.Secret}, nil
}

// revokeLease ends the object of a lease and deletes its record.
func (b *backend) revokeLease(ctx context.Context, req *logical.Request, k leaseKind) error {
	l, err := readLease(k.kind, req.Secret)
	if err != nil {
		return err
	}
	unlock, err := b.recordLocks.lock(ctx, l.key())
	if err != nil {
		return fmt.Errorf("revoking the lease of %q: %w", l.object(), err)
	}
	defer unlock()
	if _, ended := b.endedBeforeUnmount.Load(l.key()); ended {
		return nil
	}
	if err := k.end(ctx, req, l); err != nil {
		b.hastenEnd(ctx, req.Storage, l.Role, l.ID, err)
		return err
	}
	return b.dropRecord(ctx, req.Storage, l.Role, l.ID)
}

// acceptGone returns nil if the error says that the object does not exist any more. A missing pool
// means that only if AWS is reached with the account and endpoint of the creation: others have
// other pools.
func (b *backend) acceptGone(ctx context.Context, req *logical.Request, r *issuedRecord, err error) error {
	switch {
	case cognito.IsUserGone(err):
		b.Logger().Warn("a user was gone before its end", "username", r.Username, "user_pool_id", r.UserPoolID, "reason", err)
		return nil
	case !cognito.IsPoolGone(err):
		return err
	}
	aws, connectErr := b.connect(ctx, req)
	if connectErr != nil {
		return connectErr
	}
	account, endpoint, same := aws.reachesAsBefore(ctx, r.place)
	if same {
		b.Logger().Warn("an issued object is gone with its pool", "kind", string(r.Kind), "object", r.object(), "user_pool_id", r.UserPoolID, "reason", err)
		return nil
	}
	return fmt.Errorf("user pool %q is not found in account %q at endpoint %q, and %q was issued in account %q at endpoint %q, "+
		"so it may still be there: let config reach that account again: %w",
		r.UserPoolID, account, endpoint, r.object(), r.Account, r.Endpoint, err)
}
