// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"encoding/base64"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestNoPathIsOpen(t *testing.T) {
	special := backendtest.New(t).Backend.SpecialPaths()
	require.Empty(t, special.Unauthenticated)
	require.Empty(t, special.Root)
	require.Empty(t, special.WriteForwardedStorage)
}

// TestEventsHoldNoSecret searches the events of successful and failed rotations for secrets.
// Community Vault offers no subscription, so the test takes the place of Vault.
func TestEventsHoldNoSecret(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		events := logical.NewMockEventSender()
		require.NoError(t, k.Backend.Setup(t.Context(), &logical.BackendConfig{
			Logger: hclog.NewNullLogger(), System: k.System, EventsSender: events,
		}))
		k.WriteOK("static-roles/x", role)
		k.tick()
		k.pass(2 * time.Hour)
		k.tick()
		k.Read("static-creds/x")
		k.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultError, Code: "InvalidParameterException", Message: "it holds " + presentPassword})
		k.pass(2 * time.Hour)
		k.tick()
		k.Heal()

		seen := map[logical.EventType]bool{}
		for _, event := range events.Events {
			seen[event.Type] = true
			k.requireNoSecret(event.Event.String())
		}
		require.True(t, seen["cognito/static-role-rotate"] && seen["cognito/static-role-rotate-fail"], "got %v", seen)
	})
}

// requireNoSecret searches a text for every secret that Cognito ever accepted.
func (p *pool) requireNoSecret(text string) {
	p.T.Helper()
	secrets, err := p.Control.Secrets(p.T.Context())
	require.NoError(p.T, err)
	require.NotEmpty(p.T, secrets)
	for _, secret := range secrets {
		require.NotContains(p.T, text, secret.Value, secret.Field)
		require.NotContains(p.T, text, url.QueryEscape(secret.Value), secret.Field)
		require.NotContains(p.T, text, base64.StdEncoding.EncodeToString([]byte(secret.Value)), secret.Field)
	}
}
