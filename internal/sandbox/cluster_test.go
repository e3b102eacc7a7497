// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

func TestClusterSurvivesItsLeader(t *testing.T) {
	cluster, err := StartCluster(t.Context(), ServerOptions{
		VaultOptions: VaultOptions{Binary: serverBinary(t), PluginDir: pluginDir(t)}, DataDir: t.TempDir(),
	}, 3)
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	first, err := cluster.Leader(t.Context())
	require.NoError(t, err)
	require.Len(t, cluster.Standbys(t.Context()), 2)
	require.NoError(t, first.RegisterPlugin(t.Context(), pluginName, ""))
	require.NoError(t, first.Client().Sys().Mount("test", &api.MountInput{Type: pluginName}))

	first.Kill()
	second, err := cluster.Leader(t.Context())
	require.NoError(t, err)
	require.NotSame(t, first, second)
	mounts, err := second.Client().Sys().ListMounts()
	require.NoError(t, err)
	require.Equal(t, pluginName, mounts["test/"].Type)

	require.NoError(t, first.Restart(t.Context()))
	require.Contains(t, cluster.Standbys(t.Context()), first)
	third, err := cluster.StepDown(t.Context())
	require.NoError(t, err)
	require.NotSame(t, second, third)
	require.NoError(t, cluster.Ready(t.Context()), "every standby has heard of the new leader")
	for _, member := range cluster.Members {
		mounts, err := member.Client().Sys().ListMounts()
		require.NoError(t, err, "a standby forwards to the leader")
		require.Contains(t, mounts, "test/")
	}
}
