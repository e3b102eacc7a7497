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

// webIdentity assumes the role of the Settings with a token of an identity provider
// instead of AWS credentials.
type webIdentity struct {
	sts      *sts.Client
	settings Settings
}

// Retrieve requests a new token each time: a token lives for minutes, and the
// credentials for an hour.
func (w webIdentity) Retrieve(ctx context.Context) (aws.Credentials, error) {
	token, err := w.settings.IdentityToken(ctx)
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("getting an identity token: %w", err)
	}
	provider := stscreds.NewWebIdentityRoleProvider(w.sts, w.settings.AssumeRoleARN, identityToken(token),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = w.settings.RoleSessionName })
	return provider.Retrieve(ctx)
}

// identityToken makes a token a source of tokens for the SDK.
type identityToken string

// GetIdentityToken returns the token.
func (t identityToken) GetIdentityToken() ([]byte, error) { return []byte(t), nil }
