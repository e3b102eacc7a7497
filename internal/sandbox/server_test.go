// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

func TestServerKeepsItsDataOverAKill(t *testing.T) {
	options := ServerOptions{
		VaultOptions: VaultOptions{Binary: vaultBinary(t), PluginDir: pluginDir(t)},
		DataDir:      t.TempDir(),
	}
	before, err := StartServer(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(before.Stop)
	require.NoError(t, before.RegisterPlugin(t.Context(), pluginName, ""))
	require.NoError(t, before.Client().Sys().Mount("test", &api.MountInput{Type: pluginName}))
	before.Kill()

	after, err := StartServer(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(after.Stop)
	mounts, err := after.Client().Sys().ListMounts()
	require.NoError(t, err)
	require.Equal(t, pluginName, mounts["test/"].Type)
	require.Equal(t, before.Token, after.Token)
	pids, err := after.PluginPIDs(pluginName)
	require.NoError(t, err)
	require.Len(t, pids, 1)
}

func TestServerStartsAgainInItsPlace(t *testing.T) {
	for name, raft := range map[string]bool{"file": false, "raft": true} {
		t.Run(name, func(t *testing.T) {
			server, err := StartServer(t.Context(), ServerOptions{VaultOptions: VaultOptions{Binary: vaultBinary(t)}, DataDir: t.TempDir(), Raft: raft})
			require.NoError(t, err)
			t.Cleanup(server.Stop)
			client, address := server.Client(), server.Addr
			require.NoError(t, client.Sys().Mount("test", &api.MountInput{Type: "kv"}))

			server.Kill()
			require.NoError(t, server.Restart(t.Context()))
			require.Equal(t, address, server.Addr)
			require.NoError(t, client.Sys().Seal())
			require.NoError(t, server.Unseal(t.Context()))
			mounts, err := client.Sys().ListMounts()
			require.NoError(t, err, "a client from before must go on")
			require.Contains(t, mounts, "test/")
		})
	}
}

func TestRegisterPluginNamesTheOneThatIsMissing(t *testing.T) {
	s := &Server{pluginDir: t.TempDir()}
	require.ErrorContains(t, s.RegisterPlugin(t.Context(), "nothing", ""), `no plugin "nothing"`)
}
