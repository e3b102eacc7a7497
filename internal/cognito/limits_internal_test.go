// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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

// storm is leases that end all at once, under the limits of one mount.
type storm struct {
	leases int
	// perSecond is the mount's limit on UserUpdate, which deletions and joined groups share.
	perSecond float64
	// callsEach is how many calls end one user.
	callsEach int
	// creators make users meanwhile, one after the other.
	creators int

	limits *limits
	random *rand.Rand
	mu     sync.Mutex
	toll   toll
}

// toll is what a storm took.
type toll struct {
	attempts, irrevocable  int
	created, createsFailed int
	slowestCreate          time.Duration
	took                   time.Duration
}

// blow lets the storm pass by. It needs a clock that nobody waits for.
func (s *storm) blow(t *testing.T) toll {
	t.Helper()
	s.limits = newLimits(map[string]float64{userUpdate: s.perSecond}, nil)
	seed := rand.Uint64()
	s.random = rand.New(rand.NewPCG(seed, 0))
	t.Log("seed", seed)
	began := time.Now()
	over := make(chan struct{})
	var creators sync.WaitGroup
	for range s.creators {
		creators.Go(func() { s.create(over) })
	}
	s.revokeAll()
	s.toll.took = time.Since(began)
	close(over)
	creators.Wait()
	return s.toll
}

// revokeAll does as Vault does: a queue, a number of workers, and another attempt later for what failed.
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
	s.toll.attempts = max(s.toll.attempts, nth)
	switch {
	case err == nil:
		return 0
	case nth == revocationAttempts:
		s.toll.irrevocable++
		return 0
	default:
		return time.Duration(float64(revocationBackoff<<nth) * (0.5 + s.random.Float64()))
	}
}

func (s *storm) revoke() error {
	ctx, cancel := context.WithTimeout(ForRevocation(context.Background()), revocationDeadline)
	defer cancel()
	for range s.callsEach {
		if err := s.call(ctx); err != nil {
			return err
		}
	}
	return nil
}

// call is one to AWS: a turn, and then an answer that comes in time or not.
func (s *storm) call(ctx context.Context) error {
	if err := s.limits.wait(ctx, account{}, userUpdate); err != nil {
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
	work, ctx := together(ctx)
	for range createGroups {
		work.Go(func() error { return s.call(ctx) })
	}
	err := work.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toll.created++
	if err != nil {
		s.toll.createsFailed++
	}
	s.toll.slowestCreate = max(s.toll.slowestCreate, time.Since(began))
}

// TestStorms lets all of Vault's workers meet the limits of a mount, as they do when any number of leases ends at
// once. Nothing is scaled down: the clock is a simulated one. No attempt fails, so no lease is nearer to being
// irrevocable after the storm than before it, and users are made meanwhile as fast as half of the turns allow.
func TestStorms(t *testing.T) {
	for name, c := range map[string]struct {
		storm *storm
		// took is the number of turns by the limit, and twice that when every other turn is for somebody else.
		took time.Duration
	}{
		"nobody else asks":                 {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1}, 160 * time.Second},
		"one user after the other is made": {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1, creators: 1}, 180 * time.Second},
		"many users are made":              {&storm{leases: 2_000, perSecond: 12.5, callsEach: 1, creators: 100}, 320 * time.Second},
		"five times as many leases":        {&storm{leases: 10_000, perSecond: 12.5, callsEach: 1, creators: 20}, 1_600 * time.Second},
		"25 times as many leases":          {&storm{leases: 50_000, perSecond: 12.5, callsEach: 1}, 4_000 * time.Second},
		"all of AWS's quota":               {&storm{leases: 10_000, perSecond: 25, callsEach: 1, creators: 20}, 800 * time.Second},
		"users that are disabled":          {&storm{leases: 2_000, perSecond: 12.5, callsEach: 2, creators: 20}, 640 * time.Second},
		"the lowest limit that is safe":    {&storm{leases: 2_000, perSecond: 5, callsEach: 1, creators: 20}, 800 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toll := c.storm.blow(t)
				require.Equal(t, 1, toll.attempts)
				require.Zero(t, toll.irrevocable)
				require.Zero(t, toll.createsFailed)
				require.InEpsilon(t, c.took, toll.took, 0.02)
				require.LessOrEqual(t, toll.slowestCreate, c.storm.slowestFairCreate())
			})
		})
	}
}

// slowestFairCreate is how long a user takes at most when every second turn is for those that are made: the last of
// its groups waits for all groups of all the others.
func (s *storm) slowestFairCreate() time.Duration {
	turns := float64(2 * createGroups * s.creators)
	return time.Duration(turns/s.perSecond*float64(time.Second)) + answerTime
}

// TestStormsUnderLowLimits has limits under which Vault's workers cannot all have a turn within the time of an attempt.
// Attempts fail then, but no turn is lost: what takes longer than the turns is Vault's pause before the last attempt, and
// at most one lease in a hundred fails so often that Vault gives up on it.
func TestStormsUnderLowLimits(t *testing.T) {
	for name, c := range map[string]struct {
		storm *storm
		took  time.Duration
	}{
		"users are made meanwhile": {&storm{leases: 2_000, perSecond: 3, callsEach: 1, creators: 20}, 1_333 * time.Second},
		"nobody else asks":         {&storm{leases: 2_000, perSecond: 1, callsEach: 1}, 2_000 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				toll := c.storm.blow(t)
				require.Greater(t, toll.attempts, 1)
				require.LessOrEqual(t, toll.irrevocable, c.storm.leases/100)
				require.Zero(t, toll.createsFailed)
				require.Less(t, toll.took, c.took+longestPause)
			})
		})
	}
}

// crowd is requests that come at once, and what became of each.
func crowd(b *bucket, n int, contextOf func() (context.Context, context.CancelFunc)) (served, refused []time.Duration) {
	began := time.Now()
	var mu sync.Mutex
	var work sync.WaitGroup
	for range n {
		work.Go(func() {
			ctx, cancel := contextOf()
			defer cancel()
			err := b.wait(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				served = append(served, time.Since(began))
			} else {
				refused = append(refused, time.Since(began))
			}
		})
	}
	work.Wait()
	return served, refused
}

func TestTurnsComeInTimeOrNotAtAll(t *testing.T) {
	within := func(ctx context.Context, limit time.Duration) func() (context.Context, context.CancelFunc) {
		return func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, limit) }
	}

	t.Run("who has no chance is told at once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			served, refused := crowd(newBucket(1), 100, within(t.Context(), 20*time.Second))
			require.Len(t, served, 16, "one at once, and one in each second that leaves time to act")
			require.Equal(t, 15*time.Second, slices.Max(served))
			atOnce := slices.DeleteFunc(refused, func(after time.Duration) bool { return after > 0 })
			require.GreaterOrEqual(t, len(atOnce), 80, "all but those with a chance")
		})
	})

	t.Run("a revocation waits to the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			served, refused := crowd(newBucket(1), 100, within(ForRevocation(t.Context()), 20*time.Second))
			require.Len(t, served, 16)
			require.Equal(t, 15*time.Second, slices.Max(served))
			require.GreaterOrEqual(t, slices.Min(refused), 14*time.Second)
		})
	})

	t.Run("without a limit of time everybody is served", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			endless := func() (context.Context, context.CancelFunc) { return context.WithCancel(t.Context()) }
			served, _ := crowd(newBucket(1), 1_000, endless)
			require.Len(t, served, 1_000)
		})
	})

	t.Run("a short time leaves half of it to act", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			served, _ := crowd(newBucket(1), 10, within(t.Context(), 4*time.Second))
			require.Equal(t, 2*time.Second, slices.Max(served))
		})
	})

	t.Run("who goes away makes room", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBucket(1)
			require.NoError(t, b.wait(t.Context()))
			leaving, leave := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, leave)
			gone := make(chan error)
			go func() { gone <- b.wait(leaving) }()
			synctest.Wait()
			began := time.Now()
			require.NoError(t, b.wait(t.Context()))
			require.ErrorIs(t, <-gone, context.Canceled)
			require.Equal(t, time.Second, time.Since(began), "the turn of the one that left")
		})
	})
}
