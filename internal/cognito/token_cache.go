// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
)

const (
	// cachedTokensMax bounds the memory: a token is some 2 kB.
	cachedTokensMax = 4096

	// refreshShare of its life is when a token is replaced, more or less a
	// random refreshJitter, so that many nodes and clients do not do it at once.
	// AWS names three quarters:
	// https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-caching-tokens.html
	refreshShare  = 0.75
	refreshJitter = 0.05

	// fetchTimeout bounds a fetch that several readers wait for. It is no
	// single reader's, so that none of them can cancel it for the others.
	fetchTimeout = 45 * time.Second

	// retryFirst and retryMax bound the pause after a failed replacement of a
	// token that is still good.
	retryFirst = 5 * time.Second
	retryMax   = time.Minute
)

// RefreshFailure tells of a token that could not be replaced and goes on being
// handed out until it ends.
type RefreshFailure struct {
	Err error
	// Again is when the next try is made at the earliest.
	Again time.Time
	// Expires is when the token at hand ends.
	Expires time.Time
}

// tokenCache holds machine tokens in memory. It is safe for concurrent use.
type tokenCache struct {
	now      func() time.Time
	random   func() float64
	fetch    fetchFunc
	onFailed func(RefreshFailure)
	// lifetime ends with the mount, and with it every fetch that nobody waits for.
	lifetime context.Context

	held       *lru.Cache[tokenKey, heldToken]
	flights    singleflight.Group
	generation atomic.Uint64
}

// tokenKey is a digest of all that shapes a token.
type tokenKey [sha256.Size]byte

// heldToken is one entry. Entries are replaced, never changed.
type heldToken struct {
	MachineToken
	clientID string
	// failures in a row to replace it, and until when it is not tried again.
	failures int
	again    time.Time
}

// fetchFunc gets a new token.
type fetchFunc func(context.Context, MachineTokenRequest) (MachineToken, error)

func newTokenCache(lifetime context.Context, fetch fetchFunc, onFailed func(RefreshFailure)) *tokenCache {
	held, err := lru.New[tokenKey, heldToken](cachedTokensMax)
	if err != nil {
		panic(err) // only a size that is not positive is an error
	}
	return &tokenCache{now: time.Now, random: rand.Float64, fetch: fetch, onFailed: onFailed, lifetime: lifetime, held: held}
}

// get gives the token at hand while it is good for the request, and has it
// replaced behind the reader's back when it is time. Otherwise the reader waits
// for the one fetch that all readers of the token share.
//
//nolint:contextcheck // the fetch is shared, so it must not end with the reader that began it
func (c *tokenCache) get(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	key := r.cacheKey()
	token, found := c.held.Get(key)
	now := c.now()
	if !found || token.tooShort(r, now) {
		return c.await(ctx, r, key)
	}
	if !token.due(now) {
		return token.shown(), nil
	}
	// The channel is buffered: nobody has to read it.
	_ = c.start(key, r)
	return token.shown(), nil
}

// tooShort tells of a token that ends too soon for a request, and whose
// successor would not.
func (t heldToken) tooShort(r MachineTokenRequest, now time.Time) bool {
	return t.life() >= r.MinTTL && t.Expires.Sub(now) < r.MinTTL
}

// due tells that it is time to replace a token.
func (t heldToken) due(now time.Time) bool { return !now.Before(t.Next) && !now.Before(t.again) }

// shown lets Next say when trying again makes sense.
func (t heldToken) shown() MachineToken {
	if t.again.After(t.Next) {
		t.Next = t.again
	}
	return t.MachineToken
}

//nolint:contextcheck // as for get
func (c *tokenCache) await(ctx context.Context, r MachineTokenRequest, key tokenKey) (MachineToken, error) {
	select {
	case result := <-c.start(key, r):
		token, _ := result.Val.(MachineToken)
		return token, result.Err
	case <-ctx.Done():
		return MachineToken{}, fail(r.step(), ctx.Err())
	}
}

// start begins the fetch of a token unless one is under way, or has ended since
// the caller looked.
func (c *tokenCache) start(key tokenKey, r MachineTokenRequest) <-chan singleflight.Result {
	return c.flights.DoChan(string(key[:]), func() (any, error) {
		now := c.now()
		if token, found := c.held.Peek(key); found && !token.tooShort(r, now) && !token.due(now) {
			return token.MachineToken, nil
		}
		ctx, cancel := context.WithTimeout(c.lifetime, fetchTimeout)
		defer cancel()
		generation := c.generation.Load()
		token, err := c.fetch(ctx, r)
		if err != nil {
			c.noteFailure(key, err)
			return nil, err
		}
		if c.generation.Load() == generation {
			c.held.Add(key, heldToken{MachineToken: token, clientID: r.AppClient.ID})
		}
		return token, nil
	})
}

// noteFailure spaces out the tries to replace a token that is still good.
func (c *tokenCache) noteFailure(key tokenKey, err error) {
	token, found := c.held.Peek(key)
	now := c.now()
	if !found || !token.Expires.After(now) {
		return
	}
	token.again = now.Add(min(retryFirst<<min(token.failures, 8), retryMax))
	token.failures++
	c.held.Add(key, token)
	c.onFailed(RefreshFailure{Err: err, Again: token.again, Expires: token.Expires})
}

// refreshAfter is how long a token of this life is left in peace.
func (c *tokenCache) refreshAfter(life time.Duration) time.Duration {
	return time.Duration(float64(life) * (refreshShare + refreshJitter*(2*c.random()-1)))
}

// forget drops all tokens of an app client, and the fetches under way for them.
func (c *tokenCache) forget(clientID string) {
	c.generation.Add(1)
	for _, key := range c.held.Keys() {
		if token, found := c.held.Peek(key); found && token.clientID == clientID {
			c.held.Remove(key)
			c.flights.Forget(string(key[:]))
		}
	}
}

// Prepared is the request with its place in memory worked out, for a caller who
// asks with it often. After that only its MinTTL and NoCache may be set; for
// other scopes there is WithScopes.
func (r MachineTokenRequest) Prepared() MachineTokenRequest {
	key := keyOf(r)
	r.key = &key
	return r
}

// WithScopes is the request with other scopes.
func (r MachineTokenRequest) WithScopes(scopes []string) MachineTokenRequest {
	r.Scopes, r.key = scopes, nil
	return r
}

func (r MachineTokenRequest) cacheKey() tokenKey {
	if r.key != nil {
		return *r.key
	}
	return keyOf(r)
}

// keyOf digests a request. The order of scopes makes no difference to Cognito,
// nor does that of metadata. A secret that is looked up is not here: the pool
// and the client stand for it.
func keyOf(r MachineTokenRequest) tokenKey {
	shape := make([]byte, 0, 512)
	shape = appendTexts(shape, []string{
		string(cmp.Or(r.Source, SourceEndpoint)), r.Domain,
		r.Target.UserPoolID, r.Target.Region, r.Target.AssumeRoleARN, r.Target.ExternalID,
		r.AppClient.ID, r.AppClient.Secret,
	})
	shape = appendTexts(shape, slices.Compact(slices.Sorted(slices.Values(r.Scopes))))
	for _, name := range slices.Sorted(maps.Keys(r.ClientMetadata)) {
		shape = appendTexts(shape, []string{name, r.ClientMetadata[name]})
	}
	return sha256.Sum256(shape)
}

// appendTexts puts lengths before texts, so that no two lists look the same.
func appendTexts(to []byte, texts []string) []byte {
	to = binary.AppendUvarint(to, uint64(len(texts)))
	for _, text := range texts {
		to = append(binary.AppendUvarint(to, uint64(len(text))), text...)
	}
	return to
}
