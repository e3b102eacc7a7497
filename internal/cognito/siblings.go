// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// parallelWrites keeps below Cognito's limit of ten writes per second for one user.
const parallelWrites = 8

type startKey struct{}

// uninterrupted returns a context that does not end with ctx. After the end of ctx no attempt of a
// call is started, but an attempt under way is completed, within Settings.RequestTimeout, so that
// its outcome is known.
func uninterrupted(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), startKey{}, ctx)
}

// startContext returns the context in which an attempt may start. If ctx was made by uninterrupted,
// that is the context of the caller.
func startContext(ctx context.Context) context.Context {
	if start, ok := ctx.Value(startKey{}).(context.Context); ok {
		return start
	}
	return ctx
}

// forUndo returns a context for undoing what was done in ctx. It lasts UndoTimeout, whether or not
// ctx has ended.
func forUndo(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithValue(context.WithoutCancel(ctx), startKey{}, nil)
	return context.WithTimeout(ctx, UndoTimeout)
}

// siblings are concurrent calls for one user. After the first failure no call is started or
// repeated, but the calls under way are completed: AWS may execute a canceled call later, during
// the undo.
type siblings struct {
	group errgroup.Group
	ctx   context.Context
	stop  context.CancelFunc

	failOnce sync.Once
	failure  error
}

func newSiblings(ctx context.Context) *siblings {
	start, stop := context.WithCancel(startContext(ctx))
	s := &siblings{ctx: context.WithValue(context.WithoutCancel(ctx), startKey{}, start), stop: stop}
	s.group.SetLimit(parallelWrites)
	return s
}

// run makes a call.
func (s *siblings) run(call func(ctx context.Context) error) {
	s.group.Go(func() error {
		if err := call(s.ctx); err != nil {
			s.fail(err)
		}
		return nil
	})
}

// fail stores the first failure before it stops the others, which then fail because of it.
func (s *siblings) fail(err error) {
	s.failOnce.Do(func() {
		s.failure = err
		s.stop()
	})
}

// wait returns the first failure when all calls have ended.
func (s *siblings) wait() error {
	defer s.stop()
	_ = s.group.Wait() // calls report to fail
	return s.failure
}
