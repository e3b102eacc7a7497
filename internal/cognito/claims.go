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

// expires is the token's own end, or otherwise when it names none.
func (c claims) expires(otherwise time.Time) time.Time {
	if c.Expiry == nil {
		return otherwise
	}
	return c.Expiry.Time()
}

func (c claims) scopes() []string {
	if c.Scope == nil {
		return nil
	}
	return strings.Fields(*c.Scope)
}
