// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// checkTimeout bounds a check: what has not answered by then is unknown.
const checkTimeout = 30 * time.Second

// What a check can be of.
const (
	checkKindRole   = "role"
	checkKindStatic = "static"
)

func pathCheck(b *backend) []*framework.Path {
	return []*framework.Path{{
		Pattern:      "check/" + framework.GenericNameRegex("name") + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "role"},
		Fields: map[string]*framework.FieldSchema{
			"name": {
				Type:        framework.TypeLowerCaseString,
				Description: "Name of the role.",
				Required:    true,
			},
			"kind": {
				Type:          framework.TypeString,
				Query:         true,
				Default:       checkKindRole,
				AllowedValues: []any{checkKindRole, checkKindStatic},
				Description:   `What is checked: "role", or "static" for a static role.`,
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.pathCheckRead,
				Summary:      "Say what would stop a role from working.",
				Responses:    responseSchema(checkResponseFields()),
				DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "check"},
			},
		},
		HelpSynopsis:    checkHelpSynopsis,
		HelpDescription: strings.TrimSpace(checkHelpDescription),
	}}
}

func checkResponseFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"status": {
			Type:        framework.TypeString,
			Description: "The worst of the findings: fail, else unknown, else warn, else ok.",
			Required:    true,
		},
		"findings": {
			Type:        framework.TypeSlice,
			Description: "What was looked at, each with name, status (ok, warn, fail or unknown), detail and remedy.",
			Required:    true,
		},
	}
}

func (b *backend) pathCheckRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var findings []finding
	switch kind := data.Get("kind").(string); kind {
	case checkKindRole:
		findings, err = b.checkNamedRole(ctx, req, roleName(data), aws)
	case checkKindStatic:
		findings, err = b.checkNamedStaticRole(ctx, req, roleName(data), aws)
	default:
		err = badRequest("kind %q is not allowed: it must be %q or %q", kind, checkKindRole, checkKindStatic)
	}
	if err != nil {
		return toResponse(err)
	}
	return checkResponse(findings), nil
}

func (b *backend) checkNamedRole(ctx context.Context, req *logical.Request, name string, aws *connection) ([]finding, error) {
	role, err := b.role(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = badRequest("there is no role %q", name)
	}
	if err != nil {
		return nil, err
	}
	return b.checkRole(ctx, req, name, role, aws), nil
}

func (b *backend) checkNamedStaticRole(ctx context.Context, req *logical.Request, name string, aws *connection) ([]finding, error) {
	role, err := b.existingStaticRole(ctx, req, name)
	if err != nil {
		return nil, err
	}
	return b.checkStaticRole(ctx, role, aws), nil
}

// checkRole looks at a role that lacks nothing; one that does cannot be used,
// and nothing else matters.
func (b *backend) checkRole(ctx context.Context, req *logical.Request, name string, role *roleEntry, aws *connection) []finding {
	if err := role.validate(aws.region); err != nil {
		return []finding{failed("role", err.Error(), "Write the role again, with the field mended.")}
	}
	usable := ok("role", "The role's own fields are complete.")
	if role.CredentialType == credentialTypeUser {
		return append([]finding{usable}, b.checkUserRole(ctx, req, name, role, aws)...)
	}
	role, err := b.withStaticSecret(ctx, req, role)
	if err != nil {
		return []finding{failed("role", err.Error(), "Mend static_role, or the static role that it names.")}
	}
	return append([]finding{usable}, b.checkMachineRole(ctx, role, aws)...)
}

func checkResponse(findings []finding) *logical.Response {
	shown := make([]any, 0, len(findings))
	for _, f := range findings {
		shown = append(shown, f.responseData())
	}
	return &logical.Response{Data: map[string]any{"status": worst(findings), "findings": shown}}
}

const (
	checkHelpSynopsis    = `Say what would stop a role from working.`
	checkHelpDescription = `
The check reads the user pool, the app client and the groups of a role, and
compares them with what the role says. It changes nothing in Cognito and makes
no user. For a role of credential_type "client_credentials_grant" it gets a
token as a read of creds/ does: from memory where there is one, or else it buys
one.

With kind=static it checks a static role: its rotations, its user or the secrets
of its app client. It signs nobody in.

What IAM does not allow the engine to look at is "unknown", and the finding
names the action. Whether IAM allows what creds/ does to users cannot be known
without doing it.
`
)
