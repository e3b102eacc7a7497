// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
)

type clientTokenInput struct {
	ClientId string
	Secret   string
	Scopes   []string
}

type clientTokenOutput struct {
	ClientAuthenticationResult clientTokenResult
}

type clientTokenResult struct {
	AccessToken *token
	ExpiresIn   int
	TokenType   string
}

// getClientToken is the client credentials grant without a domain. An app client that allows it
// cannot sign in users.
func (r *request) getClientToken(in clientTokenInput) (any, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil {
		return nil, err
	}
	if !c.hasSecret(in.Secret) {
		return nil, notAuthorized("Invalid client or secret")
	}
	if !c.hasFlow(allowClientToken) {
		return nil, flowNotEnabled(allowClientToken)
	}
	scopes, granted := c.grant(in.Scopes)
	if !granted {
		return nil, invalidParameter("Invalid scope requested")
	}
	return clientTokenOutput{clientTokenResult{
		AccessToken: r.sign(r.clientClaims(c, scopes)),
		ExpiresIn:   int(r.lifetimesOf(c).access.Seconds()),
		TokenType:   bearer,
	}}, nil
}

// grant returns the requested scopes, or all scopes of the client if none are requested. It fails
// for scopes that the client does not have, and for clients without scopes.
func (c *client) grant(asked []string) ([]string, bool) {
	own := slices.DeleteFunc(slices.Clone(c.settings.AllowedOAuthScopes), isStandardScope)
	if len(asked) == 0 {
		return own, len(own) > 0
	}
	for _, scope := range asked {
		if !slices.Contains(own, scope) {
			return nil, false
		}
	}
	return asked, true
}

// clientClaims returns the claims of an access token for a client without a user.
func (r *request) clientClaims(c *client, scopes []string) claims {
	return claims{
		"sub":       c.id,
		"client_id": c.id,
		"token_use": tokenUseAccess,
		"scope":     strings.Join(scopes, " "),
		"auth_time": r.now.Unix(),
		"iss":       r.server.issuerOf(c.pool),
		"iat":       r.now.Unix(),
		"exp":       r.now.Add(r.lifetimesOf(c).access).Unix(),
		"version":   2,
		"jti":       r.server.random.uuid(),
	}
}
