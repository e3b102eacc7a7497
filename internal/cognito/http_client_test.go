// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// closedConn is a connection that the server closed while it was idle: the
// write of the next request fails before a byte is sent.
type closedConn struct {
	net.Conn
	closed *atomic.Bool
}

func (c closedConn) Write(p []byte) (int, error) {
	if c.closed.Load() {
		return 0, errors.New("connection reset by peer")
	}
	return c.Conn.Write(p)
}

// closingTransport closes its idle connections without being noticed.
func closingTransport() (transport *http.Transport, closeIdle func()) {
	closed := &atomic.Bool{}
	transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		closed = &atomic.Bool{}
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return closedConn{conn, closed}, err
	}}
	return transport, func() { closed.Store(true) }
}

func TestClosedIdleConnections(t *testing.T) {
	f := newFixture(t, 0)
	transport, closeIdle := closingTransport()
	settings := f.settings(0, 0)
	settings.Transport = transport
	f.service = cognito.New(t.Context(), settings)

	t.Run("a change that was not sent is sent on another connection", func(t *testing.T) {
		_, err := f.pool().CreateUser(t.Context(), f.request().NewUser)
		require.NoError(t, err)
		closeIdle()
		require.NoError(t, f.pool().SetPassword(t.Context(), username, password))
		require.Len(t, f.Calls().Of("AdminSetUserPassword"), 1)
	})

	t.Run("a token request that was not sent is sent on another connection", func(t *testing.T) {
		_, err := f.service.MachineToken(t.Context(), f.tokenRequest())
		require.NoError(t, err)
		closeIdle()
		_, err = f.service.MachineToken(t.Context(), f.tokenRequest())
		require.NoError(t, err)
	})
}

// roundTrip is a transport made of a function.
type roundTrip func(*http.Request) (*http.Response, error)

func (r roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }

func TestTransportReplacesTheNetwork(t *testing.T) {
	var sent atomic.Int64
	service := cognito.New(t.Context(), cognito.Settings{
		AccessKeyID: "A", SecretAccessKey: "s",
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			sent.Add(1)
			return nil, errors.New("the cable is cut")
		}),
	})
	pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
	require.NoError(t, err)
	err = pool.ReplacePassword(t.Context(), username, password)
	require.ErrorContains(t, err, "the cable is cut")
	require.Equal(t, cognito.OutcomeUnknown, cognito.OutcomeOf(err), "a transport that reports nothing may have sent it")
	_, err = service.MachineToken(t.Context(), machineRequest("https://example.com"))
	require.ErrorContains(t, err, "the cable is cut")
	require.EqualValues(t, 2, sent.Load())
}

func TestCABundle(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body := `{"UserPool":{}}`
		if strings.HasSuffix(req.URL.Path, "/oauth2/token") {
			body = `{"access_token":"t","token_type":"Bearer","expires_in":3600}`
		}
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	bundle := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	require.NoError(t, os.WriteFile(bundle, certificate, 0o600))
	t.Setenv("AWS_CA_BUNDLE", bundle)

	service := cognito.New(t.Context(), cognito.Settings{AccessKeyID: "A", SecretAccessKey: "s", CognitoEndpoint: server.URL})
	_, err := service.MachineToken(t.Context(), machineRequest(server.URL))
	require.NoError(t, err, "the token endpoint")
	pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
	require.NoError(t, err)
	_, err = pool.Rules(t.Context())
	require.NoError(t, err, "Cognito")
}
