// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Secret is a value that must not appear anywhere, with the name of the field that held it.
type Secret struct{ Field, Value string }

// form is an encoding of a secret, with a description for reports.
type form struct{ name, text string }

// distinctive returns the part of a secret to search for: the signature of a JWT, else the value.
// The other parts of a JWT are not secret, and all tokens of one key begin alike.
func distinctive(value string) string {
	if parts := strings.Split(value, "."); len(parts) == 3 && strings.HasPrefix(value, "eyJ") {
		return parts[2]
	}
	return value
}

// formsOf returns the distinct forms of a secret. None is shorter than the secret.
func formsOf(secret string) []form {
	escaped, _ := json.Marshal(secret) // a string always encodes
	all := []form{
		{"plain", secret},
		{"escaped for JSON", strings.Trim(string(escaped), `"`)},
		{"escaped for a log", strings.Trim(fmt.Sprintf("%q", secret), `"`)},
		{"escaped for a URL query", url.QueryEscape(secret)},
		{"escaped for a URL path", url.PathEscape(secret)},
		{"in hex", hex.EncodeToString([]byte(secret))},
		{"in upper-case hex", strings.ToUpper(hex.EncodeToString([]byte(secret)))},
	}
	for offset := range 3 {
		all = append(all,
			form{fmt.Sprintf("in base64 at offset %d", offset), base64Within(base64.RawStdEncoding, secret, offset)},
			form{fmt.Sprintf("in URL-safe base64 at offset %d", offset), base64Within(base64.RawURLEncoding, secret, offset)})
	}
	var distinct []form
	for _, f := range all {
		if !slices.ContainsFunc(distinct, func(d form) bool { return d.text == f.text }) {
			distinct = append(distinct, f)
		}
	}
	return distinct
}

// base64Within returns the part of a longer base64 text that depends on the secret alone, if offset
// (modulo 3) bytes precede the secret.
func base64Within(encoding *base64.Encoding, secret string, offset int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
	first := (offset*8 + 5) / 6
	last := (offset + len(secret)) * 8 / 6
	return encoded[first:last]
}
