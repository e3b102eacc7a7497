// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

// leftRecords are the records of failed creations that could not be deleted, by key. They count
// towards max_issued until a tick deletes them: the storage has them perhaps until the end of the
// ttl, or not at all, so that the reconciler never finds them. It is safe for concurrent use.
type leftRecords struct {
	mu      sync.Mutex
	records map[string]*issuedRecord
}

func (l *leftRecords) add(r *issuedRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records == nil {
		l.records = map[string]*issuedRecord{}
	}
	l.records[r.key()] = r
}

func (l *leftRecords) remove(r *issuedRecord) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.records, r.key())
}

func (l *leftRecords) all() []*issuedRecord {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []*issuedRecord
	for _, r := range l.records {
		records = append(records, r)
	}
	return records
}

// dropLeftRecords deletes the records that failed creations left.
func (b *backend) dropLeftRecords(ctx context.Context, req *logical.Request) error {
	ctx, cancel := context.WithTimeout(inBackground(ctx), endTimeout)
	defer cancel()
	var failures []error
	for _, r := range b.leftRecords.all() {
		if err := b.dropLeftRecord(ctx, req, r); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures[:min(len(failures), reportedFailures)]...)
}

// dropLeftRecord deletes the record of a failed creation. The user of a check-out may be stored as
// lent, and must not be without its record: it is taken back before.
func (b *backend) dropLeftRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	unlock, locked := b.recordLocks.tryLock(r.key())
	if !locked {
		return nil // the next tick does
	}
	defer unlock()
	if r.Kind == kindLibrary {
		if err := b.endLibraryRecord(ctx, req, r); err != nil {
			return err
		}
	}
	if err := b.deleteRecord(ctx, req.Storage, r); err != nil {
		return err
	}
	b.leftRecords.remove(r)
	return nil
}

// deleteRecord deletes a record and its entry in the index of memberships.
func (b *backend) deleteRecord(ctx context.Context, s logical.Storage, r *issuedRecord) error {
	if err := deleteMember(ctx, s, r); err != nil {
		return err
	}
	return b.dropRecord(ctx, s, r.Role, r.ID)
}
