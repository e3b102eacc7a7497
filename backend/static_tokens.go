// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// staticTokenShare of their life is how long the tokens of a static role's
// user are shown again.
const staticTokenShare = 0.75

// staticTokenCache keeps the tokens of static roles' users in memory, so that
// not every read signs the user in. The zero value is ready.
type staticTokenCache struct {
	mu         sync.Mutex
	generation uint64
	held       map[string]heldTokens
}

type heldTokens struct {
	tokens cognito.Tokens
	issued time.Time
	// appClientID and rotated tell through which app client and with which of
	// the role's passwords they were had.
	appClientID string
	rotated     time.Time
}

// get gives the tokens at hand while they are young, of the present password
// and app client, with what is left of their life, or else new ones. Those that
// were had while something was dropped are used once and not kept: it may have
// been the way by which they were had.
func (c *staticTokenCache) get(name string, role *staticRole, now time.Time, signIn func() (cognito.Tokens, error)) (cognito.Tokens, error) {
	held, generation := c.look(name)
	if held.rotated.Equal(role.LastRotation) && held.appClientID == role.AppClientID {
		age := now.Sub(held.issued)
		if age < time.Duration(staticTokenShare*float64(held.tokens.ExpiresIn)) {
			held.tokens.ExpiresIn -= age
			return held.tokens, nil
		}
	}
	tokens, err := signIn()
	if err == nil {
		c.keep(name, heldTokens{tokens, now, role.AppClientID, role.LastRotation}, generation)
	}
	return tokens, err
}

func (c *staticTokenCache) look(name string) (heldTokens, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[name], c.generation
}

func (c *staticTokenCache) keep(name string, tokens heldTokens, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return
	}
	if c.held == nil {
		c.held = map[string]heldTokens{}
	}
	c.held[name] = tokens
}

func (c *staticTokenCache) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	delete(c.held, name)
}

func (c *staticTokenCache) dropAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.held)
}

// signInStaticUser signs the user in.
func (b *backend) signInStaticUser(ctx context.Context, req *logical.Request, role *staticRole) (cognito.Tokens, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return cognito.Tokens{}, err
	}
	pool, err := aws.Pool(ctx, role.target(aws.region))
	if err != nil {
		return cognito.Tokens{}, err
	}
	signIn := pool.SignIn
	if role.SelfManaged {
		signIn = pool.SignInSelf
	}
	return signIn(ctx, role.appClient(), cognito.Login{Username: role.Username, Password: role.Value}, nil)
}

// dropMachineTokens drops the tokens that were bought with an app client's
// secret, so that the roles which use it go on with the new one.
func (b *backend) dropMachineTokens(role *staticRole) {
	if aws, _ := b.connections.Peek(configStoragePath); aws != nil && role.CredentialType == staticTypeSecret {
		aws.ForgetMachineTokens(role.AppClientID)
	}
}
