// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	dueStoragePrefix = issuedStoragePrefix + "due/"

	dueDayLayout    = "20060102"
	dueMinuteLayout = "1504"

	// dueBatchesMax is about how many batches a tick processes.
	dueBatchesMax = 1000
)

// dueBatch is a batch and the key of the index entry that made it due.
type dueBatch struct {
	batchName
	entry string
}

// dueKey returns the key of the index entry that makes a batch due in the minute of a time. A tick
// that comes too early in that minute leaves the entry for the next tick.
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

// dueBatches returns the batches that are due, the longest overdue first, and whether any batch
// exists.
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
