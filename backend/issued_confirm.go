// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"reflect"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// confirmRecord stores that a renewal proved the lease of a record, and when that lease ends at the
// latest. It stores the record of the lease if none is stored. The caller holds the record's lock.
func (b *backend) confirmRecord(ctx context.Context, s logical.Storage, ofLease *issuedRecord, times leaseTimes) error {
	record, err := getRecord(ctx, s, ofLease.Role, ofLease.ID)
	switch {
	case err != nil:
		return err
	case record == nil:
		return b.adoptRecord(ctx, s, ofLease, times)
	case record.State == stateUnreadable:
		return nil // this version neither changes nor ends it
	}
	before := *record
	record.State, record.LastError, record.LastAttempt = stateConfirmed, "", time.Time{}
	if before.State == stateEnding {
		record.Deadline = time.Time{} // in this state it is the time of the first failed attempt
	}
	b.extendDeadline(record, times.longest)
	if reflect.DeepEqual(*record, before) {
		return nil
	}
	return b.putRecord(ctx, s, record)
}

// adoptRecord stores a record for a lease that has none, after its index entry.
func (b *backend) adoptRecord(ctx context.Context, s logical.Storage, record *issuedRecord, times leaseTimes) error {
	beat, err := b.watch.current(ctx, s)
	if err != nil {
		return err
	}
	record.State, record.Watch, record.ClockShift = stateConfirmed, beat.Watch, beat.ClockShift
	b.extendDeadline(record, times.longest)
	if err := putDue(ctx, s, dueKey(record.batch(), b.dueTime(record))); err != nil {
		return err
	}
	if err := b.putRecord(ctx, s, record); err != nil {
		return err
	}
	b.issuedCounts.add(record.Role, record.ID)
	return nil
}
