// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathStaticCreds(b *backend) []*framework.Path {
	name := map[string]*framework.FieldSchema{
		"name": {Type: framework.TypeLowerCaseString, Description: "Name of the static role.", Required: true},
	}
	return []*framework.Path{
		{
			Pattern:      "static-creds/" + framework.GenericNameRegex("name") + "$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "read", OperationSuffix: "static-credentials"},
			Fields:       name,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback:                    b.pathStaticCredsRead,
					Summary:                     "Read the password or secret of a static role.",
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
					Responses:                   responseSchema(staticCredsResponseFields()),
				},
			},
			HelpSynopsis:    "Read the password or secret of a static role.",
			HelpDescription: strings.TrimSpace(staticCredsHelpDescription),
		},
		{
			Pattern:      "rotate-role/" + framework.GenericNameRegex("name") + "$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "rotate", OperationSuffix: "static-role"},
			Fields:       name,
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.UpdateOperation: b.roleChange(b.pathRotateRoleWrite, "Rotate a static role now."),
			},
			HelpSynopsis:    "Rotate a static role now.",
			HelpDescription: strings.TrimSpace(rotateRoleHelpDescription),
		},
	}
}

func staticCredsResponseFields() map[string]*framework.FieldSchema {
	fields := tokenResponseFields()
	for _, schema := range fields {
		schema.Required = false
	}
	for name, schema := range map[string]*framework.FieldSchema{
		"username":            {Type: framework.TypeString, Description: "Username of the user."},
		"password":            {Type: framework.TypeString, Description: "Password of the user."},
		"app_client_id":       {Type: framework.TypeString, Description: "Id of the app client."},
		"app_client_secret":   {Type: framework.TypeString, Description: "Newest secret of the app client."},
		"last_vault_rotation": {Type: framework.TypeString, Description: "When the value was rotated last, in RFC 3339.", Required: true},
		"in_doubt":            {Type: framework.TypeBool, Description: "True while it is not known whether Cognito accepts the password. Absent otherwise."},
		"ttl":                 {Type: framework.TypeInt64, Description: "Seconds until the next rotation, or until the next attempt while one is due or failing; at least 1.", Required: true},
		"rotation_period":     {Type: framework.TypeInt64, Description: "Seconds from one rotation to the next.", Required: true},
		"rotation_schedule":   {Type: framework.TypeString, Description: "Schedule, where there is one."},
		"rotation_window":     {Type: framework.TypeInt64, Description: "Seconds after the scheduled time in which a rotation may begin."},
	} {
		fields[name] = schema
	}
	return markSensitive(fields, "password", "app_client_secret")
}

func (b *backend) pathStaticCredsRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	response, err := b.readStaticCreds(ctx, req, roleName(data))
	if err != nil {
		return toResponse(err)
	}
	return response, nil
}

func (b *backend) pathRotateRoleWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	warnings, err := b.rotateStaticRole(ctx, req, roleName(data))
	if err != nil {
		return toResponse(err)
	}
	return writeResponse(req, data, warnings...), nil
}

const (
	staticCredsHelpDescription = `
A read returns the value that Cognito accepts. It waits for a rotation of a
password that is under way. While it is not known which of two passwords is in
force, in_doubt is true and a warning says so. There is no lease: Vault Agent
uses ttl and rotation_period to schedule its next read.
`
	rotateRoleHelpDescription = `
The next rotation is counted from now. What failed before is tried again at
once. Calls that arrive while a rotation is under way share its result.
`
)
