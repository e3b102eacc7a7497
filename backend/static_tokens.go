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
	// staticTokenShare is the part of their lifetime for which cached tokens are returned.
	staticTokenShare = 0.75
	// staticTokenRetry is the pause between a failed sign-in and the next one.
	staticTokenRetry = time.Minute
)

// staticTokens is the cached result of one sign-in of a static role's user: tokens, or an error of
// AWS.
type staticTokens struct {
	tokens cognito.Tokens
	err    error
	issued time.Time
	// signIn is the part of the static role that the result depends on.
	signIn staticSignIn
	// ownRefresh is set if the refresh token can be used only once. Only the first reader gets it.
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

// userTokens returns tokens of a static role's user, from the cache while they are fresh.
// Concurrent readers share one sign-in.
func (b *backend) userTokens(ctx context.Context, req *logical.Request, name string, role *staticRole) (cognito.Tokens, error) {
	state := func(t *staticTokens) cache.State { return t.state(role.signIn(), b.now()) }
	shared, err := b.staticTokens.Get(ctx, name, state, func(ctx context.Context) (*staticTokens, error) {
		return b.signInForReaders(ctx, req, role)
	})
	if err != nil {
		return cognito.Tokens{}, err
	}
	return shared.forReader(b.now())
}

// state returns whether a cached result is fresh.
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

// forReader returns the tokens for one reader.
func (t *staticTokens) forReader(now time.Time) (cognito.Tokens, error) {
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

// rotatesRefreshTokens reports whether a refresh token of the app client can be used only once. If
// the app client cannot be read, it returns true.
func rotatesRefreshTokens(ctx context.Context, pool *cognito.Pool, clientID string) bool {
	client, err := pool.Client(ctx, clientID)
	return err != nil || client.RotatesRefreshTokens
}

// dropMachineTokens drops the cached tokens of an app client whose secret was rotated, so that
// roles request new tokens with the new secret.
func (b *backend) dropMachineTokens(role *staticRole) {
	if aws, _ := b.connections.Peek(configStoragePath); aws != nil && role.isSecret() {
		aws.DropClient(role.AppClientID)
	}
}
