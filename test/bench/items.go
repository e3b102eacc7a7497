// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/backend"
)

const (
	// itemRoles are as many roles of a kind as an item's memory is the mean of.
	itemRoles = 10000
	// itemTokens is less, because the engine holds 4,096 tokens at most.
	itemTokens = 4000
	// tokenLength is that of a machine token of Cognito's, a JWT with some scopes.
	tokenLength = 1024
	// handlings are as many reads as the time of one is the mean of.
	handlings = 20000
)

// items are what the engine needs without Vault and gRPC around it.
type items struct {
	// Bytes on the heap for each of a kind.
	Role, Token, StaticQueued, StaticHeld float64
	// How long the engine itself takes to answer.
	TokenHandling, StaticHandling time.Duration
}

// measureItems runs the engine in this process, whose heap can be seen exactly, without Vault.
func measureItems(ctx context.Context) (items, error) {
	var found items
	endpoint := httptest.NewServer(tokenEndpoint())
	defer endpoint.Close()
	storage := &logical.InmemStorage{}
	before, err := startInside(ctx, storage)
	if err != nil {
		return found, err
	}
	if err := before.writeItems(ctx, endpoint.URL); err != nil {
		return found, err
	}
	// Another one on the same storage has nothing in memory yet.
	e, err := startInside(ctx, storage)
	if err != nil {
		return found, err
	}
	steps := []struct {
		into *float64
		n    int
		do   func(i int) error
	}{
		{&found.Role, itemRoles, func(i int) error { return e.loadRole(ctx, i) }},
		{&found.Token, itemTokens, func(i int) error { return e.read(ctx, "creds/"+staticName(i)) }},
		{&found.StaticQueued, itemRoles, func(i int) error { return e.loadQueue(ctx, i) }},
		{&found.StaticHeld, itemRoles, func(i int) error { return e.read(ctx, "static-creds/"+staticName(i)) }},
	}
	for _, step := range steps {
		grown, err := growth(step.n, step.do)
		if err != nil {
			return found, err
		}
		*step.into = grown
	}
	if found.TokenHandling, err = e.handling(ctx, "creds/"+staticName(0)); err != nil {
		return found, err
	}
	found.StaticHandling, err = e.handling(ctx, "static-creds/"+staticName(0))
	return found, err
}

// growth is by how much the heap grows with each of n.
func growth(n int, do func(i int) error) (float64, error) {
	before := heap()
	for i := range n {
		if err := do(i); err != nil {
			return 0, err
		}
	}
	return (float64(heap()) - float64(before)) / float64(n), nil
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what the first one finalises goes with the second
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}

// tokenEndpoint gives every caller another token.
func tokenEndpoint() http.Handler {
	var number atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		token := fmt.Sprintf("%0*d", tokenLength, number.Add(1))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	})
}

// engineInside is the engine without a process of its own.
type engineInside struct {
	backend logical.Backend
	storage logical.Storage
}

func startInside(ctx context.Context, storage logical.Storage) (*engineInside, error) {
	made, err := backend.Factory(backend.Options{})(ctx, &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: time.Hour},
	})
	return &engineInside{made, storage}, err
}

func (e *engineInside) request(ctx context.Context, operation logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	response, err := e.backend.HandleRequest(ctx, &logical.Request{
		Operation: operation, Path: path, Data: data, Storage: e.storage, MountPoint: "cognito/",
	})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", operation, path, err)
	}
	return response, nil
}

func (e *engineInside) must(ctx context.Context, operation logical.Operation, path string, data map[string]any) error {
	response, err := e.request(ctx, operation, path, data)
	if err == nil && response.IsError() {
		err = fmt.Errorf("%s %s: %w", operation, path, response.Error())
	}
	return err
}

func (e *engineInside) read(ctx context.Context, path string) error {
	return e.must(ctx, logical.ReadOperation, path, nil)
}

func (e *engineInside) writeItems(ctx context.Context, endpoint string) error {
	if err := e.must(ctx, logical.CreateOperation, "config", map[string]any{"region": region, "rate_limits": rateLimits}); err != nil {
		return err
	}
	for i := range itemRoles {
		name := staticName(i)
		if err := e.must(ctx, logical.CreateOperation, "roles/"+name, map[string]any{
			"app_client_id": strings.ReplaceAll(name, "-", ""), "app_client_secret": strings.Repeat("s", 52), "cognito_pool_domain": endpoint, "scopes": "api/read,api/write",
		}); err != nil {
			return err
		}
		// Self-managed, because the engine then asks AWS for nothing until it rotates.
		if err := e.must(ctx, logical.CreateOperation, "static-roles/"+name, map[string]any{
			"credential_type": "user_password", "user_pool_id": "eu-west-1_AbCdEfGhI", "username": name, "app_client_id": "client",
			"self_managed": true, "skip_import_rotation": true, "password": "Bench-0123456789-0123456789-9876", "rotation_period": "24h",
		}); err != nil {
			return err
		}
	}
	return nil
}

// loadRole has a role read from storage, and nothing more: the request is refused for a field that is not for it.
func (e *engineInside) loadRole(ctx context.Context, i int) error {
	response, err := e.request(ctx, logical.ReadOperation, "creds/"+staticName(i), map[string]any{"ttl": 60})
	if err == nil && !response.IsError() {
		err = errors.New("a ttl was taken for a machine token")
	}
	return err
}

// loadQueue has Vault's tick read all static roles, the first time.
func (e *engineInside) loadQueue(ctx context.Context, i int) error {
	if i > 0 {
		return nil
	}
	_, err := e.request(ctx, logical.RollbackOperation, "", nil)
	return err
}

// handling is how long the engine itself takes to answer a read from memory.
func (e *engineInside) handling(ctx context.Context, path string) (time.Duration, error) {
	began := time.Now()
	for range handlings {
		if err := e.read(ctx, path); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / handlings, nil
}
