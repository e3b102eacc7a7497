// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Between the answer of this plugin and the moment at which Vault has stored
// the lease nobody can tell whether a user has one, and if a process dies just
// there, nobody ever learns it. So a user that is handed over keeps its WAL
// entry, now with the end that its lease can have at the latest:
//
//   - If the process that answered still lives when the entry has come of age,
//     so does Vault, and has stored the lease, or revoked the user. The entry
//     is dropped.
//   - If not, the entry is kept under handovers/, and the user is ended when
//     its lease would have ended. It may be in use until then.
//   - A renewal or revocation proves that there is a lease, and drops it.
const handoverStoragePrefix = "handovers/"

const (
	// handoverGrace lets Vault end the lease first, if there is one.
	handoverGrace = time.Minute
	// handoverBudget is what one tick may take of the time that Vault gives it.
	handoverBudget = 15 * time.Second
	// parallelHandovers share a tick.
	parallelHandovers = 8
)

// handover is what the WAL entry of a user says from then on.
type handover struct {
	// ID is that of the WAL entry. Leases carry it as well.
	ID string `json:"id"`
	// LeaseEnd is when the lease has ended, renewed as it may be.
	LeaseEnd time.Time `json:"lease_end"`
	// Revocation is the role's word for what happens then.
	Revocation string `json:"revocation"`
}

// handoversOfProcess are the handovers that this process made and that were
// not in doubt since, by id.
type handoversOfProcess struct{ ids sync.Map }

func (h *handoversOfProcess) add(id string)      { h.ids.Store(id, nil) }
func (h *handoversOfProcess) has(id string) bool { _, has := h.ids.Load(id); return has }
func (h *handoversOfProcess) drop(id string)     { h.ids.Delete(id) }

// handOver notes in the WAL entry of a user that it is in the answer. It must
// succeed before that leaves, or the roll-back would delete a user in use.
func (b *backend) handOver(ctx context.Context, req *logical.Request, walID string, i issuance, username string) error {
	entry := userWAL{i.ref(username), b.now(), &handover{
		ID:         walID,
		LeaseEnd:   b.now().Add(cmp.Or(i.role.MaxTTL, b.System().MaxLeaseTTL())),
		Revocation: i.role.revocation(),
	}}
	// The framework has no call to change an entry, but its form is public.
	err := putJSON(ctx, req.Storage, framework.WALPrefix+walID, framework.WALEntry{
		Kind: walKindUser, Data: entry, CreatedAt: time.Now().Unix(),
	})
	if err == nil {
		b.handovers.add(walID)
	}
	return err
}

// rollbackHandover drops the entry of a user whose lease Vault must have by
// now, and keeps the others in mind until their end. Before an unmount there
// is no later.
func (b *backend) rollbackHandover(ctx context.Context, req *logical.Request, entry userWAL) error {
	switch id := entry.Handover.ID; {
	case b.handovers.has(id):
		b.handovers.drop(id)
		return nil
	case b.System().Tainted():
		return b.endHandover(ctx, req, entry)
	default:
		return putJSON(ctx, req.Storage, handoverStoragePrefix+id, entry)
	}
}

// leaseProven drops what is left of a handover, because Vault has the lease.
func (b *backend) leaseProven(ctx context.Context, s logical.Storage, id string) error {
	if id == "" { // a lease of an older version
		return nil
	}
	defer b.handovers.drop(id)
	for _, path := range []string{framework.WALPrefix + id, handoverStoragePrefix + id} {
		entry, err := s.Get(ctx, path)
		if err != nil {
			return err
		}
		if entry != nil {
			return s.Delete(ctx, path)
		}
	}
	return nil
}

// endHandovers ends the users that should have ended with their lease.
func (b *backend) endHandovers(ctx context.Context, req *logical.Request) error {
	ids, err := req.Storage.List(ctx, handoverStoragePrefix)
	if err != nil || len(ids) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(cognito.ForRevocation(ctx), handoverBudget)
	defer cancel()
	failures := make([]error, len(ids))
	var group errgroup.Group
	group.SetLimit(parallelHandovers)
	for n, id := range ids {
		group.Go(func() error {
			failures[n] = b.endHandoverWhenDue(ctx, req, id)
			return nil
		})
	}
	_ = group.Wait() // they are in failures, all of them
	return errors.Join(failures...)
}

func (b *backend) endHandoverWhenDue(ctx context.Context, req *logical.Request, id string) error {
	stored, err := req.Storage.Get(ctx, handoverStoragePrefix+id)
	if err != nil || stored == nil {
		return err
	}
	var entry userWAL
	switch err := stored.DecodeJSON(&entry); {
	case err != nil || entry.Handover == nil || !entry.isComplete():
		b.Logger().Error("dropping a handover that cannot be read; a user may be left in its pool", "id", id)
	case b.now().Before(entry.Handover.LeaseEnd.Add(handoverGrace)) && !b.System().Tainted():
		return nil
	default:
		if err := b.endHandover(ctx, req, entry); err != nil {
			return err
		}
	}
	return req.Storage.Delete(ctx, handoverStoragePrefix+id)
}

// endHandover ends a user as its lease would have. After a day of trying its
// pool is out of reach for good.
func (b *backend) endHandover(ctx context.Context, req *logical.Request, entry userWAL) error {
	err := b.endUser(ctx, req, entry.userRef, userLease{revocation: entry.Handover.Revocation, created: entry.Created})
	switch {
	case err == nil:
		b.Logger().Info("ended a user whose lease was never heard of", "username", entry.Username, "user_pool_id", entry.UserPoolID)
	case b.now().Sub(entry.Handover.LeaseEnd) > walGiveUp:
		b.Logger().Error("giving up on a user that could not be ended; delete it by hand",
			"username", entry.Username, "user_pool_id", entry.UserPoolID, "error", err)
		return nil
	}
	return err
}
