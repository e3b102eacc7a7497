// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
	"github.com/stretchr/testify/require"
)

const (
	// pluginName is the file name under which the test binary is a secrets engine without paths.
	pluginName = "sandbox-test-plugin"
	// parentEnv makes the test binary start a server, print its process id and wait to be killed.
	parentEnv = "SANDBOX_TEST_PARENT"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case filepath.Base(os.Args[0]) == pluginName:
		err = servePlugin()
	case os.Getenv(parentEnv) != "":
		err = beParent()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func servePlugin() error {
	return plugin.ServeMultiplex(&plugin.ServeOpts{
		BackendFactoryFunc: func(ctx context.Context, config *logical.BackendConfig) (logical.Backend, error) {
			b := &framework.Backend{BackendType: logical.TypeLogical}
			return b, b.Setup(ctx, config)
		},
	})
}

// beParent is the process that TestVaultEndsWithItsParent kills.
func beParent() error {
	v, err := StartVault(context.Background(), VaultOptions{Binary: os.Getenv(parentEnv)})
	if err != nil {
		return err
	}
	// A server that still writes would end because of its broken pipe in any case.
	quiet := func(context.Context) error {
		if strings.Contains(v.LogText(), "Development mode should NOT be used") {
			return nil
		}
		return errors.New("still starting")
	}
	if err := v.await(context.Background(), quiet); err != nil {
		return err
	}
	fmt.Println(v.process.pid)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// serverBinary returns the server that the tests run.
func serverBinary(t *testing.T) string {
	t.Helper()
	binary, err := FindServer(t.Context())
	require.NoError(t, err)
	return binary
}

// pluginDir returns a plugin directory that holds the test plugin.
func pluginDir(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	content, err := os.ReadFile(self)
	require.NoError(t, err)
	require.NoError(t, WriteProgram(filepath.Join(dir, pluginName), content))
	return dir
}

// fakeServer writes a shell script that answers "version" as a server does, and otherwise runs
// text.
func fakeServer(t *testing.T, text string) string {
	t.Helper()
	return script(t, "[ \"$1\" != version ] || { echo 'Vault v1.0.0'; exit; }\n"+text)
}

// script writes an executable shell script and returns its path.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	require.NoError(t, WriteProgram(path, []byte("#!/bin/sh\n"+text)))
	return path
}

// alive reports whether a process or another one of its group runs.
func alive(pid int) bool {
	group, err := syscall.Getpgid(pid)
	return err == nil && groupAlive(group)
}

// requireGone waits until a process has ended.
func requireGone(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool { return !alive(pid) }, 15*time.Second, pollInterval, "process %d still runs", pid)
}
