// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// clientIssue is one request for an app client. Its methods are called in their order: prepare,
// begin, create, deliver, response.
type clientIssue struct {
	issueRequest

	clientName string
	client     cognito.AppClient
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
	if err := i.readFields(); err != nil {
		return err
	}
	if i.clientName, err = i.role.clientName(i.b.templateData(i.req, i.name, i.target.UserPoolID)); err != nil {
		return err
	}
	return i.connect(ctx)
}

// begin stores the record with the name of the app client, which no other attempt uses.
func (i *clientIssue) begin(ctx context.Context) (context.Context, error) {
	record, err := i.newRecord(ctx, kindAppClient)
	if err != nil {
		return nil, err
	}
	record.ClientName = i.clientName
	return i.storeRecord(ctx, record)
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
	i.creation.record.ClientID = i.client.ID
	err := i.storeDelivered(ctx)
	if err != nil {
		i.deleteUndelivered(ctx, err)
	}
	return err
}

func (i *clientIssue) deleteUndelivered(ctx context.Context, reason error) {
	ctx, cancel := undoContext(ctx)
	defer cancel()
	err := i.pool.DeleteNewAppClient(ctx, i.client.ID)
	i.creation.fail(ctx, err == nil, reason, err)
}

func (i *clientIssue) response() (*logical.Response, error) {
	domain, err := cognito.ParseDomain(i.role.CognitoPoolDomain) // validated before
	if err != nil {
		return nil, err
	}
	return i.leaseResponse(map[string]any{
		"app_client_id":     i.client.ID,
		"app_client_secret": i.client.Secret,
		"scopes":            append([]string{}, i.role.Scopes...),
		"token_endpoint":    domain.JoinPath("oauth2", "token").String(),
		"user_pool_id":      i.target.UserPoolID,
		"region":            i.target.Region,
	}), nil
}
