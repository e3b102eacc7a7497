// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/base64"
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
	// itemRoles is the number of roles of a kind that an item's memory is averaged over.
	itemRoles = 10000
	// itemTokens is smaller, because the engine caches 4,096 tokens at most.
	itemTokens = 4000
	// tokenLength is the length of a machine token, a JWT with some scopes.
	tokenLength = 1024
	// handlings is the number of reads that the time of one is averaged over.
	handlings = 20000
)

// items holds what the engine needs without the server and gRPC.
type items struct {
	// Bytes on the heap per item.
	Role, Token, StaticQueued, StaticHeld float64
	// The time that the engine itself takes to answer.
	TokenHandling, StaticHandling time.Duration
}

// measureItems runs the engine in this process, whose heap can be measured exactly.
func measureItems(ctx context.Context) (items, error) {
	var found items
	endpoint := httptest.NewServer(fakeAWS())
	defer endpoint.Close()
	storage := &logical.InmemStorage{}
	before, err := startInside(ctx, storage)
	if err != nil {
		return found, err
	}
	if err := before.writeItems(ctx, endpoint.URL); err != nil {
		return found, err
	}
	// Another backend on the same storage has empty caches.
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

// growth returns by how much the heap grows with each of n items.
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
	runtime.GC() // the second run collects what the first one finalised
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}

// fakeAWS signs every user in, and returns a different machine token for every request.
func fakeAWS() http.Handler {
	var number atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "" {
			signIn(w, r)
			return
		}
		token := fmt.Sprintf("%0*d", tokenLength, number.Add(1))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	})
}

// signIn answers InitiateAuth. The user's name is its sub.
func signIn(w http.ResponseWriter, r *http.Request) {
	var request struct{ AuthParameters map[string]string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	name := request.AuthParameters["USERNAME"]
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q,"username":%[1]q}`, name))
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]any{"AuthenticationResult": map[string]any{
		"AccessToken": "e30." + claims + ".", "TokenType": "Bearer", "ExpiresIn": 3600,
	}})
}

// engineInside is the engine in this process.
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
	if err := e.must(ctx, logical.CreateOperation, "config", map[string]any{"region": region, "rate_limits": rateLimits, "cognito_endpoint": endpoint}); err != nil {
		return err
	}
	for i := range itemRoles {
		name := staticName(i)
		if err := e.must(ctx, logical.CreateOperation, "roles/"+name, map[string]any{
			"app_client_id": strings.ReplaceAll(name, "-", ""), "app_client_secret": strings.Repeat("s", 52), "cognito_pool_domain": endpoint, "scopes": "api/read,api/write",
		}); err != nil {
			return err
		}
		// Self-managed, because the engine then only signs the user in before it rotates.
		if err := e.must(ctx, logical.CreateOperation, "static-roles/"+name, map[string]any{
			"credential_type": "user_password", "user_pool_id": "eu-west-1_AbCdEfGhI", "username": name, "app_client_id": "client",
			"self_managed": true, "skip_import_rotation": true, "password": "Bench-0123456789-0123456789-9876", "rotation_period": "24h",
		}); err != nil {
			return err
		}
	}
	return nil
}

// loadRole makes the engine load a role from storage. The request is rejected for its field.
func (e *engineInside) loadRole(ctx context.Context, i int) error {
	response, err := e.request(ctx, logical.ReadOperation, "creds/"+staticName(i), map[string]any{"ttl": 60})
	if err == nil && !response.IsError() {
		err = errors.New("a ttl was taken for a machine token")
	}
	return err
}

// loadQueue makes the engine load all static roles, as its first periodic run does.
func (e *engineInside) loadQueue(ctx context.Context, i int) error {
	if i > 0 {
		return nil
	}
	_, err := e.request(ctx, logical.RollbackOperation, "", nil)
	return err
}

// handling returns how long the engine itself takes to answer a read from its caches.
func (e *engineInside) handling(ctx context.Context, path string) (time.Duration, error) {
	began := time.Now()
	for range handlings {
		if err := e.read(ctx, path); err != nil {
			return 0, err
		}
	}
	return time.Since(began) / handlings, nil
}
