// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// What Vault does with leases that have ended, as its expiration manager has it.
const (
	// revocationWorkers is the share of Vault's 200 workers that the leases of one mount may hold.
	revocationWorkers = 180
	// revocationDeadline is for one attempt; what waits for a worker is in none.
	revocationDeadline = 90 * time.Second
	// revocationAttempts are made before Vault calls a lease irrevocable.
	revocationAttempts = 6
	// revocationBackoff is doubled by every attempt, and then varied by half.
	revocationBackoff = 10 * time.Second
)

// longestPause is what Vault waits before the last attempt, at the most.
const longestPause = revocationBackoff << (revocationAttempts - 1) * 3 / 2

const (
	// answerTime is how long AWS takes for a call.
	answerTime = 100 * time.Millisecond
	// createDeadline is how long the making of a user may take.
	createDeadline = 90 * time.Second
	// createGroups is how many groups a user joins, all at once.
	createGroups = 2
)

// storm is leases that all end at once, under the limits of one mount.
type storm struct {
	leases int
	// perSecond is the mount's limit on UserUpdate, which deletions and joined groups share.
	perSecond float64
	// callsEach is how many calls end one user.
	callsEach int
	// creators make users meanwhile, one after the other, and rotators make calls in the
	// background.
	creators, rotators int

	limiters *ratelimit.Limiters
	random   *rand.Rand
	mu       sync.Mutex
	result   stormResult
}

// stormResult is what happened in a storm.
type stormResult struct {
	attempts, irrevocable  int
	created, createsFailed int
	rotated                int
	slowestCreate          time.Duration
	took                   time.Duration
}

// run runs the storm on a fake clock.
func (s *storm) run(t *testing.T) stormResult {
	t.Helper()
	s.limiters = &ratelimit.Limiters{}
	s.limiters.SetRates(map[string]float64{userUpdate: s.perSecond})
	seed := rand.Uint64()
	s.random = rand.New(rand.NewPCG(seed, 0))
	t.Log("seed", seed)
	began := time.Now()
	over := make(chan struct{})
	var creators sync.WaitGroup
	for range s.creators {
		creators.Go(func() { s.create(over) })
	}
	for range s.rotators {
		creators.Go(func() { s.rotate(over) })
	}
	s.revokeAll()
	s.result.took = time.Since(began)
	close(over)
	creators.Wait()
	return s.result
}

// revokeAll does as Vault does: a queue, a number of workers, and another attempt later for what
// failed.
func (s *storm) revokeAll() {
	queue := make(chan int, s.leases)
	for range s.leases {
		queue <- 0
	}
	var unsettled atomic.Int64
	unsettled.Store(int64(s.leases))
	settle := func() {
		if unsettled.Add(-1) == 0 {
			close(queue)
		}
	}
	var workers sync.WaitGroup
	for range revocationWorkers {
		workers.Go(func() {
			for failed := range queue {
				if again := s.attempt(failed + 1); again == 0 {
					settle()
				} else {
					time.AfterFunc(again, func() { queue <- failed + 1 })
				}
			}
		})
	}
	workers.Wait()
}

// attempt gives the time until the next one, or 0 when there is none.
func (s *storm) attempt(nth int) time.Duration {
	err := s.revoke()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.attempts = max(s.result.attempts, nth)
	switch {
	case err == nil:
		return 0
	case nth == revocationAttempts:
		s.result.irrevocable++
		return 0
	default:
		return time.Duration(float64(revocationBackoff<<nth) * (0.5 + s.random.Float64()))
	}
}

func (s *storm) revoke() error {
	ctx, cancel := context.WithTimeout(ratelimit.WithClass(context.Background(), ratelimit.Revocation), revocationDeadline)
	defer cancel()
	for range s.callsEach {
		if err := s.call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// call is one call to AWS: a slot, and then a response that comes in time or not.
func (s *storm) call(ctx context.Context) error {
	if err := s.limiters.Wait(ctx, "account", userUpdate); err != nil {
		return err
	}
	if !wait(ctx, answerTime) {
		return ctx.Err()
	}
	return nil
}

func (s *storm) create(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Second):
			s.createOne()
		}
	}
}

func (s *storm) createOne() {
	ctx, cancel := context.WithTimeout(context.Background(), createDeadline)
	defer cancel()
	began := time.Now()
	err := s.joinGroups(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result.created++
	if err != nil {
		s.result.createsFailed++
	}
	s.result.slowestCreate = max(s.result.slowestCreate, time.Since(began))
}

// rotate makes one call after the other in the background.
func (s *storm) rotate(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
			ctx, cancel := context.WithTimeout(ratelimit.WithClass(context.Background(), ratelimit.Background), createDeadline)
			if s.call(ctx) == nil {
				s.mu.Lock()
				s.result.rotated++
				s.mu.Unlock()
			}
			cancel()
		}
	}
}

func (s *storm) joinGroups(ctx context.Context) error {
	slots, err := s.limiters.Reserve(ctx, "account", map[string]int{userUpdate: createGroups})
	if err != nil {
		return err
	}
	defer slots.Release()
	work := newSiblings(slots.Use(ctx))
	for range createGroups {
		work.run(s.call)
	}
	return work.wait()
}

// TestStorms lets all of Vault's workers meet the limits of a mount, as they do when many leases
// end at once. Nothing is scaled down, because the clock is a fake one. No attempt fails, so that
// no lease comes nearer to being irrevocable, and users are created meanwhile as fast as half of
// the slots allow.
func TestStorms(t *testing.T) {
	for name, c := range map[string]struct {
		storm *storm
		// took is the number of slots by the limit, and twice that when creates take every other
		// slot.
		took time.Duration
	}{
		"revocations alone":                   {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1}, 160 * time.Second},
		"one user after the other is created": {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1, creators: 1}, 184 * time.Second},
		"many users are created":              {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1, creators: 100}, 320 * time.Second},
		"users are created and roles rotate":  {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1, creators: 100, rotators: 8}, 360 * time.Second},
		"roles rotate, at the lowest limit":   {&storm{leases: 2_000, perSecond: 5, callsEach: 1, creators: 50, rotators: 8}, 900 * time.Second},
		"five times as many leases":           {&storm{leases: 10_000, perSecond: 12.5, callsEach: 1, creators: 20}, 1_600 * time.Second},
		"25 times as many leases":             {&storm{leases: 50_000, perSecond: 12.5, callsEach: 1}, 4_000 * time.Second},
		"all of AWS's quota":                  {&storm{leases: 10_000, perSecond: 25, callsEach: 1, creators: 20}, 800 * time.Second},
		"users that are disabled":             {&storm{leases: 2_000, perSecond: 12.5, callsEach: 2, creators: 20}, 640 * time.Second},
		"the lowest limit that is safe":       {&storm{leases: 2_000, perSecond: 5, callsEach: 1, creators: 20}, 800 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result := c.storm.run(t)
				require.Equal(t, 1, result.attempts)
				require.Zero(t, result.irrevocable)
				require.Zero(t, result.createsFailed)
				require.GreaterOrEqual(t, result.rotated*5, min(c.storm.rotators, 1)*c.storm.leases, "background work has a quarter of the slots of revocations, or nearly")
				require.InEpsilon(t, c.took, result.took, 0.02)
				require.LessOrEqual(t, result.slowestCreate, c.storm.slowestFairCreate())
			})
		})
	}
}

// slowestFairCreate is how long a user takes at most if every second slot is for creates: its last
// group waits for all groups of all others.
func (s *storm) slowestFairCreate() time.Duration {
	slots := float64(2 * createGroups * s.creators)
	if s.rotators > 0 {
		slots *= 9.0 / 8
	}
	return time.Duration(slots/s.perSecond*float64(time.Second)) + answerTime
}

// TestStormsUnderLowLimits has limits under which Vault's workers cannot all have a slot within the
// time of an attempt. Attempts fail then, but no slot is lost: what takes longer is Vault's pause
// before the last attempt, and at most one lease in a hundred fails so often that Vault gives up on
// it.
func TestStormsUnderLowLimits(t *testing.T) {
	for name, c := range map[string]struct {
		storm *storm
		took  time.Duration
	}{
		"users are created meanwhile": {&storm{leases: 2_000, perSecond: 3, callsEach: 1, creators: 20}, 1_333 * time.Second},
		"revocations alone":           {&storm{leases: 2_000, perSecond: 1, callsEach: 1}, 2_000 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				result := c.storm.run(t)
				require.Greater(t, result.attempts, 1)
				require.LessOrEqual(t, result.irrevocable, c.storm.leases/100)
				require.Zero(t, result.createsFailed)
				require.Less(t, result.took, c.took+longestPause)
			})
		})
	}
}
