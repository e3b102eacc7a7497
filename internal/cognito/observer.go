// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"vault-plugin-secrets-cognito/internal/cache"
	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// OperationToken is the Operation of a request to a token endpoint.
const OperationToken = "Token"

// CodeNoAnswer is the Code of a call that got no response, or none from AWS.
const CodeNoAnswer = "no_answer"

// Observer is called for what a Service does, at once and possibly by several goroutines. Each
// function may be nil. Nothing that it is given is a secret.
type Observer struct {
	// Call is called after each attempt of each call to AWS.
	Call func(Call)
	// Wait is called after a request waited for the limit of a quota category. It was refused if it
	// got no slot in time.
	Wait func(category string, took time.Duration, refused bool)
	// Token is called for each machine token that was issued for a request, with how long it lives.
	Token func(partition string, life time.Duration)
}

// Call is one attempt of a call to AWS.
type Call struct {
	// Operation is AWS's name of it, or OperationToken.
	Operation string
	// Code is AWS's error code, CodeNoAnswer, or empty after a success.
	Code string
	// Throttled is set if AWS refused it because of a quota.
	Throttled bool
	Took      time.Duration
}

// withDefaults replaces functions that are nil.
func (o Observer) withDefaults() Observer {
	if o.Call == nil {
		o.Call = func(Call) {}
	}
	if o.Wait == nil {
		o.Wait = func(string, time.Duration, bool) {}
	}
	if o.Token == nil {
		o.Token = func(string, time.Duration) {}
	}
	return o
}

// observeAttempts makes a client report each attempt.
func (o Observer) observeAttempts(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("ObserveAttempt", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		began := time.Now()
		out, metadata, err := next.HandleDeserialize(ctx, in)
		call := Call{Operation: awsmiddleware.GetOperationName(ctx), Took: time.Since(began)}
		call.Code, call.Throttled = codeOfAttempt(err)
		o.Call(call)
		return out, metadata, err
	}), middleware.Before)
}

func codeOfAttempt(err error) (code string, throttled bool) {
	var api smithy.APIError
	switch {
	case err == nil:
		return "", false
	case errors.As(err, &api):
		return errorCode(api), kindOfAnswer(api, err) == KindThrottled
	default:
		return CodeNoAnswer, false
	}
}

// observeEndpoint reports one request to a token endpoint.
func (s *Service) observeEndpoint(began time.Time, failure *Error) {
	call := Call{Operation: OperationToken, Took: time.Since(began)}
	if failure != nil {
		call.Code, call.Throttled = failure.Code, failure.Kind == KindThrottled
		if call.Code == "" {
			call.Code = CodeNoAnswer
		}
	}
	s.settings.Observer.Call(call)
}

// waitForSlot waits for the limit of a quota category, and reports how long.
func (s *Service) waitForSlot(ctx context.Context, account, category string) error {
	began := time.Now()
	err := s.limiters.Wait(ctx, account, category)
	s.settings.Observer.Wait(category, time.Since(began)+reservationWaitOf(ctx), err != nil && IsOwnLimit(err))
	return err
}

// reserve reserves slots, and returns how long that took. A refusal counts for the category that
// refused. The time of a success counts with that of the first call, so that each call counts as
// one wait.
func (s *Service) reserve(ctx context.Context, account string, needs map[string]int) (*ratelimit.Reservation, *reservationWait, error) {
	began := time.Now()
	slots, err := s.limiters.Reserve(ctx, account, needs)
	wait := &reservationWait{}
	wait.took.Store(int64(time.Since(began)))
	var limit *ratelimit.Error
	if errors.As(err, &limit) {
		s.settings.Observer.Wait(limit.Category, time.Since(began), true)
	}
	return slots, wait, err
}

// reservationWait is how long a reservation took, until a call counts it.
type reservationWait struct{ took atomic.Int64 }

type reservationWaitKey struct{}

// countIn returns a context whose first call counts the wait.
func (w *reservationWait) countIn(ctx context.Context) context.Context {
	return context.WithValue(ctx, reservationWaitKey{}, w)
}

// reservationWaitOf returns the wait that is not counted yet, once.
func reservationWaitOf(ctx context.Context) time.Duration {
	wait, found := ctx.Value(reservationWaitKey{}).(*reservationWait)
	if !found {
		return 0
	}
	return time.Duration(wait.took.Swap(0))
}

// RateLimits returns the requests per second that the Service allows itself for each account and
// region, by the categories that Observer.Wait is called with. Where accounts differ it is the
// lowest.
func (s *Service) RateLimits() map[string]float64 { return s.limiters.LowestRates() }

// TokenCacheStats returns how much the cache of machine tokens was used.
func (s *Service) TokenCacheStats() cache.Stats { return s.tokens.stats() }

// SecretCacheStats returns how much the cache of looked up client secrets was used.
func (s *Service) SecretCacheStats() cache.Stats { return s.secrets.Stats() }
