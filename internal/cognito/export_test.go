// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import "context"

// DenialMemory is how long a denied AdminSetUserPassword is remembered.
const DenialMemory = denialMemory

// SetRandom lets a test choose the jitter.
func (s *Service) SetRandom(random func() float64) { s.tokens.random = random }

// UserOfARN returns the name of the IAM user in an ARN.
func UserOfARN(arn string) string { return userOfARN(arn) }

// CachedTokensMax is how many machine tokens one partition holds.
const CachedTokensMax = cachedTokensMax

// CachedTokens returns how many machine tokens a partition holds.
func (s *Service) CachedTokens(partition string) int { return s.tokens.partition(partition).Len() }

// WaitForEndpoint waits for a slot of a request to a token endpoint.
func (s *Service) WaitForEndpoint(ctx context.Context, r MachineTokenRequest, host string) error {
	return s.waitForEndpoint(ctx, r, host)
}

// Siblings makes calls as IssueUser does for one user.
func Siblings(ctx context.Context, calls ...func(ctx context.Context) error) error {
	work := newSiblings(ctx)
	for _, call := range calls {
		work.run(call)
	}
	return work.wait()
}

// Stopped is closed when no sibling may start a call any more.
func Stopped(ctx context.Context) <-chan struct{} { return startContext(ctx).Done() }
