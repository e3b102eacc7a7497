// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// parallelWrites keeps below Cognito's limit of ten writes per second for one user.
const parallelWrites = 8

type startKey struct{}

// uncut returns a context that outlives its caller: when the caller goes away,
// no attempt of a call is started any more, but the one under way is not cut.
// It ends within Settings.RequestTimeout, and then its outcome is known.
func uncut(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), startKey{}, ctx)
}

// startContext returns the context that an attempt may start in: that of the
// caller, where ctx outlives it.
func startContext(ctx context.Context) context.Context {
	if start, ok := ctx.Value(startKey{}).(context.Context); ok {
		return start
	}
	return ctx
}

// undoContext returns a context for undoing what was done in ctx.
func undoContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithValue(context.WithoutCancel(ctx), startKey{}, nil)
	return context.WithTimeout(ctx, UndoTimeout)
}

// siblings are calls for one user that are made at the same time. After the
// first failure none is started or repeated, but those under way go on to
// their end: AWS may carry out a call that was cut, in the middle of the undo.
type siblings struct {
	group errgroup.Group
	ctx   context.Context
	stop  context.CancelFunc
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
		err := call(s.ctx)
		if err != nil {
			s.stop()
		}
		return err
	})
}

// wait returns the first failure when all calls have ended.
func (s *siblings) wait() error {
	defer s.stop()
	return s.group.Wait()
}
