// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// reconcileBudget is how long one tick may end objects, and lastReconcileBudget how long the
	// last tick before an unmount may. Vault gives all tasks of a tick 90 seconds together.
	reconcileBudget     = 15 * time.Second
	lastReconcileBudget = 60 * time.Second
	// endTimeout bounds one attempt to end an object.
	endTimeout = 10 * time.Second
	// reconcileRecordsMax is about how many records a tick reads.
	reconcileRecordsMax = 2000
	// parallelEnds is how many objects a tick ends at a time.
	parallelEnds = 8
	// targetFailuresMax is after how many failures in a row a tick skips a target.
	targetFailuresMax = 3

	// defaultCreateGrace is much longer than a request may take.
	defaultCreateGrace = 5 * time.Minute

	// leaseGrace is how long after the end of a lease its object is ended. Vault may have stored
	// the lease later than the object was created: a pause of up to heartbeatGap is not noticed.
	leaseGrace = heartbeatGap + time.Minute

	// shortestRetry and longestRetry bound the pause between two attempts to end an object. Within
	// these bounds it is an eighth of the time since the first attempt failed.
	shortestRetry = time.Minute
	longestRetry  = time.Hour
	// unreadablePause is how often a record that cannot be read is reported.
	unreadablePause = time.Hour
	// unknownTTLPause is the pause before a record is read again whose deadline depends on the
	// mount's maximum TTL, if that cannot be read from Vault.
	unknownTTLPause = time.Minute
)

// inBackground returns a context whose calls to AWS use the share of the quotas that revocations
// and the reconciler have.
func inBackground(ctx context.Context) context.Context {
	return ratelimit.WithClass(ctx, ratelimit.Revocation)
}

// issueLimit bounds the creation of an object.
func (b *backend) issueLimit() time.Duration { return min(issueTimeout, b.createGrace/2) }

// leaseGrace returns leaseGrace, or less in tests, which shorten createGrace.
func (b *backend) leaseGrace() time.Duration { return min(leaseGrace, 2*b.createGrace) }

// reconcile ends the objects whose lease cannot exist any more. It runs on the active node of every
// cluster, because records are local, and does a bounded amount of work.
func (b *backend) reconcile(ctx context.Context, req *logical.Request) error {
	r := &reconciliation{b: b, req: req, storage: req.Storage, now: b.now(), failuresInRow: map[endTarget]int{}}
	return r.run(ctx)
}

// reconciliation is one tick of the reconciler: it loads the records of the due batches, ends the
// due objects, and stores when each batch is due next. Its methods are called in their order.
type reconciliation struct {
	b       *backend
	req     *logical.Request
	storage logical.Storage
	now     time.Time
	beat    heartbeat

	batches []*loadedBatch
	// last is set for the tick before an unmount.
	last bool

	mu sync.Mutex
	// failuresInRow counts the failures of each target since its last success.
	failuresInRow map[endTarget]int
	ended         int
	skipped       int
	failures      []error
}

// loadedBatch is a batch whose records were read, with the records that are due.
type loadedBatch struct {
	dueBatch
	due []*issuedRecord
	// next is when the batch is due again, or zero if it has no records.
	next time.Time
}

// endTarget is a user pool as it is reached for one kind of object. If it fails for a few objects,
// it would fail for all.
type endTarget struct {
	kind recordKind
	place
}

func (r *reconciliation) run(ctx context.Context) error {
	due, anyExist, err := dueBatches(ctx, r.storage, r.now)
	if err != nil {
		return err
	}
	lends, err := r.b.ownsLibraryUsers(ctx, r.storage)
	if err != nil {
		return err
	}
	if r.beat, err = r.b.watch.tick(ctx, r.storage, anyExist, lends, r.b.System().MaxLeaseTTL()); err != nil {
		return err
	}
	if err := r.loadBatches(ctx, due); err != nil {
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

// loadBatches reads the records of due batches, up to about reconcileRecordsMax.
func (r *reconciliation) loadBatches(ctx context.Context, due []dueBatch) error {
	count := 0
	for _, batch := range due {
		if count >= reconcileRecordsMax {
			return nil
		}
		loaded := &loadedBatch{dueBatch: batch}
		// This must precede the list: if the batch is closed now, it gets no more records, and the
		// list is complete.
		if r.b.batches.isOpen(batch.batchName, r.now) {
			loaded.dueAt(r.now.Add(r.b.createGrace))
		}
		ids, err := listBatchIDs(ctx, r.storage, batch.batchName)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := r.loadRecord(ctx, loaded, id); err != nil {
				return err
			}
		}
		r.batches = append(r.batches, loaded)
		count += len(ids)
	}
	return nil
}

func (r *reconciliation) loadRecord(ctx context.Context, loaded *loadedBatch, id string) error {
	record, err := getRecord(ctx, r.storage, loaded.role, id)
	if err != nil || record == nil {
		return err
	}
	if record.State == stateUnreadable || r.b.issuedEnds[record.Kind] == nil {
		loaded.dueAt(r.now.Add(unreadablePause))
		r.addFailure(fmt.Errorf("the record %q of role %q is kept, because this version cannot read it: %s",
			id, loaded.role, cmp.Or(record.LastError, fmt.Sprintf("its kind %q is unknown", record.Kind))))
		return nil
	}
	if record, err = r.updateDeadline(ctx, record); err != nil || record == nil {
		return err
	}
	if due := r.b.dueTime(record); r.now.Before(due) {
		loaded.dueAt(due)
		return nil
	}
	loaded.due = append(loaded.due, record)
	return nil
}

// updateDeadline updates the deadline of a record and returns the record as it is stored then, or
// nil if it is gone. Before a change it reads the record again under its lock, so that no renewal
// is lost.
func (r *reconciliation) updateDeadline(ctx context.Context, record *issuedRecord) (*issuedRecord, error) {
	if moved, err := r.b.updateDeadline(ctx, r.storage, record, r.beat); err != nil || !moved {
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
	moved, err := r.b.updateDeadline(ctx, r.storage, record, r.beat)
	if err != nil || !moved {
		return record, err
	}
	return record, r.b.putRecord(ctx, r.storage, record)
}

// dueAt makes the batch due again at a time, unless it is due earlier.
func (l *loadedBatch) dueAt(at time.Time) {
	if l.next.IsZero() || at.Before(l.next) {
		l.next = at
	}
}

// endDue ends the due objects in random order, so that a pool that cannot be reached does not delay
// the objects of other pools for ever.
func (r *reconciliation) endDue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(inBackground(ctx), reconcileBudget)
	defer cancel()
	type item struct {
		batch  *loadedBatch
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
				item.batch.dueAt(again)
			}
			return nil
		})
	}
	_ = group.Wait() // report returns the failures
}

// end ends one object. It returns when the record is due again, or zero if the object is gone.
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
	// The record may have changed before it was locked.
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
	return r.countEnd(ctx, target, record, err)
}

// lock locks a record. A record that is locked, because its object is being created, renewed or
// revoked, is left to the next tick. The last tick waits for it.
func (r *reconciliation) lock(ctx context.Context, record *issuedRecord) (unlock func(), locked bool) {
	if !r.last {
		return r.b.recordLocks.tryLock(record.key())
	}
	unlock, err := r.b.recordLocks.lock(ctx, record.key())
	return unlock, err == nil
}

// countEnd counts the result of one attempt, and returns when the record is due again, or zero if
// the object is gone.
func (r *reconciliation) countEnd(ctx context.Context, target endTarget, record *issuedRecord, err error) time.Time {
	tried := err == nil || wasTried(ctx, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.b.metrics.reconciled(string(record.Kind), nil)
		r.ended++
		r.failuresInRow[target] = 0
		return time.Time{}
	case errors.Is(err, errNotListed): // a lost app client that Cognito may list later
		return r.now.Add(searchPause(r.b.watch.age(record)))
	case !tried:
		r.skipped++
		r.failuresInRow[target] = targetFailuresMax // the others would not be tried either
		return r.now.Add(shortestRetry)
	default:
		r.b.metrics.reconciled(string(record.Kind), err)
		r.failuresInRow[target]++
		r.failures = append(r.failures, err)
		return r.now.Add(record.retryPause(r.now))
	}
}

func (r *reconciliation) isFailing(target endTarget) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failuresInRow[target] >= targetFailuresMax
}

func (r *reconciliation) skip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skipped++
}

func (r *reconciliation) addFailure(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, err)
}

// reindex replaces the index entry of each batch by one for the time when it is due next. It stores
// the new entry first, because a batch without an entry would never be read again.
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

// reportedFailures is how many errors of a tick are logged; the others would say the same.
const reportedFailures = 3

// report returns an error if objects could not be ended. Vault logs it.
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
