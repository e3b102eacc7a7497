// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cache"
	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// staticTokenShare is the share of their life for which tokens are returned again.
	staticTokenShare = 0.75
	// staticTokenRetry is how long after a failed sign-in the next one is made.
	staticTokenRetry = time.Minute
)

// staticTokens are the result of one sign-in of a static role's user: tokens, or
// an error of AWS that is returned until the next sign-in.
type staticTokens struct {
	tokens cognito.Tokens
	err    error
	issued time.Time
	// signIn is what the result depends on.
	signIn staticSignIn
	// ownRefresh is set if the refresh token serves once and cannot be shared:
	// only the first reader gets it.
	ownRefresh    bool
	refreshIssued atomic.Bool
}

// staticSignIn is the part of a static role that a sign-in depends on.
type staticSignIn struct {
	rotated   time.Time
	appClient cognito.AppClient
}

func (r *staticRole) signIn() staticSignIn { return staticSignIn{r.LastRotation, r.appClient()} }

// newStaticTokens returns the cache of tokens of static roles' users, by role name.
func newStaticTokens(lifetime context.Context) *cache.Cache[string, *staticTokens] {
	return cache.New[string](cache.Options[*staticTokens]{Lifetime: lifetime})
}

// tokensOf returns the tokens of a static role's user. Concurrent readers share
// one sign-in, and readers after them its tokens while these are fresh.
func (b *backend) tokensOf(ctx context.Context, req *logical.Request, name string, role *staticRole) (cognito.Tokens, error) {
	state := func(t *staticTokens) cache.State { return t.state(role.signIn(), b.now()) }
	shared, err := b.staticTokens.Get(ctx, name, state, func(ctx context.Context) (*staticTokens, error) {
		return b.signInForReaders(ctx, req, role)
	})
	if err != nil {
		return cognito.Tokens{}, err
	}
	return shared.take(b.now())
}

// state reports whether the result is still of use.
func (t *staticTokens) state(wanted staticSignIn, now time.Time) cache.State {
	age := now.Sub(t.issued)
	life := time.Duration(staticTokenShare * float64(t.tokens.ExpiresIn))
	if t.err != nil {
		life = staticTokenRetry
	}
	if !t.signIn.rotated.Equal(wanted.rotated) || t.signIn.appClient != wanted.appClient || age < 0 || age >= life {
		return cache.Expired
	}
	return cache.Fresh
}

// take returns the tokens for one reader.
func (t *staticTokens) take(now time.Time) (cognito.Tokens, error) {
	tokens := t.tokens
	tokens.ExpiresIn -= max(0, now.Sub(t.issued))
	if t.ownRefresh && !t.refreshIssued.CompareAndSwap(false, true) {
		tokens.RefreshToken = ""
	}
	return tokens, t.err
}

func (b *backend) signInForReaders(ctx context.Context, req *logical.Request, role *staticRole) (*staticTokens, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	pool, err := aws.Pool(ctx, role.target(aws.region))
	if err != nil {
		return nil, err
	}
	result := &staticTokens{issued: b.now(), signIn: role.signIn()}
	var refused *cognito.Error
	_, session, err := b.newSigner(req.Storage, pool, role).signIn(ctx, role.Value)
	switch {
	case err == nil:
		result.tokens, result.ownRefresh = session.Tokens, rotatesRefreshTokens(ctx, pool, role.AppClientID)
	case errors.As(err, &refused):
		result.err = err
	default:
		return nil, err
	}
	return result, nil
}

// rotatesRefreshTokens reports whether a refresh token of the app client serves
// once. If that cannot be read it is assumed.
func rotatesRefreshTokens(ctx context.Context, pool *cognito.Pool, clientID string) bool {
	client, err := pool.Client(ctx, clientID)
	return err != nil || client.RotatesRefreshTokens
}

// dropMachineTokens drops the tokens that were issued for an app client's secret,
// so that the roles that use it continue with the new one.
func (b *backend) dropMachineTokens(role *staticRole) {
	if aws, _ := b.connections.Peek(configStoragePath); aws != nil && role.isSecret() {
		aws.DropClient(role.AppClientID)
	}
}
