// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathRotateRoot(b *backend) []*framework.Path {
	return []*framework.Path{{
		Pattern: "config/rotate-root$",
		DisplayAttrs: &framework.DisplayAttributes{
			OperationPrefix: operationPrefix,
			OperationVerb:   "rotate",
			OperationSuffix: "root-credentials",
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                    b.pathRotateRootWrite,
				Summary:                     "Replace the IAM access key in the config.",
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
				Responses: responseSchema(map[string]*framework.FieldSchema{
					"aws_access_key_id": {Type: framework.TypeString, Description: "The new access key."},
				}),
			},
		},
		HelpSynopsis:    rotateRootHelpSynopsis,
		HelpDescription: strings.TrimSpace(rotateRootHelpDescription),
	}}
}

func (b *backend) pathRotateRootWrite(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	id, err := b.rotateRoot(ctx, req)
	if err != nil {
		return toResponse(err)
	}
	return &logical.Response{Data: map[string]any{"aws_access_key_id": id}}, nil
}

const rotateRootHelpSynopsis = `Replace the IAM access key in the config.`

const rotateRootHelpDescription = `
Makes a new access key for the IAM user whose key is in the config, waits until
AWS takes it, stores it and deletes the one before. Nobody gets to see the
secret of the new key. The user must have no second access key, and needs to be
allowed iam:GetUser, iam:ListAccessKeys, iam:CreateAccessKey and
iam:DeleteAccessKey on itself.
`
