// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// walGiveUp is the age at which a WAL entry is dropped and an error logged.
const walGiveUp = 24 * time.Hour

// walRollbackFunc completes or undoes what a request began. If it returns nil, the WAL entry is
// deleted; otherwise the next tick calls it again.
type walRollbackFunc func(ctx context.Context, req *logical.Request, data any) error

// walRollback calls the function for the kind of an entry. An entry of an unknown kind would be
// retried for ever, so it is dropped.
func (b *backend) walRollback(ctx context.Context, req *logical.Request, kind string, data any) error {
	rollback, known := b.walRollbacks[kind]
	if !known {
		b.Logger().Warn("dropping a WAL entry of a kind that this version does not know", "kind", kind)
		return nil
	}
	return rollback(ctx, req, data)
}
