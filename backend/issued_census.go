// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// censusBudget is how long one tick may read records for the census.
const censusBudget = 5 * time.Second

// census holds what the metrics show of the issued records, so that reading the metrics needs no
// storage. It learns of each record that this process stores or deletes, and reads the others once
// after the start, some in each tick. Until it has read all of them nothing is shown.
//
// What a record is becomes known in one of two ways, and the order does not matter: a record that
// was stored or deleted during the scan is no longer taken from the scan.
type census struct {
	mu      sync.Mutex
	records map[string]censusRecord
	counts  map[livingCount]int
	// deleted holds the keys that were deleted during the scan.
	deleted map[string]bool
	done    bool

	// scanning is held by the tick that reads. The batches are those that are yet to be read.
	scanning sync.Mutex
	listed   bool
	batches  []batchName
}

// censusRecord is what is known of one record.
type censusRecord struct {
	class livingCount
	// due is from when on its object is to be ended, or zero if that is not known.
	due time.Time
}

// put learns what a record is now.
func (c *census) put(key string, record censusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(key, record)
}

// set stores a record. The caller holds mu.
func (c *census) set(key string, record censusRecord) {
	if c.records == nil {
		c.records, c.counts = map[string]censusRecord{}, map[livingCount]int{}
	}
	c.forget(key)
	delete(c.deleted, key)
	c.records[key] = record
	c.counts[record.class]++
}

// forget drops a record. The caller holds mu.
func (c *census) forget(key string) {
	before, found := c.records[key]
	if !found {
		return
	}
	delete(c.records, key)
	if c.counts[before.class]--; c.counts[before.class] == 0 {
		delete(c.counts, before.class)
	}
}

// remove learns that a record was deleted.
func (c *census) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(key)
	if c.done {
		return
	}
	if c.deleted == nil {
		c.deleted = map[string]bool{}
	}
	c.deleted[key] = true
}

// found takes a record from the scan, unless more is known of it by now.
func (c *census) found(key string, record censusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.records[key]; !known && !c.deleted[key] {
		c.set(key, record)
	}
}

func (c *census) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.deleted = true, nil
}

func (c *census) isDone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// state returns what the records amount to, once all of them are known.
func (c *census) state(now time.Time) (recordsState, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.done {
		return recordsState{}, false
	}
	state := recordsState{living: make([]livingCount, 0, len(c.counts))}
	for class, number := range c.counts {
		class.number = number
		state.living = append(state.living, class)
	}
	for _, record := range c.records {
		if record.due.IsZero() || now.Before(record.due) {
			continue
		}
		state.due++
		state.oldest = max(state.oldest, now.Sub(record.due))
	}
	return state, true
}

// censusRecord returns what the census knows of a record.
func (b *backend) censusRecord(r *issuedRecord) censusRecord {
	due := r.Deadline
	if r.State == stateCreating {
		due = r.Created.Add(b.createGrace)
	}
	return censusRecord{class: livingCount{kind: string(r.Kind), role: r.Role, state: string(r.State)}, due: due}
}

// takeCensus reads records of before the start, for as long as a tick may.
func (b *backend) takeCensus(ctx context.Context, req *logical.Request) error {
	c := &b.census
	if c.isDone() || !c.scanning.TryLock() {
		return nil
	}
	defer c.scanning.Unlock()
	if err := c.list(ctx, req.Storage); err != nil {
		return err
	}
	for began := time.Now(); len(c.batches) > 0; c.batches = c.batches[1:] {
		if time.Since(began) > censusBudget {
			return nil
		}
		if err := b.countBatch(ctx, req.Storage, c.batches[0]); err != nil {
			return err
		}
	}
	c.finish()
	return nil
}

// list lists the batches that are to be read. Those that are opened later are known anyway.
func (c *census) list(ctx context.Context, s logical.Storage) error {
	if c.listed {
		return nil
	}
	roles, err := listRecordRoles(ctx, s)
	if err != nil {
		return err
	}
	var all []batchName
	for _, role := range roles {
		batches, err := listBatches(ctx, s, role)
		if err != nil {
			return err
		}
		for _, batch := range batches {
			all = append(all, batchName{role, strings.TrimSuffix(batch, "/")})
		}
	}
	c.batches, c.listed = all, true
	return nil
}

func (b *backend) countBatch(ctx context.Context, s logical.Storage, batch batchName) error {
	ids, err := listBatchIDs(ctx, s, batch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		record, err := getRecord(ctx, s, batch.role, id)
		if err != nil {
			return err
		}
		if record != nil {
			b.census.found(record.key(), b.censusRecord(record))
		}
	}
	return nil
}
