// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package test holds the end-to-end tests: they drive the built plugin, as a process of its own,
// through a real server (Vault or OpenBao), against a Cognito emulator that it reaches over HTTP.
//
// An env is what one test has to itself: a mount on a server, and an emulator. Most tests share one
// server; a test that kills or reloads something starts its own. Package leakscan searches
// everything that all of them left behind for secrets, when the last test has ended.
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

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/leakscan"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	pluginName = "vault-plugin-secrets-cognito"

	// processDied is what the server logs when a plugin's process ends.
	processDied = "plugin process exited"
)

// binaries holds the paths of the programs that the tests run. The Makefile sets them in the
// environment; a plain `go test` builds those that are missing there.
var binaries struct {
	vault string
	// plugin is built as for a release, fastPlugin with a WAL age of five seconds.
	plugin, fastPlugin string
}

// shared is the server of all tests that do not break theirs.
var shared *sandbox.Vault

// leaks records the secrets of all tests and where they must not be.
var leaks *leakscan.Recorder

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
	if leaks, err = startLeakscan(dir); err != nil {
		return 0, err
	}
	shared, err = sandbox.StartVault(ctx, sandbox.VaultOptions{
		Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace",
	})
	if err != nil {
		return 0, err
	}
	defer shared.Stop()
	if err := errors.Join(leaks.WatchLogs(ctx, shared), leaks.WatchAnswers(shared)); err != nil {
		return 0, err
	}
	code = m.Run()
	healthy := requireHealthy()
	shared.Stop() // then its log is complete
	return code, errors.Join(healthy, reportLeaks())
}

func startLeakscan(dir string) (*leakscan.Recorder, error) {
	dir = filepath.Join(dir, "leakscan")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return leakscan.New(dir)
}

// reportLeaks searches for all secrets of the run, prints and counts the result, and returns an
// error if one was found. All servers must have stopped.
func reportLeaks() error {
	report, err := leaks.Scan()
	if err != nil || report.Secrets == 0 {
		return err // without secrets, the tests that ran had no Cognito
	}
	fmt.Printf("%d secrets, %d leaks; %s\n", report.Secrets, len(report.Leaks), report.Summary)
	err = counters.Record("Secrets", "end-to-end tests", report.Secrets, counters.SecretsShown, len(report.Leaks), report.Summary)
	return errors.Join(err, report.Err())
}

// requireHealthy returns an error if the shared plugin panicked or its process ended: the server
// starts another one, so most tests would not notice.
func requireHealthy() error {
	if log := shared.LogText(); strings.Contains(log, "panic") || strings.Contains(log, processDied) {
		return errors.New("the plugin's process ended during the tests, see the server's log:\n" + log)
	}
	return nil
}

func findBinaries(ctx context.Context, dir string) (err error) {
	if binaries.vault, err = sandbox.FindServer(ctx); err != nil {
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
