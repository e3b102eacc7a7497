// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/sandbox"
)

// TestPluginEndsWithAKilledServer kills the server only. A process that stayed would keep its
// credentials in memory for ever.
func TestPluginEndsWithAKilledServer(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, startDev(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.plugin)}))
	e.read("creds/ci")
	pids, err := e.vault.PluginPIDs(pluginName)
	require.NoError(t, err)
	require.Len(t, pids, 1)
	t.Cleanup(func() {
		if sandbox.Alive(pids[0]) {
			_ = syscall.Kill(pids[0], syscall.SIGKILL) // the test has failed; it may end at any time
		}
	})

	e.vault.KillServer()
	require.Eventually(t, func() bool { return !sandbox.Alive(pids[0]) }, 10*time.Second, 20*time.Millisecond,
		"the plugin must end within ten seconds after its server")
}
