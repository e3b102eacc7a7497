// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCensus(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	delivered := censusRecord{class: livingCount{kind: "user", role: "ci", state: "delivered"}, due: now.Add(time.Hour)}
	confirmed := censusRecord{class: livingCount{kind: "user", role: "ci", state: "confirmed"}, due: now.Add(-time.Minute)}
	stateOf := func(c *census) recordsState {
		state, known := c.state(now)
		require.True(t, known)
		return state
	}

	t.Run("nothing is known before the scan is over", func(t *testing.T) {
		c := &census{}
		c.put("a", delivered)
		_, known := c.state(now)
		require.False(t, known)
	})

	t.Run("a record that was stored during the scan is not replaced by what the scan read before", func(t *testing.T) {
		c := &census{}
		c.put("a", confirmed)
		c.addScanned("a", delivered)
		c.setDone()
		require.Equal(t, []livingCount{{"user", "ci", "confirmed", 1}}, stateOf(c).living)
	})

	t.Run("a record that was deleted during the scan does not come back", func(t *testing.T) {
		c := &census{}
		c.remove("a")
		c.addScanned("a", delivered)
		c.setDone()
		require.Empty(t, stateOf(c).living)
	})

	t.Run("a record that was stored again after its deletion counts", func(t *testing.T) {
		c := &census{}
		c.remove("a")
		c.put("a", delivered)
		c.addScanned("a", confirmed)
		c.setDone()
		require.Equal(t, []livingCount{{"user", "ci", "delivered", 1}}, stateOf(c).living)
	})

	t.Run("records past their deadline are due, and the oldest is the one that is past it most", func(t *testing.T) {
		c := &census{}
		c.put("a", delivered)
		c.put("b", confirmed)
		c.put("c", censusRecord{class: confirmed.class, due: now.Add(-time.Hour)})
		c.put("d", censusRecord{class: confirmed.class})
		c.setDone()
		require.Equal(t, 2, stateOf(c).due)
		require.Equal(t, time.Hour, stateOf(c).oldest)
		c.remove("c")
		require.Equal(t, 1, stateOf(c).due)
		require.Equal(t, time.Minute, stateOf(c).oldest)
	})
}
