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
)

const secretTypeAppClient = "app_client"

func secretAppClient(b *backend) *framework.Secret {
	return &framework.Secret{
		Type: secretTypeAppClient,
		Fields: map[string]*framework.FieldSchema{
			"app_client_id":     {Type: framework.TypeString, Description: "Id of the app client."},
			"app_client_secret": {Type: framework.TypeString, Description: "Secret of the app client."},
		},
		Renew:  b.appClientRenew,
		Revoke: b.appClientRevoke,
	}
}

// clientLease is what the lease of an app client carries: everything that its end needs.
type clientLease struct {
	issuedRecord
	// ttl is what the request asked for, or 0 for the role's.
	ttl time.Duration
}

// internalData returns strings only: numbers change their type at the plugin boundary.
func (l *clientLease) internalData() map[string]any {
	data := map[string]any{
		"app_client_id":       l.ClientID,
		"client_name":         l.ClientName,
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

func readClientLease(secret *logical.Secret) (*clientLease, error) {
	text := func(key string) string {
		value, _ := secret.InternalData[key].(string)
		return value
	}
	lease := &clientLease{issuedRecord: issuedRecord{
		Kind: kindAppClient, place: leasePlace(text), Role: text("role"), ID: text("record"),
		ClientID: text("app_client_id"), ClientName: text("client_name"),
	}}
	switch {
	case lease.ClientID == "" || lease.UserPoolID == "":
		return nil, errors.New("reading the lease of an app client: it names no app client")
	case !roleNamePattern.MatchString(lease.Role):
		return nil, fmt.Errorf("reading the lease of app client %q: it names no role", lease.ClientID)
	}
	if !recordIDPattern.MatchString(lease.ID) {
		lease.ID = adoptedRecordID(lease.ClientID, lease.UserPoolID)
	}
	var err error
	if lease.Created, err = time.Parse(time.RFC3339, text("created")); err != nil {
		return nil, fmt.Errorf("reading the lease of app client %q: created is not a time: %w", lease.ClientID, err)
	}
	if ttl := text("ttl"); ttl != "" {
		if lease.ttl, err = time.ParseDuration(ttl); err != nil {
			return nil, fmt.Errorf("reading the lease of app client %q: ttl is not a duration: %w", lease.ClientID, err)
		}
	}
	return lease, nil
}

func (b *backend) appClientRenew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	response, err := b.renewAppClient(ctx, req)
	b.metrics.failed(stepRenew, err)
	return response, err
}

// renewAppClient extends a lease as its role allows by now. It makes no call to AWS.
func (b *backend) renewAppClient(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	lease, err := readClientLease(req.Secret)
	if err != nil {
		return nil, err
	}
	role, err := getRole(ctx, req.Storage, lease.Role)
	switch {
	case err != nil:
		return nil, err
	case role == nil:
		return nil, badRequest("role %q is gone, so the lease of app client %q cannot be renewed", lease.Role, lease.ClientID)
	case role.CredentialType != credentialTypeAppClient:
		return nil, badRequest("role %q no longer issues app clients, so the lease of app client %q cannot be renewed", lease.Role, lease.ClientID)
	}
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return nil, fmt.Errorf("renewing the lease of app client %q: %w", lease.ClientID, err)
	}
	defer unlock()
	times := b.leaseTimes(role, lease.ttl)
	record := lease.issuedRecord
	if err := b.confirmRecord(ctx, req.Storage, &record, times); err != nil {
		return nil, fmt.Errorf("renewing the lease of app client %q: %w", lease.ClientID, err)
	}
	req.Secret.TTL, req.Secret.MaxTTL = cmp.Or(lease.ttl, role.TTL), times.longest
	return &logical.Response{Secret: req.Secret}, nil
}

func (b *backend) appClientRevoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	began := b.now()
	err := b.revokeAppClient(inBackground(ctx), req)
	b.metrics.revoked(credentialTypeAppClient, b.now().Sub(began), err)
	return nil, err
}

// revokeAppClient deletes the app client of a lease and its record.
func (b *backend) revokeAppClient(ctx context.Context, req *logical.Request) error {
	lease, err := readClientLease(req.Secret)
	if err != nil {
		return err
	}
	unlock, err := b.recordLocks.lock(ctx, lease.key())
	if err != nil {
		return fmt.Errorf("revoking the lease of app client %q: %w", lease.ClientID, err)
	}
	defer unlock()
	if _, ended := b.endedBeforeUnmount.Load(lease.key()); ended {
		return nil
	}
	if err := b.endAppClientRecord(ctx, req, &lease.issuedRecord); err != nil {
		b.hastenEnd(ctx, req.Storage, lease.Role, lease.ID, err)
		return err
	}
	return b.dropRecord(ctx, req.Storage, lease.Role, lease.ID)
}
