// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueMachineToken gives a token of the role's app client. It makes no lease:
// there is nothing that Vault could revoke.
func (b *backend) issueMachineToken(ctx context.Context, req *logical.Request, aws *connection, name string, role *usableRole, in input) (*logical.Response, error) {
	request, err := b.machineTokenRequest(ctx, req, role, in)
	if err != nil {
		return toResponse(err)
	}
	token, err := aws.MachineToken(ctx, request)
	if err != nil {
		return toResponse(fmt.Errorf("role %q: %w", name, err))
	}
	return b.machineResponse(request, token), nil
}

// machineTokenRequest is the role's own, changed by what a read asks for.
func (b *backend) machineTokenRequest(ctx context.Context, req *logical.Request, role *usableRole, in input) (cognito.MachineTokenRequest, error) {
	request := role.tokens
	if role.StaticRole != "" {
		with, err := b.withStaticSecret(ctx, req, role.roleEntry)
		if err != nil {
			return request, err
		}
		request = with.tokenRequest(role.region)
	}
	if err := refuseFields(in, role.roleEntry, "ttl"); err != nil {
		return request, err
	}
	var minTTL time.Duration
	setDuration(in, "min_ttl", &minTTL)
	request.MinTTL = max(minTTL, request.MinTTL)
	return narrowScopes(request, in)
}

// withStaticSecret is the role with the app client and the newest secret of
// its static role, if it names one.
func (b *backend) withStaticSecret(ctx context.Context, req *logical.Request, role *roleEntry) (*roleEntry, error) {
	if role.StaticRole == "" {
		return role, nil
	}
	static, err := b.staticRole(ctx, req.Storage, role.StaticRole)
	switch {
	case err != nil:
		return nil, err
	case static == nil:
		return nil, badRequest("there is no static role %q, which static_role names", role.StaticRole)
	case static.CredentialType != staticTypeSecret || static.Value == "":
		return nil, badRequest("static role %q, which static_role names, holds no app client's secret", role.StaticRole)
	case role.AppClientID != "" && role.AppClientID != static.AppClientID:
		return nil, badRequest("app_client_id %q is not the app client of static role %q", role.AppClientID, role.StaticRole)
	}
	with := *role
	with.AppClientID, with.AppClientSecret = static.AppClientID, static.Value
	return &with, nil
}

// narrowScopes is a request for those of its scopes that a read names. One without
// scopes stands for all of the app client's, among which Cognito knows which
// there are.
func narrowScopes(request cognito.MachineTokenRequest, in input) (cognito.MachineTokenRequest, error) {
	var asked []string
	setField(in, "scopes", &asked)
	if len(asked) == 0 {
		return request, nil // the role's, which have been checked with it
	}
	if err := validateScopes(asked); err != nil {
		return request, err
	}
	for _, scope := range asked {
		if len(request.Scopes) > 0 && !slices.Contains(request.Scopes, scope) {
			return request, badRequest("scopes holds %q, which the role does not allow: it allows %s", scope, strings.Join(request.Scopes, ", "))
		}
	}
	return request.WithScopes(asked), nil
}

// machineResponse carries ttl and rotation_period, by which Vault Agent knows
// when to fetch again what has no lease.
func (b *backend) machineResponse(request cognito.MachineTokenRequest, token cognito.MachineToken) *logical.Response {
	now := b.now()
	response := &logical.Response{Data: map[string]any{
		"access_token":    token.AccessToken,
		"token_type":      token.Type,
		"expires_in":      seconds(token.Expires.Sub(now)),
		"scope":           strings.Join(token.Scopes, " "),
		"expiration":      token.Expires.UTC().Format(time.RFC3339),
		"ttl":             max(1, secondsUp(token.Next.Sub(now))),
		"rotation_period": max(1, secondsUp(token.Next.Sub(token.Issued))),
	}}
	if refused := refusedScopes(request.Scopes, token.Scopes); len(refused) > 0 {
		response.AddWarning("Cognito granted less than was asked for: the token lacks " + strings.Join(refused, ", "))
	}
	return response
}

// refusedScopes are those asked for and not granted. A token that does not say
// what it grants raises no suspicion.
func refusedScopes(asked, granted []string) []string {
	if granted == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return slices.Contains(granted, scope) })
}
