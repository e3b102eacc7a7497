// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

const (
	// maxBackoff bounds the pause between two attempts. Cognito counts its quotas per second, so a
	// longer pause has no advantage.
	maxBackoff = 5 * time.Second

	// lagAttempts and lagDelay bound how long a new user may be unknown to other operations of
	// Cognito: some 1.5 s in all.
	lagAttempts = 5
	lagDelay    = 100 * time.Millisecond
)

// newRetryer returns a retryer for the given kinds of errors. It does not use the SDK's retry
// budget, which would end retries when many requests are throttled; the caller's deadline bounds
// them instead.
func newRetryer(maxRetries int, retryables []retry.IsErrorRetryable) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxRetries + 1
		o.MaxBackoff = maxBackoff
		o.RateLimiter = ratelimit.None
		o.Retryables = retryables
	})
}

// transient returns the errors after which a call may be repeated that does no harm when it is made
// twice.
func transient() []retry.IsErrorRetryable {
	return append(onlyWithoutEffect(),
		retry.RetryableError{},
		retry.RetryableConnectionError{},
		retry.RetryableHTTPStatusCode{Codes: retry.DefaultRetryableHTTPStatusCodes},
		retry.RetryableErrorCode{Codes: retry.DefaultRetryableErrorCodes},
		retry.IsErrorRetryableFunc(func(err error) aws.Ternary { return ifTrue(isGarbled(err)) }),
	)
}

// onlyWithoutEffect returns the errors after which any call may be repeated, because it certainly
// had no effect at AWS.
func onlyWithoutEffect() []retry.IsErrorRetryable {
	return []retry.IsErrorRetryable{
		retry.NoRetryCanceledError{},
		retry.RetryableErrorCode{Codes: throttleCodes()},
		retry.IsErrorRetryableFunc(func(err error) aws.Ternary { return ifTrue(notSent(err)) }),
	}
}

// ifTrue leaves the decision to the next check if the condition is false.
func ifTrue(yes bool) aws.Ternary {
	if yes {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// throttleCodes returns the SDK's codes and that of a conflict with another change, after which
// nothing was done. LimitExceededException is left out: Cognito reports with it a limit that is not
// lifted within the time of a request.
func throttleCodes() map[string]struct{} {
	codes := maps.Clone(retry.DefaultThrottleErrorCodes)
	delete(codes, codeLimitExceeded)
	codes[codeConcurrentModification] = struct{}{}
	return codes
}

// retryWhileUnknown repeats op while Cognito does not find a user that was just created.
func retryWhileUnknown(ctx context.Context, op func() error) error {
	err := op()
	for attempt := range lagAttempts - 1 {
		if !hasCode(err, codeUserNotFound) || !wait(ctx, backoff(attempt, lagDelay)) {
			break
		}
		err = op()
	}
	return err
}

func backoff(attempt int, base time.Duration) time.Duration {
	return base * time.Duration(math.Pow(2, float64(attempt)))
}

// wait waits. It reports false if ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
