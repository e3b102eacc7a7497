// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"

// staticKey holds the static credentials of a Service; an empty id stands for the SDK's default
// chain.
type staticKey struct{ id, secret, sessionToken string }

// ReplaceAccessKey makes later calls use another access key of the same identity. Calls in flight
// keep the old one, and what the Service has cached stays.
func (s *Service) ReplaceAccessKey(id, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key.Store(&staticKey{id: id, secret: secret})
	s.clients = map[clientKey]*cip.Client{}
}
