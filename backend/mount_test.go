// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

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

// mount is one mount of the engine in this process, driven as Vault drives it:
// by requests. Every response is checked against the path's own schema.
type mount struct {
	t       *testing.T
	backend logical.Backend
	storage logical.Storage
	system  *logical.StaticSystemView
}

func newMount(t *testing.T) *mount {
	return newMountOn(t, &logical.InmemStorage{}, backend.Options{Version: "v1.2.3"})
}

func newMountOn(t *testing.T, storage logical.Storage, options backend.Options) *mount {
	t.Helper()
	system := &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour}
	b, err := backend.Factory(options)(t.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: system,
	})
	require.NoError(t, err)
	return &mount{t: t, backend: b, storage: storage, system: system}
}

// request makes a request as Vault would, and gives what the handler gave.
func (m *mount) request(ctx context.Context, op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	m.t.Helper()
	req := &logical.Request{Operation: op, Path: path, Data: data, Storage: m.storage, MountPoint: "cognito/", DisplayName: "token"}
	response, err := m.backend.HandleRequest(ctx, req)
	if err == nil && !response.IsError() && op != logical.RollbackOperation && op != logical.RotationOperation {
		schema.ResponseValidatingCallback(m.t)(m.backend, req, response)
	}
	return response, err
}

// ok makes a request that must succeed.
func (m *mount) ok(op logical.Operation, path string, data map[string]any) *logical.Response {
	m.t.Helper()
	response, err := m.request(m.t.Context(), op, path, data)
	require.NoError(m.t, err)
	require.False(m.t, response.IsError(), "%v", response)
	return response
}

// refused makes a request that must be answered with a 400, and gives its text.
func (m *mount) refused(op logical.Operation, path string, data map[string]any) string {
	m.t.Helper()
	response, err := m.request(m.t.Context(), op, path, data)
	require.NoError(m.t, err)
	require.True(m.t, response.IsError(), "the request was not refused: %v", response)
	return response.Error().Error()
}

// writeOK creates or updates, whichever Vault would choose.
func (m *mount) writeOK(path string, data map[string]any) *logical.Response {
	m.t.Helper()
	return m.ok(m.writeOperation(path), path, data)
}

func (m *mount) writeRefused(path string, data map[string]any) string {
	m.t.Helper()
	return m.refused(m.writeOperation(path), path, data)
}

func (m *mount) writeOperation(path string) logical.Operation {
	m.t.Helper()
	req := &logical.Request{Operation: logical.CreateOperation, Path: path, Storage: m.storage}
	_, exists, err := m.backend.HandleExistenceCheck(m.t.Context(), req)
	require.NoError(m.t, err)
	if exists {
		return logical.UpdateOperation
	}
	return logical.CreateOperation
}

func (m *mount) read(path string) map[string]any {
	m.t.Helper()
	response := m.ok(logical.ReadOperation, path, nil)
	if response == nil {
		return nil
	}
	return response.Data
}
