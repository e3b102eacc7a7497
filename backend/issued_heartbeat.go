// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	heartbeatStoragePath = issuedStoragePrefix + "heartbeat"

	// heartbeatGap is the longest pause between two ticks of one process that does not end a watch.
	heartbeatGap = 5 * time.Minute
	// restartGap is the longest pause between the last heartbeat of a process and the start of the
	// next one that does not end a watch. It is shorter, because another version of the plugin may
	// have run in between.
	restartGap = 2 * time.Minute
	// clockShiftMax is more than any clock is set by, and keeps sums of times from overflowing.
	clockShiftMax = 10 * 365 * 24 * time.Hour
	// clockStep is the least difference between wall clock and monotonic clock that means that the
	// wall clock was set.
	clockStep = time.Minute
)

// heartbeat is stored once a minute while records or library users exist. It means that this
// version of the plugin saw every renewal in the period of its watch, which ends at Last so far.
//
// A watch is a period without a gap between ticks, without another version of the plugin, and
// without a clock that was set. Outside of a watch Vault may have renewed leases without the
// engine's knowledge, and the storage may have been restored from a snapshot.
type heartbeat struct {
	// Watch is the name of the present watch. A record with another name was stored in an earlier
	// one.
	Watch string    `json:"watch"`
	Last  time.Time `json:"last"`
	// ClockShift is how much later by the wall clock leases may end than planned. The clock was set
	// forward, which Vault's timers ignore; or the machine paused, and Vault stored a lease that
	// much later than its object was created. A suspension counts even if the clock was set back
	// right after it, because the lease was stored before that.
	ClockShift time.Duration `json:"clock_shift,omitempty"`
	// Drift is the difference between the clocks that arose since ClockShift was changed.
	Drift time.Duration `json:"drift,omitempty"`
	// MaxTTL is the highest maximum TTL of the mount that was seen while records existed.
	MaxTTL time.Duration `json:"max_ttl,omitempty"`
	// Boot and Elapsed are the monotonic clock at Last, and Suspended is for how long it had stood
	// still. Boot names its starting point.
	Boot      string        `json:"boot,omitempty"`
	Elapsed   time.Duration `json:"elapsed,omitempty"`
	Suspended time.Duration `json:"suspended,omitempty"`
}

// leaseWatch keeps the heartbeat and decides when a watch ends.
type leaseWatch struct {
	now func() time.Time
	// elapsed is a monotonic clock, and boot names its starting point. Processes with the same boot
	// have the same clock, unless boot is empty.
	elapsed func() time.Duration
	boot    string
	// suspended is for how long the monotonic clock stood still since the boot.
	suspended func() time.Duration

	mu sync.Mutex
	// started and ticked are the moments of the start and of the last tick.
	started, ticked moment
	// beat is the present heartbeat; it is empty until it has been loaded.
	beat heartbeat
	// stored is when the heartbeat was stored, or zero if none is stored.
	stored time.Time
}

// moment is one point in time by both clocks.
type moment struct {
	wall                 time.Time
	monotonic, suspended time.Duration
}

func newLeaseWatch(options Options) *leaseWatch {
	w := &leaseWatch{now: options.Now, elapsed: options.Elapsed, boot: options.Boot, suspended: options.Suspended}
	w.started = w.moment()
	w.ticked = w.started
	return w
}

func (w *leaseWatch) moment() moment {
	return moment{w.now().Round(0), w.elapsed(), w.suspended()}
}

// current returns the present heartbeat for a record that is about to be stored. It stores the
// heartbeat if the stored one is too old to continue the watch after a restart.
func (w *leaseWatch) current(ctx context.Context, s logical.Storage) (heartbeat, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.load(ctx, s); err != nil {
		return heartbeat{}, err
	}
	w.advance() // it notices a pause since the last tick
	if w.now().Sub(w.stored).Abs() > restartGap {
		err := w.store(ctx, s)
		return w.beat, err
	}
	return w.beat, nil
}

// tick continues the watch and returns the heartbeat for the records that are read in this tick. It
// stores the heartbeat, or deletes it if neither records nor library users exist.
func (w *leaseWatch) tick(ctx context.Context, s logical.Storage, recordsExist, libraryExists bool, maxTTL time.Duration) (heartbeat, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.load(ctx, s); err != nil {
		return heartbeat{}, err
	}
	w.advance()
	w.beat.MaxTTL = max(w.beat.MaxTTL, maxTTL)
	if !recordsExist {
		w.beat.ClockShift, w.beat.MaxTTL = 0, 0
	}
	change := w.delete
	if recordsExist || libraryExists {
		change = w.store
	}
	err := change(ctx, s)
	return w.beat, err
}

// load reads the heartbeat of the previous process, once. The watch continues if this process
// started soon after that heartbeat.
func (w *leaseWatch) load(ctx context.Context, s logical.Storage) error {
	if w.beat.Watch != "" {
		return nil
	}
	var before heartbeat
	found, err := getJSON(ctx, s, heartbeatStoragePath, &before)
	if err != nil {
		return err
	}
	if found {
		w.stored = before.Last
	}
	if !found || before.Watch == "" {
		before = heartbeat{Watch: newWatchName(), Last: w.started.wall}
	}
	if before.ClockShift < 0 || before.ClockShift > clockShiftMax || before.Drift.Abs() > clockStep {
		before.ClockShift, before.Drift = 0, 0 // it is damaged
	}
	w.beat = before
	w.restartIfInterrupted(w.momentOf(before), w.started, restartGap)
	return nil
}

// momentOf returns the moment of the heartbeat of the previous process. If that process had another
// monotonic clock, the wall clock is used instead.
func (w *leaseWatch) momentOf(before heartbeat) moment {
	if w.boot != "" && before.Boot == w.boot {
		return moment{before.Last, before.Elapsed, before.Suspended}
	}
	return moment{before.Last, w.started.monotonic - w.started.wall.Sub(before.Last), w.started.suspended}
}

// advance begins a new watch if the pause since the last tick was too long.
func (w *leaseWatch) advance() {
	now := w.moment()
	w.restartIfInterrupted(w.ticked, now, heartbeatGap)
	if pause := now.monotonic - w.ticked.monotonic; pause > heartbeatGap {
		w.shift(pause)
	}
	w.ticked = now
}

// restartIfInterrupted begins a new watch if the time between two moments was longer than a gap, or
// if the wall clock was set or the machine was suspended between them.
func (w *leaseWatch) restartIfInterrupted(from, to moment, gap time.Duration) {
	passed, suspended := to.monotonic-from.monotonic, to.suspended-from.suspended
	if suspended < clockStep {
		suspended = 0 // it counts as drift
	}
	w.beat.Drift += to.wall.Sub(from.wall) - passed - suspended
	wasSet := w.beat.Drift.Abs() > clockStep
	if wasSet {
		w.shift(w.beat.Drift)
		w.beat.Drift = 0
	}
	w.shift(suspended) // last, because a clock that was set back later does not undo it
	if wasSet || suspended > 0 || passed.Abs() > gap {
		w.beat.Watch = newWatchName()
	}
}

func (w *leaseWatch) shift(by time.Duration) {
	w.beat.ClockShift = min(max(0, w.beat.ClockShift+by), clockShiftMax)
}

func newWatchName() string { return randomText(8) }

func (w *leaseWatch) store(ctx context.Context, s logical.Storage) error {
	now := w.moment()
	w.beat.Last, w.beat.Boot, w.beat.Elapsed, w.beat.Suspended = now.wall, w.boot, now.monotonic, now.suspended
	if err := putJSON(ctx, s, heartbeatStoragePath, w.beat); err != nil {
		return err
	}
	w.stored = w.beat.Last
	return nil
}

func (w *leaseWatch) delete(ctx context.Context, s logical.Storage) error {
	if w.stored.IsZero() {
		return nil
	}
	if err := s.Delete(ctx, heartbeatStoragePath); err != nil {
		return fmt.Errorf("deleting %q: %w", heartbeatStoragePath, err)
	}
	w.stored = time.Time{}
	return nil
}

// age returns how long ago at least the object of a record was created, whatever the clock was set
// to since.
func (w *leaseWatch) age(r *issuedRecord) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now().Sub(r.Created) - max(0, w.beat.ClockShift-r.ClockShift)
}

// known returns the heartbeat without storing anything.
func (w *leaseWatch) known(ctx context.Context, s logical.Storage) (heartbeat, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.load(ctx, s)
	return w.beat, err
}
