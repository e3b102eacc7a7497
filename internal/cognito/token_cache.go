// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/cache"
)

const (
	// cachedTokensMax is how many tokens one partition holds. A token takes some 2 kB.
	cachedTokensMax = 16

	// refreshShare of its life is when a token is replaced, more or less a
	// random refreshJitter, so that many nodes and clients do not do it at once.
	// AWS names three quarters:
	// https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-caching-tokens.html
	refreshShare  = 0.75
	refreshJitter = 0.05

	// youngShare of its life is how long a token satisfies every MinTTL, so that
	// a demand that no token can meet does not buy one per read.
	youngShare = 0.25
	// freshAge is how old a token may be for a request that asks for a fresh one.
	freshAge = time.Minute
	// leastLife is what a token must have left to be returned at all.
	leastLife = time.Second

	// fetchTimeout bounds a fetch. It is shared, so no single reader bounds it.
	fetchTimeout = 45 * time.Second

	// retryFirst and retryMax bound the pause after a failed replacement of a
	// token that is still good.
	retryFirst = 5 * time.Second
	retryMax   = time.Minute
)

// RefreshFailure describes a token that could not be replaced and is returned
// until it expires.
type RefreshFailure struct {
	Err error
	// Again is when the next attempt is made at the earliest.
	Again time.Time
	// Expires is when the cached token expires.
	Expires time.Time
}

// tokenCache holds machine tokens in memory, in one partition for each role, so
// that the readers of one role cannot evict the tokens of another. It is safe
// for concurrent use.
type tokenCache struct {
	now      func() time.Time
	random   func() float64
	fetch    fetchFunc
	onFailed func(RefreshFailure)
	options  cache.Options[cachedToken]

	mu         sync.RWMutex
	partitions map[string]*tokenPartition
	// evictions has for each partition when tokens were fetched that evicted others, within freshAge.
	evictions map[string][]time.Time
	// dropped are the stats of partitions that were dropped.
	dropped cache.Stats
}

type tokenPartition = cache.Cache[tokenKey, cachedToken]

// tokenKey is everything that shapes a token.
type tokenKey struct {
	source           TokenSource
	domain           string
	target           Target
	app              AppClient
	scopes, metadata string
}

// cachedToken is one entry.
type cachedToken struct {
	MachineToken
	// failures in a row to replace it, and when the next attempt may be made.
	failures int
	again    time.Time
}

// fetchFunc fetches a new token.
type fetchFunc func(context.Context, MachineTokenRequest) (MachineToken, error)

func newTokenCache(lifetime context.Context, now func() time.Time, fetch fetchFunc, onFailed func(RefreshFailure)) *tokenCache {
	return &tokenCache{
		now: now, random: rand.Float64, fetch: fetch, onFailed: onFailed,
		options:    cache.Options[cachedToken]{Lifetime: lifetime, LoadTimeout: fetchTimeout, Size: cachedTokensMax},
		partitions: map[string]*tokenPartition{},
		evictions:  map[string][]time.Time{},
	}
}

// get returns the cached token if it is good for the request, and has it
// replaced in the background when it is due. Otherwise the reader waits for
// the one fetch that all readers of the token share. If that fails, the cached
// token is returned as long as it lives.
func (c *tokenCache) get(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	partition, key := c.partition(r.Partition), keyOf(r)
	token, err := partition.Get(ctx, key,
		func(t cachedToken) cache.State { return t.state(r, c.now()) },
		func(ctx context.Context) (cachedToken, error) { return c.load(ctx, partition, key, r) })
	if err == nil {
		return token.forReader(), nil
	}
	if cached, found := partition.Peek(key); found && !r.Fresh && cached.left(c.now()) >= leastLife {
		return cached.forReader(), nil
	}
	if ctx.Err() != nil {
		return MachineToken{}, fail(r.step(), ctx.Err())
	}
	return MachineToken{}, err
}

func (c *tokenCache) partition(name string) *tokenPartition {
	c.mu.RLock()
	found := c.partitions[name]
	c.mu.RUnlock()
	if found != nil {
		return found
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.partitions[name] == nil {
		c.partitions[name] = cache.New[tokenKey](c.options)
	}
	return c.partitions[name]
}

// state says what a reader may do with a token.
func (t cachedToken) state(r MachineTokenRequest, now time.Time) cache.State {
	age, left := now.Sub(t.Issued), t.left(now)
	switch {
	case left < leastLife, r.Fresh && age > freshAge:
		return cache.Expired
	case now.Before(t.again):
		return cache.Fresh
	case left < r.MinTTL && float64(age) >= youngShare*float64(t.life()):
		return cache.Expired
	case !now.Before(t.Next):
		return cache.Stale
	default:
		return cache.Fresh
	}
}

// forReader lets Next say when another read makes sense.
func (t cachedToken) forReader() MachineToken {
	if t.again.After(t.Next) {
		t.Next = t.again
	}
	return t.MachineToken
}

func (c *tokenCache) load(ctx context.Context, partition *tokenPartition, key tokenKey, r MachineTokenRequest) (cachedToken, error) {
	if err := c.allowEviction(partition, key, r); err != nil {
		return cachedToken{}, err
	}
	token, err := c.fetch(ctx, r)
	if err != nil {
		c.postponeRefresh(partition, key, err)
		return cachedToken{}, err
	}
	return cachedToken{MachineToken: token}, nil
}

// allowEviction limits fetches for a full partition that does not hold the token. Otherwise readers who ask for one
// set of scopes after the other would buy a token per read.
func (c *tokenCache) allowEviction(partition *tokenPartition, key tokenKey, r MachineTokenRequest) error {
	if _, found := partition.Peek(key); found || partition.Len() < cachedTokensMax {
		return nil
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	recent := slices.DeleteFunc(c.evictions[r.Partition], func(at time.Time) bool { return now.Sub(at).Abs() >= freshAge })
	if len(recent) >= cachedTokensMax {
		return &Error{Step: r.step(), Kind: KindThrottled, Outcome: OutcomeRefused, Detail: fmt.Sprintf(
			"%d sets of scopes are cached, and as many others were read within %s: read fewer, or try again in a minute", cachedTokensMax, freshAge)}
	}
	c.evictions[r.Partition] = append(recent, now)
	return nil
}

// postponeRefresh spaces out the attempts to replace a token that is still good.
func (c *tokenCache) postponeRefresh(partition *tokenPartition, key tokenKey, err error) {
	now := c.now()
	var failed *RefreshFailure
	partition.Update(key, func(t cachedToken) cachedToken {
		if t.left(now) < leastLife {
			return t
		}
		t.again = now.Add(min(retryFirst<<min(t.failures, 8), retryMax))
		t.failures++
		failed = &RefreshFailure{Err: err, Again: t.again, Expires: t.Expires}
		return t
	})
	if failed != nil {
		c.onFailed(*failed)
	}
}

// refreshAfter returns how long a token of this life is not replaced.
func (c *tokenCache) refreshAfter(life time.Duration) time.Duration {
	return time.Duration(float64(life) * (refreshShare + refreshJitter*(2*c.random()-1)))
}

// dropClient removes all tokens of an app client.
func (c *tokenCache) dropClient(id string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, partition := range c.partitions {
		partition.DropFunc(func(key tokenKey, _ cachedToken) bool { return key.app.ID == id })
	}
}

// dropPartition removes all tokens of a partition.
func (c *tokenCache) dropPartition(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if partition := c.partitions[name]; partition != nil {
		partition.Clear()
		c.dropped = c.dropped.Add(partition.Stats())
		delete(c.partitions, name)
		delete(c.evictions, name)
	}
}

// stats adds up those of all partitions.
func (c *tokenCache) stats() cache.Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	sum := c.dropped
	for _, partition := range c.partitions {
		sum = sum.Add(partition.Stats())
	}
	return sum
}

// keyOf returns the key of a request. The order of scopes makes no difference
// to Cognito, nor does that of metadata. A secret that is looked up is not part
// of it: the pool and the app client stand for it.
func keyOf(r MachineTokenRequest) tokenKey {
	key := tokenKey{source: cmp.Or(r.Source, SourceEndpoint), domain: r.Domain, target: r.Target, app: r.AppClient}
	key.scopes = joined(slices.Compact(slices.Sorted(slices.Values(r.Scopes))))
	var metadata []string
	for _, name := range slices.Sorted(maps.Keys(r.ClientMetadata)) {
		metadata = append(metadata, name, r.ClientMetadata[name])
	}
	key.metadata = joined(metadata)
	return key
}

// joined puts the length before each text, so that no two lists look the same.
func joined(texts []string) string {
	var all []byte
	for _, text := range texts {
		all = append(binary.AppendUvarint(all, uint64(len(text))), text...)
	}
	return string(all)
}
