// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fromOrigin sends a request as a script of a web page would.
func (b *env) fromOrigin(method, path, body string, header map[string]string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, method, b.url+path, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("Origin", "http://localhost:3000")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	require.NoError(b.t, resp.Body.Close())
	return resp
}

func TestPreflightAllowsBrowsers(t *testing.T) {
	b := newEnv(t)
	for _, path := range []string{"/", "/oauth2/token", "/" + b.seed.UserPoolID + "/.well-known/jwks.json"} {
		resp := b.fromOrigin(http.MethodOptions, path, "", map[string]string{
			"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-amz-target",
		})
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		require.Equal(t, "*", resp.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "content-type,x-amz-target", resp.Header.Get("Access-Control-Allow-Headers"))
		require.Contains(t, resp.Header.Get("Access-Control-Allow-Methods"), "POST")
	}
	require.Empty(t, b.calls().Calls, "a preflight is no call")
}

func TestAnswersAreReadableInBrowsers(t *testing.T) {
	b := newEnv(t)
	resp := b.fromOrigin(http.MethodPost, "/", `{"AccessToken":"x"}`, map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AWSCognitoIdentityProviderService.GetUser",
	})
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
	require.Equal(t, "*", resp.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, resp.Header.Get("Access-Control-Expose-Headers"), "x-amzn-ErrorType")

	resp = b.fromOrigin(http.MethodPost, "/oauth2/token", clientCredentials("client_id", b.seed.M2MClientID, "client_secret", b.seed.M2MClientSecret).Encode(),
		map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "*", resp.Header.Get("Access-Control-Allow-Origin"))
}

func TestControlRefusesWebPages(t *testing.T) {
	b := newEnv(t)
	require.Equal(t, http.StatusForbidden, b.fromOrigin(http.MethodPost, "/_emulator/reset", "{}", nil).StatusCode)
	preflight := b.fromOrigin(http.MethodOptions, "/_emulator/reset", "", map[string]string{"Access-Control-Request-Method": "POST"})
	require.Equal(t, http.StatusForbidden, preflight.StatusCode)
	require.Empty(t, preflight.Header.Get("Access-Control-Allow-Origin"))
}

func TestOpenIDConfiguration(t *testing.T) {
	b := newEnv(t)
	get := func(pool string) (int, map[string]any) {
		resp, err := http.Get(b.url + "/" + pool + "/.well-known/openid-configuration")
		require.NoError(t, err)
		defer resp.Body.Close()
		configuration := map[string]any{}
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&configuration))
		return resp.StatusCode, configuration
	}
	status, configuration := get(b.seed.UserPoolID)
	require.Equal(t, http.StatusOK, status)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.Equal(t, claimsOf(t, b.mustSignIn(b.seededClient(), "ann").IdToken)["iss"], configuration["issuer"])
	require.Equal(t, b.url+"/oauth2/token", configuration["token_endpoint"])
	resp, err := http.Get(configuration["jwks_uri"].(string))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	status, _ = get("eu-west-1_missing")
	require.Equal(t, http.StatusNotFound, status)
}
