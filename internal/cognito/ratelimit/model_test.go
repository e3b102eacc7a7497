// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package ratelimit_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// step is one thing that happens in a history.
type step struct {
	after time.Duration // since the step before
	class ratelimit.Class
	// calls are made one after the other, each in one category.
	calls []string
	// reserves makes the calls under a reservation.
	reserves bool
	// pause is between two calls.
	pause time.Duration
	// patience is when the caller goes away; 0 is never.
	patience time.Duration
	// repeats is how often the last call is made again.
	repeats int
	// rates, when set, are the whole step.
	rates map[string]float64
}

func (s step) String() string {
	if s.rates != nil {
		return fmt.Sprintf("after %s set rates %v", s.after, s.rates)
	}
	return fmt.Sprintf("after %s class %d calls %s reserves=%t pause=%s patience=%s repeats=%d",
		s.after, s.class, strings.Join(s.calls, ","), s.reserves, s.pause, s.patience, s.repeats)
}

var categories = []string{"a", "b"}

func drawRates(t *rapid.T) map[string]float64 {
	rates := map[string]float64{}
	for _, category := range categories {
		rates[category] = rapid.SampledFrom([]float64{0.5, 1, 2.5, 7, 12.5, 30}).Draw(t, "rate of "+category)
	}
	return rates
}

func drawMillis(t *rapid.T, most int, label string) time.Duration {
	return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Millisecond
}

func drawStep(t *rapid.T) step {
	s := step{after: drawMillis(t, 400, "after")}
	if rapid.IntRange(0, 30).Draw(t, "changes rates") == 30 {
		s.rates = drawRates(t)
		return s
	}
	s.class = ratelimit.Class(rapid.IntRange(0, 2).Draw(t, "class"))
	s.calls = rapid.SliceOfN(rapid.SampledFrom(categories), 1, 4).Draw(t, "calls")
	s.reserves = rapid.Bool().Draw(t, "reserves")
	s.pause = drawMillis(t, 700, "pause")
	if rapid.Bool().Draw(t, "goes away") {
		s.patience = drawMillis(t, 9000, "patience") + time.Millisecond
	}
	s.repeats = rapid.IntRange(0, 1).Draw(t, "repeats")
	return s
}

// request is the life of one request in a history. Times are since its begin.
type request struct {
	category string
	class    ratelimit.Class
	// place is when it got its place in the queue, and ready when it began to wait.
	place, ready, end time.Duration
	served            bool
}

// history runs steps against Limiters.
type history struct {
	limiters *ratelimit.Limiters
	began    time.Time
	mu       sync.Mutex
	requests []request
}

func run(t *testing.T, rates map[string]float64, steps []step) []request {
	t.Helper()
	h := &history{}
	synctest.Test(t, func(t *testing.T) {
		h.limiters, h.began = newLimiters(rates), time.Now()
		var work sync.WaitGroup
		for _, s := range steps {
			<-time.After(s.after)
			if s.rates != nil {
				h.limiters.SetRates(s.rates)
				continue
			}
			work.Go(func() { h.work(t.Context(), s) })
		}
		work.Wait()
	})
	return h.requests
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) work(ctx context.Context, s step) {
	ctx = ratelimit.WithClass(ctx, s.class)
	if s.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.patience)
		defer cancel()
	}
	place := time.Duration(-1)
	if s.reserves {
		place = h.now()
		needs := map[string]int{}
		for _, category := range s.calls {
			needs[category]++
		}
		slots, err := h.limiters.Reserve(ctx, "account", needs)
		if err != nil {
			return
		}
		defer slots.Release()
		ctx = slots.Use(ctx)
	}
	for _, category := range append(s.calls, slices.Repeat(s.calls[:1], s.repeats)...) {
		if !h.call(ctx, s.class, category, place) {
			return
		}
		<-time.After(s.pause)
	}
}

func (h *history) call(ctx context.Context, class ratelimit.Class, category string, place time.Duration) bool {
	r := request{category: category, class: class, place: place, ready: h.now()}
	if place < 0 {
		r.place = r.ready
	}
	r.served = h.limiters.Wait(ctx, "account", category) == nil
	r.end = h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests = append(h.requests, r)
	return r.served
}

// TestModel runs random histories and checks the invariants of the package.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rates := drawRates(rt)
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		requests := run(t, rates, steps)
		for _, category := range categories {
			of := slices.DeleteFunc(slices.Clone(requests), func(r request) bool { return r.category != category })
			slowest, fastest := rateBounds(rates, steps, category)
			for _, check := range []error{
				checkWindows(of, fastest), checkOrder(of), checkNoneLost(of, slowest), checkShares(of),
			} {
				if check != nil {
					rt.Fatalf("category %s: %v", category, check)
				}
			}
		}
	})
}

func rateBounds(rates map[string]float64, steps []step, category string) (slowest, fastest float64) {
	slowest, fastest = rates[category], rates[category]
	for _, s := range steps {
		if rate, changed := s.rates[category]; changed {
			slowest, fastest = min(slowest, rate), max(fastest, rate)
		}
	}
	return slowest, fastest
}

func served(requests []request) []request {
	list := slices.DeleteFunc(slices.Clone(requests), func(r request) bool { return !r.served })
	slices.SortFunc(list, func(a, b request) int { return int(a.end - b.end) })
	return list
}

// checkWindows finds a period with more slots than the rate and the burst allow.
func checkWindows(requests []request, rate float64) error {
	list, burst := served(requests), math.Ceil(max(1, rate/2))
	for i := range list {
		for j := i; j < len(list); j++ {
			period := (list[j].end - list[i].end).Seconds()
			if n := float64(j - i + 1); n > burst+period*rate+1e-6 {
				return fmt.Errorf("%g slots in %gs at %g per second", n, period, rate)
			}
		}
	}
	return nil
}

// checkOrder finds a request that overtook another one of its class.
func checkOrder(requests []request) error {
	for _, first := range requests {
		for _, later := range requests {
			waited := first.ready < later.end && later.end < first.end
			if later.served && first.class == later.class && first.place < later.place && waited {
				return fmt.Errorf("%+v was overtaken by %+v", first, later)
			}
		}
	}
	return nil
}

// checkNoneLost finds a time in which requests waited and fewer slots were
// given out than the rate allows.
func checkNoneLost(requests []request, rate float64) error {
	list := slices.SortedFunc(slices.Values(requests), func(a, b request) int { return int(a.ready - b.ready) })
	for i := 0; i < len(list); {
		begin, end := list[i].ready, list[i].end
		for ; i < len(list) && list[i].ready <= end; i++ {
			end = max(end, list[i].end)
		}
		slots := 0
		for _, r := range requests {
			if r.served && begin <= r.end && r.end <= end {
				slots++
			}
		}
		if due := math.Floor((end-begin).Seconds()*rate - 1e-3); float64(slots) < due {
			return fmt.Errorf("%d slots from %s to %s at %g per second", slots, begin, end, rate)
		}
	}
	return nil
}

// costs are what a slot costs a class, by its documented weight.
var costs = map[ratelimit.Class]float64{ratelimit.Request: 1, ratelimit.Revocation: 1, ratelimit.Background: 4}

// checkShares finds a time in which two classes waited and one had more than
// its share.
func checkShares(requests []request) error {
	for one := range costs {
		for other := range costs {
			if one >= other {
				continue
			}
			for _, period := range bothWait(requests, one, other) {
				had := map[ratelimit.Class]float64{}
				for _, r := range requests {
					if r.served && period[0] < r.end && r.end < period[1] {
						had[r.class] += costs[r.class]
					}
				}
				if most := costs[one] + costs[other]; math.Abs(had[one]-had[other]) > most {
					return fmt.Errorf("from %s to %s class %d had %g and class %d had %g", period[0], period[1], one, had[one], other, had[other])
				}
			}
		}
	}
	return nil
}

// bothWait returns the periods in which both classes have waiting requests.
func bothWait(requests []request, one, other ratelimit.Class) (periods [][2]time.Duration) {
	for _, a := range waits(requests, one) {
		for _, b := range waits(requests, other) {
			if begin, end := max(a[0], b[0]), min(a[1], b[1]); begin < end {
				periods = append(periods, [2]time.Duration{begin, end})
			}
		}
	}
	return periods
}

// waits returns the periods in which a class has a waiting request.
func waits(requests []request, class ratelimit.Class) (periods [][2]time.Duration) {
	list := slices.DeleteFunc(slices.Clone(requests), func(r request) bool { return r.class != class })
	slices.SortFunc(list, func(a, b request) int { return int(a.ready - b.ready) })
	for _, r := range list {
		if n := len(periods); n > 0 && r.ready < periods[n-1][1] {
			periods[n-1][1] = max(periods[n-1][1], r.end)
			continue
		}
		periods = append(periods, [2]time.Duration{r.ready, r.end})
	}
	return periods
}
