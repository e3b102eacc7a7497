// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
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
					Responses: responds(map[string]*framework.FieldSchema{
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
					Summary:   "Read a static role, but for its password or secret.",
					Responses: responds(staticRoleFieldsShown()),
				},
				logical.CreateOperation: b.roleChange(b.pathStaticRoleWrite, "Make Vault the owner of a password or secret, or change the fields that are given."),
				logical.UpdateOperation: b.roleChange(b.pathStaticRoleWrite, "Make Vault the owner of a password or secret, or change the fields that are given."),
				logical.PatchOperation:  b.roleChange(b.pathStaticRoleWrite, "Change fields of a static role that is there."),
				logical.DeleteOperation: &framework.PathOperation{
					Callback:                    b.pathStaticRoleDelete,
					Summary:                     "Give a password or secret up and leave it as it is.",
					ForwardPerformanceStandby:   true,
					ForwardPerformanceSecondary: true,
					Responses: map[int][]framework.Response{
						http.StatusOK:        {{Description: "Given up, with a warning that says what stays at Cognito."}},
						http.StatusNoContent: {{Description: "There was none."}},
					},
				},
			},
			ExistenceCheck:  b.staticRoleExists,
			HelpSynopsis:    staticRoleHelpSynopsis,
			HelpDescription: strings.TrimSpace(staticRoleHelpDescription),
		},
	}
}

func staticRoleFields() map[string]*framework.FieldSchema {
	sensitive := &framework.DisplayAttributes{Sensitive: true}
	return showingDefaults(map[string]*framework.FieldSchema{
		"name":                 {Type: framework.TypeLowerCaseString, Description: "Name of the static role.", Required: true},
		"credential_type":      {Type: framework.TypeString, Default: staticTypePassword, AllowedValues: []any{staticTypePassword, staticTypeSecret}, Description: `What Vault owns: "user_password" or "app_client_secret".`},
		"user_pool_id":         {Type: framework.TypeString, Description: "Id of the user pool, such as eu-west-1_AbCdEfGhI."},
		"region":               {Type: framework.TypeString, Description: "AWS region of the user pool, such as eu-west-1. Default: the region of the mount's config."},
		"aws_assume_role_arn":  {Type: framework.TypeString, Description: "ARN of an IAM role to assume for this static role in place of the mount's."},
		"aws_external_id":      {Type: framework.TypeString, Description: "External id for aws_assume_role_arn, where its trust policy asks for one."},
		"app_client_id":        {Type: framework.TypeString, Description: "App client whose secret Vault owns, or that the user signs in through to prove a new password."},
		"app_client_secret":    {Type: framework.TypeString, Description: "Type user_password: secret of that app client. Type app_client_secret: its present value, for skip_import_rotation. Never shown again.", DisplayAttrs: sensitive},
		"username":             {Type: framework.TypeString, Description: "User whose password Vault owns. Type user_password only."},
		"password":             {Type: framework.TypeString, Description: "Present password of the user, for self_managed or skip_import_rotation. Never shown again. Type user_password only.", DisplayAttrs: sensitive},
		"password_policy":      {Type: framework.TypeString, Description: "Vault password policy that makes the passwords. Default: the mount's, or else 32 characters of every class. Type user_password only."},
		"issue_tokens":         {Type: framework.TypeBool, Description: "Whether static-creds also signs the user in and returns its tokens. Type user_password only."},
		"sign_out_on_rotation": {Type: framework.TypeBool, Description: "Whether a rotation ends the sessions that the old password opened. Type user_password only."},
		"self_managed":         {Type: framework.TypeBool, Description: "Whether the user changes its own password, which takes no right of IAM's. It cannot change later. Type user_password only."},
		"cognito_pool_domain":  {Type: framework.TypeString, Description: "Domain of the user pool, where a token proves a new secret. Type app_client_secret only."},
		"scopes":               {Type: framework.TypeCommaStringSlice, Description: "Scopes of the token that proves a new secret. Type app_client_secret only."},
		"rotation_period":      {Type: framework.TypeDurationSecond, Description: "How often to rotate, 60s at least."},
		"rotation_schedule":    {Type: framework.TypeString, Description: "When to rotate: five fields of cron, in UTC. In place of rotation_period."},
		"rotation_window":      {Type: framework.TypeDurationSecond, Description: "How long after the scheduled time a rotation may still begin, 1h at least. None: any time."},
		"skip_import_rotation": {Type: framework.TypeBool, Description: "Whether to leave the present value in force until the first scheduled rotation. It has to be given, as password or app_client_secret."},
	})
}

func staticRoleFieldsShown() map[string]*framework.FieldSchema {
	fields := without(staticRoleFields(), "name", "app_client_secret", "password", "skip_import_rotation")
	fields["app_client_secret_set"] = &framework.FieldSchema{Type: framework.TypeBool, Description: "Whether the static role holds the app client's secret."}
	fields["last_vault_rotation"] = &framework.FieldSchema{Type: framework.TypeString, Description: "When the value was rotated last, in RFC 3339."}
	fields["next_vault_rotation"] = &framework.FieldSchema{Type: framework.TypeString, Description: "When it is to be rotated next, in RFC 3339."}
	fields["last_error"] = &framework.FieldSchema{Type: framework.TypeString, Description: "Why the last rotation failed, until one succeeds."}
	return fields
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
	return &logical.Response{Data: role.shown()}, nil
}

func (b *backend) pathStaticRoleWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	lock := b.queue.lock(name)
	lock.Lock()
	defer lock.Unlock()
	role, err := getStaticRole(ctx, req.Storage, name)
	in, warnings := newInput(req, data), []string(nil)
	switch {
	case err != nil:
		return nil, err
	case role != nil:
		err = b.changeStaticRole(ctx, req, name, role, in)
		warnings = role.ignoredLater(in)
	case req.Operation == logical.PatchOperation:
		return nil, notFound("static role", name)
	default:
		err = b.onboard(ctx, req, name, in)
	}
	if err != nil {
		return answer(err)
	}
	return written(req, data, warnings...), nil
}

// changeStaticRole changes all but what the role owns. A changed schedule
// counts from now.
func (b *backend) changeStaticRole(ctx context.Context, req *logical.Request, name string, role *staticRole, in input) error {
	if err := b.updateStatic(ctx, req, role, in, false); err != nil {
		return err
	}
	if in.names("rotation_period") || in.names("rotation_schedule") {
		if err := role.reschedule(b.now()); err != nil {
			return err
		}
	}
	defer b.tokensOfStatic.drop(name)
	return b.putStaticRole(ctx, req.Storage, name, role)
}

func (b *backend) updateStatic(ctx context.Context, req *logical.Request, role *staticRole, in input, isNew bool) error {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return err
	}
	if err := role.update(in, isNew); err != nil {
		return err
	}
	if err := role.validate(aws.region); err != nil {
		return err
	}
	if role.PasswordPolicy != "" {
		_, err = b.newPasswordBy(ctx, role.PasswordPolicy)
	}
	return err
}

// onboard makes Vault the owner of what is at Cognito already.
func (b *backend) onboard(ctx context.Context, req *logical.Request, name string, in input) error {
	role := &staticRole{CredentialType: staticTypePassword}
	if err := b.updateStatic(ctx, req, role, in, true); err != nil {
		return err
	}
	skip, err := role.takePresentValue(in)
	if err != nil {
		return err
	}
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return err
	}
	if err := b.checkOwned(ctx, req, role); err != nil {
		return err
	}
	if err := b.queue.claim(name, role); err != nil {
		return err
	}
	if err := b.takeOver(ctx, req, name, role, skip); err != nil {
		b.giveBack(ctx, req, name, role)
		return err
	}
	b.sendEvent(ctx, "create", name)
	return nil
}

// takePresentValue reads the value that is in force now, where the write gives it.
func (r *staticRole) takePresentValue(in input) (skip bool, err error) {
	field := r.presentValueField()
	take(in, field, &r.Value)
	take(in, "skip_import_rotation", &skip)
	if r.Value == "" && (skip || r.SelfManaged) {
		return false, missing(field, "the present one, which Vault has to know for skip_import_rotation and self_managed")
	}
	return skip, nil
}

// checkOwned sees to it that a user is there and has a password of the pool's
// own. A self-managed one proves that by signing in.
func (b *backend) checkOwned(ctx context.Context, req *logical.Request, role *staticRole) error {
	if role.CredentialType == staticTypeSecret || role.SelfManaged {
		return nil
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return err
	}
	pool, err := aws.Pool(ctx, role.target(aws.region))
	if err != nil {
		return err
	}
	user, err := pool.User(ctx, role.Username)
	if err != nil {
		return err
	}
	if user.Status == cognito.StatusExternalProvider {
		return badRequest("username %q is not allowed: the user signs in with another provider, and a password would end that", role.Username)
	}
	role.Username = user.Username
	return nil
}

// takeOver rotates at once, or stores the present value as it is.
func (b *backend) takeOver(ctx context.Context, req *logical.Request, name string, role *staticRole, skip bool) error {
	if !skip {
		return b.rotate(ctx, req, name, role)
	}
	if role.CredentialType == staticTypeSecret {
		setter, err := b.setterOf(ctx, req, role)
		if err != nil {
			return err
		}
		if _, err := setter.newValue(ctx); err != nil { // takes the secret's id over
			return err
		}
	}
	role.LastRotation = b.now()
	if err := role.reschedule(b.now()); err != nil {
		return err
	}
	return b.putStaticRole(ctx, req.Storage, name, role)
}

// giveBack drops a role whose first rotation failed. When Cognito may have
// taken the new value all the same, the role stays, or the value would be lost.
func (b *backend) giveBack(ctx context.Context, req *logical.Request, name string, role *staticRole) {
	if role.Pending != nil && role.Pending.Touched {
		b.Logger().Warn("a new static role was stored although its first rotation failed: the new value may be in force", "name", name)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotationTimeout)
	defer cancel()
	defer b.staticRoles.drop(name)
	if err := req.Storage.Delete(ctx, staticRoleStoragePrefix+name); err != nil {
		b.Logger().Error("a static role whose first rotation failed could not be removed", "name", name, "error", err)
		return
	}
	b.queue.remove(name)
}

func (b *backend) pathStaticRoleDelete(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	lock := b.queue.lock(name)
	lock.Lock()
	defer lock.Unlock()
	role, err := b.staticRole(ctx, req.Storage, name)
	if err == nil && role == nil {
		return nil, nil
	}
	defer b.staticRoles.drop(name)
	defer b.tokensOfStatic.drop(name)
	if err := req.Storage.Delete(ctx, staticRoleStoragePrefix+name); err != nil {
		return nil, fmt.Errorf("deleting static role %q: %w", name, err)
	}
	b.queue.remove(name)
	b.sendEvent(ctx, "delete", name)
	response := &logical.Response{}
	response.AddWarning("Vault no longer rotates it, but it stays as it is at Cognito: the user and its password, or the app client and its secrets")
	return response, nil
}

const (
	staticRoleHelpSynopsis    = `Manage users and app clients whose password or secret Vault owns.`
	staticRoleHelpDescription = `
A static role of credential_type "user_password" owns the password of a user
that exists, one of "app_client_secret" a secret of an app client. Writing it
rotates at once, unless skip_import_rotation is set and the present value given;
after that it rotates by rotation_period or rotation_schedule. A read of
static-creds/<name> gives the value, a write of rotate-role/<name> rotates at
any time.

Deleting a static role leaves user and app client as they are.
`
)
