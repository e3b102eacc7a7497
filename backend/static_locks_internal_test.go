// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

func TestUnknownStaticRolesLeaveNothingBehind(t *testing.T) {
	b := newBackend(Options{Now: time.Now})
	req := &logical.Request{Storage: &logical.InmemStorage{}}
	for i := range 100 {
		name := fmt.Sprintf("unknown%d", i)
		_, err := b.rotateStaticRole(t.Context(), req, name)
		require.ErrorContains(t, err, name)
		_, err = b.currentStaticRole(t.Context(), req, name)
		require.Error(t, err)
		_, err = b.deleteStaticRole(t.Context(), req, name)
		require.NoError(t, err)
	}
	require.Empty(t, b.staticLocks.locks)
	require.Zero(t, b.staticRoles.Len())
}

func TestStaticLocks(t *testing.T) {
	t.Run("who waited learns what happened meanwhile", func(t *testing.T) {
		var locks staticLocks
		first, err := locks.acquire(t.Context(), "x")
		require.NoError(t, err)
		waiting := make(chan *heldStaticLock)
		joined, before := locks.join("x") // as a waiter does before it waits
		require.Zero(t, before)
		locks.leave("x", joined)
		go func() {
			second, err := locks.acquire(context.Background(), "x")
			if err == nil {
				waiting <- second
			}
		}()
		require.Eventually(t, func() bool {
			locks.mu.Lock()
			defer locks.mu.Unlock()
			return first.lock.references == 2
		}, 5*time.Second, time.Millisecond)
		failure := errors.New("it failed")
		first.setResult(failure)
		first.release()
		second := <-waiting
		ended, err := second.newResult()
		require.True(t, ended)
		require.Equal(t, failure, err)
		second.release()
		require.Empty(t, locks.locks)
	})

	t.Run("a caller that gives up leaves nothing behind", func(t *testing.T) {
		var locks staticLocks
		held, err := locks.acquire(t.Context(), "x")
		require.NoError(t, err)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = locks.acquire(gone, "x")
		require.ErrorIs(t, err, context.Canceled)
		_, free := locks.tryAcquire("x")
		require.False(t, free)
		held.release()
		require.Empty(t, locks.locks)
	})
}
