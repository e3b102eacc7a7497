// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// binaries returns the options with which `make dev` runs.
func binaries(t *testing.T) options {
	t.Helper()
	o := options{plugin: os.Getenv("PLUGIN_BIN"), emulator: os.Getenv("EMULATOR_BIN")}
	if o.plugin == "" || o.emulator == "" {
		counters.Skip(t, "PLUGIN_BIN and EMULATOR_BIN are not set; make test-e2e builds both")
	}
	var err error
	o.vault, err = sandbox.FindServer(t.Context())
	require.NoError(t, err)
	return o
}

func TestDemo(t *testing.T) {
	o := binaries(t)
	o.demo = true
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out))

	require.Regexp(t, `\n\$ (vault|bao) read cognito/creds/ci-user\nKey `, out.String())
	require.Regexp(t, `\n\$ (vault|bao) read cognito/creds/machine\nKey `, out.String())
	require.Regexp(t, `\n\$ (vault|bao) lease revoke -sync cognito/creds/ci-user/`, out.String())
	require.Contains(t, out.String(), "is gone from the pool.\n")
	require.NotContains(t, out.String(), "\033", "no colours outside a terminal")
}

// serverExcept returns a server binary that runs a script for one command and is the real one
// otherwise.
func serverExcept(t *testing.T, vault, command, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault")
	text := "#!/bin/sh\nif [ \"$1 $2\" = '" + command + "' ]; then\n" + script + "\nfi\nexec '" + vault + "' \"$@\"\n"
	require.NoError(t, sandbox.WriteProgram(path, []byte(text)))
	return path
}

func TestDemoReportsFailures(t *testing.T) {
	o := binaries(t)
	o.demo = true
	for name, c := range map[string]struct{ command, script, want string }{
		"a user that is not deleted": {"lease revoke", "exit 0", "is still in the pool after the lease was revoked"},
		"a failed read":              {"read cognito/creds/machine", "echo no such luck >&2; exit 2", "no such luck"},
		"a user that does not exist": {"read cognito/creds/ci-user", "echo 'lease_id a'; echo 'username b'; exit 0", "user b, which the read returned, is not in the pool"},
		"an answer without lease":    {"read cognito/creds/ci-user", "exit 0", "no lease_id or no username"},
	} {
		t.Run("the demo reports "+name, func(t *testing.T) {
			o := o
			o.vault = serverExcept(t, o.vault, c.command, c.script)
			require.ErrorContains(t, run(t.Context(), o, &bytes.Buffer{}), c.want)
		})
	}
}

// watched is an output that calls seen when text has been written to it.
type watched struct {
	bytes.Buffer

	text string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if strings.Contains(w.String(), w.text) {
		w.seen()
	}
	return n, err
}

// TestDevTour does each command that make dev prints, by copying the lines into a shell.
func TestDevTour(t *testing.T) {
	o := binaries(t)
	o.port = 9_000 + os.Getpid()%300*3 // below the ports that other tests choose
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready := make(chan struct{})
	out := &watched{text: "Ctrl-C stops everything.", seen: sync.OnceFunc(func() { close(ready) })}
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, o, out) }()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}

	commands := regexp.MustCompile(`(?m)^  ((?:export|alias|vault|bao) .*)$`).FindAllStringSubmatch(out.String(), -1)
	require.GreaterOrEqual(t, len(commands), 10)
	script := "set -e\n"
	for _, command := range commands {
		script += "echo; echo '$ " + command[1] + "'\n" + command[1] + "\n"
	}
	script += "vault read cognito/roles/machine\n" // as README.md and docs have it
	shell := exec.CommandContext(ctx, "sh", "-c", script)
	shell.Env = []string{"HOME=" + t.TempDir(), "PATH=" + filepath.Dir(o.vault) + ":" + os.Getenv("PATH")}
	text, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", text)
	require.NotRegexp(t, `(?m)^status +(warn|fail)`, string(text), "the roles of the tour are good")
	require.Contains(t, string(text), "Success! Revoked lease")
	require.Regexp(t, `\nlibrary +e2e\n`, string(text))
	require.Regexp(t, `\nchecked_out +1\n`, string(text))
	require.Regexp(t, `\ncognito_pool_domain +http`, string(text), "the commands of the documentation work, too")
	require.Contains(t, out.String(), fmt.Sprintf("http://127.0.0.1:%d", o.port))
	require.Contains(t, out.String(), fmt.Sprintf("http://127.0.0.1:%d, emulated", o.port+2))
	require.Contains(t, out.String(), "public app client ")
	cancel()
	require.NoError(t, <-ended)
}

func TestDevRunsUntilCtrlC(t *testing.T) {
	o := binaries(t)
	o.log = filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &watched{text: "Ctrl-C stops everything.", seen: cancel}
	require.NoError(t, run(ctx, o, out))

	require.Contains(t, out.String(), "export VAULT_ADDR=http://127.0.0.1:")
	require.Regexp(t, `(vault|bao) lease revoke -sync cognito/creds/ci-user/`, out.String())
	require.True(t, strings.HasSuffix(out.String(), "\nStopping.\n"))
	log, err := os.ReadFile(o.log)
	require.NoError(t, err)
	require.Regexp(t, "(Vault|OpenBao) shutdown triggered", string(log))
}
