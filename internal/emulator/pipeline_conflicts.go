// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"cmp"
	"sync"
)

// conflicts finds calls that change one resource at a time. A change lasts from the arrival of the
// call to its answer, so it needs latency to last. The one that came first succeeds, the others are
// refused; which one AWS refuses is a guess.
type conflicts struct {
	mu   sync.Mutex
	open map[string]*change
}

// change is what a call changes, from its arrival to its answer.
type change struct {
	resource string
	// refused is set if another call was changing the resource.
	refused bool
}

func (c *conflicts) begin(resource string) *change {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := &change{resource: resource}
	if resource == "" {
		return begun
	}
	if begun.refused = c.open[resource] != nil; !begun.refused {
		c.open[resource] = begun
	}
	return begun
}

// end may be called more than once.
func (c *conflicts) end(ended *change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[ended.resource] == ended {
		delete(c.open, ended.resource)
	}
}

// changes returns what a call changes, if AWS's model has ConcurrentModificationException among the
// errors of its operation.
func (e envelope) changes(operation string) string {
	switch operation {
	case "UpdateUserPoolClient", "DeleteUserPoolClient":
		return e.ClientId
	case "UpdateUserPool", "SetUserPoolMfaConfig", "CreateUserPoolDomain", "DeleteUserPoolDomain":
		return e.UserPoolId
	case "AssociateSoftwareToken":
		return cmp.Or(e.username(), e.Session)
	default:
		return ""
	}
}

func concurrentModification() *exception {
	return newException("ConcurrentModificationException", "Another request is modifying the resource.")
}
