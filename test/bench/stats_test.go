// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantilesAreNearestRanks(t *testing.T) {
	var measured samples
	require.Zero(t, measured.quantile(0.5))
	require.Zero(t, measured.perSecond())
	for _, ms := range []int{40, 10, 30, 20} {
		measured.add([]time.Duration{time.Duration(ms) * time.Millisecond}, 25*time.Millisecond)
	}
	for share, want := range map[float64]int{0: 10, 0.25: 10, 0.26: 20, 0.5: 20, 0.75: 30, 0.99: 40, 1: 40} {
		require.Equal(t, time.Duration(want)*time.Millisecond, measured.quantile(share), "%v", share)
	}
	measured.add([]time.Duration{time.Millisecond}, 0)
	require.Equal(t, time.Millisecond, measured.quantile(0), "what comes later is sorted in")
	require.Equal(t, 50.0, measured.perSecond())
	require.Equal(t, 2.0, measured.each(10))
}

func TestDrive(t *testing.T) {
	t.Run("the rates of clients are added", func(t *testing.T) {
		took, busy, err := combine([]clientLoad{
			{took: make([]time.Duration, 10), elapsed: time.Second},
			{took: make([]time.Duration, 20), elapsed: 2 * time.Second}, // its last request took longer
			{}, // nothing was left for it
		})
		require.NoError(t, err)
		require.Len(t, took, 30)
		require.Equal(t, 1500*time.Millisecond, busy, "20 a second")
	})

	t.Run("without time no request is made", func(t *testing.T) {
		took, busy, err := drive(t.Context(), 4, 0, func(context.Context) error { return nil })
		require.NoError(t, err)
		require.Empty(t, took)
		require.Zero(t, busy)
	})

	t.Run("a failure is returned", func(t *testing.T) {
		broken := errors.New("no answer")
		_, _, err := drive(t.Context(), 2, time.Hour, func(context.Context) error { return broken })
		require.ErrorIs(t, err, broken)
	})

	t.Run("a client ends when nothing is left", func(t *testing.T) {
		var left atomic.Int64
		left.Store(5)
		took, _, err := drive(t.Context(), 3, time.Hour, func(context.Context) error {
			if left.Add(-1) < 0 {
				return errNothingLeft
			}
			return nil
		})
		require.NoError(t, err)
		require.Len(t, took, 5)
	})
}
