// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// startWithPlugin starts a dev server with the test plugin mounted at "test", and returns it and
// the process id of the plugin.
func startWithPlugin(t *testing.T) (*Vault, int) {
	t.Helper()
	v, err := StartVault(t.Context(), VaultOptions{Binary: serverBinary(t), PluginDir: pluginDir(t)})
	require.NoError(t, err)
	t.Cleanup(v.Stop)
	require.NoError(t, v.Client().Sys().Mount("test", &api.MountInput{Type: pluginName}))
	pids, err := v.PluginPIDs(pluginName)
	require.NoError(t, err)
	require.Len(t, pids, 1)
	return v, pids[0]
}

func TestStartVault(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "of-the-caller")
	t.Setenv("VAULT_TOKEN", "of-the-caller")
	t.Setenv("VAULT_NAMESPACE", "of-the-caller")
	v, _ := startWithPlugin(t)

	t.Run("clients have the root token", func(t *testing.T) {
		self, err := v.Client().Auth().Token().LookupSelf()
		require.NoError(t, err)
		require.Equal(t, []any{"root"}, self.Data["policies"])
	})
	t.Run("CLI runs commands against the server", func(t *testing.T) {
		out, err := v.CLI(t.Context(), "secrets", "list")
		require.NoError(t, err)
		require.Contains(t, out, pluginName)
	})
	t.Run("the error of a failed command holds its standard error but not its arguments", func(t *testing.T) {
		_, err := v.CLI(t.Context(), "write", "test/nothing", "secret=hidden")
		require.ErrorContains(t, err, v.name()+" write test/nothing: exit status 2")
		require.ErrorContains(t, err, "unsupported path")
		require.NotContains(t, err.Error(), "hidden")
	})
	t.Run("LogText returns what the server wrote", func(t *testing.T) {
		require.Contains(t, v.LogText(), "type="+pluginName)
	})
	t.Run("the sockets of plugins are in a directory that Stop removes", func(t *testing.T) {
		sockets, err := filepath.Glob(filepath.Join(v.home, "plugin*"))
		require.NoError(t, err)
		require.NotEmpty(t, sockets)
	})
	t.Run("the server has nothing of the caller's environment", func(t *testing.T) {
		require.NotContains(t, v.LogText(), "AWS_ACCESS_KEY_ID")
		require.Contains(t, v.LogText(), "AWS_EC2_METADATA_DISABLED")
	})
}

func TestNoProcessIsLeft(t *testing.T) {
	for name, end := range map[string]func(*Vault){
		"after Stop": (*Vault).Stop,
		"after Kill": (*Vault).Kill,
		"after Stop of a server that was killed": func(v *Vault) {
			v.process.signal(v.process.pid, 9)
			v.Stop()
		},
		"after two Stops": func(v *Vault) { v.Stop(); v.Stop() },
	} {
		t.Run("no process is left "+name, func(t *testing.T) {
			v, pluginPID := startWithPlugin(t)
			end(v)
			require.False(t, alive(v.process.pid), "the server still runs")
			require.False(t, alive(pluginPID), "the plugin still runs")
			require.NoDirExists(t, v.home)
		})
	}
}

func TestVaultEndsWithItsParent(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		counters.Skip(t, "this system has no parent-death signal")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	parent := exec.CommandContext(t.Context(), self)
	parent.Env = append(os.Environ(), parentEnv+"="+serverBinary(t), "TMPDIR="+t.TempDir())
	_, err = parent.StdinPipe()
	require.NoError(t, err)
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	vaultPID, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	require.True(t, alive(vaultPID))

	require.NoError(t, parent.Process.Kill())
	_ = parent.Wait() // it was killed, which is an error
	requireGone(t, vaultPID)
}

func TestStartVaultReportsFailures(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "vault")
	require.NoError(t, os.WriteFile(notExecutable, nil, 0o600))

	for name, c := range map[string]struct {
		options VaultOptions
		want    []string
	}{
		"missing binary":             {VaultOptions{}, []string{"no server binary given"}},
		"binary that does not exist": {VaultOptions{Binary: "/nowhere/vault"}, []string{`server binary "/nowhere/vault"`, "no such file"}},
		"binary that may not be executed": {
			VaultOptions{Binary: notExecutable}, []string{notExecutable, "permission denied"},
		},
		"binary that is another program": {
			VaultOptions{Binary: script(t, "echo 'GNU bash, version 5'")}, []string{"GNU bash", "neither Vault nor OpenBao"},
		},
		"binary that fails": {
			VaultOptions{Binary: script(t, "echo 'what is this?' >&2; exit 3")}, []string{"exit status 3", "what is this?"},
		},
		"server that exits": {
			VaultOptions{Binary: fakeServer(t, "echo 'no memory' >&2; exit 4")}, []string{"exit status 4", "no memory"},
		},
		"plugin directory that does not exist": {
			VaultOptions{Binary: script(t, ""), PluginDir: "/nowhere"}, []string{"plugin directory", "/nowhere"},
		},
	} {
		t.Run("StartVault reports a "+name, func(t *testing.T) {
			v, err := StartVault(t.Context(), c.options)
			require.Nil(t, v)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestStartVaultEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	_, err := StartVault(ctx, VaultOptions{Binary: fakeServer(t, "echo $$ >"+pidFile+"; echo thinking; exec sleep 600")})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "thinking")

	text, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	require.False(t, alive(pid), "the process still runs")
}

func TestPortsInUse(t *testing.T) {
	t.Run("the message of a server whose port is in use is recognised", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		port := taken.Addr().(*net.TCPAddr).Port
		_, err = startDev(t.Context(), VaultOptions{Binary: serverBinary(t)}, port)
		require.ErrorIs(t, err, errPortTaken)
	})
	t.Run("another port is tried if one is in use", func(t *testing.T) {
		want, calls := &Vault{}, 0
		got, err := onFreePort(t.Context(), func(int) (*Vault, error) {
			if calls++; calls < 3 {
				return nil, errPortTaken
			}
			return want, nil
		})
		require.NoError(t, err)
		require.Same(t, want, got)
	})
	t.Run("after some ports in use the start fails", func(t *testing.T) {
		_, err := onFreePort(t.Context(), func(int) (*Vault, error) { return nil, errPortTaken })
		require.ErrorIs(t, err, errPortTaken)
	})
	t.Run("another failure is not retried", func(t *testing.T) {
		calls := 0
		_, err := onFreePort(t.Context(), func(int) (*Vault, error) {
			calls++
			return nil, errors.New("something else")
		})
		require.EqualError(t, err, "something else")
		require.Equal(t, 1, calls)
	})
}

func TestFindServerUsesVaultBin(t *testing.T) {
	t.Setenv("VAULT_BIN", "/some/where/vault")
	binary, err := FindServer(t.Context())
	require.NoError(t, err)
	require.Equal(t, "/some/where/vault", binary)
}
