// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const greeting = `{"endpoint":"http://127.0.0.1:1","region":"eu-west-1","user_pool_id":"eu-west-1_a",` +
	`"app_client_id":"c","app_client_secret":"s","groups":["testers","admins"],"scopes":["api/read"]}`

func TestStartEmulator(t *testing.T) {
	fake := script(t, `echo "$*" >&2; echo '`+greeting+`'; echo later; exec cat`)
	e, err := StartEmulator(t.Context(), EmulatorOptions{Binary: fake, Region: "us-east-2", Issuer: "local"})
	require.NoError(t, err)
	t.Cleanup(e.Stop)
	require.Equal(t, "http://127.0.0.1:1", e.Endpoint)
	require.Equal(t, Seed{
		Region: "eu-west-1", UserPoolID: "eu-west-1_a", AppClientID: "c", AppClientSecret: "s",
		Groups: []string{"testers", "admins"}, Scopes: []string{"api/read"},
	}, e.Seed)
	for _, line := range []string{"later\n", "-listen 127.0.0.1:0 -seed -region us-east-2 -issuer local -cheap-tokens=false -exit-with-stdin\n"} {
		require.Eventually(t, func() bool { return strings.Contains(e.LogText(), line) }, startLimit, pollInterval)
	}
	require.NotContains(t, e.LogText(), "app_client_secret")

	e.Stop()
	e.Kill() // has no effect
	require.False(t, alive(e.process.pid))
}

func TestStartEmulatorReportsFailures(t *testing.T) {
	for name, c := range map[string]struct {
		binary string
		want   []string
	}{
		"a binary that does not exist":          {"/nowhere/emulator", []string{"/nowhere/emulator", "no such file"}},
		"an emulator that exits":                {script(t, "echo 'no port' >&2; exit 4"), []string{"exit status 4", "no port"}},
		"a first line that is not JSON":         {script(t, "echo hello; exec cat"), []string{`first line "hello"`}},
		"a first line without endpoint":         {script(t, "echo '{}'; exec cat"), []string{"names no endpoint"}},
		"an emulator that exits without output": {script(t, ""), []string{"the emulator ended: exit status 0"}},
	} {
		t.Run("StartEmulator reports "+name, func(t *testing.T) {
			e, err := StartEmulator(t.Context(), EmulatorOptions{Binary: c.binary})
			require.Nil(t, e)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestFirstLineIsSplitOffHoweverItIsWritten(t *testing.T) {
	for name, writes := range map[string][]string{
		"in one write":   {"one\ntwo\nthree\n"},
		"line by line":   {"one\n", "two\n", "three\n"},
		"in small parts": {"o", "ne", "\nt", "wo\nthree\n"},
	} {
		t.Run("the first line is split off when written "+name, func(t *testing.T) {
			first, rest := make(chan []byte, 1), &output{}
			f := &firstLine{line: first, rest: rest}
			for _, text := range writes {
				n, err := f.Write([]byte(text))
				require.NoError(t, err)
				require.Equal(t, len(text), n)
			}
			require.Equal(t, "one", string(<-first))
			require.Equal(t, "two\nthree\n", rest.String())
		})
	}
}
