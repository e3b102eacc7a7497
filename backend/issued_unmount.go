// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"
)

// endAll stops all creations and ends all objects, in the last tick before the mount is unmounted
// or moved. It begins with the objects that may have no lease, because Vault revokes all leases
// right after the tick. Those revocations skip what was ended here.
func (b *backend) endAll(ctx context.Context, req *logical.Request) error {
	ctx, cancel := context.WithTimeout(inBackground(ctx), lastReconcileBudget)
	defer cancel()
	b.creations.stop(ctx)
	records, unreadable, err := readAllRecords(ctx, req.Storage)
	if err != nil {
		return err
	}
	r := &reconciliation{b: b, req: req, storage: req.Storage, now: b.now(), failuresInRow: map[endTarget]int{}, failures: unreadable, last: true}
	r.findLostClients(ctx, records)
	for _, unconfirmed := range []bool{true, false} {
		var group errgroup.Group
		group.SetLimit(parallelEnds)
		for _, record := range records {
			if record.isUnconfirmed() == unconfirmed && b.issuedEnds[record.Kind] != nil {
				group.Go(func() error { r.endForUnmount(ctx, record); return nil })
			}
		}
		_ = group.Wait() // report returns the failures
	}
	r.searchAgain(ctx, records)
	if r.skipped > 0 {
		b.Logger().Warn("the mount goes before all its objects were ended; those without a lease stay at Cognito", "objects", r.skipped)
	}
	return r.report()
}

func (r *reconciliation) endForUnmount(ctx context.Context, record *issuedRecord) {
	if r.end(ctx, record).IsZero() {
		r.b.endedBeforeUnmount.Store(record.key(), true)
	}
}
