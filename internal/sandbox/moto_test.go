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
	m.Stop() // does no harm
	require.False(t, alive(m.process.pid))
}

func TestMotoThatDoesNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		binary string
		want   []string
	}{
		"no such binary":     {"/nowhere/moto_server", []string{"/nowhere/moto_server", "no such file"}},
		"it exits":           {script(t, "echo 'No module named moto' >&2; exit 1"), []string{"exit status 1", "No module named moto"}},
		"it says too little": {script(t, "echo hello"), []string{"moto ended: exit status 0", "hello"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := StartMoto(t.Context(), MotoOptions{Binary: c.binary})
			require.Nil(t, m)
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}
