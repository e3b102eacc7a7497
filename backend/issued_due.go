// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	dueStoragePrefix = issuedStoragePrefix + "due/"

	dueDayLayout    = "20060102"
	dueMinuteLayout = "1504"

	// dueBatchesMax is how many batches a tick looks at.
	dueBatchesMax = 1000
)

// batchName names the records that one process issued for one role within one minute.
type batchName struct{ role, id string }

func (n batchName) recordPrefix() string { return recordStoragePrefix + n.role + "/" + n.id + "/" }

// dueBatch is a batch and the index entry that says when to look at it.
type dueBatch struct {
	batchName
	entry string
}

// dueKey returns the index entry of a batch that is to be looked at in the minute of a time. A tick
// that comes too early in that minute leaves the entry for the next one.
func dueKey(name batchName, at time.Time) string {
	minute := at.UTC()
	return dueStoragePrefix + minute.Format(dueDayLayout) + "/" + minute.Format(dueMinuteLayout) + "/" + name.role + "/" + name.id
}

// putDue stores an index entry, which has no content.
func putDue(ctx context.Context, s logical.Storage, key string) error {
	if err := s.Put(ctx, &logical.StorageEntry{Key: key, Value: []byte("{}")}); err != nil {
		return fmt.Errorf("storing %q: %w", key, err)
	}
	return nil
}

// openBatches are those to which this process may still add records.
type openBatches struct {
	mu sync.Mutex
	// current has the batch of each role for the minute in which it was opened.
	current map[string]*openBatch
	// all also has those that a creation under way began with.
	all map[batchName]*openBatch
}

// openBatch is a batch that records are added to.
type openBatch struct {
	batchName
	minute string
	// creations that are under way, counted under the lock of openBatches.
	creations int

	mu sync.Mutex
	// indexed says that the index entry is stored.
	indexed bool
}

// at returns the batch of a role for a record that is created at a time. It stays open until
// it is released.
func (o *openBatches) at(role string, created time.Time) *openBatch {
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

// isOpen reports whether records may still be added to a batch. It closes those whose minute
// is over.
func (o *openBatches) isOpen(name batchName, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	minute := now.UTC().Format(batchLayout)
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
	return o.all[name] != nil
}

// index stores the index entry of a batch, unless it is stored. No record of the batch may be
// used before.
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

// dueBatches returns the batches to look at by now, those that are due longest first, and
// whether any batch exists.
func dueBatches(ctx context.Context, s logical.Storage, now time.Time) (due []dueBatch, anyExist bool, err error) {
	days, err := listSorted(ctx, s, dueStoragePrefix)
	if err != nil {
		return nil, false, err
	}
	until := dueStoragePrefix + now.UTC().Format(dueDayLayout) + "/" + now.UTC().Format(dueMinuteLayout) + "/"
	for _, day := range days {
		if day > now.UTC().Format(dueDayLayout)+"/" || len(due) >= dueBatchesMax {
			break
		}
		if due, err = appendDueOfDay(ctx, s, due, dueStoragePrefix+day, until); err != nil {
			return nil, true, err
		}
	}
	return due, len(days) > 0, nil
}

func appendDueOfDay(ctx context.Context, s logical.Storage, due []dueBatch, day, until string) ([]dueBatch, error) {
	minutes, err := listSorted(ctx, s, day)
	if err != nil {
		return nil, err
	}
	for _, minute := range minutes {
		if day+minute > until || len(due) >= dueBatchesMax {
			break
		}
		if due, err = appendDueOfMinute(ctx, s, due, day+minute); err != nil {
			return nil, err
		}
	}
	return due, nil
}

func appendDueOfMinute(ctx context.Context, s logical.Storage, due []dueBatch, minute string) ([]dueBatch, error) {
	roles, err := listSorted(ctx, s, minute)
	if err != nil {
		return nil, err
	}
	for _, role := range roles {
		batches, err := listSorted(ctx, s, minute+role)
		if err != nil {
			return nil, err
		}
		for _, id := range batches {
			due = append(due, dueBatch{batchName{strings.TrimSuffix(role, "/"), id}, minute + role + id})
		}
	}
	return due, nil
}

func listSorted(ctx context.Context, s logical.Storage, prefix string) ([]string, error) {
	names, err := s.List(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", prefix, err)
	}
	slices.Sort(names)
	return names, nil
}
