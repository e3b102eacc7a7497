// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// walGiveUp is how old a WAL entry may get before it is dropped with an error in the log.
const walGiveUp = 24 * time.Hour

// walRollbackFunc completes or undoes what a request began. A WAL entry for which it returns nil
// is deleted; the others come again with every tick.
type walRollbackFunc func(ctx context.Context, req *logical.Request, data any) error

// walRollback calls the function for the kind of an entry. An entry of an unknown kind would
// come again for ever, so it is dropped.
func (b *backend) walRollback(ctx context.Context, req *logical.Request, kind string, data any) error {
	rollback, known := b.walRollbacks[kind]
	if !known {
		b.Logger().Warn("dropping a WAL entry of a kind that this version does not know", "kind", kind)
		return nil
	}
	return rollback(ctx, req, data)
}

// dropWAL deletes an entry for good.
func dropWAL(ctx context.Context, s logical.Storage, id string) error {
	if id == "" { // it was never written
		return nil
	}
	if err := framework.DeleteWAL(ctx, s, id); err != nil {
		return fmt.Errorf("deleting a WAL entry: %w", err)
	}
	return nil
}
