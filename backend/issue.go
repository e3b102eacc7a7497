// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueRequest is a read of creds/ of a role whose credentials have a lease. It has what all kinds
// of them share: userIssue, clientIssue and membershipIssue embed it.
type issueRequest struct {
	b      *backend
	req    *logical.Request
	name   string
	role   *roleEntry
	aws    *connection
	target cognito.Target
	input  input

	// ttl is the requested ttl, or 0.
	ttl      time.Duration
	pool     userPool
	creation *creation
	times    leaseTimes
}

// run issues the credentials and returns the response. It counts and times them.
func (i *issueRequest) run(ctx context.Context, issue func(context.Context) error, response func() (*logical.Response, error)) (*logical.Response, error) {
	began := i.b.now()
	err := issue(ctx)
	i.b.metrics.issued(i.role.CredentialType, i.name, i.b.now().Sub(began), err)
	if err != nil {
		return toResponse(err)
	}
	return response()
}

// readFields reads the fields of the request.
func (i *issueRequest) readFields() (err error) {
	if err := refuseFields(i.input, i.role, "scopes", "min_ttl", "fresh"); err != nil {
		return err
	}
	i.ttl, err = i.b.requestedTTL(i.input, i.role)
	return err
}

// connect connects to the user pool.
func (i *issueRequest) connect(ctx context.Context) (err error) {
	i.pool, err = i.aws.Pool(ctx, i.target)
	return err
}

// newRecord returns a record with what the records of all kinds have.
func (i *issueRequest) newRecord(ctx context.Context, kind recordKind) (*issuedRecord, error) {
	place, err := i.aws.place(ctx, i.target)
	return &issuedRecord{Kind: kind, Role: i.name, place: place, DisplayName: i.req.DisplayName, EntityID: i.req.EntityID}, err
}

// storeRecord stores the record. The calls that create the object use the returned context.
func (i *issueRequest) storeRecord(ctx context.Context, record *issuedRecord) (context.Context, error) {
	i.creation = &creation{b: i.b, storage: i.req.Storage, max: i.role.MaxIssued, record: record}
	return i.creation.begin(ctx)
}

// storeDelivered stores that the object is about to be returned.
func (i *issueRequest) storeDelivered(ctx context.Context) error {
	i.aws.learnAccount(ctx, &i.creation.record.place)
	i.times = i.b.leaseTimes(i.role, i.ttl)
	return i.creation.deliver(ctx, i.times)
}

// undoContext returns a context for removing what cannot be delivered, also if the request was
// canceled.
func undoContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(inBackground(context.WithoutCancel(ctx)), cognito.UndoTimeout)
}

// leaseResponse returns the response with its lease.
func (i *issueRequest) leaseResponse(data map[string]any) *logical.Response {
	return i.b.leaseResponse(i.creation.record, i.ttl, i.times, data)
}

// requestedTTL returns the lease that a request asks for, or 0. It can only be shorter than that of
// a request without one.
func (b *backend) requestedTTL(in input, role *roleEntry) (ttl time.Duration, err error) {
	setDuration(in, "ttl", &ttl)
	longest := cmp.Or(role.TTL, b.System().DefaultLeaseTTL())
	if ttl != 0 && longest != 0 && ttl > longest {
		return 0, badRequest("ttl %s is not allowed: it must not be longer than %s, the lease of the role", cognito.DurationText(ttl), cognito.DurationText(longest))
	}
	return ttl, nil
}
