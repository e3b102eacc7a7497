// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// Quota categories, named as on the page "Quotas in Amazon Cognito" of the developer guide.
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

// challengeAnswerFactor is how many challenge answers per second are allowed for each sign-in per
// second; they have a counter of their own.
const challengeAnswerFactor = 3

// quotaUse takes one token from a bucket. The bucket's rate is the category's quota times the
// factor.
type quotaUse struct {
	bucket   string
	category string
	factor   float64
}

func drawOn(category string) []quotaUse {
	return []quotaUse{{bucket: category, category: category, factor: 1}}
}

// drawForChallengeAnswer returns what a challenge answer uses; an answer that sets a password also
// uses UserAccountRecovery.
func drawForChallengeAnswer(challengeName string) []quotaUse {
	uses := []quotaUse{{bucket: userAuthentication + "/challenges", category: userAuthentication, factor: challengeAnswerFactor}}
	if challengeName == newPasswordRequired {
		uses = append(uses, drawOn(userAccountRecovery)...)
	}
	return uses
}

// quotas limits requests per second with token buckets that hold one second's worth.
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

// rate returns the limit of a category, if there is one.
func (q *quotas) rate(category string) (rate float64, limited bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	rate, limited = q.limits[category]
	return rate, limited
}

// take takes a token from all buckets of a call or, if one of them is empty, from none.
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
