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

func pathConfig(b *backend) []*framework.Path {
	fields := configFields()
	return []*framework.Path{{
		Pattern: "config$",
		DisplayAttrs: &framework.DisplayAttributes{
			OperationPrefix: operationPrefix,
		},
		Fields: fields,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.pathConfigRead,
				Summary:      "Read the configuration, except its secrets.",
				Responses:    responseSchema(configResponseFields(fields)),
				DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "read", OperationSuffix: "configuration"},
			},
			logical.CreateOperation: b.configWrite("write", "Write the configuration. Fields that are not given keep their values."),
			logical.UpdateOperation: b.configWrite("write", "Write the configuration. Fields that are not given keep their values."),
			logical.PatchOperation:  b.configWrite("patch", "Change fields of an existing configuration."),
			logical.DeleteOperation: &framework.PathOperation{
				Callback:                    b.pathConfigDelete,
				Summary:                     "Delete the configuration. The default credential chain of the AWS SDK applies again.",
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
				Responses:                   noContent(),
				DisplayAttrs:                &framework.DisplayAttributes{OperationVerb: "delete", OperationSuffix: "configuration"},
			},
		},
		ExistenceCheck:  b.configExists,
		HelpSynopsis:    configHelpSynopsis,
		HelpDescription: strings.TrimSpace(configHelpDescription),
	}}
}

func (b *backend) configWrite(verb, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                    b.pathConfigWrite,
		Summary:                     summary,
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
		Responses:                   noContent(),
		DisplayAttrs:                &framework.DisplayAttributes{OperationVerb: verb, OperationSuffix: "configuration"},
	}
}

func (b *backend) configExists(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
	entry, err := req.Storage.Get(ctx, configStoragePath)
	if err != nil {
		return false, fmt.Errorf("reading the config: %w", err)
	}
	return entry != nil, nil
}

func (b *backend) pathConfigRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	exists, err := b.configExists(ctx, req, data)
	if err != nil || !exists {
		return nil, err
	}
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: config.responseData()}, nil
}

func (b *backend) pathConfigWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	if err := b.requireConfigToPatch(ctx, req, data); err != nil {
		return nil, err
	}
	before, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	config := *before
	if err := config.update(newInput(req, data)); err != nil {
		return toResponse(err)
	}
	if err := b.dryRun(ctx, req, &config, data.Get("verify_connection").(bool)); err != nil {
		return toResponse(err)
	}
	config.rescheduleIfChanged(before, b.now())
	if err := b.registerRotation(ctx, req, &config); err != nil {
		return nil, err
	}
	// Disconnect also after a failure, because the storage may have taken the config.
	defer b.disconnect()
	if err := b.putConfig(ctx, req.Storage, &config); err != nil {
		return nil, err
	}
	return writeResponse(req, data), nil
}

func (b *backend) requireConfigToPatch(ctx context.Context, req *logical.Request, data *framework.FieldData) error {
	if req.Operation != logical.PatchOperation {
		return nil
	}
	exists, err := b.configExists(ctx, req, data)
	if err == nil && !exists {
		err = notFound("entry", configStoragePath)
	}
	return err
}

func (b *backend) pathConfigDelete(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		// A damaged config can be deleted, too.
		config = &configEntry{}
	}
	if err := b.deregisterRotation(ctx, req, config); err != nil {
		return nil, err
	}
	defer b.disconnect()
	if err := req.Storage.Delete(ctx, configStoragePath); err != nil {
		return nil, fmt.Errorf("deleting the config: %w", err)
	}
	b.rootTimes.Store(nil)
	return b.warnOfStaticRoles(ctx, req)
}

const configHelpSynopsis = `Configure how the engine reaches AWS.`

const configHelpDescription = `
Without an access key the engine uses the default credential chain of the AWS
SDK. In either case it can assume an IAM role, set here for the whole mount or
in a role. The secret access key and the session token are never returned.

A write changes only the fields that it names. Existing leases keep working as
long as the new credentials may delete users in the same user pools.

    $ vault write cognito/config region=eu-west-1 \
        aws_assume_role_arn=arn:aws:iam::123456789012:role/vault-cognito
`
