// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// refusalsPerUser and refusalsPerCaller are how many attempts of one caller may be refused
	// within refusalWindow, for one user and in total.
	refusalsPerUser   = 5
	refusalsPerCaller = 30
	refusalWindow     = 15 * time.Minute

	// refusalsMax bounds the memory of the counts.
	refusalsMax = 10_000
)

// refusals limits the refused attempts of each caller. It is in memory: each node counts its own.
type refusals struct {
	now    func() time.Time
	mu     sync.Mutex
	counts map[string]refusalCount
	// passwords counts the sign-ins by password that are under way and may be refused. left is
	// closed when one of them ends.
	passwords map[string]int
	left      chan struct{}
}

type refusalCount struct {
	n     int
	until time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, counts: map[string]refusalCount{}, passwords: map[string]int{}, left: make(chan struct{})}
}

// refusalLimits returns how many attempts may be refused for each key.
func refusalLimits(caller, user string) map[string]int {
	return map[string]int{caller: refusalsPerCaller, caller + "\x00" + user: refusalsPerUser}
}

// enter begins an attempt, which leave ends. Concurrent attempts could exceed the limit together,
// so an attempt by password waits until fewer are under way. Refresh tokens cannot be guessed and
// do not wait.
func (r *refusals) enter(ctx context.Context, caller string, login cognito.Login) (leave func(refused bool), err error) {
	limits := refusalLimits(caller, login.Username)
	byPassword := login.Password != ""
	for {
		left, err := r.tryEnter(limits, byPassword)
		if err != nil {
			return nil, err
		}
		if left == nil {
			return func(refused bool) { r.leave(limits, byPassword, refused) }, nil
		}
		select {
		case <-left:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryEnter begins an attempt, or returns a channel to wait for if too many are under way.
func (r *refusals) tryEnter(limits map[string]int, byPassword bool) (left <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for key, most := range limits {
		count := r.counts[key]
		if !now.Before(count.until) {
			count.n = 0
		}
		if count.n >= most {
			return nil, logical.CodedError(http.StatusTooManyRequests,
				fmt.Sprintf("too many requests for tokens were refused: try again in %s", cognito.DurationText(count.until.Sub(now).Round(time.Second))))
		}
		if byPassword && count.n+r.passwords[key] >= most {
			left = r.left
		}
	}
	if left == nil && byPassword {
		for key := range limits {
			r.passwords[key]++
		}
	}
	return left, nil
}

func (r *refusals) leave(limits map[string]int, byPassword, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.count(limits)
	}
	if !byPassword {
		return
	}
	for key := range limits {
		if r.passwords[key]--; r.passwords[key] == 0 {
			delete(r.passwords, key)
		}
	}
	close(r.left)
	r.left = make(chan struct{})
}

// count counts a refused attempt. The caller holds mu.
func (r *refusals) count(limits map[string]int) {
	now := r.now()
	if len(r.counts) >= refusalsMax {
		for key, count := range r.counts {
			if !now.Before(count.until) {
				delete(r.counts, key)
			}
		}
	}
	for key := range limits {
		count := r.counts[key]
		if !now.Before(count.until) {
			count = refusalCount{until: now.Add(refusalWindow)}
		}
		count.n++
		if _, known := r.counts[key]; known || len(r.counts) < 2*refusalsMax {
			r.counts[key] = count
		}
	}
}

// callerOf returns an identifier of the caller of a request: its entity, or else its token.
func callerOf(req *logical.Request) string {
	return cmp.Or(req.EntityID, req.ClientTokenAccessor, req.DisplayName)
}
