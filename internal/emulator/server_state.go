// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// state is everything that Cognito stores.
type state struct {
	pools   map[string]*pool
	domains map[string]*pool
	// clients holds the app clients of all pools by id, for operations that name no pool.
	clients       map[string]*client
	signIns       map[string]*signIn
	refreshTokens map[string]*refreshToken
	challenges    map[string]*challenge

	// lateUsers is how long a new user stays invisible.
	lateUsers time.Duration
	// lateClients is how long a new app client is in no list.
	lateClients time.Duration
	// tokenValidity overrides the lifetimes of app clients, by client id.
	tokenValidity map[string]control.TokenValidity
	// lambdas are the Lambda functions, by ARN.
	lambdas map[string]control.Lambda
}

func newState() *state {
	return &state{
		pools:         map[string]*pool{},
		domains:       map[string]*pool{},
		clients:       map[string]*client{},
		signIns:       map[string]*signIn{},
		refreshTokens: map[string]*refreshToken{},
		challenges:    map[string]*challenge{},
		tokenValidity: map[string]control.TokenValidity{},
		lambdas:       map[string]control.Lambda{},
	}
}

// sortedPools returns all pools by id.
func (s *state) sortedPools() []*pool {
	pools := make([]*pool, 0, len(s.pools))
	for _, p := range s.pools {
		pools = append(pools, p)
	}
	slices.SortFunc(pools, func(a, b *pool) int { return strings.Compare(a.id, b.id) })
	return pools
}

// poolsNamed returns the pool with the id, or all pools when the id is empty.
func (s *state) poolsNamed(id string) []*pool {
	if id == "" {
		return s.sortedPools()
	}
	if p, ok := s.pools[id]; ok {
		return []*pool{p}
	}
	return nil
}
