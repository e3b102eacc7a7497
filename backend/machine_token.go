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

// issueMachineToken returns a token of the role's app client. It has no lease, because Cognito
// cannot revoke it.
func (b *backend) issueMachineToken(ctx context.Context, req *logical.Request, aws *connection, name string, role *roleEntry, in input) (*logical.Response, error) {
	request, err := b.machineTokenRequest(ctx, req, aws, name, role, in)
	if err != nil {
		return toResponse(err)
	}
	token, err := aws.MachineToken(ctx, request)
	if err != nil {
		b.metrics.failed(stepIssue, err)
		return toResponse(fmt.Errorf("role %q: %w", name, err))
	}
	b.metrics.tokenRead(name)
	return b.machineResponse(request, token), nil
}

// machineTokenRequest returns the token request of the role, narrowed by the fields of the read.
func (b *backend) machineTokenRequest(ctx context.Context, req *logical.Request, aws *connection, name string, role *roleEntry, in input) (cognito.MachineTokenRequest, error) {
	request, err := b.roleTokenRequest(ctx, req, aws, name, role)
	if err != nil {
		return request, err
	}
	if err := refuseFields(in, role, "ttl"); err != nil {
		return request, err
	}
	var minTTL time.Duration
	setDuration(in, "min_ttl", &minTTL)
	request.MinTTL = max(minTTL, request.MinTTL)
	setField(in, "fresh", &request.Fresh)
	return narrowScopes(request, in)
}

// roleTokenRequest returns the token request of a read without parameters. The secret is the role's
// own, or else that of a static role, or else Cognito shows it.
func (b *backend) roleTokenRequest(ctx context.Context, req *logical.Request, aws *connection, name string, role *roleEntry) (cognito.MachineTokenRequest, error) {
	request := role.tokenRequest(name, aws.region)
	static, err := b.secretOwner(ctx, req, aws.region, role)
	if err != nil || static == nil {
		return request, err
	}
	request.AppClient = cognito.AppClient{ID: static.AppClientID, Secret: static.Value}
	request.SecretPool = static.secretPool(aws.region)
	return request, nil
}

// secretOwner returns the static role whose secret a role uses, or nil.
func (b *backend) secretOwner(ctx context.Context, req *logical.Request, defaultRegion string, role *roleEntry) (*staticRole, error) {
	if role.StaticRole == "" {
		return b.ownerOfClient(ctx, req, defaultRegion, role)
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
	return static, nil
}

// ownerOfClient returns the static role that owns the app client of a role without a secret, or
// nil. Cognito shows only the secret that an app client was created with, which rotations delete.
// The static role must reach the pool as the role does, so that the pool is in the same account.
func (b *backend) ownerOfClient(ctx context.Context, req *logical.Request, defaultRegion string, role *roleEntry) (*staticRole, error) {
	if role.AppClientSecret != "" || role.UserPoolID == "" {
		return nil, nil
	}
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return nil, err
	}
	name := b.queue.owner(identityOf(staticTypeSecret, role.UserPoolID, role.AppClientID))
	if name == "" {
		return nil, nil
	}
	static, err := b.staticRole(ctx, req.Storage, name)
	if err != nil || static == nil || static.Value == "" || static.AppClientID != role.AppClientID || static.target(defaultRegion) != role.target(defaultRegion) {
		return nil, err
	}
	return static, nil
}

// narrowScopes returns the request with the scopes that a read requests. A role without scopes
// allows all scopes of the app client, which Cognito enforces.
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

// machineResponse returns a token with ttl, rotation_period and last_vault_rotation, by which Vault
// Agent and the Vault Secrets Operator schedule their next read of a secret without a lease.
func (b *backend) machineResponse(request cognito.MachineTokenRequest, token cognito.MachineToken) *logical.Response {
	now := b.now()
	response := &logical.Response{Data: map[string]any{
		"app_client_id":   request.AppClient.ID,
		"access_token":    token.AccessToken,
		"token_type":      token.Type,
		"expires_in":      seconds(token.Expires.Sub(now)),
		"scope":           strings.Join(token.Scopes, " "),
		"expiration":      token.Expires.UTC().Format(time.RFC3339),
		"ttl":             max(1, secondsUp(token.Next.Sub(now))),
		"rotation_period": max(1, secondsUp(token.Next.Sub(token.Issued))),
		// The operator refreshes a secret without a lease only if it has all three.
		"last_vault_rotation": timeText(token.Issued),
	}}
	if token.BelowMinTTL {
		response.AddWarning(fmt.Sprintf("the token is valid for %s, less than the %s that were requested: its app client issues tokens of %s",
			cognito.DurationText(token.Expires.Sub(now).Truncate(time.Second)), cognito.DurationText(request.MinTTL), cognito.DurationText(token.Expires.Sub(token.Issued).Round(time.Second))))
	}
	if refused := refusedScopes(request.Scopes, token.Scopes); len(refused) > 0 {
		response.AddWarning("Cognito granted less than requested: the token lacks " + strings.Join(refused, ", "))
	}
	return response
}

// refusedScopes returns the scopes that were requested but not granted, or nil if the token does
// not say which scopes it grants.
func refusedScopes(asked, granted []string) []string {
	if granted == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool { return slices.Contains(granted, scope) })
}
