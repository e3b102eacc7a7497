// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func pathTidy(b *backend) []*framework.Path {
	return []*framework.Path{{
		Pattern:      "tidy$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "tidy", OperationSuffix: "users"},
		Fields: map[string]*framework.FieldSchema{
			"role": {
				Type:        framework.TypeLowerCaseString,
				Description: "Role of credential_type user whose users are looked for. Required unless user_pool_id is given.",
			},
			"user_pool_id": {
				Type:        framework.TypeString,
				Description: "User pool in which the users of all its roles are looked for, in place of role.",
			},
			"dry_run": {
				Type:        framework.TypeBool,
				Default:     true,
				Description: "Whether the users are only listed. If false, they are deleted. Default: true.",
			},
			"safety_buffer": {
				Type:        framework.TypeDurationSecond,
				Default:     cognito.DurationText(defaultSafetyBuffer),
				Description: "Age that a user must have at least. The mount's maximum lease TTL and the role's max_ttl count where they are longer. Default: 72h.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                  b.pathTidyWrite,
				Summary:                   "Find, and on demand delete, users that have no record.",
				ForwardPerformanceStandby: true,
				Responses:                 responseSchema(tidyResponseFields()),
			},
		},
		HelpSynopsis:    tidyHelpSynopsis,
		HelpDescription: strings.TrimSpace(tidyHelpDescription),
	}}
}

func tidyResponseFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"users":    {Type: framework.TypeStringSlice, Description: "Usernames of the users that have no record.", Required: true},
		"found":    {Type: framework.TypeInt, Description: "How many these are.", Required: true},
		"scanned":  {Type: framework.TypeInt, Description: "How many users of the pool were compared.", Required: true},
		"deleted":  {Type: framework.TypeInt, Description: "How many users were deleted. 0 with dry_run.", Required: true},
		"dry_run":  {Type: framework.TypeBool, Description: "Whether nothing was to be deleted.", Required: true},
		"complete": {Type: framework.TypeBool, Description: "Whether all users were compared and, without dry_run, deleted. If false, tidy again.", Required: true},
	}
}

func (b *backend) pathTidyWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	ctx, cancel := context.WithTimeout(inBackground(ctx), tidyBudget)
	defer cancel()
	t, err := b.newTidy(ctx, req, newInput(req, data))
	if err != nil {
		return toResponse(err)
	}
	if err := t.readRecords(ctx); err != nil {
		return toResponse(err)
	}
	if err := t.find(ctx); err != nil {
		return toResponse(err)
	}
	dryRun := data.Get("dry_run").(bool)
	if !dryRun {
		t.delete(ctx)
	}
	return t.response(dryRun), nil
}

func (b *backend) newTidy(ctx context.Context, req *logical.Request, in input) (*tidy, error) {
	if err := in.checkSizes(); err != nil {
		return nil, err
	}
	var name, poolID string
	buffer := defaultSafetyBuffer
	setString(in, "role", &name)
	setString(in, "user_pool_id", &poolID)
	setDuration(in, "safety_buffer", &buffer)
	if (name == "") == (poolID == "") {
		return nil, badRequest("role %q and user_pool_id %q are not allowed: exactly one of them must be given", name, poolID)
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	t := &tidy{b: b, req: req, aws: aws, buffer: buffer}
	if name != "" {
		return t, b.addTidyRole(ctx, t, name)
	}
	return t, b.addTidyRoles(ctx, t, poolID)
}

func (b *backend) addTidyRole(ctx context.Context, t *tidy, name string) error {
	role, err := b.role(ctx, t.req.Storage, name)
	switch {
	case err != nil:
		return err
	case role == nil:
		return badRequest("there is no role %q", name)
	case role.CredentialType != credentialTypeUser:
		return badRequest("role %q is of credential_type %q, which has no users", name, role.CredentialType)
	}
	return t.addRole(name, role)
}

// addTidyRoles adds the roles that issue users in a pool.
func (b *backend) addTidyRoles(ctx context.Context, t *tidy, poolID string) error {
	names, err := listSorted(ctx, t.req.Storage, roleStoragePrefix)
	if err != nil {
		return err
	}
	for _, name := range names {
		role, err := b.role(ctx, t.req.Storage, name)
		if err != nil {
			return err
		}
		if role == nil || role.CredentialType != credentialTypeUser || role.UserPoolID != poolID {
			continue
		}
		if err := t.addRole(name, role); err != nil {
			return err
		}
	}
	if len(t.roles) == 0 {
		return badRequest("user_pool_id %q is not allowed: no role issues users there", poolID)
	}
	return nil
}

func (t *tidy) response(dryRun bool) *logical.Response {
	names := make([]string, 0, len(t.found))
	for _, user := range t.found {
		names = append(names, user.Username)
	}
	response := &logical.Response{Data: map[string]any{
		"users": names, "found": len(t.found), "scanned": t.scanned, "deleted": t.deleted, "dry_run": dryRun, "complete": t.complete,
	}}
	if !t.complete {
		response.AddWarning("there was no time for all users: tidy again")
	}
	if len(t.failures) > 0 {
		response.AddWarning(fmt.Sprintf("%d users could not be deleted; the first error: %s", len(t.failures), t.failures[0]))
	}
	return response
}

const (
	tidyHelpSynopsis    = `Find, and on demand delete, users that have no record.`
	tidyHelpDescription = `
After a snapshot of Vault was restored, users that were issued since the snapshot
have neither a lease nor a record. This lists those of a role, or of all roles of
a user pool, and with dry_run=false it deletes them:

    $ vault write cognito/tidy role=ci-user
    $ vault write cognito/tidy role=ci-user dry_run=false

A user is found by its name: it must be one that the role's template makes, with
the random part. It must be enabled, and older than safety_buffer, than the
mount's maximum lease TTL and than the role's max_ttl. Do not use this where
another mount or another cluster issues users in the same pool by the same
template: their records are not known here.
`
)
