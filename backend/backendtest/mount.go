// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package backendtest drives a mount of the engine in this process as Vault does,
// by requests, over storage that can be told to fail. It is for tests only.
package backendtest

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/testhelpers/schema"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
)

// Mount is one mount of the engine in this process, driven as Vault drives it:
// by requests. Every response is checked against the path's own schema.
type Mount struct {
	T       *testing.T
	Backend logical.Backend
	Storage logical.Storage
	System  *logical.StaticSystemView
}

// New returns a mount over storage in memory.
func New(t *testing.T) *Mount {
	return NewOn(t, &logical.InmemStorage{}, backend.Options{Version: "v1.2.3"})
}

// NewOn returns a mount over the given storage.
func NewOn(t *testing.T, storage logical.Storage, options backend.Options) *Mount {
	t.Helper()
	system := &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour}
	b, err := backend.Factory(options)(t.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: system,
	})
	require.NoError(t, err)
	return &Mount{T: t, Backend: b, Storage: storage, System: system}
}

// Request makes a request as Vault would, and returns what the handler returned.
func (m *Mount) Request(ctx context.Context, op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	m.T.Helper()
	req := &logical.Request{Operation: op, Path: path, Data: data, Storage: m.Storage, MountPoint: "cognito/", DisplayName: "token"}
	response, err := m.Backend.HandleRequest(ctx, req)
	if err == nil && !response.IsError() && op != logical.RollbackOperation && op != logical.RotationOperation {
		schema.ResponseValidatingCallback(m.T)(m.Backend, req, response)
	}
	return response, err
}

// OK makes a request that must succeed.
func (m *Mount) OK(op logical.Operation, path string, data map[string]any) *logical.Response {
	m.T.Helper()
	response, err := m.Request(m.T.Context(), op, path, data)
	require.NoError(m.T, err)
	require.False(m.T, response.IsError(), "%v", response)
	return response
}

// Refused makes a request that must be answered with a 400, and returns its text.
func (m *Mount) Refused(op logical.Operation, path string, data map[string]any) string {
	m.T.Helper()
	response, err := m.Request(m.T.Context(), op, path, data)
	require.NoError(m.T, err)
	require.True(m.T, response.IsError(), "the request was not refused: %v", response)
	return response.Error().Error()
}

// WriteOK creates or updates, whichever Vault would choose.
func (m *Mount) WriteOK(path string, data map[string]any) *logical.Response {
	m.T.Helper()
	return m.OK(m.WriteOperation(path), path, data)
}

// WriteRefused makes a write that must be answered with a 400, and returns its text.
func (m *Mount) WriteRefused(path string, data map[string]any) string {
	m.T.Helper()
	return m.Refused(m.WriteOperation(path), path, data)
}

// WriteOperation returns CreateOperation or UpdateOperation, as the existence check of a path
// decides.
func (m *Mount) WriteOperation(path string) logical.Operation {
	m.T.Helper()
	req := &logical.Request{Operation: logical.CreateOperation, Path: path, Storage: m.Storage}
	_, exists, err := m.Backend.HandleExistenceCheck(m.T.Context(), req)
	require.NoError(m.T, err)
	if exists {
		return logical.UpdateOperation
	}
	return logical.CreateOperation
}

// Read returns the data of a read that must succeed, or nil if there is no response.
func (m *Mount) Read(path string) map[string]any {
	m.T.Helper()
	response := m.OK(logical.ReadOperation, path, nil)
	if response == nil {
		return nil
	}
	return response.Data
}
