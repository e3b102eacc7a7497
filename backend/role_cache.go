// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// role returns a role from the cache or from storage, or nil if there is none. It must not be
// changed.
func (b *backend) role(ctx context.Context, s logical.Storage, name string) (*roleEntry, error) {
	return b.roles.Get(ctx, name, nil, func(ctx context.Context) (*roleEntry, error) { return getRole(ctx, s, name) })
}

// usableRole returns a valid role and the connection. The role is validated again, because an older
// version may have stored it, or the region of the config may have changed.
func (b *backend) usableRole(ctx context.Context, req *logical.Request, name string) (*roleEntry, *connection, error) {
	role, err := b.role(ctx, req.Storage, name)
	if err != nil {
		return nil, nil, err
	}
	if role == nil {
		return nil, nil, badRequest("there is no role %q", name)
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if err := role.validate(aws.region); err != nil {
		return nil, nil, badRequest("role %q cannot be used: %s", name, err)
	}
	return role, aws, nil
}

// dropCachedRole drops a role from the cache, and the tokens of its app client.
func (b *backend) dropCachedRole(name string) {
	role, _ := b.roles.Drop(name)
	connection, _ := b.connections.Peek(configStoragePath)
	if role != nil && connection != nil {
		connection.DropClient(role.AppClientID)
		connection.DropPartition(name)
	}
}

// tokenRequest returns a request for a machine token with all scopes of the role. Each role has its
// own part of the token cache, so that its readers cannot evict the tokens of another role.
func (r *roleEntry) tokenRequest(name, defaultRegion string) cognito.MachineTokenRequest {
	return cognito.MachineTokenRequest{
		Source:         r.source(),
		Domain:         r.CognitoPoolDomain,
		Target:         r.target(defaultRegion),
		AppClient:      r.appClient(),
		Scopes:         r.Scopes,
		ClientMetadata: r.ClientMetadata,
		MinTTL:         r.minTokenTTL(),
		NoCache:        r.NoCache,
		Partition:      name,
	}
}
