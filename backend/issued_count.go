// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// issuedCounts holds the ids of the records of each role that has max_issued. They are listed from
// storage on first use. Roles without max_issued are not counted.
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
