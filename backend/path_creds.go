// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

func pathCreds(b *backend) []*framework.Path {
	operation := func(verb, suffix string) *framework.PathOperation {
		return &framework.PathOperation{
			Callback: b.pathCredsRead,
			Summary:  "Issue a user, a token, an app client or group memberships.",
			// A performance secondary does not forward: Vault registers the lease on the cluster of
			// the request.
			ForwardPerformanceStandby: true,
			Responses:                 responseSchema(credsResponseFields()),
			DisplayAttrs:              &framework.DisplayAttributes{OperationVerb: verb, OperationSuffix: suffix},
		}
	}
	return []*framework.Path{{
		Pattern:      "creds/" + framework.GenericNameRegex("name") + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix},
		Fields: map[string]*framework.FieldSchema{
			"name": {
				Type:        framework.TypeLowerCaseString,
				Description: "Name of the role.",
				Required:    true,
			},
			"ttl": {
				Type:        framework.TypeDurationSecond,
				Query:       true,
				Description: "Duration of the lease, if shorter than the role's. Types user, app_client and group_membership only.",
			},
			"scopes": {
				Type:        framework.TypeCommaStringSlice,
				Query:       true,
				Description: "Scopes of the token, if fewer than the role's. Type client_credentials_grant only.",
			},
			"min_ttl": {
				Type:        framework.TypeDurationSecond,
				Query:       true,
				Description: "Minimum remaining lifetime of the token, if longer than the role's min_token_ttl. A token in the first quarter of its lifetime satisfies every value. Type client_credentials_grant only.",
			},
			"fresh": {
				Type:        framework.TypeBool,
				Query:       true,
				Description: "If true, the token is at most one minute old: for a client whose token was refused. Type client_credentials_grant only.",
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation:   operation("generate", "credentials"),
			logical.UpdateOperation: operation("generate", "credentials-with-parameters"),
		},
		HelpSynopsis:    credsHelpSynopsis,
		HelpDescription: strings.TrimSpace(credsHelpDescription),
	}}
}

func credsResponseFields() map[string]*framework.FieldSchema {
	return markSensitive(map[string]*framework.FieldSchema{
		"username":          {Type: framework.TypeString, Description: "Cognito's own username of the user."},
		"password":          {Type: framework.TypeString, Description: "Password of the user."},
		"email":             {Type: framework.TypeString, Description: "E-mail address of the user, when it has one."},
		"sub":               {Type: framework.TypeString, Description: "Unique id of the user."},
		"user_pool_id":      {Type: framework.TypeString, Description: "Id of the user pool."},
		"region":            {Type: framework.TypeString, Description: "AWS region of the user pool."},
		"app_client_id":     {Type: framework.TypeString, Description: "App client that the user signed in through, whose token it is, or that was created."},
		"app_client_secret": {Type: framework.TypeString, Description: "Secret of the app client that was created. Type app_client only."},
		"groups":            {Type: framework.TypeStringSlice, Description: "Groups that the lease grants to the user. Type group_membership only."},
		"already_member_of": {Type: framework.TypeStringSlice, Description: "Groups of the role that the user had before, and keeps when the lease ends. Type group_membership only."},
		"scopes":            {Type: framework.TypeStringSlice, Description: "Scopes that the app client is allowed. Type app_client only."},
		"token_endpoint":    {Type: framework.TypeString, Description: "URL at which the app client gets its tokens. Type app_client only."},
		"totp_secret":       {Type: framework.TypeString, Description: "Secret of the user's authenticator, in base32."},
		"totp_url":          {Type: framework.TypeString, Description: "The same as an otpauth URL."},
		"id_token":          {Type: framework.TypeString, Description: "ID token of the user, a JWT."},
		"refresh_token":     {Type: framework.TypeString, Description: "Refresh token of the user."},
		"access_token":      {Type: framework.TypeString, Description: "Access token, a JWT."},
		"token_type":        {Type: framework.TypeString, Description: "How to present the access token: Bearer."},
		"expires_in":        {Type: framework.TypeInt64, Description: "Seconds until the access token ends."},
		"scope":             {Type: framework.TypeString, Description: "Scopes that the access token grants. Type client_credentials_grant only."},
		"expiration":        {Type: framework.TypeString, Description: "When the access token ends, in RFC 3339. Type client_credentials_grant only."},
		"ttl":               {Type: framework.TypeInt64, Description: "Seconds until the next token can be had. Type client_credentials_grant only."},
		"rotation_period": {
			Type:        framework.TypeInt64,
			Description: "Seconds from one token to the next. Vault Agent uses this and ttl to schedule its next read. Type client_credentials_grant only.",
		},
		"last_vault_rotation": {
			Type:        framework.TypeString,
			Description: "When the token was issued (RFC 3339). The Vault Secrets Operator needs it to refresh the token. Type client_credentials_grant only.",
		},
	}, "password", "app_client_secret", "totp_secret", "totp_url", "id_token", "refresh_token", "access_token")
}

// pathCredsRead issues what the role describes.
func (b *backend) pathCredsRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	role, aws, err := b.usableRole(ctx, req, name)
	if err != nil {
		return toResponse(err)
	}
	in := newInput(req, data)
	if err := in.checkSizes(); err != nil {
		return toResponse(err)
	}
	request := issueRequest{b: b, req: req, name: name, role: role, aws: aws, target: role.target(aws.region), input: in}
	switch role.CredentialType {
	case credentialTypeUser:
		i := &userIssue{issueRequest: request}
		return i.run(ctx, i.issue, i.response)
	case credentialTypeGroupMembership:
		i := &membershipIssue{issueRequest: request}
		return i.run(ctx, i.issue, i.response)
	case credentialTypeAppClient:
		i := &clientIssue{issueRequest: request}
		return i.run(ctx, i.issue, i.response)
	default:
		return b.issueMachineToken(ctx, req, aws, name, role, in)
	}
}

// refuseFields refuses request fields that make no sense for a role.
func refuseFields(in input, role *roleEntry, fields ...string) error {
	for _, field := range fields {
		if in.has(field) {
			return badRequest("%s is not allowed for a role of credential_type %q", field, role.CredentialType)
		}
	}
	return nil
}

const (
	credsHelpSynopsis    = `Issue a user, a token, an app client or group memberships.`
	credsHelpDescription = `
For a role of credential_type "user" every read makes a user in the role's user
pool, puts it into its groups and signs it in. It is deleted when the lease ends
or is revoked; its JWTs stay valid until they expire wherever they are checked
without asking Cognito.

For one of credential_type "client_credentials_grant" a read returns an access
token of the role's app client, without a lease: Cognito cannot revoke it.

For one of credential_type "app_client" every read creates an app client with a
secret of its own, for the client_credentials grant. It is deleted when the
lease ends or is revoked; tokens that it got stay valid until they expire.

For one of credential_type "group_membership" every read puts an existing user
into the role's groups. The user gets them with its next token. They are taken
away when the lease ends or is revoked, except those that the user had before
and those that another lease grants; tokens keep them until they expire.
`
)
