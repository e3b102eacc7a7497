// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

// Sub returns the sub in the access token, or "" if it cannot be read.
func (t Tokens) Sub() string {
	c, _ := readClaims(t.AccessToken)
	return c.Subject
}
