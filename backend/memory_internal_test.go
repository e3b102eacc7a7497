// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemory(t *testing.T) {
	value := func(n int) func() (*int, error) { return func() (*int, error) { return &n, nil } }
	get := func(t *testing.T, m *memory[int], load func() (*int, error)) int {
		t.Helper()
		got, err := m.get("key", load)
		require.NoError(t, err)
		return *got
	}

	t.Run("what was loaded is kept until it is dropped", func(t *testing.T) {
		m := &memory[int]{}
		require.Equal(t, 1, get(t, m, value(1)))
		require.Equal(t, 1, get(t, m, value(2)))
		m.drop("key")
		require.Equal(t, 3, get(t, m, value(3)))
	})

	t.Run("what is dropped while it loads is used once and not kept", func(t *testing.T) {
		m := &memory[int]{}
		stale := func() (*int, error) {
			m.drop("key")
			return value(1)()
		}
		require.Equal(t, 1, get(t, m, stale))
		require.Equal(t, 2, get(t, m, value(2)))
	})

	t.Run("all that load at once get what was kept first", func(t *testing.T) {
		m := &memory[int]{}
		overtaken := func() (*int, error) {
			require.Equal(t, 1, get(t, m, value(1)))
			return value(2)()
		}
		require.Equal(t, 1, get(t, m, overtaken))
		require.Equal(t, 1, get(t, m, value(3)))
	})

	t.Run("neither an error nor a nil is kept", func(t *testing.T) {
		m := &memory[int]{}
		_, err := m.get("key", func() (*int, error) { return nil, errors.New("no") })
		require.Error(t, err)
		none, err := m.get("key", func() (*int, error) { return nil, nil })
		require.NoError(t, err)
		require.Nil(t, none)
		require.Equal(t, 1, get(t, m, value(1)))
	})
}
