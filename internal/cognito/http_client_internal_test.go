// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// connections fails each request as a connection does that is closed at some
// point, and reports to the trace how far it came.
type connections struct {
	reused, headed bool
	failures       int
	bodies         []string
}

func (c *connections) RoundTrip(req *http.Request) (*http.Response, error) {
	trace := httptrace.ContextClientTrace(req.Context())
	trace.GetConn("")
	trace.GotConn(httptrace.GotConnInfo{Reused: c.reused})
	if c.headed {
		trace.WroteHeaders()
	}
	body, err := io.ReadAll(req.Body)
	c.bodies = append(c.bodies, string(body))
	if len(c.bodies) <= c.failures {
		return nil, errors.Join(err, errors.New("the server closed the connection"))
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func TestRequestsOnClosedConnections(t *testing.T) {
	for name, c := range map[string]struct {
		connections  connections
		sends        int
		fails, never bool
	}{
		"a request that was not written is sent again, with its body": {connections{reused: true, failures: 1}, 2, false, false},
		"a request is sent again a few times only":                    {connections{reused: true, failures: 9}, 3, true, true},
		"a request that may have been written is not sent again":      {connections{reused: true, headed: true, failures: 1}, 1, true, false},
		"a request on a new connection is not sent again, but unsent": {connections{failures: 1}, 1, true, true},
		"a request that succeeds is sent once":                        {connections{}, 1, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost", strings.NewReader("body"))
			require.NoError(t, err)
			resp, err := transport{&c.connections}.RoundTrip(req)
			if err == nil {
				require.NoError(t, resp.Body.Close())
			}
			require.Equal(t, c.fails, err != nil)
			require.Equal(t, c.never, notSent(err))
			require.Len(t, c.connections.bodies, c.sends)
			for _, body := range c.connections.bodies {
				require.Equal(t, "body", body)
			}
		})
	}
}
