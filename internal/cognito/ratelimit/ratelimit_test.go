// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

func newLimiters(rates map[string]float64) *ratelimit.Limiters {
	l := &ratelimit.Limiters{}
	l.SetRates(rates)
	return l
}

// result is what became of requests that were made at once.
type result struct {
	mu              sync.Mutex
	served, refused []time.Duration
}

func (r *result) note(began time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.served = append(r.served, time.Since(began))
	} else {
		r.refused = append(r.refused, time.Since(began))
	}
}

// crowd makes n requests at once.
func crowd(n int, request func() error) *result {
	began, r := time.Now(), &result{}
	var work sync.WaitGroup
	for range n {
		work.Go(func() { r.note(began, request()) })
	}
	work.Wait()
	return r
}

func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// leaving is the context of a caller that goes away after the first look at it.
type leaving struct {
	context.Context
	seen bool
}

func (l *leaving) Err() error {
	if !l.seen {
		l.seen = true
		return nil
	}
	return context.Canceled
}

func TestWait(t *testing.T) {
	bubble(t, "half a second's worth of slots is free at once", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 10})
		r := crowd(7, func() error { return l.Wait(t.Context(), "a", "c") })
		require.Len(t, r.served, 7)
		assert.Equal(t, []time.Duration{0, 0, 0, 0, 0, 100 * time.Millisecond, 200 * time.Millisecond}, r.served)
	})

	bubble(t, "a category without a limit has no queue", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		assert.Len(t, crowd(1000, func() error { return l.Wait(t.Context(), "a", "other") }).served, 1000)
	})

	bubble(t, "each account has queues of its own", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		began := time.Now()
		require.NoError(t, l.Wait(t.Context(), "b", "c"))
		assert.Zero(t, time.Since(began))
	})

	bubble(t, "a request waits while it has time to use the slot, and learns when to try again", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 0.1})
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		began := time.Now()
		err := l.Wait(ctx, "a", "c")
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited)
		assert.Equal(t, ratelimit.Error{Category: "c", Rate: 0.1, RetryAfter: 6 * time.Second}, *limited)
		assert.ErrorContains(t, err, "try again in 6s")
		assert.Equal(t, 4*time.Second, time.Since(began))
	})

	bubble(t, "a caller that goes away leaves its slot to the next one", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		leaving, leave := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, leave)
		gone := make(chan error)
		go func() { gone <- l.Wait(leaving, "a", "c") }()
		synctest.Wait()
		began := time.Now()
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		require.ErrorIs(t, <-gone, context.Canceled)
		assert.Equal(t, time.Second, time.Since(began))
	})

	bubble(t, "a slot that comes at the moment when its caller goes away is passed on", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		require.ErrorIs(t, l.Wait(&leaving{Context: t.Context()}, "a", "c"), context.Canceled)
		began := time.Now()
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		assert.Zero(t, time.Since(began))
	})

	bubble(t, "a raised limit wakes those who wait", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 0.001})
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		time.AfterFunc(time.Second, func() { l.SetRates(map[string]float64{"c": 10}) })
		began := time.Now()
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		assert.LessOrEqual(t, time.Since(began), 1100*time.Millisecond)
	})

	bubble(t, "a lowered limit holds for those who wait", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 10})
		time.AfterFunc(50*time.Millisecond, func() { l.SetRates(map[string]float64{"c": 1}) })
		r := crowd(8, func() error { return l.Wait(t.Context(), "a", "c") })
		assert.Equal(t, 2550*time.Millisecond, r.served[7])
	})

	bubble(t, "an absurdly low limit overflows nothing", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1e-300})
		require.NoError(t, l.Wait(t.Context(), "a", "c"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.Reserve(ctx, "a", map[string]int{"c": 1000})
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited)
		assert.Greater(t, limited.RetryAfter, 24*time.Hour)
	})
}

func TestClassesShareByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 10})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second-50*time.Millisecond)
		defer cancel()
		counts := make([]int, 3)
		var mu sync.Mutex
		var work sync.WaitGroup
		for class := range counts {
			for range 2_000 {
				work.Go(func() {
					if l.Wait(ratelimit.WithClass(ctx, ratelimit.Class(class)), "a", "c") == nil {
						mu.Lock()
						defer mu.Unlock()
						counts[class]++
					}
				})
			}
		}
		work.Wait()
		require.Equal(t, 5+949, counts[0]+counts[1]+counts[2])
		assert.InDelta(t, 949*4/9, counts[ratelimit.Request], 6)
		assert.InDelta(t, 949*4/9, counts[ratelimit.Revocation], 6)
		assert.InDelta(t, 949/9, counts[ratelimit.Background], 6)
	})
}

var perUser = map[string]int{"create": 1, "password": 1, "update": 2}

// makeUser does as the making of a user: it reserves, and makes its calls in
// order. It reports whether a user was made that could not be finished.
//
// It keeps some of its time for the calls themselves.
func makeUser(ctx context.Context, l *ratelimit.Limiters, latency time.Duration) (halfMade bool, err error) {
	reserveCtx := ctx
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		reserveCtx, cancel = context.WithDeadline(ctx, deadline.Add(-10*time.Second))
		defer cancel()
	}
	slots, err := l.Reserve(reserveCtx, "a", perUser)
	if err != nil {
		return false, err
	}
	defer slots.Release()
	ctx = slots.Use(ctx)
	for i, category := range []string{"create", "password", "update", "update"} {
		if err := l.Wait(ctx, "a", category); err != nil {
			return i > 0, err
		}
		<-time.After(latency)
	}
	return false, nil
}

func TestReserve(t *testing.T) {
	rates := map[string]float64{"create": 25, "password": 15, "update": 12.5}

	for name, latency := range map[string]time.Duration{"a fast AWS": 0, "a slow AWS": 500 * time.Millisecond} {
		bubble(t, "of 1,500 users at once the engine starts as many as it finishes, "+name, func(t *testing.T) {
			l := newLimiters(rates)
			var halfMade sync.Map
			r := crowd(1500, func() error {
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				half, err := makeUser(ctx, l, latency)
				if half {
					halfMade.Store(err, true)
				}
				return err
			})
			halfMade.Range(func(err, _ any) bool { t.Error("a user was left half made:", err); return true })
			assert.InDelta(t, 80*12.5/2, len(r.served), 25)
			for _, after := range r.refused {
				require.Zero(t, after, "those that cannot be served learn it at once")
			}
		})
	}

	bubble(t, "callers that go away early leave no half made users", func(t *testing.T) {
		l := newLimiters(rates)
		var mu sync.Mutex
		halfMade := 0
		r := crowd(500, func() error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			time.AfterFunc(30*time.Second, cancel)
			half, err := makeUser(ctx, l, 50*time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			if half {
				halfMade++
			}
			return err
		})
		assert.InDelta(t, 30*12.5/2, len(r.served), 10)
		assert.LessOrEqual(t, halfMade, 30, "only those whose slots were about to come")
	})

	bubble(t, "a refusal says when to try again", func(t *testing.T) {
		l := newLimiters(map[string]float64{"create": 100, "update": 1})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := l.Reserve(ctx, "a", map[string]int{"create": 1, "update": 31})
		var limited *ratelimit.Error
		require.ErrorAs(t, err, &limited)
		assert.Equal(t, ratelimit.Error{Category: "update", Rate: 1, RetryAfter: 20 * time.Second}, *limited)
	})

	bubble(t, "released slots serve the next one", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		slots, err := l.Reserve(t.Context(), "a", map[string]int{"c": 60})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = l.Reserve(ctx, "a", map[string]int{"c": 1})
		require.Error(t, err)
		time.AfterFunc(5*time.Second, slots.Release)
		began := time.Now()
		_, err = l.Reserve(t.Context(), "a", map[string]int{"c": 1})
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, time.Since(began))
		slots.Release()
	})

	bubble(t, "a reserved slot is not overtaken", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		slots, err := l.Reserve(t.Context(), "a", map[string]int{"c": 2})
		require.NoError(t, err)
		defer slots.Release()
		for range 20 {
			go func() { _ = l.Wait(t.Context(), "a", "c") }()
		}
		synctest.Wait()
		<-time.After(3500 * time.Millisecond)
		began := time.Now()
		require.NoError(t, l.Wait(slots.Use(t.Context()), "a", "c"))
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "the next slot")
		require.NoError(t, l.Wait(slots.Use(t.Context()), "a", "c"))
		require.NoError(t, l.Wait(slots.Use(t.Context()), "a", "c"), "a repeated attempt")
		assert.Equal(t, 2500*time.Millisecond, time.Since(began))
		<-time.After(time.Minute) // the others end
	})

	bubble(t, "those that wait for another category delay no others", func(t *testing.T) {
		l := newLimiters(map[string]float64{"create": 10, "update": 0.1})
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			go func() { _, _ = l.Reserve(ctx, "a", map[string]int{"create": 1, "update": 1}) }()
		}
		synctest.Wait()
		began := time.Now()
		slots, err := l.Reserve(t.Context(), "a", map[string]int{"create": 1})
		require.NoError(t, err)
		require.NoError(t, l.Wait(slots.Use(t.Context()), "a", "create"))
		assert.Zero(t, time.Since(began))
		cancel()
		synctest.Wait()
	})

	bubble(t, "background work is not refused behind a crowd of requests", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 5})
		crowded, end := context.WithCancel(t.Context())
		for range 420 {
			go func() { _, _ = l.Reserve(crowded, "a", map[string]int{"c": 2}) }()
			go func() { _ = l.Wait(crowded, "a", "c") }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(ratelimit.WithClass(t.Context(), ratelimit.Background), 30*time.Second)
		defer cancel()
		began := time.Now()
		slots, err := l.Reserve(ctx, "a", map[string]int{"c": 1})
		require.NoError(t, err)
		require.NoError(t, l.Wait(slots.Use(ctx), "a", "c"))
		assert.Less(t, time.Since(began), 2*time.Second)
		end()
		synctest.Wait()
	})

	bubble(t, "a caller that is gone reserves nothing", func(t *testing.T) {
		l := newLimiters(rates)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := l.Reserve(ctx, "a", perUser)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, l.Wait(ctx, "a", "create"), context.Canceled)
	})
}

func TestMerge(t *testing.T) {
	bubble(t, "an account that becomes known gets no second share", func(t *testing.T) {
		l := newLimiters(map[string]float64{"c": 1})
		served := make(chan time.Time, 40)
		for range 10 {
			for _, account := range []string{"", "111"} {
				go func() {
					if l.Wait(t.Context(), account, "c") == nil {
						served <- time.Now()
					}
				}()
			}
		}
		synctest.Wait()
		reserved := make(chan error)
		go func() {
			slots, err := l.Reserve(t.Context(), "", map[string]int{"c": 1})
			if err == nil {
				defer slots.Release()
				err = l.Wait(slots.Use(t.Context()), "111", "c")
			}
			reserved <- err
		}()
		synctest.Wait()
		began := time.Now()
		l.Merge("", "111")
		l.Merge("", "111")
		l.Merge("111", "111")
		for range 20 {
			<-served
		}
		assert.GreaterOrEqual(t, time.Since(began), 18*time.Second)
		require.NoError(t, <-reserved)
	})
}

func TestErrorsAreTold(t *testing.T) {
	err := error(&ratelimit.Error{Category: "UserUpdate", Rate: 12.5, RetryAfter: 1500 * time.Millisecond})
	var limited *ratelimit.Error
	require.ErrorAs(t, err, &limited)
	assert.Equal(t, "the limit of 12.5 requests per second in category UserUpdate leaves no slot in time: try again in 2s", err.Error())
}

func TestRatesOfAccounts(t *testing.T) {
	rates := map[string]float64{"a": 1, "b": 1}
	// perMinute returns how many requests have their slot within a minute.
	perMinute := func(l *ratelimit.Limiters, account, category string) int {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute+5*time.Second)
		defer cancel()
		return len(crowd(300, func() error { return l.Wait(ctx, account, category) }).served)
	}

	bubble(t, "an account has its own rate, and others have the common one", func(t *testing.T) {
		l := newLimiters(rates)
		l.SetAccountRates("one", map[string]float64{"a": 3})
		assert.InDelta(t, 180, perMinute(l, "one", "a"), 3)
		assert.InDelta(t, 60, perMinute(l, "one", "b"), 2)
		assert.InDelta(t, 60, perMinute(l, "two", "a"), 2)
	})

	bubble(t, "a queue that exists takes the new rate", func(t *testing.T) {
		l := newLimiters(rates)
		require.NoError(t, l.Wait(t.Context(), "one", "a"))
		l.SetAccountRates("one", map[string]float64{"a": 3})
		assert.InDelta(t, 180, perMinute(l, "one", "a"), 3)
	})

	bubble(t, "a fixed rate stays", func(t *testing.T) {
		l := newLimiters(nil)
		l.SetRates(rates, "a")
		l.SetAccountRates("one", map[string]float64{"a": 3, "b": 3})
		assert.InDelta(t, 60, perMinute(l, "one", "a"), 2)
		assert.InDelta(t, 180, perMinute(l, "one", "b"), 3)
	})

	bubble(t, "new rates for all replace those of accounts", func(t *testing.T) {
		l := newLimiters(rates)
		l.SetAccountRates("one", map[string]float64{"a": 3})
		require.NoError(t, l.Wait(t.Context(), "one", "a"))
		l.SetRates(rates)
		assert.InDelta(t, 60, perMinute(l, "one", "a"), 2)
	})

	bubble(t, "a category without a limit gets none", func(t *testing.T) {
		l := newLimiters(rates)
		l.SetAccountRates("one", map[string]float64{"c": 1})
		assert.Equal(t, 300, perMinute(l, "one", "c"))
	})

	bubble(t, "accounts that turn out to be the same keep the rate", func(t *testing.T) {
		l := newLimiters(rates)
		l.SetAccountRates("unnamed", map[string]float64{"a": 3})
		require.NoError(t, l.Wait(t.Context(), "unnamed", "a"))
		require.NoError(t, l.Wait(t.Context(), "one", "a"))
		l.Merge("unnamed", "one")
		assert.InDelta(t, 180, perMinute(l, "one", "a"), 3)
	})

	bubble(t, "the lowest rate of the accounts is told", func(t *testing.T) {
		l := newLimiters(rates)
		assert.Equal(t, rates, l.LowestRates())
		l.SetAccountRates("one", map[string]float64{"a": 5})
		assert.Equal(t, map[string]float64{"a": 5, "b": 1}, l.LowestRates())
		l.SetAccountRates("two", map[string]float64{"a": 3})
		assert.Equal(t, map[string]float64{"a": 3, "b": 1}, l.LowestRates())
	})
}
