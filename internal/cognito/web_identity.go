// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// webIdentity assumes the mount's role with a token of an identity provider
// instead of credentials of AWS's.
type webIdentity struct {
	sts      *sts.Client
	settings Settings
}

// Retrieve asks for a new token each time: a token lives for minutes, and the
// credentials that it buys for an hour.
func (w webIdentity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	token, err := w.settings.IdentityToken(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("getting an identity token: %w", err)
	}
	provider := stscreds.NewWebIdentityRoleProvider(w.sts, w.settings.AssumeRoleARN, identityToken(token),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = w.settings.RoleSessionName })
	return provider.Retrieve(ctx)
}

// identityToken is a token that is at hand, as the SDK wants it.
type identityToken string

// GetIdentityToken gives the token.
func (t identityToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }
