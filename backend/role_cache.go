// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync/atomic"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// cachedRole is a role in memory. What was made of it for use goes with it when
// it is written.
type cachedRole struct {
	*roleEntry
	usable atomic.Pointer[usableRole]
}

// usableRole is a role that was found to lack nothing.
type usableRole struct {
	*roleEntry
	// region is the mount's default, of which that is true.
	region string
	// tokens asks for a machine token as a read without parameters does.
	tokens cognito.MachineTokenRequest
}

// usableRole gives a role that lacks nothing, and the way to AWS. The role is
// checked although it was when it was written: an older version may have done
// that, and the mount's region may be another one by now.
func (b *backend) usableRole(ctx context.Context, req *logical.Request, name string) (*usableRole, *connection, error) {
	held, err := b.cachedRole(ctx, req.Storage, name)
	if err != nil {
		return nil, nil, err
	}
	if held == nil {
		return nil, nil, badRequest("there is no role %q", name)
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	usable, err := held.usableIn(aws.region)
	if err != nil {
		return nil, nil, badRequest("role %q cannot be used as it is: %s", name, err)
	}
	return usable, aws, nil
}

func (h *cachedRole) usableIn(region string) (*usableRole, error) {
	if usable := h.usable.Load(); usable != nil && usable.region == region {
		return usable, nil
	}
	if err := h.validate(region); err != nil {
		return nil, err
	}
	usable := &usableRole{roleEntry: h.roleEntry, region: region, tokens: h.tokenRequest(region).Prepared()}
	h.usable.Store(usable)
	return usable, nil
}

// tokenRequest asks for a machine token of all the role's scopes.
func (r *roleEntry) tokenRequest(defaultRegion string) cognito.MachineTokenRequest {
	return cognito.MachineTokenRequest{
		Source:         r.source(),
		Domain:         r.CognitoPoolDomain,
		Target:         r.target(defaultRegion),
		AppClient:      r.appClient(),
		Scopes:         r.Scopes,
		ClientMetadata: r.ClientMetadata,
		MinTTL:         r.minTokenTTL(),
		NoCache:        r.NoCache,
	}
}

// role gives a role for use, from memory where it can, or nil when there is
// none of this name. It must not be changed.
func (b *backend) role(ctx context.Context, s logical.Storage, name string) (*roleEntry, error) {
	held, err := b.cachedRole(ctx, s, name)
	if held == nil {
		return nil, err
	}
	return held.roleEntry, err
}

func (b *backend) cachedRole(ctx context.Context, s logical.Storage, name string) (*cachedRole, error) {
	return b.roles.Get(ctx, name, nil, func(ctx context.Context) (*cachedRole, error) {
		role, err := getRole(ctx, s, name)
		if role == nil {
			return nil, err
		}
		return &cachedRole{roleEntry: role}, err
	})
}

// dropCachedRole drops what is held in memory of a role: itself, and the tokens of
// its app client.
func (b *backend) dropCachedRole(name string) {
	role, _ := b.roles.Drop(name)
	connection, _ := b.connections.Peek(configStoragePath)
	if role != nil && connection != nil {
		connection.ForgetMachineTokens(role.AppClientID)
	}
}
