// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"slices"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

const stepRefresh = "refreshing the tokens of a user"

// notOffered are the codes of a Cognito that does not offer
// GetTokensFromRefreshToken, or not for this pool.
var notOffered = []string{
	"UnknownOperationException", "UnsupportedOperationException", "FeatureUnavailableInTierException", "OperationNotEnabledException",
}

// Refresh exchanges a refresh token for new access and ID tokens. If the app client
// rotates its refresh tokens, the result holds the next one and the one that was
// sent is no longer valid. username is Cognito's own. It is required only by a
// confidential client if GetTokensFromRefreshToken is not offered, for the secret hash.
func (p *Pool) Refresh(ctx context.Context, app AppClient, refreshToken, username string, metadata map[string]string) (Tokens, error) {
	// Not repeated after a lost response: a rotated token may be invalid by then.
	out, err := p.api.GetTokensFromRefreshToken(ctx, &cip.GetTokensFromRefreshTokenInput{
		ClientId:       &app.ID,
		ClientSecret:   optional(app.Secret),
		RefreshToken:   &refreshToken,
		ClientMetadata: metadata,
	}, p.once, unsigned)
	if err == nil {
		return tokensOf(stepRefresh, out.AuthenticationResult, p.service.now())
	}
	failure := fail(stepRefresh, err, refreshToken, app.Secret)
	if !slices.Contains(notOffered, failure.Code) {
		return Tokens{}, failure
	}
	return p.refreshByAuth(ctx, app, refreshToken, username, metadata)
}

// refreshByAuth uses the older flow, for clients that do not rotate their refresh tokens.
func (p *Pool) refreshByAuth(ctx context.Context, app AppClient, refreshToken, username string, metadata map[string]string) (Tokens, error) {
	if app.Secret != "" && username == "" {
		return Tokens{}, &Error{Step: stepRefresh, Kind: KindInvalid, Detail: "username is required: the secret hash of this app client is computed from it"}
	}
	out, err := p.api.InitiateAuth(ctx, &cip.InitiateAuthInput{
		ClientId:       &app.ID,
		AuthFlow:       types.AuthFlowTypeRefreshTokenAuth,
		AuthParameters: app.authenticated(username, map[string]string{"REFRESH_TOKEN": refreshToken}),
		ClientMetadata: metadata,
	}, unsigned)
	if err != nil {
		return Tokens{}, fail(stepRefresh, err, refreshToken, app.Secret)
	}
	return tokensOf(stepRefresh, out.AuthenticationResult, p.service.now())
}
