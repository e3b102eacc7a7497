// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/sdk/logical"
)

// getJSON reads a storage entry and reports whether there is one. The error of
// a damaged entry names its path but not its content.
func getJSON(ctx context.Context, s logical.Storage, path string, into any) (bool, error) {
	entry, err := s.Get(ctx, path)
	if err != nil {
		return false, fmt.Errorf("reading %q: %w", path, err)
	}
	if entry == nil {
		return false, nil
	}
	if err := entry.DecodeJSON(into); err != nil {
		return false, fmt.Errorf("the stored entry %q is damaged", path)
	}
	return true, nil
}

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
