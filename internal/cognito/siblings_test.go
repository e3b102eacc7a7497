// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// TestSiblingsReturnTheFailureThatStoppedThem is repeated because the others race with the first.
func TestSiblingsReturnTheFailureThatStoppedThem(t *testing.T) {
	failure := errors.New("group missing")
	stopped := func(ctx context.Context) error { <-cognito.Stopped(ctx); return context.Canceled }
	fails := func(context.Context) error { return failure }
	for range 5000 {
		err := cognito.Siblings(t.Context(), stopped, stopped, stopped, stopped, fails, stopped, stopped)
		require.Equal(t, failure, err)
	}
}
