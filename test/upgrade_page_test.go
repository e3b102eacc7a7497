// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// TestUpgradePage pastes docs/upgrade.md: to a new version, and back.
func TestUpgradePage(t *testing.T) {
	t.Parallel()
	const newFile, newVersion = pluginName + "_v1.0.1_linux_amd64", "v1.0.1"
	dir := t.TempDir()
	e := newVersionedEnv(t, dir)
	p := openPage(t, "upgrade.md", 0)
	const variables = "upgrade: variables"
	require.Contains(t, p.blocks[variables], newFile)
	p.blocks[variables] = strings.ReplaceAll(p.blocks[variables], "/etc/vault/plugins", dir)
	bash := newTerminal(e, p)
	bash.keepVariables()
	oldVersion := e.runningVersion()
	user := e.read("creds/ci")

	built, err := pluginBinary(t.Context(), "", t.TempDir(), "-X main.version="+newVersion)
	require.NoError(t, err)
	require.NoError(t, os.Rename(built, filepath.Join(dir, newFile)))

	bash.paste(variables)
	bash.paste("upgrade: register")
	bash.paste("upgrade: move")
	require.NoError(t, awaitPlugin(t.Context(), e.client, e.mount))
	checked := bash.paste("upgrade: check")
	require.Contains(t, checked, newVersion)
	require.Contains(t, checked, "ci: ")
	require.Equal(t, newVersion, e.runningVersion())

	bash.paste("downgrade: move")
	require.NoError(t, awaitPlugin(t.Context(), e.client, e.mount))
	require.Equal(t, oldVersion, e.runningVersion())
	e.revoke(user.LeaseID)
	require.Empty(t, e.Users(), "the lease of before must end its user")
	p.requireAllPasted(t)
}

// newVersionedEnv starts a server whose mount runs the plugin in a version that is registered as
// such.
func newVersionedEnv(t *testing.T, dir string) *env {
	t.Helper()
	content, err := os.ReadFile(binaries.plugin)
	require.NoError(t, err)
	require.NoError(t, sandbox.WriteProgram(filepath.Join(dir, pluginName), content))
	version, err := exec.CommandContext(t.Context(), filepath.Join(dir, pluginName), "-version").Output()
	require.NoError(t, err)
	server, err := tryStartServer(t, sandbox.VaultOptions{PluginDir: dir, LogLevel: "trace"})
	require.NoError(t, err)
	require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, strings.TrimSpace(string(version))))
	e := &env{T: t, Cognito: emulatortest.Start(t), vault: watchLeaks(t, server.Vault), client: server.Client(), mount: "cognito"}
	t.Cleanup(func() { learnSecrets(t, e.Control) })
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.configure(nil)
	e.writeRole("ci", nil)
	return e
}

func (e *env) runningVersion() string {
	e.Helper()
	mount, err := e.client.Logical().ReadWithContext(e.Context(), "sys/mounts/"+e.mount)
	require.NoError(e, err)
	return mount.Data["running_plugin_version"].(string)
}
