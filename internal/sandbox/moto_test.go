// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStartMoto(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	t.Cleanup(server.Close)
	fake := script(t, `echo "$*"; echo " * Running on `+server.URL+`" >&2; exec sleep 60`)
	m, err := StartMoto(t.Context(), MotoOptions{Binary: fake})
	require.NoError(t, err)
	t.Cleanup(m.Stop)
	require.Equal(t, server.URL, m.Endpoint)
	require.Equal(t, "/moto-api/data.json", <-asked)
	require.Contains(t, m.LogText(), "-H 127.0.0.1 -p 0\n")

	m.Stop()
	m.Stop() // has no effect
	require.False(t, alive(m.process.pid))
}

func TestStartMotoReportsFailures(t *testing.T) {
	for name, c := range map[string]struct {
		binary string
		want   []string
	}{
		"a binary that does not exist":              {"/nowhere/moto_server", []string{"/nowhere/moto_server", "no such file"}},
		"a moto that exits":                         {script(t, "echo 'No module named moto' >&2; exit 1"), []string{"exit status 1", "No module named moto"}},
		"a moto that does not say where it listens": {script(t, "echo hello"), []string{"moto ended: exit status 0", "hello"}},
	} {
		t.Run("StartMoto reports "+name, func(t *testing.T) {
			m, err := StartMoto(t.Context(), MotoOptions{Binary: c.binary})
			require.Nil(t, m)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
