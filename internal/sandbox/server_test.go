// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

func TestServerKeepsItsDataAndAddress(t *testing.T) {
	server, err := StartServer(t.Context(), ServerOptions{
		VaultOptions: VaultOptions{Binary: serverBinary(t), PluginDir: pluginDir(t)},
		DataDir:      t.TempDir(),
	})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	client, address, token := server.Client(), server.Addr, server.Token
	require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
	require.NoError(t, client.Sys().Mount("test", &api.MountInput{Type: pluginName}))
	requireMounted := func(t *testing.T) {
		t.Helper()
		mounts, err := client.Sys().ListMounts()
		require.NoError(t, err, "existing clients must keep working")
		require.Equal(t, pluginName, mounts["test/"].Type)
		require.Equal(t, address, server.Addr)
		require.Equal(t, token, server.Token)
		pids, err := server.PluginPIDs(pluginName)
		require.NoError(t, err)
		require.Len(t, pids, 1)
	}

	t.Run("a killed server keeps its data and address when it restarts", func(t *testing.T) {
		server.Kill()
		require.NoError(t, server.Restart(t.Context()))
		requireMounted(t)
	})
	t.Run("a sealed server keeps its data when it is unsealed", func(t *testing.T) {
		require.NoError(t, client.Sys().Seal())
		require.NoError(t, server.Unseal(t.Context()))
		requireMounted(t)
	})
	t.Run("a server that stepped down becomes active again", func(t *testing.T) {
		require.NoError(t, server.StepDown(t.Context()))
		require.NoError(t, server.Ready(t.Context()))
		requireMounted(t)
	})
}

func TestRegisterPluginNamesAMissingPlugin(t *testing.T) {
	s := &Server{pluginDir: t.TempDir()}
	require.ErrorContains(t, s.RegisterPlugin(t.Context(), "nothing", ""), `no plugin "nothing"`)
}
