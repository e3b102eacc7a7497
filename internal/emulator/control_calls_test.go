// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestCallLogShowsParametersAndOutcome(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.control.ResetCalls(b.ctx))
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", "testers"))
	_, err := b.cognito.AdminInitiateAuth(b.ctx, &cognitoidentityprovider.AdminInitiateAuthInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID, AuthFlow: "ADMIN_USER_PASSWORD_AUTH",
		AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": otherPassword}, ClientMetadata: map[string]string{"who": "me"},
	})
	require.Error(t, err)

	calls := b.calls().Calls
	require.Len(t, calls, 2)
	joined, signedIn := calls[0], calls[1]
	require.Equal(t, "AdminAddUserToGroup", joined.Operation)
	require.Equal(t, "testers", joined.Resource)
	require.Equal(t, 200, joined.Status)
	require.Equal(t, testAccessKey, joined.AccessKey)
	require.Equal(t, testRegion, joined.Region)
	require.Equal(t, "ann", signedIn.Resource)
	require.Equal(t, "NotAuthorizedException", signedIn.Code)
	require.Equal(t, map[string]string{"who": "me"}, signedIn.ClientMetadata)
	require.True(t, joined.Begin < joined.End && joined.End < signedIn.Begin && signedIn.Begin < signedIn.End)
}

func TestConnectionsAreCountedWithTheirFirstCall(t *testing.T) {
	b := newEnv(t)
	require.Zero(t, b.calls().Connections, "calls of the control API are not counted")

	for range 3 {
		b.getOnNewConnection("/.well-known/jwks.json")
	}
	require.Equal(t, 3, b.calls().Connections)
	b.getOnNewConnection("/_emulator/calls")
	require.Equal(t, 3, b.calls().Connections)

	require.NoError(t, b.control.ResetCalls(b.ctx))
	// One connection per host: otherwise the second request may dial before the first one's
	// connection is idle.
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	b.get(transport, "/.well-known/jwks.json")
	b.get(transport, "/.well-known/jwks.json")
	log := b.calls()
	require.Equal(t, 1, log.Connections, "one connection carried both calls")
	require.Len(t, log.Calls, 2)
}

func (b *env) getOnNewConnection(path string) {
	b.t.Helper()
	transport := &http.Transport{DialContext: (&net.Dialer{}).DialContext}
	defer transport.CloseIdleConnections()
	b.get(transport, path)
}

func (b *env) get(transport *http.Transport, path string) {
	b.t.Helper()
	resp, err := (&http.Client{Transport: transport}).Get(b.url + path)
	require.NoError(b.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(b.t, err)
	require.NoError(b.t, resp.Body.Close())
}

func TestListedUsersHaveNoPasswords(t *testing.T) {
	b := newEnv(t)
	other := b.createPool(nil)
	b.createConfirmedUser(b.seed.UserPoolID, "bob", "email", "bob@example.com")
	b.createUser(other, "ann")
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "bob", "testers"))

	bob := b.user(b.seed.UserPoolID, "bob")
	require.Equal(t, "CONFIRMED", bob.Status)
	require.True(t, bob.Enabled)
	require.Equal(t, []string{"testers"}, bob.Groups)
	require.Equal(t, "bob@example.com", bob.Attributes["email"])
	require.Equal(t, bob.Sub, bob.Attributes["sub"])
	require.Equal(t, b.clock.Now(), bob.Created)

	all, err := b.control.Users(b.ctx, "")
	require.NoError(t, err)
	require.Len(t, all, 2)

	resp, err := http.Get(b.url + "/_emulator/users")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotContains(t, string(body), goodPassword)
}

func TestReset(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	b.fault(control.Fault{Operation: "GetGroup", Kind: control.FaultError, Code: "InternalErrorException"})
	require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{"UserCreation": 0}))
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{AllowedActions: []string{}}))
	require.NoError(t, b.control.SetLatency(b.ctx, control.Latency{DefaultMS: 60000}))
	require.NoError(t, b.control.LateUsers(b.ctx, time.Minute))

	require.NoError(t, b.control.Reset(b.ctx))
	log := b.calls()
	require.Zero(t, log.Connections)
	require.Empty(t, log.Calls)
	require.False(t, b.exists("ann"))
	require.NoError(t, b.tryGroup())
	_, err := b.refresh(client, *tokens.RefreshToken)
	requireCode(t, err, "NotAuthorizedException")
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	b.mustSignIn(client, "ann")
}

func TestUnknownControlPath(t *testing.T) {
	b := newEnv(t)
	resp, err := http.Get(b.url + "/_emulator/nothing")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestControlRefusesOtherMachines(t *testing.T) {
	server := emulator.New(emulator.Options{})
	for caller, status := range map[string]int{
		"127.0.0.1:40000": http.StatusOK,
		"[::1]:40000":     http.StatusOK,
		"192.0.2.1:40000": http.StatusForbidden,
	} {
		r := httptest.NewRequest(http.MethodGet, "/_emulator/calls", nil)
		r.RemoteAddr = caller
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		require.Equal(t, status, w.Code, caller)
	}
}
