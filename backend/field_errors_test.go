// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"strings"
	"testing"

	"vault-plugin-secrets-cognito/backend/backendtest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// TestFieldsOfAnotherType requires that an error names the field and what is allowed, and repeats
// no value that may be a secret.
func TestFieldsOfAnotherType(t *testing.T) {
	hush := map[string]any{"hush-key": "hush-value"}
	for field, c := range map[string]struct {
		path  string
		value any
		says  string
	}{
		"aws_secret_access_key": {"config", hush, "aws_secret_access_key is not allowed: it must be a string"},
		"aws_session_token":     {"config", []any{"hush"}, "aws_session_token is not allowed: it must be a string"},
		"max_retries":           {"config", "many", `max_retries "many" is not allowed: it must be a whole number`},
		"request_timeout":       {"config", "soon", `request_timeout "soon" is not allowed: it must be a duration that is not negative, such as 90, 30s or 1h`},
		"verify_connection":     {"config", strings.Repeat("x", 1000), `verify_connection "` + strings.Repeat("x", 100) + `" is not allowed: it must be true or false`},
		"app_client_secret":     {"roles/ci", hush, "app_client_secret is not allowed: it must be a string"},
		"ttl":                   {"roles/ci", hush, "ttl is not allowed: it must be a duration"},
		"max_ttl":               {"roles/ci", -1, `max_ttl "-1" is not allowed: it must be a duration that is not negative`},
		"user_attributes":       {"roles/ci", "hush", "user_attributes is not allowed: it must be a map of strings, or a list of key=value"},
		"groups":                {"roles/ci", hush, "groups is not allowed: it must be a list of strings"},
		"password":              {"static-roles/owned", hush, "password is not allowed: it must be a string"},
		"refresh_token":         {"tokens/ci", hush, "refresh_token is not allowed: it must be a string"},
	} {
		t.Run(field, func(t *testing.T) {
			m := backendtest.New(t)
			op := m.WriteOperation(c.path)
			if strings.HasPrefix(c.path, "tokens/") {
				op = logical.UpdateOperation
			}
			text := m.Refused(op, c.path, map[string]any{field: c.value})
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "hush")
		})
	}

	t.Run("every field of a wrong type is named", func(t *testing.T) {
		text := backendtest.New(t).WriteRefused("config", map[string]any{"max_retries": "many", "region": hush, "request_timeout": "1s"})
		require.Equal(t, "max_retries \"many\" is not allowed: it must be a whole number\nregion is not allowed: it must be a string", text)
	})
}

// TestExistenceCheckRepeatsNothing requires that the existence check fails without repeating
// values, which Vault would log.
func TestExistenceCheckRepeatsNothing(t *testing.T) {
	m := backendtest.New(t)
	for path, field := range map[string]string{
		"config": "aws_secret_access_key", "roles/ci": "app_client_secret", "static-roles/owned": "password",
	} {
		checked, exists, err := m.Backend.HandleExistenceCheck(t.Context(), &logical.Request{
			Operation: logical.CreateOperation, Path: path, Storage: m.Storage,
			Data: map[string]any{field: map[string]any{"hush-key": "hush-value"}},
		})
		require.NoError(t, err)
		require.True(t, checked)
		require.False(t, exists)
	}
}
