// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	asEmulator  = "COGNITO_EMULATOR_TEST_MAIN"
	exitTimeout = 30 * time.Second
)

// TestMain runs the emulator instead of the tests if the environment says so.
func TestMain(m *testing.M) {
	if os.Getenv(asEmulator) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is an emulator in its own process.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *strings.Builder
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0], args...), stderr: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), asEmulator+"=1")
	p.cmd.Stderr = p.stderr
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.stdout = bufio.NewReader(stdout)
	require.NoError(t, p.cmd.Start())
	return p
}

// greeting returns the first line of stdout.
func (p *process) greeting() map[string]any {
	p.t.Helper()
	line, err := p.stdout.ReadBytes('\n')
	require.NoError(p.t, err)
	hello := map[string]any{}
	require.NoError(p.t, json.Unmarshal(line, &hello))
	return hello
}

// rest waits for the end of the process and returns the rest of stdout.
func (p *process) rest() (string, error) {
	p.t.Helper()
	type end struct {
		said string
		err  error
	}
	ended := make(chan end, 1)
	go func() {
		said, _ := io.ReadAll(p.stdout)
		ended <- end{string(said), p.cmd.Wait()}
	}()
	select {
	case e := <-ended:
		return e.said, e.err
	case <-time.After(exitTimeout):
		require.Fail(p.t, "the emulator did not stop in time")
		return "", nil
	}
}

func TestGreeting(t *testing.T) {
	tests := map[string]struct {
		args []string
		keys []string
	}{
		"without a seed the greeting has the endpoint": {keys: []string{"endpoint"}},
		"with a seed the greeting has all ids and secrets": {
			args: []string{"-seed"},
			keys: []string{
				"endpoint", "region", "user_pool_id", "app_client_id", "app_client_secret", "public_client_id", "group", "groups",
				"m2m_client_id", "m2m_client_secret", "domain", "scopes",
			},
		},
		"flags with a double dash are accepted": {args: []string{"--listen", "127.0.0.1:0"}, keys: []string{"endpoint"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := start(t, test.args...)
			hello := p.greeting()
			var keys []string
			for key, value := range hello {
				keys = append(keys, key)
				require.NotEmpty(t, value, key)
			}
			require.ElementsMatch(t, test.keys, keys)
			resp, err := http.Get(hello["endpoint"].(string) + "/_emulator/calls")
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())

			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			said, err := p.rest()
			require.NoError(t, err)
			require.Empty(t, said, "the greeting is one line")
		})
	}
}

func TestRegionOfTheSeed(t *testing.T) {
	for want, args := range map[string][]string{"eu-west-1": {"-seed"}, "us-east-2": {"-seed", "-region", "us-east-2"}} {
		p := start(t, args...)
		hello := p.greeting()
		require.Equal(t, want, hello["region"])
		require.True(t, strings.HasPrefix(hello["user_pool_id"].(string), want+"_"))
		require.Equal(t, hello["endpoint"], hello["domain"])
		require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
		_, err := p.rest()
		require.NoError(t, err)
	}
}

func TestIssuer(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want func(endpoint string) string
	}{
		"the issuer is Cognito's by default": {want: func(string) string { return "https://cognito-idp.eu-west-1.amazonaws.com" }},
		"the issuer is the emulator's own address": {
			args: []string{"-issuer", "local"},
			want: func(endpoint string) string { return endpoint },
		},
		"the issuer is an address of the user's": {
			args: []string{"-issuer", "http://cognito.test:9229/"},
			want: func(string) string { return "http://cognito.test:9229" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, append(test.args, "-seed")...)
			hello := p.greeting()
			endpoint, pool := hello["endpoint"].(string), hello["user_pool_id"].(string)
			resp, err := http.Get(endpoint + "/" + pool + "/.well-known/openid-configuration")
			require.NoError(t, err)
			var described map[string]any
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&described))
			require.NoError(t, resp.Body.Close())
			require.Equal(t, test.want(endpoint)+"/"+pool, described["issuer"])

			require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
			_, err = p.rest()
			require.NoError(t, err)
		})
	}
}

func TestEndOfStandardInput(t *testing.T) {
	p := start(t, "-exit-with-stdin")
	p.greeting()
	require.NoError(t, p.stdin.Close())
	_, err := p.rest()
	require.NoError(t, err)
}

func TestEndOfStandardInputIsIgnoredByDefault(t *testing.T) {
	p := start(t)
	hello := p.greeting()
	require.NoError(t, p.stdin.Close())
	resp, err := http.Get(hello["endpoint"].(string) + "/_emulator/calls")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	_, err = p.rest()
	require.NoError(t, err)
}

func TestInvalidCommandLines(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown flag is refused":            {"-nonsense"},
		"an argument is refused":                {"extra"},
		"an invalid address is refused":         {"-listen", "nowhere:none"},
		"an issuer without a scheme is refused": {"-issuer", "localhost:8202"},
		"an issuer with a query is refused":     {"-issuer", "http://localhost:8202?a=b"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, args...)
			said, err := p.rest()
			require.Error(t, err)
			require.Empty(t, said)
			require.NotEmpty(t, p.stderr.String())
		})
	}
}
