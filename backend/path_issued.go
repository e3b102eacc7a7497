// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	// issuedLimitDefault and issuedLimitMax bound one page of a list.
	issuedLimitDefault = 1000
	issuedLimitMax     = 10_000
)

func pathIssued(b *backend) []*framework.Path {
	display := func(suffix string) *framework.DisplayAttributes {
		return &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationSuffix: suffix}
	}
	role := &framework.FieldSchema{
		Type:        framework.TypeLowerCaseString,
		Description: "Name of the role. It need not exist any more.",
		Required:    true,
	}
	return []*framework.Path{
		{
			Pattern:      "issued/?$",
			DisplayAttrs: display("issued-roles"),
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: issuedOperation(b.pathIssuedRoles,
					"List the roles that have issued objects, with their number.", issuedListFields("Names of the roles, in order.",
						"For each role, count: how many objects exist because of it.")),
			},
			HelpSynopsis:    issuedHelpSynopsis,
			HelpDescription: strings.TrimSpace(issuedHelpDescription),
		},
		{
			Pattern:      "issued/" + framework.GenericNameRegex("role") + "/?$",
			DisplayAttrs: display("issued-objects"),
			Fields: map[string]*framework.FieldSchema{
				"role": role,
				"limit": {
					Type:        framework.TypeInt,
					Query:       true,
					Default:     issuedLimitDefault,
					Description: fmt.Sprintf("How many objects to list, up to %d. Default: %d.", issuedLimitMax, issuedLimitDefault),
				},
				"after": {
					Type:        framework.TypeString,
					Query:       true,
					Description: "Id after which to go on: the last one of the page before.",
				},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ListOperation: issuedOperation(b.pathIssuedList,
					"List what exists at Cognito because of a role.", issuedListFields("Ids of the records, in order of time.",
						"For each id: kind, state, username or client_name, groups of a membership, display_name and entity_id of the caller, created, expires (at the latest), and last_error.")),
			},
			HelpSynopsis:    issuedHelpSynopsis,
			HelpDescription: strings.TrimSpace(issuedHelpDescription),
		},
		{
			Pattern:      "issued/" + framework.GenericNameRegex("role") + "/" + framework.GenericNameRegex("id") + "$",
			DisplayAttrs: display("issued-object"),
			Fields: map[string]*framework.FieldSchema{
				"role": role,
				"id": {
					Type:        framework.TypeLowerCaseString,
					Description: "Id of the record, as issued/<role> lists it.",
					Required:    true,
				},
			},
			Operations: map[logical.Operation]framework.OperationHandler{
				logical.ReadOperation: issuedOperation(b.pathIssuedRead, "Read the record of an issued object.", issuedRecordFields()),
			},
			HelpSynopsis:    issuedHelpSynopsis,
			HelpDescription: strings.TrimSpace(issuedHelpDescription),
		},
	}
}

// issuedOperation runs on the active node of the cluster that was asked: records are local, and
// only there their deadlines are known.
func issuedOperation(callback framework.OperationFunc, summary string, fields map[string]*framework.FieldSchema) *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                  callback,
		Summary:                   summary,
		ForwardPerformanceStandby: true,
		Responses:                 responseSchema(fields),
	}
}

func issuedListFields(keys, info string) map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"keys":     {Type: framework.TypeStringSlice, Description: keys},
		"key_info": {Type: framework.TypeMap, Description: info},
	}
}

func issuedRecordFields() map[string]*framework.FieldSchema {
	text := func(description string) *framework.FieldSchema {
		return &framework.FieldSchema{Type: framework.TypeString, Description: description}
	}
	return map[string]*framework.FieldSchema{
		"id":                  text("Id of the record."),
		"role":                text("Role that issued the object."),
		"kind":                text(`What was issued, "user", "app_client" or "group_membership".`),
		"state":               text(`"creating": no response was sent. "delivered": whether Vault has a lease is not known yet. "confirmed": a renewal proved the lease. "ending": an end failed and is repeated. "unreadable": another version stored the record.`),
		"username":            text("Cognito's own username of the user."),
		"requested_name":      text("Username that was sent to Cognito."),
		"app_client_id":       text("Id of the app client, once it is known."),
		"client_name":         text("Name of the app client."),
		"groups":              {Type: framework.TypeStringSlice, Description: "Groups that the lease grants. Kind group_membership only."},
		"already_member_of":   {Type: framework.TypeStringSlice, Description: "Groups of the role that the user had before, and keeps. Kind group_membership only."},
		"sign_out_on_revoke":  {Type: framework.TypeBool, Description: "Whether the sessions of the user end with the memberships. Kind group_membership only."},
		"library":             text("Library set whose user was checked out."),
		"sub":                 text("Unique id of the user."),
		"display_name":        text("Display name of the token that asked."),
		"entity_id":           text("Id of the identity entity that asked."),
		"created":             text("When the object was created, in RFC 3339."),
		"expires":             text("When the object is ended at the latest, in RFC 3339. Empty while it is not known."),
		"revocation":          text(`What happens to the user at its end: "delete" or "disable".`),
		"user_pool_id":        text("Id of the user pool."),
		"region":              text("AWS region of the user pool."),
		"aws_assume_role_arn": text("ARN of the IAM role that reaches the user pool, if the role names its own."),
		"account_id":          text("Id of the AWS account in which the object was created, if it was known."),
		"cognito_endpoint":    text("URL of Cognito at which the object was created, or empty for AWS's own."),
		"last_error":          text("Why the last attempt to end the object failed."),
		"last_attempt":        text("When the first attempt with this error was made, in RFC 3339."),
	}
}

func (b *backend) pathIssuedRoles(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	roles, err := listRecordRoles(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	info := make(map[string]any, len(roles))
	for _, role := range roles {
		ids, err := listRecordIDs(ctx, req.Storage, role)
		if err != nil {
			return nil, err
		}
		info[role] = map[string]any{"count": len(ids)}
	}
	return logical.ListResponseWithInfo(roles, info), nil
}

func (b *backend) pathIssuedList(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	limit, after := data.Get("limit").(int), data.Get("after").(string)
	switch {
	case limit < 1 || limit > issuedLimitMax:
		return toResponse(badRequest("limit %d is not allowed: it must be between 1 and %d", limit, issuedLimitMax))
	case after != "" && !recordIDPattern.MatchString(after):
		return toResponse(badRequest("after %q is not allowed: it must be an id that this path listed", after[:min(len(after), valueTextMax)]))
	}
	page, err := listIssued(ctx, req.Storage, data.Get("role").(string), after, limit)
	if err != nil {
		return nil, err
	}
	ids, info := make([]string, 0, len(page.records)), map[string]any{}
	for _, record := range page.records {
		ends, err := b.latestEnd(ctx, req.Storage, record)
		if err != nil {
			return nil, err
		}
		ids, info[record.ID] = append(ids, record.ID), record.summary(ends)
	}
	response := logical.ListResponseWithInfo(ids, info)
	if page.next != "" {
		response.AddWarning(fmt.Sprintf("there are more: list again with after=%s", page.next))
	}
	return response, nil
}

func (b *backend) pathIssuedRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	record, err := getRecord(ctx, req.Storage, data.Get("role").(string), data.Get("id").(string))
	if err != nil || record == nil {
		return nil, err
	}
	ends, err := b.latestEnd(ctx, req.Storage, record)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: record.responseData(ends)}, nil
}

const (
	issuedHelpSynopsis    = `See what exists at Cognito because of this mount.`
	issuedHelpDescription = `
Each object that the engine issues for a lease has a record, from before it is
created until after it is gone. List "issued/" for the roles that have records,
"issued/<role>" for the records of a role, and read "issued/<role>/<id>" for one
of them. For example, this prints what a role has issued:

    $ vault list -detailed cognito/issued/ci-user

A record that stays after its lease has ended shows in "last_error" why its
object cannot be deleted. Records hold no passwords and no tokens, and belong to
the cluster that issued them.
`
)
