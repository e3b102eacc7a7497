// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// issuedCounts holds the ids of the records of each role that has max_issued. They are listed
// from storage when they are first needed, and not at all for other roles.
type issuedCounts struct {
	mu     sync.Mutex
	byRole map[string]*roleCount
}

// roleCount is locked while the records of its role are listed.
type roleCount struct {
	mu  sync.Mutex
	ids map[string]bool
}

// reserve counts a record that is about to be stored, and reports whether there is room for it.
func (c *issuedCounts) reserve(ctx context.Context, s logical.Storage, role, id string, most int) (bool, error) {
	count := c.of(role, true)
	count.mu.Lock()
	defer count.mu.Unlock()
	if count.ids == nil {
		ids, err := listRecordIDs(ctx, s, role)
		if err != nil {
			return false, err
		}
		count.ids = make(map[string]bool, len(ids))
		for _, id := range ids {
			count.ids[id] = true
		}
	}
	if len(count.ids) >= most {
		return false, nil
	}
	count.ids[id] = true
	return true, nil
}

// add counts a record that was stored without a reservation, and remove one that was deleted.
func (c *issuedCounts) add(role, id string) {
	c.change(role, func(ids map[string]bool) { ids[id] = true })
}
func (c *issuedCounts) remove(role, id string) {
	c.change(role, func(ids map[string]bool) { delete(ids, id) })
}

func (c *issuedCounts) change(role string, do func(ids map[string]bool)) {
	count := c.of(role, false)
	if count == nil {
		return
	}
	count.mu.Lock()
	defer count.mu.Unlock()
	if count.ids != nil {
		do(count.ids)
	}
}

func (c *issuedCounts) of(role string, orNew bool) *roleCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byRole == nil {
		c.byRole = map[string]*roleCount{}
	}
	if c.byRole[role] == nil && orNew {
		c.byRole[role] = &roleCount{}
	}
	return c.byRole[role]
}

// dropRecord deletes a record after its object is gone, and counts it no longer.
func (b *backend) dropRecord(ctx context.Context, s logical.Storage, role, id string) error {
	if err := deleteRecord(ctx, s, role, id); err != nil {
		return err
	}
	b.issuedCounts.remove(role, id)
	b.census.remove(recordKey(role, id))
	return nil
}

// listBatches returns the ids of the batches of a role that hold records, in order of time.
func listBatches(ctx context.Context, s logical.Storage, role string) ([]string, error) {
	return listSorted(ctx, s, recordStoragePrefix+role+"/")
}

// listRecordIDs returns the ids of all records of a role, in order of time.
func listRecordIDs(ctx context.Context, s logical.Storage, role string) ([]string, error) {
	batches, err := listBatches(ctx, s, role)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, batch := range batches {
		of, err := listBatchIDs(ctx, s, batchName{role, strings.TrimSuffix(batch, "/")})
		if err != nil {
			return nil, err
		}
		ids = append(ids, of...)
	}
	return ids, nil
}

// listBatchIDs returns the ids of the records of a batch, in order.
func listBatchIDs(ctx context.Context, s logical.Storage, name batchName) ([]string, error) {
	ids, err := listSorted(ctx, s, name.recordPrefix())
	if err != nil {
		return nil, err
	}
	for i, random := range ids {
		ids[i] = name.id + "-" + random
	}
	return ids, nil
}

// listRecordRoles returns the names of the roles that have records.
func listRecordRoles(ctx context.Context, s logical.Storage) ([]string, error) {
	roles, err := listSorted(ctx, s, recordStoragePrefix)
	for i, role := range roles {
		roles[i] = strings.TrimSuffix(role, "/")
	}
	return roles, err
}
