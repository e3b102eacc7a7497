// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	walKindUser = "user"

	// walGiveUp is how old an entry may get before it is dropped with an error
	// in the log: by then the pool is out of reach for good.
	walGiveUp = 24 * time.Hour
)

// userWAL is written before a user is made and dropped when the user is handed
// over. It holds all that deleting the user needs, because the role and
// the config may change in between.
type userWAL struct {
	userRef
	Created time.Time `json:"created"`
	// Handover is the id of what would end the user if it were in use.
	Handover string `json:"handover,omitempty"`
}

// userRef names a user in a pool and the role that reaches it. Leases carry
// the same, as strings.
type userRef struct {
	Username      string `json:"username"`
	UserPoolID    string `json:"user_pool_id"`
	Region        string `json:"region"`
	AssumeRoleARN string `json:"aws_assume_role_arn,omitempty"`
	ExternalID    string `json:"aws_external_id,omitempty"`
}

func (u userRef) target() cognito.Target {
	return cognito.Target{
		UserPoolID:    u.UserPoolID,
		Region:        u.Region,
		AssumeRoleARN: u.AssumeRoleARN,
		ExternalID:    u.ExternalID,
	}
}

// walRollbackFunc ends what a request began and did not finish. An entry for
// which it answers nil is dropped; the others come again with every tick.
type walRollbackFunc func(ctx context.Context, req *logical.Request, data any) error

// walRollback finds the function for an entry. One that nobody knows would
// come again for ever.
func (b *backend) walRollback(ctx context.Context, req *logical.Request, kind string, data any) error {
	rollback, known := b.walRollbacks[kind]
	if !known {
		b.Logger().Warn("dropping a WAL entry of a kind that this version does not know", "kind", kind)
		return nil
	}
	return rollback(ctx, req, data)
}

func (b *backend) rollbackUser(ctx context.Context, req *logical.Request, data any) error {
	entry, err := decodeUserWAL(data)
	if err != nil {
		b.Logger().Error("dropping a WAL entry that cannot be read; a user may be left in its pool", "error", err)
		return nil
	}
	err = b.deleteUser(ctx, req, entry.userRef, entry.Created)
	if err == nil {
		err = dropHandover(ctx, req.Storage, entry.Handover)
	}
	if err == nil {
		b.Logger().Info("rolled back a user that was not handed out", "username", entry.Username, "user_pool_id", entry.UserPoolID)
		return nil
	}
	if b.now().Sub(entry.Created) > walGiveUp {
		b.Logger().Error("giving up on a user that could not be rolled back; delete it by hand",
			"username", entry.Username, "user_pool_id", entry.UserPoolID, "error", err)
		return nil
	}
	return err
}

func decodeUserWAL(data any) (userWAL, error) {
	var entry userWAL
	raw, err := json.Marshal(data)
	if err != nil {
		return entry, fmt.Errorf("reading the WAL entry of a user: %w", err)
	}
	if err := json.Unmarshal(raw, &entry); err != nil {
		return entry, fmt.Errorf("reading the WAL entry of a user: %w", err)
	}
	if entry.Username == "" || entry.UserPoolID == "" {
		return entry, fmt.Errorf("the WAL entry of a user names no user or no pool")
	}
	return entry, nil
}

// dropWAL removes an entry for good. It must succeed before a user is handed
// out, or the roll-back would delete it under its lease.
func dropWAL(ctx context.Context, s logical.Storage, id string) error {
	if id == "" { // it was never written
		return nil
	}
	if err := framework.DeleteWAL(ctx, s, id); err != nil {
		return fmt.Errorf("dropping a WAL entry: %w", err)
	}
	return nil
}
