// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// Outcome is what became of a change at AWS, over all attempts to make it. Each
// attempt is one of three things, and the outcome of the call follows:
//
//	not sent, or refused by AWS before the effect  → no attempt may have taken effect so far
//	succeeded                                      → OutcomeSucceeded
//	anything else: no response, a cut one, a 5xx,  → the effect is possible from here on,
//	an error that AWS gives after the effect         whatever later attempts say
//
// A call that ends with an error is OutcomeRefused if no attempt may have
// taken effect, and OutcomeUnknown otherwise.
type Outcome int

const (
	// OutcomeUnknown means that the change may have been made. It is the zero
	// value, so that what nothing is known about is never called refused.
	OutcomeUnknown Outcome = iota
	// OutcomeRefused means that the change was certainly not made.
	OutcomeRefused
	// OutcomeSucceeded means that the change was made.
	OutcomeSucceeded
)

// String returns the name of an outcome.
func (o Outcome) String() string {
	switch o {
	case OutcomeSucceeded:
		return "succeeded"
	case OutcomeRefused:
		return "refused"
	default:
		return "unknown"
	}
}

// OutcomeOf returns the outcome of a call by the error that it returned.
func OutcomeOf(err error) Outcome {
	var e *Error
	switch {
	case err == nil:
		return OutcomeSucceeded
	case errors.As(err, &e):
		return e.Outcome
	default:
		return OutcomeUnknown
	}
}

// attempts are those of one call.
type attempts struct{ mayHaveTakenEffect atomic.Bool }

type attemptsKey struct{}

// attemptsError carries the attempts of a call that failed to fail.
type attemptsError struct {
	err      error
	attempts *attempts
}

func (e *attemptsError) Error() string { return e.err.Error() }

func (e *attemptsError) Unwrap() error { return e.err }

// trackAttempts makes a client record what each attempt of a call may have
// done, and add that to the error of the call.
func trackAttempts(stack *middleware.Stack) error {
	call := middleware.InitializeMiddlewareFunc("TrackCall", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		tried := &attempts{}
		out, metadata, err := next.HandleInitialize(middleware.WithStackValue(ctx, attemptsKey{}, tried), in)
		if err != nil {
			err = &attemptsError{err, tried}
		}
		return out, metadata, err
	})
	attempt := middleware.DeserializeMiddlewareFunc("TrackAttempt", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if tried, ok := middleware.GetStackValue(ctx, attemptsKey{}).(*attempts); ok && err != nil && !withoutEffect(err) {
			tried.mayHaveTakenEffect.Store(true)
		}
		return out, metadata, err
	})
	return errors.Join(stack.Initialize.Add(call, middleware.Before), stack.Deserialize.Add(attempt, middleware.Before))
}

// outcomeOfCall returns the outcome of a failed call of an AWS client.
func outcomeOfCall(err error) Outcome {
	var tracked *attemptsError
	if errors.As(err, &tracked) && !tracked.attempts.mayHaveTakenEffect.Load() {
		return OutcomeRefused
	}
	return OutcomeUnknown
}

// withoutEffect reports whether an attempt that failed certainly did nothing:
// it was not sent, or AWS refused it. Errors that Cognito is known to return
// after the effect do not count: its own failures, those of the pool's Lambda
// triggers, and messages that could not be delivered.
func withoutEffect(err error) bool {
	if notSent(err) {
		return true
	}
	var api smithy.APIError
	if !errors.As(err, &api) || kindOfAnswer(api, err) == KindUnavailable {
		return false
	}
	return !strings.Contains(api.ErrorCode(), "Lambda") && !strings.HasPrefix(api.ErrorCode(), "CodeDelivery")
}
