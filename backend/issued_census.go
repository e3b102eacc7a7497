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

// census counts the issued records for the metrics, so that reading the metrics needs no storage.
// It is updated for each record that this process stores or deletes, and reads all others once
// after the start, some in each tick. Until it has read all of them the metrics omit the counts.
//
// A record that this process stored or deleted during the scan is not added by the scan, so the
// order of both does not matter.
type census struct {
	mu      sync.Mutex
	records map[string]censusRecord
	counts  map[livingCount]int
	// deleted holds the keys that were deleted during the scan.
	deleted map[string]bool
	done    bool

	// scanning is locked by the tick that reads. batches has the batches that are not read yet.
	scanning sync.Mutex
	listed   bool
	batches  []batchName
}

// censusRecord is the part of a record that the metrics need.
type censusRecord struct {
	class livingCount
	// due is when its object is to be ended, or zero if that is not known.
	due time.Time
}

// put adds or updates a record.
func (c *census) put(key string, record censusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setLocked(key, record)
}

// setLocked stores a record. The caller holds mu.
func (c *census) setLocked(key string, record censusRecord) {
	if c.records == nil {
		c.records, c.counts = map[string]censusRecord{}, map[livingCount]int{}
	}
	c.removeLocked(key)
	delete(c.deleted, key)
	c.records[key] = record
	c.counts[record.class]++
}

// removeLocked removes a record. The caller holds mu.
func (c *census) removeLocked(key string) {
	before, found := c.records[key]
	if !found {
		return
	}
	delete(c.records, key)
	if c.counts[before.class]--; c.counts[before.class] == 0 {
		delete(c.counts, before.class)
	}
}

// remove removes a record that was deleted.
func (c *census) remove(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(key)
	if c.done {
		return
	}
	if c.deleted == nil {
		c.deleted = map[string]bool{}
	}
	c.deleted[key] = true
}

// addScanned adds a record that the scan read, unless this process stored or deleted it meanwhile.
func (c *census) addScanned(key string, record censusRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.records[key]; !known && !c.deleted[key] {
		c.setLocked(key, record)
	}
}

func (c *census) setDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done, c.deleted = true, nil
}

func (c *census) isDone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// state returns the counts, and false until all records are counted.
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

// censusRecord returns the part of a record that the metrics need.
func (b *backend) censusRecord(r *issuedRecord) censusRecord {
	due := r.Deadline
	if r.State == stateCreating {
		due = r.Created.Add(b.createGrace)
	}
	return censusRecord{class: livingCount{kind: string(r.Kind), role: r.Role, state: string(r.State)}, due: due}
}

// takeCensus counts records from before the start, for at most censusBudget.
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
	c.setDone()
	return nil
}

// list lists the batches to read. Batches that are opened later belong to this process, which
// counts them.
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
			b.census.addScanned(record.key(), b.censusRecord(record))
		}
	}
	return nil
}
