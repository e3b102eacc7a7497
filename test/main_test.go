// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package test drives the built plugin, as a process of its own, through a
// real Vault, with a Cognito on the other side that it reaches over HTTP.
package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	pluginName = "vault-plugin-secrets-cognito"

	// processDied is what Vault logs when a plugin's process ends.
	processDied = "plugin process exited"
)

// binaries are what the tests run. The Makefile names them in the environment;
// a plain `go test` builds what is missing there.
var binaries struct {
	vault string
	// plugin is built as for a release, fastPlugin with a WAL age of five seconds.
	plugin, fastPlugin string
}

// shared is the Vault of all tests that do not break theirs.
var shared *sandbox.Vault

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "end-to-end tests:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx := context.Background()
	if err := findBinaries(ctx, dir); err != nil {
		return 0, err
	}
	if seen, err = startWitness(dir); err != nil {
		return 0, err
	}
	shared, err = sandbox.StartVault(ctx, sandbox.VaultOptions{
		Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace",
	})
	if err != nil {
		return 0, err
	}
	defer shared.Stop()
	if err := errors.Join(seen.watch(ctx, shared), seen.listen(shared)); err != nil {
		return 0, err
	}
	code = m.Run()
	healthy := stillHealthy()
	shared.Stop() // then all that it logs has arrived
	return code, errors.Join(healthy, seen.testify())
}

func startWitness(dir string) (*witness, error) {
	dir = filepath.Join(dir, "witness")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return newWitness(dir)
}

// stillHealthy sees to it that no test made the shared plugin panic: Vault
// would have started another process, and most tests would not have noticed.
func stillHealthy() error {
	if log := shared.LogText(); strings.Contains(log, "panic") || strings.Contains(log, processDied) {
		return errors.New("the plugin's process died on the way, see Vault's log:\n" + log)
	}
	return nil
}

func findBinaries(ctx context.Context, dir string) (err error) {
	if binaries.vault, err = sandbox.FindVault(ctx); err != nil {
		return err
	}
	if binaries.plugin, err = pluginBinary(ctx, "PLUGIN_BIN", filepath.Join(dir, "plugins"), ""); err != nil {
		return err
	}
	binaries.fastPlugin, err = pluginBinary(ctx, "PLUGIN_FAST_WAL_BIN", filepath.Join(dir, "fast"), "-X main.walMinAge=5s")
	return err
}

func pluginBinary(ctx context.Context, variable, dir, ldflags string) (string, error) {
	if path := os.Getenv(variable); path != "" {
		return path, nil
	}
	path := filepath.Join(dir, pluginName)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-X main.version=v0.1.0-test "+ldflags, "-o", path, "../cmd/"+pluginName)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the plugin: %w\n%s", err, out)
	}
	return path, nil
}
