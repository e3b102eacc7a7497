// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/check"
)

// checkTimeout bounds a check. What AWS has not answered by then is unknown.
const checkTimeout = 30 * time.Second

// Kinds of roles that can be checked.
const (
	checkKindRole    = "role"
	checkKindStatic  = "static"
	checkKindLibrary = "library"
)

func pathCheck(b *backend) []*framework.Path {
	return []*framework.Path{{
		Pattern:      "check/" + framework.GenericNameRegex("name") + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: "role"},
		Fields: map[string]*framework.FieldSchema{
			"name": {
				Type:        framework.TypeLowerCaseString,
				Description: "Name of the role or library set.",
				Required:    true,
			},
			"kind": {
				Type:          framework.TypeString,
				Query:         true,
				Default:       checkKindRole,
				AllowedValues: []any{checkKindRole, checkKindStatic, checkKindLibrary},
				Description:   `What to check: "role", "static" for a static role, or "library" for a library set.`,
			},
			"details": {
				Type:        framework.TypeBool,
				Query:       true,
				Default:     false,
				Description: `Whether the answer has "details".`,
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.pathCheckRead,
				Summary:      "Report what would stop a role from working.",
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
			Description: "The most severe status of the findings: fail, unknown, warn or ok.",
			Required:    true,
		},
		"problems": {
			Type:        framework.TypeStringSlice,
			Description: "One sentence per finding that is not ok, the most severe first. They are also returned as warnings.",
			Required:    true,
		},
		"findings": {
			Type:        framework.TypeMap,
			Description: "Status (ok, warn, unknown or fail) of everything that was compared, by its name.",
			Required:    true,
		},
		"details": {
			Type:        framework.TypeSlice,
			Description: "The findings, each with name, status, detail and remedy. Only with details=true.",
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
	var findings []check.Finding
	switch kind := data.Get("kind").(string); kind {
	case checkKindRole:
		findings, err = b.checkNamedRole(ctx, req, roleName(data), aws)
	case checkKindStatic:
		findings, err = b.checkNamedStaticRole(ctx, req, roleName(data), aws)
	case checkKindLibrary:
		findings, err = b.checkLibrary(ctx, req, roleName(data), aws)
	default:
		err = badRequest("kind %q is not allowed: it must be %q, %q or %q", kind, checkKindRole, checkKindStatic, checkKindLibrary)
	}
	if err != nil {
		return toResponse(err)
	}
	return checkResponse(findings, data.Get("details").(bool)), nil
}

func (b *backend) checkNamedRole(ctx context.Context, req *logical.Request, name string, aws *connection) ([]check.Finding, error) {
	role, err := b.role(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = badRequest("there is no role %q", name)
	}
	if err != nil {
		return nil, err
	}
	return b.checkRole(ctx, req, name, role, aws), nil
}

func (b *backend) checkNamedStaticRole(ctx context.Context, req *logical.Request, name string, aws *connection) ([]check.Finding, error) {
	role, err := b.existingStaticRole(ctx, req, name)
	if err != nil {
		return nil, err
	}
	return checkStaticRole(ctx, role, aws, b.now()), nil
}

// checkResponse keeps its default answer short enough for the table of a terminal: warnings are
// printed above it, a line for each.
func checkResponse(findings []check.Finding, details bool) *logical.Response {
	statuses := make(map[string]any, len(findings))
	list := make([]any, 0, len(findings))
	for _, f := range findings {
		statuses[f.Name] = f.Status
		list = append(list, map[string]any{"name": f.Name, "status": f.Status, "detail": f.Detail, "remedy": f.Remedy})
	}
	problems := check.Problems(findings)
	data := map[string]any{"status": check.Worst(findings), "problems": problems, "findings": statuses}
	if details {
		data["details"] = list
	}
	return &logical.Response{Data: data, Warnings: problems}
}

const (
	checkHelpSynopsis    = `Report what would stop a role from working.`
	checkHelpDescription = `
A check reads the user pool, the app client and the groups of a role, and
compares them with the role. It changes nothing in Cognito and creates no user.
For a role of type "client_credentials_grant" it requests a token as a read of
creds/ does: from the cache if there is one, and otherwise a new, billable one.

With kind=static it checks a static role: its rotations, and its user or the
secrets of its app client. It signs in no user.

With kind=library it checks a library set: its role, what the user pool lets a
holder keep, and users that could not be prepared.

"problems" lists what to correct, the most severe first; details=true adds what
was found where nothing is to be corrected. A finding that the
engine's IAM permissions do not allow to check is "unknown" and names the
missing action. Permissions to change users are not checked, because AWS offers
no way to test them without changing one.

    $ vault read cognito/check/ci-user
    $ vault read cognito/check/payments kind=static
    $ vault read cognito/check/e2e kind=library
`
)
