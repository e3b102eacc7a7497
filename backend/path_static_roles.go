// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathStaticRoles(b *backend) []*framework.Path {
	return []*framework.Path{
		{
			Pattern:      "static-roles/?$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "static-roles"},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: &framework.PathOperation{
					Callback: listNames(staticRoleStoragePrefix),
					Summary:  "List the names of all static roles.",
					Responses: responseSchema(map[string]*framework.FieldSchema{
						"keys": {Type: framework.TypeStringSlice, Description: "Names of the static roles, in order."},
					}),
				},
			},
			HelpSynopsis:    "List the names of all static roles.",
			HelpDescription: `Static roles are listed in order. Their names are lower case.`,
		},
		{
			Pattern:      "static-roles/" + framework.GenericNameRegex("name") + "$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "static-role"},
			Fields:       staticRoleFields(),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback:  b.pathStaticRoleRead,
					Summary:   "Read a static role, except its password or secret.",
					Responses: responseSchema(staticRoleResponseFields()),
				},
				logical.CreateOperation: b.roleChange(b.pathStaticRoleWrite, "Make Vault the owner of a password or secret, or change the fields that are given."),
				logical.UpdateOperation: b.roleChange(b.pathStaticRoleWrite, "Make Vault the owner of a password or secret, or change the fields that are given."),
				logical.PatchOperation:  b.roleChange(b.pathStaticRoleWrite, "Change fields of an existing static role."),
				logical.DeleteOperation: &framework.PathOperation{
					Callback:                    b.pathStaticRoleDelete,
					Summary:                     "Delete a static role. Its user or app client stays as it is.",
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
					Responses: map[int][]framework.Response{
						http.StatusOK:        {{Description: "Deleted, with a warning that says what stays at Cognito."}},
						http.StatusNoContent: {{Description: "There was no such static role."}},
					},
				},
			},
			ExistenceCheck:  b.staticRoleExists,
			HelpSynopsis:    staticRoleHelpSynopsis,
			HelpDescription: strings.TrimSpace(staticRoleHelpDescription),
		},
	}
}

func (b *backend) staticRoleExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	role, err := b.staticRole(ctx, req.Storage, roleName(data))
	return role != nil, err
}

func (b *backend) pathStaticRoleRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	role, err := b.staticRole(ctx, req.Storage, roleName(data))
	if err != nil || role == nil {
		return nil, err
	}
	return &logical.Response{Data: role.responseData(b.now())}, nil
}

func (b *backend) pathStaticRoleWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	warnings, err := b.writeStaticRole(ctx, req, roleName(data), newInput(req, data))
	if err != nil {
		return toResponse(err)
	}
	return writeResponse(req, data, warnings...), nil
}

func (b *backend) pathStaticRoleDelete(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	deleted, err := b.deleteStaticRole(ctx, req, roleName(data))
	if err != nil || !deleted {
		return toResponse(err)
	}
	response := &logical.Response{}
	response.AddWarning("Vault no longer rotates it, but it stays as it is at Cognito: the user and its password, or the app client and its secrets")
	return response, nil
}

const (
	staticRoleHelpSynopsis    = `Manage users and app clients whose password or secret Vault owns.`
	staticRoleHelpDescription = `
A static role of credential_type "user_password" owns the password of an
existing user, one of "app_client_secret" a secret of an app client. The first
write rotates it at once, unless skip_import_rotation is set and the present
value is given. After that it rotates by rotation_period or rotation_schedule;
a write of rotate-role/<name> rotates it at any time. static-creds/<name>
returns the value.

Writing a static role again unchanged changes nothing. Write password to store
the present password, after it was changed by other means.

Deleting a static role leaves its user or app client as it is. It is refused
while it is not known which of two passwords is in force.
`
)
