// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"vault-plugin-secrets-cognito/internal/cache"
)

const (
	// accountTimeout bounds a lookup of the account, and how long Account waits for it.
	accountTimeout = 10 * time.Second
	// accountRetry is how long after a failed lookup the next one is made.
	accountRetry = time.Minute
	// accountWaitAgain is how long after the start of a lookup that follows a failed one Account
	// waits for it, so that requests are not held up for long where STS cannot be reached.
	accountWaitAgain = 2 * time.Second
)

// caller is the account that the engine's own credentials belong to, or the
// time from which on to ask for it again.
type caller struct {
	account string
	retry   time.Time
}

// callerCache holds one caller: the credentials of a Service never change.
type callerCache = cache.Cache[struct{}, caller]

func newCallerCache(lifetime context.Context) *callerCache {
	return cache.New[struct{}, caller](cache.Options[caller]{Lifetime: lifetime, LoadTimeout: accountTimeout, OverdueWait: accountWaitAgain})
}

// Account returns the id of the AWS account that a target is reached in: that
// in the ARN of the assumed role, or else that of the engine's own
// credentials, for which STS is asked once. It waits for the first lookup while
// ctx lives, for ten seconds at most, and returns "" when the account is not
// known. Once a lookup has failed, it waits for two seconds at most.
func (s *Service) Account(ctx context.Context, target Target) string {
	if arn := s.keyOf(target).assumeRoleARN; arn != "" {
		return accountOfARN(arn)
	}
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	return s.callerAccount(ctx)
}

// KnownAccount is Account without waiting: it returns "" until the account is
// known, and starts the lookup in the background.
func (s *Service) KnownAccount(ctx context.Context, target Target) string {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return s.Account(ended, target)
}

// Endpoint returns the URL at which a target's Cognito is reached, or "" for
// AWS's own.
func (s *Service) Endpoint(ctx context.Context, target Target) (string, error) {
	client, err := s.client(ctx, target)
	if err != nil {
		return "", err
	}
	return aws.ToString(client.Options().BaseEndpoint), nil
}

func (s *Service) callerAccount(ctx context.Context) string {
	// A load returns no error, and the end of ctx means that the account is not known yet.
	found, _ := s.caller.Get(ctx, struct{}{}, s.callerState, s.lookUpCaller)
	return found.account
}

func (s *Service) callerState(c caller) cache.State {
	switch {
	case c.account != "":
		return cache.Fresh
	case s.now().Before(c.retry):
		return cache.Fresh
	default:
		return cache.Overdue // the last lookup failed
	}
}

func (s *Service) lookUpCaller(ctx context.Context) (caller, error) {
	failed := caller{retry: s.now().Add(accountRetry)}
	cfg, err := s.awsConfig(ctx, clientKey{region: s.settings.Region})
	if err != nil {
		return failed, nil //nolint:nilerr // an unknown account is no failure of the caller's
	}
	out, err := s.stsFrom(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return failed, nil //nolint:nilerr // as above
	}
	return caller{account: aws.ToString(out.Account), retry: failed.retry}, nil
}

// accountOfARN returns the account in an ARN, or "".
func accountOfARN(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}
