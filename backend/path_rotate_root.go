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
				Summary:                     "Replace the access key in the configuration.",
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
				Responses: responseSchema(map[string]*framework.FieldSchema{
					"aws_access_key_id": {Type: framework.TypeString, Description: "ID of the new access key."},
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

const rotateRootHelpSynopsis = `Replace the access key in the configuration.`

const rotateRootHelpDescription = `
Creates a new access key for the IAM user whose key is in the configuration,
waits until STS and Cognito accept it in every region in use, and stores it. The
old key is deleted minutes later, when no request uses it any more. The secret
of the new key is never returned.

The IAM user must have no second access key, and must be allowed
iam:ListAccessKeys, iam:CreateAccessKey and iam:DeleteAccessKey on itself.

    $ vault write -f cognito/config/rotate-root
`
