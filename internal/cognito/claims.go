// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// claims are the claims of an access token that the engine uses. They are not
// verified: that is up to the receiver of the token.
type claims struct {
	Expiry   *jwt.NumericDate `json:"exp"`
	Scope    *string          `json:"scope"`
	Subject  string           `json:"sub"`
	Username string           `json:"username"`
}

func readClaims(token string) (claims, bool) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512})
	if err != nil {
		return claims{}, false
	}
	var c claims
	if err := parsed.UnsafeClaimsWithoutVerification(&c); err != nil {
		return claims{}, false
	}
	return c, true
}

// expires returns the earlier of the token's own expiry and the given one, either
// of which may be missing. If the clock of this machine is slow, the token's own
// expiry is too late; if a proxy repeats an old response, the given one is.
func (c claims) expires(given time.Time) time.Time {
	if c.Expiry == nil {
		return given
	}
	if own := c.Expiry.Time(); given.IsZero() || own.Before(given) {
		return own
	}
	return given
}

// expiryOf returns when a token expires. life is what the response said, or 0.
func expiryOf(token string, life time.Duration, now time.Time) time.Time {
	given := time.Time{}
	if life > 0 {
		given = now.Add(life)
	}
	c, _ := readClaims(token)
	return c.expires(given)
}

func (c claims) scopes() []string {
	if c.Scope == nil {
		return nil
	}
	return strings.Fields(*c.Scope)
}
