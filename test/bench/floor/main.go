// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Floor is a plugin whose read does nothing. No plugin can be faster, so its cost is that of the
// server.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"

	"vault-plugin-secrets-cognito/test/bench/watch"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	meta := &api.PluginAPIClientMeta{}
	if err := meta.FlagSet().Parse(os.Args[1:]); err != nil {
		return err
	}
	if err := watch.Serve(); err != nil {
		return err
	}
	return plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: watch.Counting(factory),
		TLSProviderFunc:    api.VaultPluginTLSProvider(meta.GetTLSConfig()),
	})
}

func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	var b *framework.Backend
	b = &framework.Backend{
		BackendType: logical.TypeLogical,
		Paths: []*framework.Path{
			path("nothing", map[string]any{"done": "nothing"}),
			path("token", tokenAnswer()),
			leasePath(func() *framework.Secret { return b.Secret(leaseType) }),
		},
		Secrets: []*framework.Secret{{
			Type: leaseType,
			Revoke: func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
				return nil, nil
			},
		}},
	}
	return b, b.Setup(ctx, conf)
}

const leaseType = "lease"

// leasePath stores an entry as long as that of a library user, and returns a lease: the least that
// lending anything takes.
func leasePath(secret func() *framework.Secret) *framework.Path {
	entry := &logical.StorageEntry{Key: "lent", Value: bytes.Repeat([]byte("e"), entryLength)}
	lend := func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
		if err := req.Storage.Put(ctx, entry); err != nil {
			return nil, err
		}
		return secret().Response(map[string]any{"username": "ci", "password": "none"}, map[string]any{"id": "1"}), nil
	}
	return &framework.Path{
		Pattern:   "lease$",
		Callbacks: map[logical.Operation]framework.OperationFunc{logical.ReadOperation: lend}, //nolint:staticcheck // see path
	}
}

// entryLength is about that of a stored library user.
const entryLength = 900

// path returns a constant answer. It uses the older form, because with Operations the SDK asks the
// server for its replication state in every request.
func path(name string, data map[string]any) *framework.Path {
	answer := func(context.Context, *logical.Request, *framework.FieldData) (*logical.Response, error) {
		return &logical.Response{Data: data}, nil
	}
	return &framework.Path{
		Pattern:   name + "$",
		Callbacks: map[logical.Operation]framework.OperationFunc{logical.ReadOperation: answer}, //nolint:staticcheck // see above
	}
}

// tokenAnswer is as long as the engine's answer, with a token as long as Cognito's.
func tokenAnswer() map[string]any {
	return map[string]any{
		"access_token":    strings.Repeat("t", 853),
		"expiration":      "2026-11-20T19:04:05Z",
		"expires_in":      3600,
		"rotation_period": 2700,
		"scope":           "api/read api/write",
		"token_type":      "Bearer",
		"ttl":             2700,
	}
}
