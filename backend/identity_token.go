// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/helper/pluginidentityutil"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"
)

// identityTokenTTLDefault is Vault's own.
const identityTokenTTLDefault = time.Hour

func (c *configEntry) identityTokenTTL() time.Duration {
	return cmp.Or(c.IdentityTokenTTL, identityTokenTTLDefault)
}

func (c *configEntry) validateFederation() error {
	switch {
	case c.IdentityTokenAudience == "":
		return nil
	case c.AccessKeyID != "":
		return badRequest("identity_token_audience and aws_access_key_id exclude each other: set one of them to nothing")
	case c.AssumeRoleARN == "":
		return badRequest("aws_assume_role_arn is missing: identity_token_audience %q needs a role that trusts Vault's tokens", c.IdentityTokenAudience)
	case c.ExternalID != "":
		return badRequest("aws_external_id %q is not allowed with identity_token_audience: AWS takes none with a web identity", c.ExternalID)
	default:
		return nil
	}
}

// identityToken has Vault sign a token that says which mount this is.
func (b *backend) identityToken(ctx context.Context, config *configEntry) (string, error) {
	response, err := b.System().GenerateIdentityToken(ctx, &pluginutil.IdentityTokenRequest{
		Audience: config.IdentityTokenAudience,
		TTL:      config.identityTokenTTL(),
	})
	if err != nil {
		return "", fmt.Errorf("having Vault sign an identity token: %w", err)
	}
	return response.Token.Token(), nil
}

// dryRunIdentityToken lets a config that needs tokens fail where there are none.
func (b *backend) dryRunIdentityToken(ctx context.Context, config *configEntry) error {
	if config.IdentityTokenAudience == "" {
		return nil
	}
	_, err := b.identityToken(ctx, config)
	switch {
	case err == nil:
		return nil
	case unsupported(err, pluginidentityutil.ErrPluginWorkloadIdentityUnsupported):
		return badRequest("identity_token_audience %q is not allowed: workload identity federation is a feature of Vault Enterprise, which this Vault does not have",
			config.IdentityTokenAudience)
	default:
		return logical.CodedError(http.StatusBadGateway, err.Error())
	}
}
