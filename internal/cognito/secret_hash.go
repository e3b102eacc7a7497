// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// AppClient is an app client of a user pool. Secret is empty for a public one.
type AppClient struct {
	ID, Secret string
}

// secretHash returns the SECRET_HASH of a call that sends this username. A call of a public client
// must not have one.
// https://docs.aws.amazon.com/cognito/latest/developerguide/signing-up-users-in-your-app.html#cognito-user-pools-computing-secret-hash
func (c AppClient) secretHash(username string) string {
	mac := hmac.New(sha256.New, []byte(c.Secret))
	mac.Write([]byte(username + c.ID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// authenticated adds the username and the client's secret hash to the parameters
// of a call.
func (c AppClient) authenticated(username string, parameters map[string]string) map[string]string {
	parameters["USERNAME"] = username
	if c.Secret != "" {
		parameters["SECRET_HASH"] = c.secretHash(username)
	}
	return parameters
}
