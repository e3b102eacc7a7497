// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// claims are those of an access token that matter here. They are read, not
// verified: whoever gets the token verifies it, and to Vault it only says how
// long it may be used.
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

// expires returns the earlier of the token's own end and the given one, either
// of which may be missing. The clock of this machine may be slow, and then the
// token's own end comes too late here; a cache on the way may repeat an old
// response, and then the other one does.
func (c claims) expires(given time.Time) time.Time {
	if c.Expiry == nil {
		return given
	}
	if own := c.Expiry.Time(); given.IsZero() || own.Before(given) {
		return own
	}
	return given
}

// expiryOf returns when a token expires that is said to live for some time
// from now on, which may be 0 for unknown.
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
