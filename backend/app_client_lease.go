// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func secretAppClient(b *backend) *framework.Secret {
	return b.secret(leaseKind{
		kind: kindAppClient,
		fields: map[string]*framework.FieldSchema{
			"app_client_id":     {Type: framework.TypeString, Description: "Id of the app client."},
			"app_client_secret": {Type: framework.TypeString, Description: "Secret of the app client."},
		},
		renew: b.renewAppClient,
		end: func(ctx context.Context, req *logical.Request, l *lease) error {
			return b.endAppClientRecord(ctx, req, &l.issuedRecord)
		},
	})
}

// renewAppClient extends a lease as its role allows by now. It makes no call to AWS.
func (b *backend) renewAppClient(ctx context.Context, req *logical.Request, l *lease) (*logical.Response, error) {
	role, err := b.roleOfLease(ctx, req, l)
	if err != nil {
		return nil, err
	}
	return b.confirmLease(ctx, req, l, role)
}
