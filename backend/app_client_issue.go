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

// clientIssue is one request for an app client. Its methods are called in their order: prepare,
// begin, create, deliver, response.
type clientIssue struct {
	b      *backend
	req    *logical.Request
	name   string
	role   *roleEntry
	aws    *connection
	target cognito.Target
	input  input

	ttl        time.Duration
	pool       userPool
	clientName string
	creation   *creation
	client     cognito.AppClient
	times      leaseTimes
}

func (i *clientIssue) run(ctx context.Context) (*logical.Response, error) {
	began := i.b.now()
	err := i.issue(ctx)
	i.b.metrics.issued(credentialTypeAppClient, i.name, i.b.now().Sub(began), err)
	if err != nil {
		return toResponse(err)
	}
	return i.response()
}

func (i *clientIssue) issue(ctx context.Context) error {
	if err := i.prepare(ctx); err != nil {
		return err
	}
	creating, err := i.begin(ctx)
	if err != nil {
		return err
	}
	defer i.creation.done()
	if err := i.create(creating); err != nil {
		return roleError(i.name, err)
	}
	return i.deliver(creating)
}

func (i *clientIssue) prepare(ctx context.Context) (err error) {
	if err := refuseFields(i.input, i.role, "scopes", "min_ttl", "fresh"); err != nil {
		return err
	}
	if i.ttl, err = i.b.requestedTTL(i.input, i.role); err != nil {
		return err
	}
	if i.clientName, err = i.role.clientName(i.b.templateData(i.req, i.name, i.target.UserPoolID)); err != nil {
		return err
	}
	i.pool, err = i.aws.Pool(ctx, i.target)
	return err
}

// begin stores the record with the name of the app client, which no other attempt uses.
func (i *clientIssue) begin(ctx context.Context) (context.Context, error) {
	place, err := i.aws.place(ctx, i.target)
	if err != nil {
		return nil, err
	}
	i.creation = &creation{b: i.b, storage: i.req.Storage, max: i.role.MaxIssued, record: &issuedRecord{
		Kind:        kindAppClient,
		Role:        i.name,
		place:       place,
		ClientName:  i.clientName,
		DisplayName: i.req.DisplayName,
		EntityID:    i.req.EntityID,
	}}
	return i.creation.begin(ctx)
}

// create creates the app client. The record is deleted only if Cognito certainly created none.
func (i *clientIssue) create(ctx context.Context) (err error) {
	i.client, err = i.pool.CreateAppClient(ctx, cognito.NewAppClient{
		Name: i.clientName, Scopes: i.role.Scopes, AccessTokenTTL: i.role.AccessTokenTTL,
	})
	if err != nil {
		i.creation.fail(ctx, cognito.OutcomeOf(err) == cognito.OutcomeRefused, err, nil)
	}
	return err
}

// deliver stores the id of the app client, and that it is about to be returned. One that cannot be
// returned is deleted.
func (i *clientIssue) deliver(ctx context.Context) error {
	record := i.creation.record
	record.ClientID = i.client.ID
	i.aws.learnAccount(ctx, &record.place)
	i.times = i.b.leaseTimes(i.role, i.ttl)
	err := i.creation.deliver(ctx, i.times)
	if err != nil {
		i.deleteUndelivered(ctx, err)
	}
	return err
}

func (i *clientIssue) deleteUndelivered(ctx context.Context, reason error) {
	ctx, cancel := context.WithTimeout(inBackground(context.WithoutCancel(ctx)), cognito.UndoTimeout)
	defer cancel()
	err := i.pool.DeleteNewAppClient(ctx, i.client.ID)
	i.creation.fail(ctx, err == nil, reason, err)
}

func (i *clientIssue) response() (*logical.Response, error) {
	domain, err := cognito.ParseDomain(i.role.CognitoPoolDomain) // validated before
	if err != nil {
		return nil, err
	}
	return i.b.leaseResponse(i.creation.record, i.ttl, i.times, map[string]any{
		"app_client_id":     i.client.ID,
		"app_client_secret": i.client.Secret,
		"scopes":            append([]string{}, i.role.Scopes...),
		"token_endpoint":    domain.JoinPath("oauth2", "token").String(),
		"user_pool_id":      i.target.UserPoolID,
		"region":            i.target.Region,
	}), nil
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
