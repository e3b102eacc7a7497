// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueTimeout bounds the creation of an object. Together with the undo it is much shorter than
// createGrace.
const issueTimeout = 90 * time.Second

var errUnmounting = errors.New("the mount is being disabled or moved: nothing is issued any more")

// creation keeps the record of one object while the object is created. Its methods are called in
// this order: begin, then deliver or fail, then done. For an object that exists already, it is
// open, then storeDelivered or fail, then done.
type creation struct {
	b       *backend
	storage logical.Storage
	record  *issuedRecord
	// max is the role's max_issued, or 0.
	max int

	cancel context.CancelFunc
	ended  chan struct{}
	unlock func()
	batch  *openBatch
}

// begin stores the record. The calls that create the object use the returned context, which ends
// after issueLimit and when the mount is unmounted.
func (c *creation) begin(ctx context.Context) (context.Context, error) {
	creating, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.storeRecord(ctx); err != nil {
		c.done()
		return nil, err
	}
	return creating, nil
}

// open registers the creation and makes the record, but does not store it.
func (c *creation) open(ctx context.Context) (context.Context, error) {
	creating, cancel := context.WithTimeout(ctx, c.b.issueLimit())
	c.cancel, c.ended = cancel, make(chan struct{})
	if err := c.b.creations.add(c, c.b.System().Tainted); err != nil {
		c.done()
		return nil, err
	}
	if err := c.makeRecord(ctx); err != nil {
		c.done()
		return nil, err
	}
	return creating, nil
}

// makeRecord gives the record its id, and counts it.
func (c *creation) makeRecord(ctx context.Context) error {
	beat, err := c.b.watch.current(ctx, c.storage)
	if err != nil {
		return err
	}
	r := c.record
	r.State, r.Created, r.Watch, r.ClockShift = stateCreating, c.b.now().Round(0), beat.Watch, beat.ClockShift
	c.batch = c.b.batches.acquire(r.Role, r.Created)
	r.ID = newRecordID(c.batch.id)
	c.unlock, _ = c.b.recordLocks.tryLock(r.key()) // the key is new, so it is not locked
	return c.reserve(ctx)
}

// storeRecord stores the record, after the index entry of its batch: a record that is not indexed
// would stay for ever. Nothing may be created at Cognito before both are stored.
func (c *creation) storeRecord(ctx context.Context) error {
	if err := c.batch.index(ctx, c.storage, c.record.Created.Add(c.b.createGrace)); err != nil {
		c.b.issuedCounts.remove(c.record.Role, c.record.ID)
		return err
	}
	if err := c.put(ctx); err != nil {
		c.deleteRecord(ctx)
		return fmt.Errorf("storing the record of what is about to be created: %w", err)
	}
	return nil
}

// storeDelivered stores the record of an object that exists already and is about to be returned,
// in place of begin and deliver.
func (c *creation) storeDelivered(ctx context.Context, times leaseTimes) error {
	c.setDelivered(times)
	return c.storeRecord(ctx)
}

func (c *creation) setDelivered(times leaseTimes) {
	c.record.State, c.record.Created = stateDelivered, c.b.now().Round(0)
	c.b.setFirstDeadline(c.record, times)
}

// put stores the record, and then its entry in the index of memberships: one without a record would
// never be deleted.
func (c *creation) put(ctx context.Context) error {
	if err := c.b.putRecord(ctx, c.storage, c.record); err != nil {
		return err
	}
	return putMember(ctx, c.storage, c.record)
}

// reserve refuses a creation that would exceed max_issued.
func (c *creation) reserve(ctx context.Context) error {
	if c.max == 0 {
		return nil
	}
	free, err := c.b.issuedCounts.reserve(ctx, c.storage, c.record.Role, c.record.ID, c.max)
	if err != nil {
		return err
	}
	if !free {
		return logical.CodedError(http.StatusTooManyRequests, fmt.Sprintf(
			"role %q has issued max_issued=%d already: revoke leases, see issued/%[1]s, or raise max_issued", c.record.Role, c.max))
	}
	return nil
}

// deliver stores that the object is about to be returned. If the record is gone, the mount was
// unmounted or restored meanwhile: deliver then fails, and the caller must delete the object.
func (c *creation) deliver(ctx context.Context, times leaseTimes) error {
	found, err := getRecord(ctx, c.storage, c.record.Role, c.record.ID)
	if err != nil {
		return err
	}
	if found == nil || found.State != stateCreating {
		return fmt.Errorf("the record %q of role %q was deleted while the object was being created", c.record.ID, c.record.Role)
	}
	c.setDelivered(times)
	return c.b.putRecord(ctx, c.storage, c.record)
}

// fail ends a creation that failed. If gone says that no object is left for certain, it deletes the
// record. Otherwise it keeps the record, and the reconciler ends the object.
func (c *creation) fail(ctx context.Context, gone bool, failure, undo error) {
	if gone {
		c.deleteRecord(ctx)
		return
	}
	c.b.Logger().Warn("an object that was not delivered may be left at Cognito until the reconciler ends it",
		"role", c.record.Role, "id", c.record.ID, "object", c.record.object(), "error", failure, "undo", undo)
	c.restoreRecord(ctx)
}

// restoreRecord stores the record again if it was deleted during the creation.
func (c *creation) restoreRecord(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cognito.UndoTimeout)
	defer cancel()
	if found, err := getRecord(ctx, c.storage, c.record.Role, c.record.ID); err != nil || found != nil {
		return
	}
	c.record.State = stateCreating
	due := dueKey(c.record.batch(), c.b.now().Add(c.b.createGrace))
	if err := errors.Join(putDue(ctx, c.storage, due), c.put(ctx)); err != nil {
		c.b.Logger().Error("an object at Cognito has no record: delete it by hand",
			"object", c.record.object(), "user_pool_id", c.record.UserPoolID, "error", err)
	}
}

// deleteRecord deletes the record, even if the request was canceled.
func (c *creation) deleteRecord(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cognito.UndoTimeout)
	defer cancel()
	if err := c.b.deleteRecord(ctx, c.storage, c.record); err != nil {
		c.b.leftRecords.add(c.record)
		c.b.Logger().Warn("the record of an object that does not exist is left until the next tick", "id", c.record.ID, "error", err)
	}
}

// done releases what the creation holds. It is called after success and failure.
func (c *creation) done() {
	c.cancel()
	if c.batch != nil {
		c.unlock()
		c.b.batches.release(c.batch)
	}
	c.b.creations.remove(c)
	close(c.ended)
}

// creations are the unfinished creations of this process.
type creations struct {
	mu       sync.Mutex
	underWay map[*creation]bool
	// stopped is set by stop.
	stopped bool
}

// add refuses a creation after stop, while the mount is tainted. A mount that was moved is no
// longer tainted, and may be used again.
func (cs *creations) add(c *creation, isTainted func() bool) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.stopped {
		if isTainted() {
			return logical.CodedError(http.StatusServiceUnavailable, errUnmounting.Error())
		}
		cs.stopped = false
	}
	if cs.underWay == nil {
		cs.underWay = map[*creation]bool{}
	}
	cs.underWay[c] = true
	return nil
}

func (cs *creations) remove(c *creation) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.underWay, c)
}

// stop cancels all creations and waits until they are undone, or ctx ends.
func (cs *creations) stop(ctx context.Context) {
	cs.mu.Lock()
	cs.stopped = true
	underWay := make([]*creation, 0, len(cs.underWay))
	for c := range cs.underWay {
		c.cancel()
		underWay = append(underWay, c)
	}
	cs.mu.Unlock()
	for _, c := range underWay {
		select {
		case <-c.ended:
		case <-ctx.Done():
			return
		}
	}
}
