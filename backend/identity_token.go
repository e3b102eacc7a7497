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

// identityTokenTTLDefault is the default of Vault's own engines.
const identityTokenTTLDefault = time.Hour

func (c *configEntry) identityTokenTTL() time.Duration {
	return cmp.Or(c.IdentityTokenTTL, identityTokenTTLDefault)
}

func (c *configEntry) validateFederation() error {
	switch {
	case c.IdentityTokenAudience == "":
		return nil
	case c.AccessKeyID != "":
		return badRequest("identity_token_audience and aws_access_key_id are mutually exclusive: write an empty value to one of them")
	case c.AssumeRoleARN == "":
		return badRequest("aws_assume_role_arn is required: identity_token_audience %q needs an IAM role that trusts the identity tokens of Vault", c.IdentityTokenAudience)
	case c.ExternalID != "":
		return badRequest("aws_external_id %q is not allowed with identity_token_audience: AWS does not accept one with a web identity", c.ExternalID)
	default:
		return nil
	}
}

// identityToken returns a token, signed by Vault, that identifies the mount.
func (b *backend) identityToken(ctx context.Context, config *configEntry) (string, error) {
	response, err := b.System().GenerateIdentityToken(ctx, &pluginutil.IdentityTokenRequest{
		Audience: config.IdentityTokenAudience,
		TTL:      config.identityTokenTTL(),
	})
	if err != nil {
		return "", fmt.Errorf("requesting an identity token from Vault: %w", err)
	}
	return response.Token.Token(), nil
}

// dryRunIdentityToken fails for a config that needs identity tokens if Vault issues none.
func (b *backend) dryRunIdentityToken(ctx context.Context, config *configEntry) error {
	if config.IdentityTokenAudience == "" {
		return nil
	}
	_, err := b.identityToken(ctx, config)
	switch {
	case err == nil:
		return nil
	case unsupported(err, pluginidentityutil.ErrPluginWorkloadIdentityUnsupported):
		return badRequest("identity_token_audience %q is not allowed: workload identity federation requires Vault Enterprise",
			config.IdentityTokenAudience)
	default:
		return logical.CodedError(http.StatusBadGateway, err.Error())
	}
}
