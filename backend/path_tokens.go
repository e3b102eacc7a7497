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

func pathTokens(b *backend) []*framework.Path {
	secret := &framework.DisplayAttributes{Sensitive: true}
	return []*framework.Path{{
		Pattern:      "tokens/" + framework.GenericNameRegex("name") + "$",
		DisplayAttrs: &framework.DisplayAttributes{OperationPrefix: operationPrefix, OperationVerb: "exchange", OperationSuffix: "tokens"},
		Fields: map[string]*framework.FieldSchema{
			"name": {
				Type:        framework.TypeLowerCaseString,
				Description: "Name of a role of credential_type user, of a static role of credential_type user_password, or of a library set.",
				Required:    true,
			},
			"refresh_token": {
				Type:         framework.TypeString,
				Description:  "Refresh token to exchange for new tokens.",
				DisplayAttrs: secret,
			},
			"username": {
				Type:        framework.TypeString,
				Description: "User to sign in with password; or whose refresh_token it is, which few pools need to know.",
			},
			"password": {
				Type:         framework.TypeString,
				Description:  "Password of the user to sign in.",
				DisplayAttrs: secret,
			},
			"totp_code": {
				Type:         framework.TypeString,
				Description:  "Code that the user's authenticator shows, where it has one.",
				DisplayAttrs: secret,
			},
		},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{
				Callback:                  b.pathTokensWrite,
				Summary:                   "Exchange a refresh token, or username and password, for tokens.",
				ForwardPerformanceStandby: true,
				Responses:                 responseSchema(tokenResponseFields()),
			},
		},
		HelpSynopsis:    tokensHelpSynopsis,
		HelpDescription: strings.TrimSpace(tokensHelpDescription),
	}}
}

func tokenResponseFields() map[string]*framework.FieldSchema {
	return markSensitive(map[string]*framework.FieldSchema{
		"access_token":  {Type: framework.TypeString, Description: "Access token of the user, a JWT.", Required: true},
		"id_token":      {Type: framework.TypeString, Description: "ID token of the user, a JWT.", Required: true},
		"refresh_token": {Type: framework.TypeString, Description: "Refresh token, when there is a new one."},
		"token_type":    {Type: framework.TypeString, Description: "How to present the access token: Bearer.", Required: true},
		"expires_in":    {Type: framework.TypeInt64, Description: "Seconds until the access token ends.", Required: true},
	}, "access_token", "id_token", "refresh_token")
}

func (b *backend) pathTokensWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	name := roleName(data)
	role, target, users, err := b.roleForTokens(ctx, req, name)
	if err != nil {
		return toResponse(err)
	}
	exchange, err := newExchange(name, role, newInput(req, data))
	if err != nil {
		return toResponse(err)
	}
	pool, err := b.userPool(ctx, req, target)
	if err != nil {
		return toResponse(err)
	}
	run := exchange.run
	if users != nil {
		run = restrictedExchange{exchange, users, b.refusals, callerOf(req), name}.run
	}
	tokens, err := run(ctx, pool)
	if err != nil {
		b.metrics.failed(stepTokens, err)
		return toResponse(tokensError(name, err))
	}
	return &logical.Response{Data: tokenData(tokens)}, nil
}

// roleForTokens returns the role whose app client gives tokens to the users of a name, and the
// users that get them: nil for any user of the pool. A name is that of a role, of a static role
// that owns a user's password, or of a library set.
func (b *backend) roleForTokens(ctx context.Context, req *logical.Request, name string) (*roleEntry, cognito.Target, tokenUsers, error) {
	dynamic, err := b.role(ctx, req.Storage, name)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	static, err := b.staticRole(ctx, req.Storage, name)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	set, err := b.librarySet(ctx, req.Storage, name)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	ownsPassword := static != nil && static.CredentialType == staticTypePassword
	if err := refuseAmbiguousName(name, dynamic != nil, ownsPassword, set != nil); err != nil {
		return nil, cognito.Target{}, nil, err
	}
	switch {
	case set != nil:
		return b.lentUsersForTokens(ctx, req, name, set)
	case ownsPassword:
		return b.staticUserForTokens(ctx, req, name, static)
	}
	return b.issuedUsersForTokens(ctx, req, name)
}

// refuseAmbiguousName refuses a name of more than one kind: it would not be clear whose tokens are
// meant.
func refuseAmbiguousName(name string, isRole, isStaticRole, isLibrary bool) error {
	var kinds []string
	for _, kind := range []struct {
		has  bool
		text string
	}{{isRole, "a role"}, {isStaticRole, "a static role"}, {isLibrary, "a library set"}} {
		if kind.has {
			kinds = append(kinds, "of "+kind.text)
		}
	}
	if len(kinds) < 2 {
		return nil
	}
	return badRequest("%q is the name %s, so it is not clear whose tokens are meant: write one of them again under another name",
		name, strings.Join(kinds, " and "))
}

func (b *backend) issuedUsersForTokens(ctx context.Context, req *logical.Request, name string) (*roleEntry, cognito.Target, tokenUsers, error) {
	role, aws, err := b.usableRole(ctx, req, name)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	if role.TokensFor == tokensForAny {
		return role, role.target(aws.region), nil, nil
	}
	return role, role.target(aws.region), issuedUsers{b, req.Storage, name}, nil
}

func (b *backend) staticUserForTokens(ctx context.Context, req *logical.Request, name string, static *staticRole) (*roleEntry, cognito.Target, tokenUsers, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	client := &roleEntry{CredentialType: credentialTypeUser, AppClientID: static.AppClientID, AppClientSecret: static.AppClientSecret}
	return client, static.target(aws.region), staticUser{b.newSigner(req.Storage, nil, static), name}, nil
}

func (b *backend) lentUsersForTokens(ctx context.Context, req *logical.Request, name string, set *librarySet) (*roleEntry, cognito.Target, tokenUsers, error) {
	role, aws, err := b.usableRole(ctx, req, set.Role)
	if err != nil {
		return nil, cognito.Target{}, nil, err
	}
	return role, role.target(aws.region), lentUsers{req, name, set}, nil
}

// exchange is what tokens are asked for.
type exchange struct {
	role         *roleEntry
	refreshToken string
	login        cognito.Login
}

func newExchange(name string, role *roleEntry, in input) (exchange, error) {
	e := exchange{role: role}
	if err := in.checkSizes(); err != nil {
		return e, err
	}
	setField(in, "refresh_token", &e.refreshToken)
	setField(in, "username", &e.login.Username)
	setField(in, "password", &e.login.Password)
	setField(in, "totp_code", &e.login.TOTPCode)
	switch {
	case role.CredentialType != credentialTypeUser:
		return e, badRequest("role %q is of credential_type %q, which has no users: read creds/%s instead", name, role.CredentialType, name)
	case role.AppClientID == "":
		return e, badRequest("role %q cannot be used for tokens: it has no app_client_id", name)
	case e.refreshToken != "" && e.login.Password != "":
		return e, badRequest("refresh_token and password are mutually exclusive")
	case e.refreshToken == "" && (e.login.Username == "" || e.login.Password == ""):
		return e, badRequest("refresh_token is required, or username and password")
	}
	return e, nil
}

func (e exchange) run(ctx context.Context, pool userPool) (cognito.Tokens, error) {
	if e.refreshToken != "" {
		return pool.Refresh(ctx, e.role.appClient(), e.refreshToken, e.login.Username, e.role.ClientMetadata)
	}
	return pool.SignIn(ctx, e.role.appClient(), e.login, e.role.ClientMetadata)
}

func tokenData(tokens cognito.Tokens) map[string]any {
	data := map[string]any{
		"access_token": tokens.AccessToken,
		"id_token":     tokens.IDToken,
		"token_type":   tokens.Type,
		"expires_in":   seconds(tokens.ExpiresIn),
	}
	if tokens.RefreshToken != "" {
		data["refresh_token"] = tokens.RefreshToken
	}
	return data
}

// tokensError names the role whose sign-in failed. A password that is wrong is the caller's,
// whatever the set-up is.
func tokensError(name string, err error) error {
	if cognito.IsWrongPassword(err) {
		return fmt.Errorf("role %q: %w", name, err)
	}
	return roleError(name, err)
}

const (
	tokensHelpSynopsis    = `Exchange a refresh token, or username and password, for tokens.`
	tokensHelpDescription = `
The request uses the app client of a role of type "user", of a static role of
type "user_password", or of a library set's role, so that the caller never sees
the client's secret. Only users that the role issued and that still exist get
tokens, the user of the static role, or a user of the set that is checked out.
With tokens_for=any in a role, any user of the user pool does.

There is no lease: a refresh token ends with its user, and a JWT when it
expires. If the app client rotates refresh tokens, the response holds the next
one, and the one that was sent is no longer valid.

    $ vault write cognito/tokens/ci-user refresh_token=-
`
)
