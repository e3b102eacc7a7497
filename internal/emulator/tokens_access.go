// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
)

type accessTokenInput struct {
	AccessToken string
}

// accessTokenClaims are the claims that Cognito's own API checks.
type accessTokenClaims struct {
	EventID  string `json:"event_id"`
	TokenUse string `json:"token_use"`
	Scope    string `json:"scope"`
	Expires  int64  `json:"exp"`
}

// signInOf returns the sign-in that an access token came from.
func (r *request) signInOf(accessToken string) (*signIn, error) {
	var c accessTokenClaims
	if err := r.server.keys.verify(accessToken, &c); err != nil || c.TokenUse != tokenUseAccess {
		return nil, notAuthorized("Invalid Access Token")
	}
	s, known := r.signIns[c.EventID]
	switch {
	case r.now.Unix() >= c.Expires:
		return nil, notAuthorized("Access Token has expired")
	case !slices.Contains(strings.Fields(c.Scope), scopeUserAdmin):
		return nil, notAuthorized("Access Token does not have required scopes")
	case !known, s.revoked:
		return nil, notAuthorized("Access Token has been revoked")
	default:
		return s, nil
	}
}

// userOf returns the user that an access token authorizes.
func (r *request) userOf(accessToken string) (*user, error) {
	s, err := r.signInOf(accessToken)
	if err != nil {
		return nil, err
	}
	return s.user, nil
}
