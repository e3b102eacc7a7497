// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "time"

const refreshTokenBytes = 700

// refreshToken is one refresh token of a sign-in.
type refreshToken struct {
	signIn *signIn
	// replaced is when rotation first replaced the token.
	replaced time.Time
}

type refreshInput struct {
	ClientId     string
	ClientSecret string
	RefreshToken string
}

type revokeInput struct {
	ClientId     string
	ClientSecret string
	Token        string
}

func (r *request) newRefreshToken(s *signIn) string {
	value := r.server.random.opaque(refreshTokenBytes)
	r.refreshTokens[value] = &refreshToken{signIn: s}
	s.refreshTokens = append(s.refreshTokens, value)
	return value
}

// findRefreshToken returns a valid token that was issued to the client.
func (r *request) findRefreshToken(c *client, value string) (*refreshToken, error) {
	t, ok := r.refreshTokens[value]
	switch {
	case !ok, t.signIn.client != c:
		return nil, notAuthorized("Invalid Refresh Token")
	case t.signIn.user.disabled:
		return nil, userDisabled()
	case t.signIn.revoked:
		return nil, notAuthorized("Refresh Token has been revoked")
	case !r.now.Before(t.signIn.expires):
		return nil, notAuthorized("Refresh Token has expired")
	default:
		return t, nil
	}
}

// refreshOutput is the answer of GetTokensFromRefreshToken, which has no challenges.
type refreshOutput struct {
	AuthenticationResult *authenticationResult
}

// getTokensFromRefreshToken also returns a new refresh token if the client rotates them.
func (r *request) getTokensFromRefreshToken(in refreshInput) (any, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil {
		return nil, err
	}
	if err := c.checkSecret(in.ClientSecret); err != nil {
		return nil, err
	}
	t, err := r.findRefreshToken(c, in.RefreshToken)
	if err != nil {
		return nil, err
	}
	if err := r.invoke(c.pool, triggerPreTokenGeneration); err != nil {
		return nil, err
	}
	if !c.rotatesRefreshTokens() {
		return refreshOutput{r.tokensOf(t.signIn)}, nil
	}
	return r.rotate(c, t)
}

// rotate accepts a replaced token until the client's grace period ends.
func (r *request) rotate(c *client, t *refreshToken) (any, error) {
	grace := time.Duration(c.settings.RefreshTokenRotation.RetryGracePeriodSeconds) * time.Second
	if !t.replaced.IsZero() && !r.now.Before(t.replaced.Add(grace)) {
		return nil, newException(codeRefreshTokenReuse, "Refresh token reuse detected")
	}
	if t.replaced.IsZero() {
		t.replaced = r.now
	}
	result := r.tokensOf(t.signIn)
	result.RefreshToken = r.newRefreshToken(t.signIn)
	return refreshOutput{result}, nil
}

// revokeToken ends the sign-in of a refresh token. Revoking twice is not an error.
//
// RevokeToken documents no ResourceNotFoundException; that an unknown client gets
// UnauthorizedException is a guess.
func (r *request) revokeToken(in revokeInput) (any, error) {
	c, err := r.findClientAnywhere(in.ClientId)
	if err != nil || c.checkSecret(in.ClientSecret) != nil {
		return nil, newException(codeUnauthorized, "Invalid client or secret")
	}
	if !c.revokesTokens() {
		return nil, newException("UnsupportedOperationException", "Token revocation is not enabled for client %s", c.id)
	}
	t, ok := r.refreshTokens[in.Token]
	if !ok {
		return nil, newException("UnsupportedTokenTypeException", "Only refresh tokens can be revoked")
	}
	if t.signIn.client != c {
		return nil, newException(codeUnauthorized, "The token was not issued to client %s", c.id)
	}
	t.signIn.revoked = true
	return empty{}, nil
}
