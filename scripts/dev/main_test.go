// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
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

	for _, want := range []string{
		"\n$ vault read cognito/creds/ci-user\nKey ", "\n$ vault read cognito/creds/machine\nKey ",
		"\n$ vault lease revoke -sync cognito/creds/ci-user/", "is gone from the pool.\n",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), "\033", "colours where nobody sees them")
}

// vaultExcept returns a vault that answers command with a script and is the real one in all else.
func vaultExcept(t *testing.T, vault, command, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault")
	text := "#!/bin/sh\nif [ \"$1 $2\" = '" + command + "' ]; then\n" + script + "\nfi\nexec '" + vault + "' \"$@\"\n"
	require.NoError(t, sandbox.WriteProgram(path, []byte(text)))
	return path
}

func TestDemoThatGoesWrong(t *testing.T) {
	o := binaries(t)
	o.demo = true
	for name, c := range map[string]struct{ command, script, want string }{
		"the user stays": {"lease revoke", "exit 0", "is still in the pool after the lease was revoked"},
		"a read fails":   {"read cognito/creds/machine", "echo no such luck >&2; exit 2", "no such luck"},
		"a read lies":    {"read cognito/creds/ci-user", "echo 'lease_id a'; echo 'username b'; exit 0", "user b, whom Vault handed out, is not in the pool"},
		"a read is bare": {"read cognito/creds/ci-user", "exit 0", "no lease_id or no username"},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.vault = vaultExcept(t, o.vault, c.command, c.script)
			require.ErrorContains(t, run(t.Context(), o, &bytes.Buffer{}), c.want)
		})
	}
}

// watched is what a user looks at: it calls seen when text has been written.
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

func TestStaysUntilCtrlC(t *testing.T) {
	o := binaries(t)
	o.log = filepath.Join(t.TempDir(), "log")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &watched{text: "Ctrl-C stops everything.", seen: cancel}
	require.NoError(t, run(ctx, o, out))

	for _, want := range []string{"export VAULT_ADDR=http://127.0.0.1:", "vault lease revoke -sync cognito/creds/ci-user/"} {
		require.Contains(t, out.String(), want)
	}
	require.True(t, strings.HasSuffix(out.String(), "\nStopping.\n"))
	log, err := os.ReadFile(o.log)
	require.NoError(t, err)
	require.Contains(t, string(log), "Vault shutdown triggered")
}
