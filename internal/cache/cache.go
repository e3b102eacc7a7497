// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package cache keeps loaded values in memory, so that a hot path needs neither storage nor
// network. Everything that the engine caches is in a Cache: roles, connections, client secrets,
// tokens.
//
// Three invariants hold. Concurrent callers of a missing key share one load, which no single caller
// can cancel. A value whose load overlapped a Drop of its key is returned to those who waited for
// it, but never cached, and a Get that starts after the Drop never receives it. A cache with a Size
// never holds more entries than that.
//
// The package imports nothing of this project.
package cache

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// State says what a caller may do with a cached value.
type State int

const (
	// Fresh values are returned.
	Fresh State = iota
	// Stale values are returned, and reloaded in the background.
	Stale
	// Overdue values are reloaded. They are returned if the load fails or takes longer than
	// OverdueWait.
	Overdue
	// Expired values are reloaded before Get returns.
	Expired
)

// Options configure a Cache. The zero value is unbounded and never drops a value by itself.
type Options[V any] struct {
	// Lifetime ends every load. Default: context.Background.
	Lifetime context.Context
	// LoadTimeout bounds one load. Default: one minute.
	LoadTimeout time.Duration
	// OverdueWait is how long after the start of a load a caller with an Overdue value waits for
	// it. Default: callers do not wait.
	OverdueWait time.Duration
	// Size is the largest number of entries. A new entry replaces the least recently used one. 0
	// means no limit.
	Size int
	// Keep reports whether a loaded value may be cached. Default: all values.
	Keep func(V) bool
}

// Cache is a map of values that are loaded when they are first needed. It is safe for concurrent
// use. Cached values are shared and must not be changed.
type Cache[K comparable, V any] struct {
	options Options[V]

	mu      sync.Mutex
	entries *simplelru.LRU[K, V]
	loads   map[K]*loading[V]
	stats   Stats
}

// Stats counts the uses of a cache.
type Stats struct {
	// Hits are calls of Get that returned a cached value, and Misses the others.
	Hits, Misses uint64
	// Entries are the cached values.
	Entries int
}

// Add returns the stats of two caches together.
func (s Stats) Add(other Stats) Stats {
	return Stats{Hits: s.Hits + other.Hits, Misses: s.Misses + other.Misses, Entries: s.Entries + other.Entries}
}

// loading is a load under way. value and err are written before done is closed.
type loading[V any] struct {
	began time.Time
	done  chan struct{}
	value V
	err   error
}

// New returns an empty cache.
func New[K comparable, V any](options Options[V]) *Cache[K, V] {
	if options.Lifetime == nil {
		options.Lifetime = context.Background()
	}
	if options.LoadTimeout <= 0 {
		options.LoadTimeout = time.Minute
	}
	if options.Size <= 0 {
		options.Size = math.MaxInt
	}
	if options.Keep == nil {
		options.Keep = func(V) bool { return true }
	}
	entries, err := simplelru.NewLRU[K, V](options.Size, nil)
	if err != nil {
		panic(err) // only a size that is not positive is an error
	}
	return &Cache[K, V]{options: options, entries: entries, loads: map[K]*loading[V]{}}
}

// Get returns the value of a key. It loads the value if there is none or if state reports that the
// cached one is expired. A nil state treats every cached value as fresh. If ctx ends, Get returns
// its error, and the load continues for other callers.
func (c *Cache[K, V]) Get(ctx context.Context, key K, state func(V) State, load func(context.Context) (V, error)) (V, error) {
	c.mu.Lock()
	value, found := c.entries.Get(key)
	condition := Expired
	if found {
		condition = stateOf(state, value)
	}
	c.stats.count(condition)
	if condition == Fresh {
		c.mu.Unlock()
		return value, nil
	}
	pending := c.start(key, load)
	c.mu.Unlock()
	switch condition {
	case Stale:
		return value, nil
	case Overdue:
		return pending.replacement(ctx, value, c.options.OverdueWait), nil
	default:
		return pending.wait(ctx)
	}
}

// wait returns the result of a load.
func (l *loading[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-l.done:
		return l.value, l.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// replacement returns the loaded value, or the old one if the load fails or takes too long.
func (l *loading[V]) replacement(ctx context.Context, old V, limit time.Duration) V {
	ctx, cancel := context.WithDeadline(ctx, l.began.Add(limit))
	defer cancel()
	if value, err := l.wait(ctx); err == nil {
		return value
	}
	return old
}

// count counts one call of Get.
func (s *Stats) count(condition State) {
	if condition == Expired {
		s.Misses++
		return
	}
	s.Hits++
}

func stateOf[V any](state func(V) State, value V) State {
	if state == nil {
		return Fresh
	}
	return state(value)
}

// start returns the running load of a key, or starts one. The caller holds mu.
func (c *Cache[K, V]) start(key K, load func(context.Context) (V, error)) *loading[V] {
	if pending, found := c.loads[key]; found {
		return pending
	}
	pending := &loading[V]{began: time.Now(), done: make(chan struct{})}
	c.loads[key] = pending
	go c.run(key, pending, load)
	return pending
}

func (c *Cache[K, V]) run(key K, pending *loading[V], load func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(c.options.Lifetime, c.options.LoadTimeout)
	defer cancel()
	defer close(pending.done)
	pending.value, pending.err = load(ctx)

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loads[key] != pending {
		return // the key was dropped meanwhile
	}
	delete(c.loads, key)
	if pending.err == nil && c.options.Keep(pending.value) {
		c.entries.Add(key, pending.value)
	}
}

// Peek returns a cached value without loading it. It does not count as a use.
func (c *Cache[K, V]) Peek(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries.Peek(key)
}

// Update replaces a cached value by the result of change. It does nothing if the key is not cached.
func (c *Cache[K, V]) Update(key K, change func(V) V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value, found := c.entries.Peek(key); found {
		c.entries.Add(key, change(value))
	}
}

// Drop removes a key and returns its value, if it was cached.
func (c *Cache[K, V]) Drop(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	value, found := c.entries.Peek(key)
	c.entries.Remove(key)
	delete(c.loads, key)
	return value, found
}

// DropFunc removes the cached entries that match. It also discards the results of all running
// loads, because these may match.
func (c *Cache[K, V]) DropFunc(match func(K, V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range c.entries.Keys() {
		if value, found := c.entries.Peek(key); found && match(key, value) {
			c.entries.Remove(key)
		}
	}
	clear(c.loads)
}

// Clear removes everything.
func (c *Cache[K, V]) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Purge()
	clear(c.loads)
}

// Stats returns the uses and entries of the cache.
func (c *Cache[K, V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := c.stats
	stats.Entries = c.entries.Len()
	return stats
}

// Len returns the number of cached entries.
func (c *Cache[K, V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries.Len()
}
