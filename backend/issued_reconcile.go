// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// reconcileBudget is how long one tick may end objects, and lastReconcileBudget the last one
	// before an unmount. Vault gives all tasks of a tick 90 seconds together.
	reconcileBudget     = 15 * time.Second
	lastReconcileBudget = 60 * time.Second
	// endTimeout bounds one attempt to end an object.
	endTimeout = 10 * time.Second
	// reconcileRecordsMax is about how many records a tick reads.
	reconcileRecordsMax = 2000
	// parallelEnds share a tick.
	parallelEnds = 8
	// targetFailuresMax is after how many failures in a row a tick leaves a target alone.
	targetFailuresMax = 3

	// defaultCreateGrace is much longer than a request may take.
	defaultCreateGrace = 5 * time.Minute

	// leaseGrace is how long after the longest life of a lease its object is ended: Vault may
	// have stored the lease later than the object was created, by up to a pause that no gap in
	// the heartbeat shows.
	leaseGrace = heartbeatGap + time.Minute

	// shortestRetry and longestRetry bound the pause between two attempts to end an object. Between them
	// it is an eighth of the time since the first one failed.
	shortestRetry = time.Minute
	longestRetry  = time.Hour
	// unreadablePause is how often a record that cannot be read is reported.
	unreadablePause = time.Hour
	// unknownTTLPause is when to look again at a record for which Vault's TTLs are needed and unknown.
	unknownTTLPause = time.Minute
)

// inBackground marks the calls of a context as those of a revocation or of the reconciler, which
// have their own share of the quotas.
func inBackground(ctx context.Context) context.Context {
	return ratelimit.WithClass(ctx, ratelimit.Revocation)
}

// issueLimit bounds the creation of an object.
func (b *backend) issueLimit() time.Duration { return min(issueTimeout, b.createGrace/2) }

// leaseGrace is shorter where tests shorten createGrace.
func (b *backend) leaseGrace() time.Duration { return min(leaseGrace, 2*b.createGrace) }

// reconcile ends the objects that no lease can have any more: on every cluster's active node,
// since records are local. It does a bounded piece of work.
func (b *backend) reconcile(ctx context.Context, req *logical.Request) error {
	r := &reconciliation{b: b, req: req, storage: req.Storage, now: b.now(), targets: map[endTarget]int{}}
	return r.run(ctx)
}

// reconciliation is one tick. Its methods are called in their order.
type reconciliation struct {
	b       *backend
	req     *logical.Request
	storage logical.Storage
	now     time.Time
	beat    heartbeat

	batches []*lookedAt
	// last is set before an unmount: no tick follows.
	last bool

	mu sync.Mutex
	// targets counts the failures in a row of each target.
	targets  map[endTarget]int
	ended    int
	skipped  int
	failures []error
}

// lookedAt is a batch whose records were read.
type lookedAt struct {
	dueBatch
	due []*issuedRecord
	// next is when to look at the batch again, or zero if it has no records.
	next time.Time
}

// endTarget is what fails as a whole: a pool, reached in one way.
type endTarget struct {
	kind recordKind
	place
}

func (r *reconciliation) run(ctx context.Context) error {
	due, anyExist, err := dueBatches(ctx, r.storage, r.now)
	if err != nil {
		return err
	}
	if r.beat, err = r.b.watch.tick(ctx, r.storage, anyExist, r.b.System().MaxLeaseTTL()); err != nil {
		return err
	}
	if err := r.read(ctx, due); err != nil {
		return err
	}
	var lost []*issuedRecord
	for _, batch := range r.batches {
		lost = append(lost, batch.due...)
	}
	r.findLostClients(ctx, lost)
	r.endDue(ctx)
	return errors.Join(r.reindex(ctx), r.report())
}

// read reads the records of batches, until enough are read.
func (r *reconciliation) read(ctx context.Context, due []dueBatch) error {
	count := 0
	for _, batch := range due {
		if count >= reconcileRecordsMax {
			return nil
		}
		looked := &lookedAt{dueBatch: batch}
		// Before it is listed: a batch that is closed by then gets no more records, and the list is complete.
		if r.b.batches.isOpen(batch.batchName, r.now) {
			looked.lookAgain(r.now.Add(r.b.createGrace))
		}
		ids, err := listBatchIDs(ctx, r.storage, batch.batchName)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := r.readRecord(ctx, looked, id); err != nil {
				return err
			}
		}
		r.batches = append(r.batches, looked)
		count += len(ids)
	}
	return nil
}

func (r *reconciliation) readRecord(ctx context.Context, looked *lookedAt, id string) error {
	record, err := getRecord(ctx, r.storage, looked.role, id)
	if err != nil || record == nil {
		return err
	}
	if record.State == stateUnreadable || r.b.issuedEnds[record.Kind] == nil {
		looked.lookAgain(r.now.Add(unreadablePause))
		r.fail(fmt.Errorf("the record %q of role %q is kept, because this version cannot read it: %s",
			id, looked.role, cmp.Or(record.LastError, fmt.Sprintf("its kind %q is unknown", record.Kind))))
		return nil
	}
	if record, err = r.moveDeadline(ctx, record); err != nil || record == nil {
		return err
	}
	if due := r.b.due(record); r.now.Before(due) {
		looked.lookAgain(due)
		return nil
	}
	looked.due = append(looked.due, record)
	return nil
}

// moveDeadline moves the deadline of a record and returns the record as it is stored then, or
// nil if it is gone. It reads the record again under its lock, so that no renewal is lost.
func (r *reconciliation) moveDeadline(ctx context.Context, record *issuedRecord) (*issuedRecord, error) {
	if moved, err := r.b.moveDeadline(ctx, r.storage, record, r.beat); err != nil || !moved {
		return record, err
	}
	unlock, err := r.b.recordLocks.lock(ctx, record.key())
	if err != nil {
		return nil, err
	}
	defer unlock()
	record, err = getRecord(ctx, r.storage, record.Role, record.ID)
	if err != nil || record == nil || record.State == stateUnreadable {
		return nil, err
	}
	moved, err := r.b.moveDeadline(ctx, r.storage, record, r.beat)
	if err != nil || !moved {
		return record, err
	}
	return record, r.b.putRecord(ctx, r.storage, record)
}

func (l *lookedAt) lookAgain(at time.Time) {
	if l.next.IsZero() || at.Before(l.next) {
		l.next = at
	}
}

// endDue ends what is due, in random order, so that a pool that is out of reach does not keep
// the objects of the others waiting for ever.
func (r *reconciliation) endDue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(inBackground(ctx), reconcileBudget)
	defer cancel()
	type item struct {
		batch  *lookedAt
		record *issuedRecord
	}
	var items []item
	for _, batch := range r.batches {
		for _, record := range batch.due {
			items = append(items, item{batch, record})
		}
	}
	rand.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] }) //nolint:gosec // an order is no secret
	var group errgroup.Group
	group.SetLimit(parallelEnds)
	for _, item := range items {
		group.Go(func() error {
			again := r.end(ctx, item.record)
			r.mu.Lock()
			defer r.mu.Unlock()
			if !again.IsZero() {
				item.batch.lookAgain(again)
			}
			return nil
		})
	}
	_ = group.Wait() // failures are collected
}

// end ends one object, and returns when to look at it again, or zero if it is gone.
func (r *reconciliation) end(ctx context.Context, record *issuedRecord) time.Time {
	target := endTarget{record.Kind, record.place}
	if ctx.Err() != nil || r.isFailing(target) {
		r.skip()
		return r.now.Add(shortestRetry)
	}
	unlock, locked := r.lock(ctx, record)
	if !locked {
		return r.now.Add(shortestRetry)
	}
	defer unlock()
	// It may have changed while it was not locked.
	found, err := getRecord(ctx, r.storage, record.Role, record.ID)
	if err == nil && found == nil {
		return time.Time{}
	}
	if err == nil && (found.State != record.State || !found.Deadline.Equal(record.Deadline)) {
		return r.now.Add(shortestRetry)
	}
	if err == nil {
		err = r.b.endRecord(ctx, r.req, record)
	}
	return r.recordResult(ctx, target, record, err)
}

// lock locks a record, unless it is being created, renewed or revoked: the next tick comes back
// to it. If no tick follows, lock waits.
func (r *reconciliation) lock(ctx context.Context, record *issuedRecord) (unlock func(), locked bool) {
	if !r.last {
		return r.b.recordLocks.tryLock(record.key())
	}
	unlock, err := r.b.recordLocks.lock(ctx, record.key())
	return unlock, err == nil
}

// recordResult counts the end of one object, and returns when to look at it again.
func (r *reconciliation) recordResult(ctx context.Context, target endTarget, record *issuedRecord, err error) time.Time {
	tried := err == nil || wasTried(ctx, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.b.metrics.reconciled(string(record.Kind), nil)
		r.ended++
		r.targets[target] = 0
		return time.Time{}
	case errors.Is(err, errNotListed):
		return r.now.Add(searchPause(r.b.watch.age(record)))
	case !tried:
		r.skipped++
		r.targets[target] = targetFailuresMax // the others would not be tried either
		return r.now.Add(shortestRetry)
	default:
		r.b.metrics.reconciled(string(record.Kind), err)
		r.targets[target]++
		r.failures = append(r.failures, err)
		return r.now.Add(record.retryPause(r.now))
	}
}

// retryPause grows with the time since the first end that failed.
func (r *issuedRecord) retryPause(now time.Time) time.Duration {
	if r.State != stateEnding {
		return shortestRetry
	}
	return min(max(now.Sub(r.Deadline)/8, shortestRetry), longestRetry)
}

func (r *reconciliation) isFailing(target endTarget) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.targets[target] >= targetFailuresMax
}

func (r *reconciliation) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
}

func (r *reconciliation) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, err)
}

// reindex moves the index entry of each batch to when it is due next. The new one comes first:
// a batch without any would never be looked at.
func (r *reconciliation) reindex(ctx context.Context) error {
	for _, batch := range r.batches {
		if !batch.next.IsZero() {
			key := dueKey(batch.batchName, batch.next)
			if key == batch.entry {
				continue
			}
			if err := putDue(ctx, r.storage, key); err != nil {
				return err
			}
		}
		if err := r.storage.Delete(ctx, batch.entry); err != nil {
			return fmt.Errorf("deleting %q: %w", batch.entry, err)
		}
	}
	return nil
}

// reportedFailures are how many errors a tick names; all others would say the same.
const reportedFailures = 3

// report returns an error, which Vault logs, if ends failed.
func (r *reconciliation) report() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended > 0 {
		r.b.Logger().Info("ended issued objects that no lease can have any more", "ended", r.ended)
	}
	if len(r.failures) == 0 {
		return nil
	}
	first := r.failures[:min(len(r.failures), reportedFailures)]
	return fmt.Errorf("%d issued objects could not be ended, %d were not tried in this tick; see issued/; the first errors: %w",
		len(r.failures), r.skipped, errors.Join(first...))
}

// wasTried reports whether AWS had a part in a failure: the engine's own limits, its budgets
// and the end of a request are no attempt.
func wasTried(ctx context.Context, err error) bool {
	return !cognito.IsOwnLimit(err) && ctx.Err() == nil
}

// endRecord ends the object of a record that is locked, and deletes the record. If the end
// fails, the record says so.
func (b *backend) endRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	attempt, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := b.issuedEnds[r.Kind](attempt, req, r)
	if err == nil {
		return b.dropRecord(ctx, req.Storage, r.Role, r.ID)
	}
	if wasTried(ctx, err) && !errors.Is(err, errNotListed) {
		b.storeFailedEnd(ctx, req.Storage, r, err)
	}
	return err
}

// storeFailedEnd stores why an end failed, unless that is what the record says.
func (b *backend) storeFailedEnd(ctx context.Context, s logical.Storage, r *issuedRecord, failure error) {
	if r.State == stateEnding && r.LastError == failure.Error() {
		return
	}
	changed := *r
	if changed.State != stateEnding {
		changed.Deadline = b.now().Round(0) // which retryPause counts from
	}
	changed.State, changed.LastError, changed.LastAttempt = stateEnding, failure.Error(), b.now().Round(0)
	if err := b.putRecord(ctx, s, &changed); err != nil {
		b.Logger().Warn("the failed end of an issued object could not be stored", "id", r.ID, "error", err)
	}
}

// endAll is the last tick before the mount is unmounted or moved. Nothing is created any more,
// and everything is ended: what Vault may have no lease of first, because Vault revokes the
// rest right after it. Those revocations skip what was ended here.
func (b *backend) endAll(ctx context.Context, req *logical.Request) error {
	ctx, cancel := context.WithTimeout(inBackground(ctx), lastReconcileBudget)
	defer cancel()
	b.creations.stop(ctx)
	records, unreadable, err := readAllRecords(ctx, req.Storage)
	if err != nil {
		return err
	}
	r := &reconciliation{b: b, req: req, storage: req.Storage, now: b.now(), targets: map[endTarget]int{}, failures: unreadable, last: true}
	r.findLostClients(ctx, records)
	for _, unconfirmed := range []bool{true, false} {
		var group errgroup.Group
		group.SetLimit(parallelEnds)
		for _, record := range records {
			if record.isUnconfirmed() == unconfirmed && b.issuedEnds[record.Kind] != nil {
				group.Go(func() error { r.endForUnmount(ctx, record); return nil })
			}
		}
		_ = group.Wait() // failures are collected
	}
	r.searchAgain(ctx, records)
	if r.skipped > 0 {
		b.Logger().Warn("the mount goes before all its objects were ended; those without a lease stay at Cognito", "objects", r.skipped)
	}
	return r.report()
}

func (r *reconciliation) endForUnmount(ctx context.Context, record *issuedRecord) {
	if r.end(ctx, record).IsZero() {
		r.b.endedBeforeUnmount.Store(record.key(), true)
	}
}

func readAllRecords(ctx context.Context, s logical.Storage) (records []*issuedRecord, unreadable []error, err error) {
	roles, err := listRecordRoles(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	for _, role := range roles {
		ids, err := listRecordIDs(ctx, s, role)
		if err != nil {
			return nil, nil, err
		}
		for _, id := range ids {
			record, err := getRecord(ctx, s, role, id)
			switch {
			case err != nil:
				return nil, nil, err
			case record == nil:
			case record.State == stateUnreadable:
				unreadable = append(unreadable, fmt.Errorf("the record %q of role %q cannot be read: %s", id, role, record.LastError))
			default:
				records = append(records, record)
			}
		}
	}
	return records, unreadable, nil
}

// confirmRecord stores that a renewal proved the lease of a locked record, and until when there
// can be one. It stores the given record if there is none.
func (b *backend) confirmRecord(ctx context.Context, s logical.Storage, lost *issuedRecord, times leaseTimes) error {
	record, err := getRecord(ctx, s, lost.Role, lost.ID)
	switch {
	case err != nil:
		return err
	case record == nil:
		return b.adoptRecord(ctx, s, lost, times)
	case record.State == stateUnreadable:
		return nil // it is kept as it is, and never ended by this version
	}
	before := *record
	record.State, record.LastError, record.LastAttempt = stateConfirmed, "", time.Time{}
	if before.State == stateEnding {
		record.Deadline = time.Time{} // it was that of the attempt
	}
	b.extendDeadline(record, times.longest)
	if reflect.DeepEqual(*record, before) {
		return nil
	}
	return b.putRecord(ctx, s, record)
}

// adoptRecord stores a record for a lease without one. Its index entry comes first.
func (b *backend) adoptRecord(ctx context.Context, s logical.Storage, record *issuedRecord, times leaseTimes) error {
	beat, err := b.watch.current(ctx, s)
	if err != nil {
		return err
	}
	record.State, record.Watch, record.ClockShift = stateConfirmed, beat.Watch, beat.ClockShift
	b.extendDeadline(record, times.longest)
	if err := putDue(ctx, s, dueKey(record.batch(), b.due(record))); err != nil {
		return err
	}
	if err := b.putRecord(ctx, s, record); err != nil {
		return err
	}
	b.issuedCounts.add(record.Role, record.ID)
	return nil
}

// hastenEnd lets the reconciler repeat an end that a revocation failed at: Vault gives up after
// a few attempts.
func (b *backend) hastenEnd(ctx context.Context, s logical.Storage, role, id string, failure error) {
	if !wasTried(ctx, failure) {
		return
	}
	record, err := getRecord(ctx, s, role, id)
	if err != nil || record == nil || record.State == stateUnreadable || record.State == stateEnding {
		return
	}
	if err := putDue(ctx, s, dueKey(record.batch(), b.now().Add(shortestRetry))); err != nil {
		return // it is ended at its deadline
	}
	b.storeFailedEnd(ctx, s, record, failure)
}
