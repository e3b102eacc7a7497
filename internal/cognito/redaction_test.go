// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestSecretsInMessages(t *testing.T) {
	const code = "InvalidPasswordException"
	for name, c := range map[string]struct{ password, message, want string }{
		"a long secret is replaced":                              {"hush-Permanent-1", "hush-Permanent-1 is too short", "[redacted] is too short"},
		"a short secret withholds the message that repeats it":   {"hush1", "hush1 is too short", "withheld"},
		"a single character garbles neither message nor code":    {"e", "Password is too short", "Password is too short"},
		"a common character withholds the message, not the code": {"s", "Password is too short", "withheld"},
		"a message without the secret is repeated":               {"hush1", "Password is too short", "Password is too short"},
		"a secret that is part of the code leaves the code":      {"InvalidPassword", "too short", "too short"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: code, Message: c.message})
			err := f.pool().ReplacePassword(t.Context(), username, c.password)
			require.ErrorContains(t, err, code+": ")
			require.ErrorContains(t, err, c.want)
			require.True(t, cognito.IsPasswordRefused(err))
			if len(c.password) > 1 && c.password != "InvalidPassword" {
				require.NotContains(t, err.Error(), c.password)
			}
		})
	}

	t.Run("what is no error code is not repeated", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "hush-Permanent-1"})
		err := f.pool().ReplacePassword(t.Context(), username, password)
		require.NotContains(t, err.Error(), "hush")
		require.ErrorContains(t, err, "UnknownError")
	})
}
