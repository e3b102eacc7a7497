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
	// cachedTokensMax is how many tokens one partition holds. A token takes about 2 kB.
	cachedTokensMax = 16

	// refreshShare is the part of its lifetime after which a token is refreshed, plus or minus a
	// random refreshJitter, so that nodes and clients do not refresh at the same time. AWS
	// recommends three quarters:
	// https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-caching-tokens.html
	refreshShare  = 0.75
	refreshJitter = 0.05
	// aheadShare is the part of its lifetime before Next in which a read refreshes a token in the
	// background. From Next on, a read waits for the new token for up to overdueWait: a client that
	// reads when it was told to receives a token with a Next in the future.
	aheadShare  = 0.05
	overdueWait = time.Second

	// youngShare is the part of its lifetime in which a token satisfies every MinTTL, so that a
	// MinTTL that no token can satisfy does not request a token per read.
	youngShare = 0.25
	// freshAge is the greatest age of a token for a request with Fresh.
	freshAge = time.Minute
	// leastLife is the least remaining lifetime of a token that is returned.
	leastLife = time.Second

	// fetchTimeout bounds a fetch. Readers share it, so the deadline of a single reader does not
	// bound it.
	fetchTimeout = 45 * time.Second

	// retryFirst and retryMax bound the pause after a failed refresh of a token that is still
	// valid.
	retryFirst = 5 * time.Second
	retryMax   = time.Minute
)

// RefreshFailure describes a failed refresh of a token that is returned until it expires.
type RefreshFailure struct {
	Err error
	// Again is the earliest time of the next attempt.
	Again time.Time
	// Expires is when the cached token expires.
	Expires time.Time
}

// tokenCache holds machine tokens in memory, in one partition for each role, so that the readers of
// one role cannot evict the tokens of another. It is safe for concurrent use.
type tokenCache struct {
	now      func() time.Time
	random   func() float64
	fetch    fetchFunc
	onFailed func(RefreshFailure)
	options  cache.Options[cachedToken]

	mu         sync.RWMutex
	partitions map[string]*tokenPartition
	// evictions has for each partition the times, within freshAge, of fetches that evicted other
	// tokens.
	evictions map[string][]time.Time
	// dropped is the sum of the stats of partitions that were dropped.
	dropped cache.Stats
}

type tokenPartition = cache.Cache[tokenKey, cachedToken]

// tokenKey has everything that a token depends on.
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
	// failures is the number of failed refreshes since the last success, and again the earliest
	// time of the next one.
	failures int
	again    time.Time
}

// fetchFunc fetches a new token.
type fetchFunc func(context.Context, MachineTokenRequest) (MachineToken, error)

func newTokenCache(lifetime context.Context, now func() time.Time, fetch fetchFunc, onFailed func(RefreshFailure)) *tokenCache {
	return &tokenCache{
		now: now, random: rand.Float64, fetch: fetch, onFailed: onFailed,
		options:    cache.Options[cachedToken]{Lifetime: lifetime, LoadTimeout: fetchTimeout, OverdueWait: overdueWait, Size: cachedTokensMax},
		partitions: map[string]*tokenPartition{},
		evictions:  map[string][]time.Time{},
	}
}

// get returns the cached token if it satisfies the request, and refreshes it in the background when
// that is due soon. If it is overdue, get waits a moment for the new one. If the cached token does
// not satisfy the request, get waits for a fetch, which all readers of the token share. If the
// fetch fails, it returns the cached token while that is valid.
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

// state returns what a reader may do with a token.
func (t cachedToken) state(r MachineTokenRequest, now time.Time) cache.State {
	age, left := now.Sub(t.Issued), t.left(now)
	switch {
	case left < leastLife, r.Fresh && age > freshAge:
		return cache.Expired
	case now.Before(t.again):
		return cache.Fresh
	case left < r.MinTTL && float64(age) >= youngShare*float64(t.life()):
		return cache.Expired
	case !now.Before(t.Next) && left < leastLife+overdueWait:
		return cache.Expired // too little would be left after the wait
	case !now.Before(t.Next):
		return cache.Overdue
	case t.Next.Sub(now) <= time.Duration(aheadShare*float64(t.life())):
		return cache.Stale
	default:
		return cache.Fresh
	}
}

// forReader returns the token with Next at the time of the next attempt, so that readers do not
// read again too early.
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

// allowEviction limits the fetches that evict another token of a full partition. Without it readers
// who alternate between many sets of scopes would request a token per read.
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

// postponeRefresh delays the next refresh of a token that is still valid, and reports the failure.
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

// refreshAfter returns the age at which a token with this lifetime is refreshed.
func (c *tokenCache) refreshAfter(life time.Duration) time.Duration {
	return time.Duration(float64(life) * (refreshShare + refreshJitter*(2*c.random()-1)))
}

// dropClient drops all tokens of an app client.
func (c *tokenCache) dropClient(id string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, partition := range c.partitions {
		partition.DropFunc(func(key tokenKey, _ cachedToken) bool { return key.app.ID == id })
	}
}

// dropPartition drops a partition.
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

// stats returns the sum of the stats of all partitions.
func (c *tokenCache) stats() cache.Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	sum := c.dropped
	for _, partition := range c.partitions {
		sum = sum.Add(partition.Stats())
	}
	return sum
}

// keyOf returns the key of a request. The order of scopes and of metadata does not matter. A secret
// that is looked up is not part of the key: pool and app client identify it.
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

// joined concatenates texts with their lengths, so that different lists have different results.
func joined(texts []string) string {
	var all []byte
	for _, text := range texts {
		all = append(binary.AppendUvarint(all, uint64(len(text))), text...)
	}
	return string(all)
}
