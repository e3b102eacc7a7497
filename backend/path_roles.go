// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/locksutil"
	"github.com/hashicorp/vault/sdk/logical"
)

// operationPrefix is the prefix of all operation IDs in OpenAPI.
const operationPrefix = "cognito"

func pathRoles(b *backend) []*framework.Path {
	return []*framework.Path{
		{
			Pattern:      "roles/?$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "roles"},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: &framework.PathOperation{
					Callback: listNames(roleStoragePrefix),
					Summary:  "List the names of all roles.",
					Responses: responseSchema(map[string]*framework.FieldSchema{
						"keys": {Type: framework.TypeStringSlice, Description: "Names of the roles, sorted."},
					}),
				},
			},
			HelpSynopsis:    rolesListHelpSynopsis,
			HelpDescription: rolesListHelpDescription,
		},
		{
			Pattern:      "roles/" + framework.GenericNameRegex("name") + "$",
			DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "role"},
			Fields:       roleFields(),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: &framework.PathOperation{
					Callback:  b.pathRoleRead,
					Summary:   "Read a role, except its secret.",
					Responses: responseSchema(roleResponseFields()),
				},
				logical.CreateOperation: b.roleChange(b.pathRoleWrite, "Create or update a role. Fields that are not given keep their values."),
				logical.UpdateOperation: b.roleChange(b.pathRoleWrite, "Create or update a role. Fields that are not given keep their values."),
				logical.PatchOperation:  b.roleChange(b.pathRoleWrite, "Change fields of an existing role."),
				logical.DeleteOperation: b.roleChange(b.pathRoleDelete, "Delete a role. Its leases are not revoked."),
			},
			ExistenceCheck:  b.roleExists,
			HelpSynopsis:    roleHelpSynopsis,
			HelpDescription: strings.TrimSpace(fmt.Sprintf(roleHelpDescription, roleFieldsHelp())),
		},
	}
}

func (b *backend) roleChange(callback framework.OperationFunc, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                    callback,
		Summary:                     summary,
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
		Responses:                   noContent(),
	}
}

func roleName(data *framework.FieldData) string { return data.Get("name").(string) }

func (b *backend) roleExists(ctx context.Context, req *logical.Request, data *framework.FieldData) (bool, error) {
	entry, err := req.Storage.Get(ctx, roleStoragePrefix+roleName(data))
	if err != nil {
		return false, fmt.Errorf("reading role %q: %w", roleName(data), err)
	}
	return entry != nil, nil
}

func (b *backend) pathRoleRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	role, err := getRole(ctx, req.Storage, roleName(data))
	if err != nil || role == nil {
		return nil, err
	}
	return &logical.Response{Data: role.responseData()}, nil
}

func (b *backend) pathRoleWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	w := &roleWrite{b: b, req: req, name: roleName(data), in: newInput(req, data)}
	lock := locksutil.LockForKey(b.roleLocks, w.name)
	lock.Lock()
	defer lock.Unlock()
	if err := w.load(ctx); err != nil {
		return nil, err
	}
	if err := w.change(); err != nil {
		return toResponse(err)
	}
	if err := w.check(ctx); err != nil {
		return toResponse(err)
	}
	if err := w.store(ctx); err != nil {
		return nil, err
	}
	return writeResponse(req, data, w.role.warnings(w.in, w.aws.region)...), nil
}

func (b *backend) pathRoleDelete(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	lock := locksutil.LockForKey(b.roleLocks, name)
	lock.Lock()
	defer lock.Unlock()

	if err := b.refuseRoleDeletion(ctx, req.Storage, name); err != nil {
		return toResponse(err)
	}
	defer b.dropCachedRole(name)
	if err := req.Storage.Delete(ctx, roleStoragePrefix+name); err != nil {
		return nil, fmt.Errorf("deleting role %q: %w", name, err)
	}
	b.metrics.dropRole(name)
	return nil, nil
}

const (
	rolesListHelpSynopsis    = `List the names of all roles.`
	rolesListHelpDescription = `Role names are lower case and sorted.`

	roleHelpSynopsis    = `Manage roles: what creds/ issues.`
	roleHelpDescription = `
A role of type "user" creates a user for each read of creds/<name>, and deletes
it when the lease ends. A role of type "client_credentials_grant" issues access
tokens of an app client. A role of type "app_client" creates an app client for
each read, and deletes it when the lease ends. A role of type "group_membership"
puts an existing user into groups for the time of a lease.

%s
A write changes only the fields that it names. The secret of the app client is
never returned. Deleting a role does not revoke its leases: they can still be
revoked, but not renewed.

    $ vault write cognito/roles/ci-user credential_type=user groups=testers \
        user_pool_id=eu-west-1_AbCdEfGhI app_client_id=1h57kf5cpq17m0eml12EXAMPLE
`
)
