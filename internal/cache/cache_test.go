// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cache_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cache"
)

var errLoad = errors.New("the source is down")

// source returns 1, 2, 3 … and counts its loads.
type source struct{ loads atomic.Int64 }

func (s *source) load(context.Context) (int, error) { return int(s.loads.Add(1)), nil }

// gate is a load that waits until it is opened.
type gate struct{ entered, opened chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

func (g *gate) load(value int) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		close(g.entered)
		select {
		case <-g.opened:
			return value, nil
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func always(state cache.State) func(int) cache.State {
	return func(int) cache.State { return state }
}

func get(t *testing.T, c *cache.Cache[string, int], state func(int) cache.State, load func(context.Context) (int, error)) int {
	t.Helper()
	value, err := c.Get(t.Context(), "key", state, load)
	require.NoError(t, err)
	return value
}

func TestCache(t *testing.T) {
	t.Parallel()
	t.Run("a cached value is loaded once", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{}), &source{}
		assert.Equal(t, 1, get(t, c, nil, s.load))
		assert.Equal(t, 1, get(t, c, nil, s.load))
	})
	t.Run("an error is returned and not cached", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{}), &source{}
		_, err := c.Get(t.Context(), "key", nil, func(context.Context) (int, error) { return 0, errLoad })
		require.ErrorIs(t, err, errLoad)
		assert.Equal(t, 1, get(t, c, nil, s.load))
	})
	t.Run("a value that Keep refuses is returned and not cached", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{Keep: func(v int) bool { return v > 1 }}), &source{}
		assert.Equal(t, 1, get(t, c, nil, s.load))
		assert.Equal(t, 2, get(t, c, nil, s.load))
		assert.Equal(t, 2, get(t, c, nil, s.load))
	})
	t.Run("an expired value is loaded again before it is returned", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{}), &source{}
		get(t, c, nil, s.load)
		assert.Equal(t, 2, get(t, c, always(cache.Expired), s.load))
	})
	t.Run("a stale value is returned and replaced in the background", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := cache.New[string, int](cache.Options[int]{}), &source{}
			assert.Equal(t, 1, get(t, c, nil, s.load))
			assert.Equal(t, 1, get(t, c, always(cache.Stale), s.load))
			synctest.Wait()
			assert.Equal(t, 2, get(t, c, nil, s.load))
		})
	})
	t.Run("a failed background load keeps the stale value", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{}), &source{}
		get(t, c, nil, s.load)
		failed := make(chan struct{})
		get(t, c, always(cache.Stale), func(context.Context) (int, error) { defer close(failed); return 0, errLoad })
		<-failed
		assert.Equal(t, 1, get(t, c, nil, s.load))
	})
	t.Run("an overdue value is replaced before Get returns", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{OverdueWait: time.Second}), &source{}
		get(t, c, nil, s.load)
		assert.Equal(t, 2, get(t, c, always(cache.Overdue), s.load))
	})
	t.Run("an overdue value is returned if the load fails", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{OverdueWait: time.Second}), &source{}
		get(t, c, nil, s.load)
		assert.Equal(t, 1, get(t, c, always(cache.Overdue), func(context.Context) (int, error) { return 0, errLoad }))
	})
	t.Run("callers with an overdue value wait together for OverdueWait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c, s := cache.New[string, int](cache.Options[int]{OverdueWait: time.Second}), &source{}
			get(t, c, nil, s.load)
			slow := func(context.Context) (int, error) { <-time.After(3 * time.Second); return 9, nil }
			began := time.Now()
			for range 5 {
				assert.Equal(t, 1, get(t, c, always(cache.Overdue), slow))
				assert.Equal(t, time.Second, time.Since(began), "only the first one waits: the others come too late")
			}
			<-time.After(2 * time.Second)
			synctest.Wait()
			assert.Equal(t, 9, get(t, c, nil, s.load), "the load went on")
		})
	})
	t.Run("Update changes a cached value only", func(t *testing.T) {
		c, s := cache.New[string, int](cache.Options[int]{}), &source{}
		c.Update("key", func(int) int { return 50 })
		_, found := c.Peek("key")
		assert.False(t, found)
		get(t, c, nil, s.load)
		c.Update("key", func(v int) int { return v + 50 })
		assert.Equal(t, 51, get(t, c, nil, s.load))
	})
}

func TestCacheSize(t *testing.T) {
	t.Parallel()
	c, s := cache.New[string, int](cache.Options[int]{Size: 2}), &source{}
	for _, key := range []string{"a", "b", "a", "c"} {
		_, err := c.Get(t.Context(), key, nil, s.load)
		require.NoError(t, err)
	}
	assert.Equal(t, 2, c.Len())
	_, found := c.Peek("b")
	assert.False(t, found, "the least recently used entry makes room")
}

func TestConcurrentCallersShareOneLoad(t *testing.T) {
	t.Parallel()
	c, g := cache.New[string, int](cache.Options[int]{}), newGate()
	var callers sync.WaitGroup
	results := make([]int, 20)
	load := g.load(7) // closes a channel, so a second run would panic
	callers.Go(func() { results[0], _ = c.Get(t.Context(), "key", nil, load) })
	<-g.entered
	for n := 1; n < len(results); n++ {
		callers.Go(func() { results[n], _ = c.Get(t.Context(), "key", nil, load) })
	}
	close(g.opened)
	callers.Wait()
	for _, result := range results {
		assert.Equal(t, 7, result)
	}
}

func TestACallerThatGivesUpEndsNoLoad(t *testing.T) {
	t.Parallel()
	c, g := cache.New[string, int](cache.Options[int]{}), newGate()
	ctx, giveUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := c.Get(ctx, "key", nil, g.load(7))
		gone <- err
	}()
	<-g.entered
	giveUp()
	require.ErrorIs(t, <-gone, context.Canceled)
	close(g.opened)
	assert.Equal(t, 7, get(t, c, nil, func(context.Context) (int, error) { return 0, errLoad }))
}

func TestTheEndOfTheLifetimeEndsLoads(t *testing.T) {
	t.Parallel()
	lifetime, end := context.WithCancel(t.Context())
	c, g := cache.New[string, int](cache.Options[int]{Lifetime: lifetime}), newGate()
	gone := make(chan error)
	go func() {
		_, err := c.Get(t.Context(), "key", nil, g.load(7))
		gone <- err
	}()
	<-g.entered
	end()
	require.ErrorIs(t, <-gone, context.Canceled)
}

func TestDropWhileLoading(t *testing.T) {
	t.Parallel()
	for name, drop := range map[string]func(*cache.Cache[string, int]){
		"Drop":     func(c *cache.Cache[string, int]) { c.Drop("key") },
		"DropFunc": func(c *cache.Cache[string, int]) { c.DropFunc(func(string, int) bool { return true }) },
		"Clear":    func(c *cache.Cache[string, int]) { c.Clear() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, old := cache.New[string, int](cache.Options[int]{}), newGate()
			waiting := make(chan int)
			go func() {
				value, _ := c.Get(t.Context(), "key", nil, old.load(1))
				waiting <- value
			}()
			<-old.entered
			drop(c)
			assert.Equal(t, 2, get(t, c, nil, func(context.Context) (int, error) { return 2, nil }), "a later caller does not join the old load")
			close(old.opened)
			assert.Equal(t, 1, <-waiting, "the old load serves those who waited for it")
			assert.Equal(t, 2, get(t, c, nil, nil), "the old load replaces nothing")
		})
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	c := cache.New[string, int](cache.Options[int]{})
	one := func(context.Context) (int, error) { return 1, nil }
	get(t, c, nil, one)
	get(t, c, nil, one)
	get(t, c, func(int) cache.State { return cache.Stale }, one)
	get(t, c, func(int) cache.State { return cache.Expired }, one)
	c.Peek("key")
	assert.Equal(t, cache.Stats{Hits: 2, Misses: 2, Entries: 1}, c.Stats())
	c.Clear()
	assert.Equal(t, cache.Stats{Hits: 2, Misses: 2}, c.Stats(), "what was counted stays")
	assert.Equal(t, cache.Stats{Hits: 4, Misses: 4}, c.Stats().Add(c.Stats()))
}
