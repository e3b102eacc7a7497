// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// Quota categories, as the developer guide's page on quotas names them.
const (
	clientAuthentication   = "ClientAuthentication"
	userAccountRecovery    = "UserAccountRecovery"
	userAuthentication     = "UserAuthentication"
	userCreation           = "UserCreation"
	userList               = "UserList"
	userPoolClientRead     = "UserPoolClientRead"
	userPoolClientUpdate   = "UserPoolClientUpdate"
	userPoolRead           = "UserPoolRead"
	userPoolResourceRead   = "UserPoolResourceRead"
	userPoolResourceUpdate = "UserPoolResourceUpdate"
	userPoolUpdate         = "UserPoolUpdate"
	userRead               = "UserRead"
	userResourceRead       = "UserResourceRead"
	userResourceUpdate     = "UserResourceUpdate"
	userToken              = "UserToken"
	userUpdate             = "UserUpdate"
)

// challengeAnswerFactor is how many challenge answers a second there may be for each sign-in: they have a counter of
// their own.
const challengeAnswerFactor = 3

// quotaUse is one draw from a token bucket. The bucket's rate is the category's quota times the factor.
type quotaUse struct {
	bucket   string
	category string
	factor   float64
}

func drawOn(category string) []quotaUse {
	return []quotaUse{{bucket: category, category: category, factor: 1}}
}

// drawForChallengeAnswer is what a challenge answer draws on; one that sets a password also counts as a recovery.
func drawForChallengeAnswer(challengeName string) []quotaUse {
	uses := []quotaUse{{bucket: userAuthentication + "/challenges", category: userAuthentication, factor: challengeAnswerFactor}}
	if challengeName == newPasswordRequired {
		uses = append(uses, drawOn(userAccountRecovery)...)
	}
	return uses
}

// quotas limits requests a second with one token bucket for each use, as large as one second's worth.
type quotas struct {
	now func() time.Time

	mu      sync.Mutex
	limits  control.Quotas
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	filled time.Time
}

func newQuotas(now func() time.Time) *quotas {
	return &quotas{now: now, buckets: map[string]*bucket{}}
}

func (q *quotas) set(limits control.Quotas) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits = limits
	q.buckets = map[string]*bucket{}
}

// take draws on all buckets of a call or, when one of them is empty, on none.
func (q *quotas) take(uses []quotaUse) *exception {
	q.mu.Lock()
	defer q.mu.Unlock()
	var draw []*bucket
	for _, use := range uses {
		rate, limited := q.limits[use.category]
		if !limited {
			continue
		}
		b := q.refilled(use.bucket, rate*use.factor)
		if b.tokens < 1 {
			return newException(codeTooManyRequests, "Rate exceeded")
		}
		draw = append(draw, b)
	}
	for _, b := range draw {
		b.tokens--
	}
	return nil
}

func (q *quotas) refilled(name string, rate float64) *bucket {
	now := q.now()
	b, ok := q.buckets[name]
	if !ok {
		b = &bucket{tokens: rate, filled: now}
		q.buckets[name] = b
	}
	b.tokens = min(rate, b.tokens+rate*now.Sub(b.filled).Seconds())
	b.filled = now
	return b
}
