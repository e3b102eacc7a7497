// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// Between the answer of this plugin and the moment at which Vault has stored
// the lease nobody can tell whether a user has one. Vault drops the answer
// when its client has gone away, and the plugin or Vault may be killed just
// there; the plugin never learns it. So of every user it is noted when its
// lease ends if nobody renews it, and the user is ended then. A renewal or
// revocation proves that there is a lease, and with that the handover is over.
//
// They are stored by the minute in which they come due, so that a tick reads
// those only: handovers/20261120T1704/<id>.
const handoverStoragePrefix = "handovers/"

const (
	handoverMinute = "20060102T1504"
	// handoverGrace lets Vault end the lease first, if there is one.
	handoverGrace = 30 * time.Second
	// handoverBudget is what one tick may take of the time that Vault gives it,
	// and lastHandoverBudget the last one before an unmount.
	handoverBudget     = 15 * time.Second
	lastHandoverBudget = 60 * time.Second
	// parallelHandovers share a tick.
	parallelHandovers = 8
)

// handover is a user that may be in an answer.
type handover struct {
	userRef
	Created time.Time `json:"created"`
	// Due is when the user is to be ended: its lease is over by then, unless it
	// was renewed.
	Due time.Time `json:"due"`
	// Revocation is the role's word for what happens then.
	Revocation string `json:"revocation"`
}

// dueAfter is when a user comes due that is about to be made: its lease begins
// when it is made, and Vault may end that first.
func (b *backend) dueAfter(ttl time.Duration) time.Time {
	return b.now().Add(b.issueLimit() + ttl + handoverGrace)
}

func (h handover) newID() string {
	return h.Due.UTC().Format(handoverMinute) + "/" + cryptorand.Text()
}

// dropHandover is for a user whose lease is proven, or who is gone.
func dropHandover(ctx context.Context, s logical.Storage, id string) error {
	if id == "" { // a lease of an older version
		return nil
	}
	entry, err := s.Get(ctx, handoverStoragePrefix+id)
	if err != nil || entry == nil {
		return err
	}
	return s.Delete(ctx, handoverStoragePrefix+id)
}

// endHandovers ends the users that should have ended with their lease. Before
// an unmount there is no later, so all count as due; Vault revokes those that
// have a lease right after it.
func (b *backend) endHandovers(ctx context.Context, req *logical.Request) error {
	last, budget := b.System().Tainted(), handoverBudget
	if last {
		budget = lastHandoverBudget
	}
	ids, err := b.handoversAtHand(ctx, req.Storage, last)
	if err != nil || len(ids) == 0 {
		return err
	}
	// By chance, so that those of a pool that is out of reach do not keep the others from their turn for ever.
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] }) //nolint:gosec // an order hides nothing
	ctx, cancel := context.WithTimeout(ratelimit.WithClass(ctx, ratelimit.Revocation), budget)
	defer cancel()
	var left atomic.Int64
	failures := make([]error, len(ids))
	var group errgroup.Group
	group.SetLimit(parallelHandovers)
	for n, id := range ids {
		group.Go(func() error {
			if ctx.Err() == nil {
				failures[n] = b.endHandoverWhenDue(ctx, req, id, last)
			} else {
				left.Add(1)
			}
			return nil
		})
	}
	_ = group.Wait() // they are in failures, all of them
	if last && left.Load() > 0 {
		b.Logger().Warn("the mount goes before all its users were looked at; one that has no lease stays in its pool", "users", left.Load())
	}
	return errors.Join(failures...)
}

// handoversAtHand are the ids of those that come due in this minute or did
// before, or of all.
func (b *backend) handoversAtHand(ctx context.Context, s logical.Storage, all bool) ([]string, error) {
	minutes, err := s.List(ctx, handoverStoragePrefix)
	if err != nil {
		return nil, fmt.Errorf("listing the handovers: %w", err)
	}
	var ids []string
	now := b.now().UTC().Format(handoverMinute)
	for _, minute := range minutes {
		if !all && strings.TrimSuffix(minute, "/") > now {
			continue
		}
		found, err := s.List(ctx, handoverStoragePrefix+minute)
		if err != nil {
			return nil, fmt.Errorf("listing the handovers of %s: %w", minute, err)
		}
		for _, id := range found {
			ids = append(ids, minute+id)
		}
	}
	return ids, nil
}

func (b *backend) endHandoverWhenDue(ctx context.Context, req *logical.Request, id string, last bool) error {
	stored, err := req.Storage.Get(ctx, handoverStoragePrefix+id)
	if err != nil || stored == nil {
		return err
	}
	var h handover
	switch err := stored.DecodeJSON(&h); {
	case err != nil || h.Username == "" || h.UserPoolID == "":
		b.Logger().Error("dropping a handover that cannot be read; a user may be left in its pool", "id", id)
	case b.now().Before(h.Due) && !last:
		return nil
	default:
		if err := b.endHandover(ctx, req, h); err != nil {
			return err
		}
	}
	return req.Storage.Delete(ctx, handoverStoragePrefix+id)
}

// endHandover ends a user as its lease would have. After a day of trying its
// pool is out of reach for good.
func (b *backend) endHandover(ctx context.Context, req *logical.Request, h handover) error {
	err := b.endUser(ctx, req, h.userRef, userLease{revocation: h.Revocation, created: h.Created})
	if err == nil {
		b.Logger().Info("ended a user whose lease was never heard of", "username", h.Username, "user_pool_id", h.UserPoolID)
		return nil
	}
	if b.now().Sub(h.Due) <= walGiveUp {
		return err
	}
	b.Logger().Error("giving up on a user that could not be ended; delete it by hand",
		"username", h.Username, "user_pool_id", h.UserPoolID, "error", err)
	return nil
}
