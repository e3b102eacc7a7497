// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// wasTried reports whether a failed end counts as an attempt. One that the engine's own rate limits
// or the end of ctx prevented does not.
func wasTried(ctx context.Context, err error) bool {
	return !cognito.IsOwnLimit(err) && ctx.Err() == nil
}

// endRecord ends the object of a record and deletes the record, or stores why that failed. The
// caller holds the record's lock.
func (b *backend) endRecord(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	attempt, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	err := b.issuedEnds[r.Kind](attempt, req, r)
	if err == nil {
		return b.dropRecord(ctx, req.Storage, r.Role, r.ID)
	}
	if wasTried(ctx, err) && !errors.Is(err, errNotListed) {
		b.storeFailedEnd(ctx, req.Storage, r, err)
	}
	return err
}

// storeFailedEnd stores why an end failed, unless the record says so already.
func (b *backend) storeFailedEnd(ctx context.Context, s logical.Storage, r *issuedRecord, failure error) {
	if r.State == stateEnding && r.LastError == failure.Error() {
		return
	}
	changed := *r
	if changed.State != stateEnding {
		changed.Deadline = b.now().Round(0) // retryPause counts from it
	}
	changed.State, changed.LastError, changed.LastAttempt = stateEnding, failure.Error(), b.now().Round(0)
	if err := b.putRecord(ctx, s, &changed); err != nil {
		b.Logger().Warn("the failed end of an issued object could not be stored", "id", r.ID, "error", err)
	}
}

// hastenEnd makes the reconciler repeat an end that failed in a revocation, because Vault gives up
// after a few attempts.
func (b *backend) hastenEnd(ctx context.Context, s logical.Storage, role, id string, failure error) {
	if !wasTried(ctx, failure) {
		return
	}
	record, err := getRecord(ctx, s, role, id)
	if err != nil || record == nil || record.State == stateUnreadable || record.State == stateEnding {
		return
	}
	if err := putDue(ctx, s, dueKey(record.batch(), b.now().Add(shortestRetry))); err != nil {
		return // the reconciler ends it at its deadline
	}
	b.storeFailedEnd(ctx, s, record, failure)
}

// retryPause returns the pause before the next attempt to end the object. It grows with the time
// since the first attempt failed.
func (r *issuedRecord) retryPause(now time.Time) time.Duration {
	if r.State != stateEnding {
		return shortestRetry
	}
	return min(max(now.Sub(r.Deadline)/8, shortestRetry), longestRetry)
}

// issuedEndFunc ends the object of a record. It succeeds if the object is gone already.
type issuedEndFunc func(ctx context.Context, req *logical.Request, r *issuedRecord) error
