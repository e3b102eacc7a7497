// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Probe is a plugin for the compatibility tests: a read of probe/ tries what a server may offer to
// its plugins, and returns for each feature an empty text if it works, else the error.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
	"github.com/hashicorp/vault/sdk/rotation"
)

func main() {
	meta := &api.PluginAPIClientMeta{}
	err := meta.FlagSet().Parse(os.Args[1:])
	if err == nil {
		err = plugin.ServeMultiplex(&plugin.ServeOpts{BackendFactoryFunc: factory, TLSProviderFunc: api.VaultPluginTLSProvider(meta.GetTLSConfig())})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// features lists what is tried.
var features = map[string]func(context.Context, *framework.Backend, *logical.Request) error{
	"identity_token": func(ctx context.Context, b *framework.Backend, _ *logical.Request) error {
		_, err := b.System().GenerateIdentityToken(ctx, &pluginutil.IdentityTokenRequest{Audience: "aws"})
		return err
	},
	"rotation_job": func(ctx context.Context, b *framework.Backend, req *logical.Request) error {
		_, err := b.System().RegisterRotationJob(ctx, &rotation.RotationJobConfigureRequest{
			Name: "probe", MountPoint: req.MountPoint, ReqPath: req.Path, RotationPeriod: time.Hour,
		})
		return err
	},
	"event": func(ctx context.Context, b *framework.Backend, _ *logical.Request) error {
		return logical.SendEvent(ctx, b, "probe/event", "path", "probe")
	},
	"password_policy": func(ctx context.Context, b *framework.Backend, _ *logical.Request) error {
		_, err := b.System().GeneratePasswordFromPolicy(ctx, "probe")
		return err
	},
	"server_version": func(ctx context.Context, b *framework.Backend, _ *logical.Request) error {
		environment, err := b.System().PluginEnv(ctx)
		if err == nil && environment.GetVaultVersion() == "" {
			return fmt.Errorf("the version is empty")
		}
		return err
	},
}

func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	b := &framework.Backend{BackendType: logical.TypeLogical}
	b.Paths = []*framework.Path{{
		Pattern: "probe",
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback: func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
					data := map[string]any{}
					for name, try := range features {
						data[name] = ""
						if err := try(ctx, b, req); err != nil {
							data[name] = err.Error()
						}
					}
					return &logical.Response{Data: data}, nil
				},
			},
		},
	}}
	return b, b.Setup(ctx, conf)
}
