// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"time"
)

// DenialMemory is how long a denied AdminSetUserPassword is remembered.
const DenialMemory = denialMemory

// SetClock lets a test hold the time.
func (s *Service) SetClock(now func() time.Time) { s.now, s.tokens.now = now, now }

// SetRandom lets a test choose the jitter.
func (s *Service) SetRandom(random func() float64) { s.tokens.random = random }

// UserOfARN returns the name of the IAM user in an ARN.
func UserOfARN(arn string) string { return userOfARN(arn) }

// CachedTokensMax is how many machine tokens are held at the most.
const CachedTokensMax = cachedTokensMax

// CachedTokens is how many machine tokens are held.
func (s *Service) CachedTokens() int { return s.tokens.held.Len() }

// WaitForEndpoint waits for the turn of a request to a token endpoint.
func (s *Service) WaitForEndpoint(ctx context.Context, r MachineTokenRequest, host string) error {
	return s.waitForEndpoint(ctx, r, host)
}
