// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueMachineToken fetches a token of the role's app client. It makes no
// lease: there is nothing that Vault could revoke.
func (b *backend) issueMachineToken(ctx context.Context, aws *connection, role *roleEntry, in input) (*logical.Response, error) {
	if in.names("ttl") {
		return answer(badRequest("ttl is not allowed for a role of credential_type %q: its tokens have no lease", role.CredentialType))
	}
	token, err := aws.MachineToken(ctx, cognito.MachineTokenRequest{
		Domain:         role.CognitoPoolDomain,
		AppClient:      role.appClient(),
		Scopes:         role.Scopes,
		ClientMetadata: role.ClientMetadata,
	})
	if err != nil {
		return answer(err)
	}
	return &logical.Response{Data: map[string]any{
		"access_token": token.AccessToken,
		"token_type":   token.Type,
		"expires_in":   seconds(token.Expires.Sub(b.now())),
		"scope":        strings.Join(token.Scopes, " "),
		"expiration":   token.Expires.UTC().Format(time.RFC3339),
	}}, nil
}
