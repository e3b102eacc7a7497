// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"

	"vault-plugin-secrets-cognito/internal/cache"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// damagedEntry is the error of a stored entry that cannot be decoded.
type damagedEntry struct{ path string }

func (e *damagedEntry) Error() string { return fmt.Sprintf("the stored entry %q is damaged", e.path) }

// getJSON reads a storage entry and reports whether it exists. The error for a damaged entry names
// its path but not its content, which may hold secrets.
func getJSON(ctx context.Context, s logical.Storage, path string, into any) (bool, error) {
	entry, err := s.Get(ctx, path)
	if err != nil {
		return false, fmt.Errorf("reading %q: %w", path, err)
	}
	if entry == nil {
		return false, nil
	}
	if err := entry.DecodeJSON(into); err != nil {
		return false, &damagedEntry{path}
	}
	return true, nil
}

// newEntryCache returns a cache of decoded storage entries. A missing entry is not cached.
func newEntryCache[T any](lifetime context.Context) *cache.Cache[string, *T] {
	return cache.New[string](cache.Options[*T]{Lifetime: lifetime, Keep: func(entry *T) bool { return entry != nil }})
}

// putJSON stores a value at a path.
func putJSON(ctx context.Context, s logical.Storage, path string, value any) error {
	entry, err := logical.StorageEntryJSON(path, value)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", path, err)
	}
	if err := s.Put(ctx, entry); err != nil {
		return fmt.Errorf("storing %q: %w", path, err)
	}
	return nil
}

// listNames returns a handler that lists the entries below a storage prefix, sorted.
func listNames(prefix string) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
		names, err := req.Storage.List(ctx, prefix)
		if err != nil {
			return nil, fmt.Errorf("listing %q: %w", prefix, err)
		}
		slices.Sort(names)
		return logical.ListResponse(names), nil
	}
}
