// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// batchName names the records that one process issued for one role within one minute.
type batchName struct{ role, id string }

func (n batchName) recordPrefix() string { return recordStoragePrefix + n.role + "/" + n.id + "/" }

// openBatches are the batches to which this process may still add records.
type openBatches struct {
	mu sync.Mutex
	// current is the newest batch of each role.
	current map[string]*openBatch
	// all also has the earlier batches that unfinished creations use.
	all map[batchName]*openBatch
}

// openBatch is a batch that records are added to.
type openBatch struct {
	batchName
	minute string
	// creations is the number of unfinished creations. The lock of openBatches guards it.
	creations int

	mu sync.Mutex
	// indexed says that the index entry is stored.
	indexed bool
}

// acquire returns the batch of a role for a record that is created at a time. The batch stays open
// until it is released.
func (o *openBatches) acquire(role string, created time.Time) *openBatch {
	o.mu.Lock()
	defer o.mu.Unlock()
	minute := created.UTC().Format(batchLayout)
	open := o.current[role]
	if open == nil || open.minute != minute {
		open = &openBatch{batchName: batchName{role, minute + "-" + randomText(batchSuffixLen)}, minute: minute}
		o.add(open)
	}
	open.creations++
	return open
}

func (o *openBatches) add(open *openBatch) {
	if o.current == nil {
		o.current, o.all = map[string]*openBatch{}, map[batchName]*openBatch{}
	}
	o.current[open.role], o.all[open.batchName] = open, open
}

func (o *openBatches) release(open *openBatch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	open.creations--
}

// isOpen reports whether records may still be added to a batch.
func (o *openBatches) isOpen(name batchName, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeFormer(now.UTC().Format(batchLayout))
	return o.all[name] != nil
}

// closeFormer closes the batches of other minutes that no creation uses.
func (o *openBatches) closeFormer(minute string) {
	for role, open := range o.current {
		if open.minute != minute {
			delete(o.current, role)
		}
	}
	for other, open := range o.all {
		if open.creations == 0 && o.current[other.role] != open {
			delete(o.all, other)
		}
	}
}

// index stores the index entry of a batch, once. It must return before a record of the batch is
// stored.
func (o *openBatch) index(ctx context.Context, s logical.Storage, due time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.indexed {
		return nil
	}
	if err := putDue(ctx, s, dueKey(o.batchName, due)); err != nil {
		return err
	}
	o.indexed = true
	return nil
}
