// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// snapshotAge is more than the restartGap of the engine: a younger snapshot looks like a restart.
const snapshotAge = 2*time.Minute + 5*time.Second

// TestLibraryAfterSnapshot restores a snapshot of integrated storage, in which a user is free that
// was lent since. Restarts before it cost nothing.
func TestLibraryAfterSnapshot(t *testing.T) {
	t.Parallel()
	server := startServer(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace"})
	e := newEnvOn(t, server.Vault)
	e.client = patient(e.client)
	e.writeLibrary(2, map[string]any{"ttl": "2h", "max_ttl": "2h"})

	resets := e.passwordCalls("vault-shared-")
	require.NotZero(t, resets)
	require.NoError(t, server.Restart(t.Context()))
	require.NoError(t, e.client.Sys().SealWithContext(t.Context()))
	require.NoError(t, server.Unseal(t.Context()))
	require.NoError(t, server.Ready(t.Context()))
	stays := e.checkOut(e.client, nil)
	require.Equal(t, resets, e.passwordCalls("vault-shared-"), "no user is reset after a restart of seconds")

	var snapshot bytes.Buffer
	require.NoError(t, e.client.Sys().RaftSnapshotWithContext(t.Context(), &snapshot))
	taken := time.Now()
	lost := e.checkOut(e.client, nil)
	<-time.After(time.Until(taken.Add(snapshotAge)))
	require.NoError(t, e.client.Sys().RaftSnapshotRestoreWithContext(t.Context(), &snapshot, false))
	require.NoError(t, server.Ready(t.Context()))

	require.Eventually(t, func() bool { return !e.holds(lost) }, 90*time.Second, 100*time.Millisecond, "the next tick must reset the user")
	e.awaitFree(1)
	next := e.checkOut(e.client, nil)
	require.Equal(t, nameIn(lost), nameIn(next))
	require.True(t, e.holds(next))
	require.True(t, e.holds(stays), "a user that was lent in the snapshot stays lent")
}

// passwordCalls returns how often the passwords of users were set whose names have a prefix.
func (e *env) passwordCalls(prefix string) int {
	e.Helper()
	return len(slices.DeleteFunc(e.Calls().Calls, func(c control.Call) bool {
		return c.Operation != "AdminSetUserPassword" || !strings.HasPrefix(c.Resource, prefix)
	}))
}
