// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAwaitNewParentReturnsWhenTheParentChanges(t *testing.T) {
	parents := []int{42, 42, 42, 1}
	calls := 0
	getppid := func() int {
		calls++
		return parents[calls-1]
	}
	ticks := make(chan time.Time, len(parents))
	for range cap(ticks) {
		ticks <- time.Time{}
	}
	awaitNewParent(getppid, ticks)
	require.Equal(t, len(parents), calls, "it must not return while the parent is the same")
}
