// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueMachineToken returns a token of the role's app client. It has no lease, because Cognito cannot
// revoke it.
func (b *backend) issueMachineToken(ctx context.Context, req *logical.Request, aws *connection, name string, role *roleEntry, in input) (*logical.Response, error) {
	request, err := b.machineTokenRequest(ctx, req, aws, role, in)
	if err != nil {
		return toResponse(err)
	}
	request.Partition = name
	token, err := aws.MachineToken(ctx, request)
	if err != nil {
		b.metrics.failed(stepIssue, err)
		return toResponse(roleError(name, err))
	}
	b.metrics.tokenRead(name)
	return b.machineResponse(request, token), nil
}

// machineTokenRequest returns the role's request, narrowed by the fields of the read.
func (b *backend) machineTokenRequest(ctx context.Context, req *logical.Request, aws *connection, role *roleEntry, in input) (cognito.MachineTokenRequest, error) {
	role, err := b.withStaticSecret(ctx, req, aws.region, role)
	if err != nil {
		return cognito.MachineTokenRequest{}, err
	}
	request := role.tokenRequest(aws.region)
	if err := refuseFields(in, role, "ttl"); err != nil {
		return request, err
	}
	var minTTL time.Duration
	setDuration(in, "min_ttl", &minTTL)
	request.MinTTL = max(minTTL, request.MinTTL)
	return narrowScopes(request, in)
}

// withStaticSecret returns the role with the app client and the current secret of its static role, if
// it names one. A role without a secret uses the one that a static role of this mount owns.
func (b *backend) withStaticSecret(ctx context.Context, req *logical.Request, defaultRegion string, role *roleEntry) (*roleEntry, error) {
	if role.StaticRole == "" {
		return b.withOwnedSecret(ctx, req, defaultRegion, role)
	}
	static, err := b.staticRole(ctx, req.Storage, role.StaticRole)
	switch {
	case err != nil:
		return nil, err
	case static == nil:
		return nil, badRequest("there is no static role %q, which static_role names", role.StaticRole)
	case static.CredentialType != staticTypeSecret || static.Value == "":
		return nil, badRequest("static role %q, which static_role names, holds no app client secret", role.StaticRole)
	case role.AppClientID != "" && role.AppClientID != static.AppClientID:
		return nil, badRequest("app_client_id %q is not the app client of static role %q", role.AppClientID, role.StaticRole)
	}
	with := *role
	with.AppClientID, with.AppClientSecret = static.AppClientID, static.Value
	return &with, nil
}

// withOwnedSecret returns the role with the secret of the static role that owns its app client, if there
// is one. Cognito shows only the secret that an app client was created with, which rotations delete. The
// static role must reach the pool as the role does, so that the pool is in the same account.
func (b *backend) withOwnedSecret(ctx context.Context, req *logical.Request, defaultRegion string, role *roleEntry) (*roleEntry, error) {
	if role.AppClientSecret != "" || role.UserPoolID == "" {
		return role, nil
	}
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := b.queue.owner(identityOf(staticTypeSecret, role.UserPoolID, role.AppClientID))
	if name == "" {
		return role, nil
	}
	static, err := b.staticRole(ctx, req.Storage, name)
	switch {
	case err != nil:
		return nil, err
	case static == nil || static.Value == "" || static.AppClientID != role.AppClientID || static.target(defaultRegion) != role.target(defaultRegion):
		return role, nil
	}
	with := *role
	with.AppClientSecret = static.Value
	return &with, nil
}

// narrowScopes returns the request with the scopes that a read names. A role without scopes allows all
// scopes of the app client, which Cognito enforces.
func narrowScopes(request cognito.MachineTokenRequest, in input) (cognito.MachineTokenRequest, error) {
	var asked []string
	setField(in, "scopes", &asked)
	if len(asked) == 0 {
		return request, nil
	}
	if err := validateScopes(asked); err != nil {
		return request, err
	}
	for _, scope := range asked {
		if len(request.Scopes) > 0 && !slices.Contains(request.Scopes, scope) {
			return request, badRequest("scopes holds %q, which the role does not allow: it allows %s", scope, strings.Join(request.Scopes, ", "))
		}
	}
	request.Scopes = slices.Compact(slices.Sorted(slices.Values(asked)))
	return request, nil
}

// machineResponse includes ttl and rotation_period: Vault Agent uses both to schedule its next read of
// a secret without a lease.
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
		response.AddWarning("Cognito granted less than requested: the token lacks " + strings.Join(refused, ", "))
	}
	return response
}

// refusedScopes returns the scopes that were requested but not granted, or nil if the token does not say
// which scopes it grants.
func refusedScopes(asked, granted []string) []string {
	if granted == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return slices.Contains(granted, scope) })
}
