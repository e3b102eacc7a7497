// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"maps"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
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
		"ttl":                 {Type: framework.TypeInt64, Description: "Seconds until the next rotation; 0 while one is due or failing.", Required: true},
		"rotation_period":     {Type: framework.TypeInt64, Description: "Seconds from one rotation to the next.", Required: true},
		"rotation_schedule":   {Type: framework.TypeString, Description: "Schedule, where there is one."},
		"rotation_window":     {Type: framework.TypeInt64, Description: "Seconds after the scheduled time in which a rotation may begin."},
	} {
		fields[name] = schema
	}
	return markSensitive(fields, "password", "app_client_secret")
}

func (b *backend) pathStaticCredsRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	role, err := b.currentStaticRole(ctx, req, name)
	if err != nil {
		return toResponse(err)
	}
	response := &logical.Response{Data: role.credsData(seconds(role.ttl(b.now())))}
	if role.LastError != "" {
		response.AddWarning("the last rotation failed: " + role.LastError)
	}
	if !role.IssueTokens {
		return response, nil
	}
	tokens, err := b.staticTokens.get(name, role, b.now(), func() (cognito.Tokens, error) { return b.signInStaticUser(ctx, req, role) })
	if err != nil {
		return toResponse(err)
	}
	maps.Copy(response.Data, tokenData(tokens))
	return response, nil
}

func (r *staticRole) credsData(ttl int64) map[string]any {
	shown := map[string]any{
		"last_vault_rotation": timeText(r.LastRotation),
		"ttl":                 ttl,
		"rotation_period":     seconds(r.period()),
	}
	if r.RotationSchedule != "" {
		shown["rotation_schedule"] = r.RotationSchedule
		shown["rotation_window"] = seconds(r.RotationWindow)
	}
	if r.CredentialType == staticTypeSecret {
		shown["app_client_id"], shown["app_client_secret"] = r.AppClientID, r.Value
	} else {
		shown["username"], shown["password"] = r.Username, r.Value
	}
	return shown
}

func (b *backend) pathRotateRoleWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	lock := b.queue.lock(name)
	lock.Lock()
	defer lock.Unlock()
	role, err := getStaticRole(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = badRequest("there is no static role %q", name)
	}
	if err == nil {
		err = b.rotate(ctx, req, name, role)
	}
	return toResponse(err)
}

const (
	staticCredsHelpDescription = `
A read returns what Cognito accepts: it waits for the end of a rotation of a
password, and finishes one that died half way. There is no lease. The answer
carries ttl and rotation_period, by which Vault Agent knows when to read again;
ttl is 0 while a rotation is due or failing.
`
	rotateRoleHelpDescription = `
The next rotation is counted from now. What failed before is tried again at once
and not after its pause.
`
)
