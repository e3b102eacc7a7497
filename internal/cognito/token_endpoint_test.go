// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const clientSecret = "hush-client+secret"

// endpoint is a token endpoint that answers what a test wants.
func endpoint(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func raw(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func machineRequest(domain string) cognito.MachineTokenRequest {
	return cognito.MachineTokenRequest{Domain: domain, AppClient: cognito.AppClient{ID: "client", Secret: clientSecret}}
}

func newService() *cognito.Service {
	return cognito.New(context.Background(), cognito.Settings{RequestTimeout: time.Second})
}

// unsignedJWT looks like a token of Cognito's with these claims.
func unsignedJWT(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func TestMachineTokenRequest(t *testing.T) {
	t.Run("the request carries what Cognito asks for, the secret in the body only", func(t *testing.T) {
		var got *http.Request
		domain := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseForm(); err == nil {
				got = r
			}
			raw(200, "application/json", `{"access_token":"opaque","token_type":"Bearer","expires_in":60}`)(w, r)
		})
		request := machineRequest(domain)
		request.Scopes = []string{"api/read", "api/write"}
		request.ClientMetadata = map[string]string{"k": "v"}
		_, err := newService().MachineToken(t.Context(), request)
		require.NoError(t, err)
		require.NotNil(t, got, "the request could not be read")
		require.Equal(t, "/oauth2/token", got.URL.String())
		require.Empty(t, got.Header.Get("Authorization"))
		require.Equal(t, url.Values{
			"grant_type":          {"client_credentials"},
			"client_id":           {"client"},
			"client_secret":       {clientSecret},
			"scope":               {"api/read api/write"},
			"aws_client_metadata": {`{"k":"v"}`},
		}, got.PostForm)
	})

	t.Run("idle connections are used again", func(t *testing.T) {
		connections := 0
		server := httptest.NewUnstartedServer(raw(200, "application/json", `{"access_token":"opaque","token_type":"Bearer","expires_in":60}`))
		server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				connections++
			}
		}
		server.Start()
		defer server.Close()
		service := newService()
		for range 3 {
			_, err := service.MachineToken(t.Context(), machineRequest(server.URL))
			require.NoError(t, err)
		}
		require.Equal(t, 1, connections)
	})
}

func TestMachineTokenAnswer(t *testing.T) {
	end := time.Now().Add(time.Hour).Truncate(time.Second)

	t.Run("a JWT says itself when it expires and what it grants", func(t *testing.T) {
		token := unsignedJWT(fmt.Sprintf(`{"exp":%d,"scope":"a/r b/w"}`, end.Unix()))
		domain := endpoint(t, raw(200, "application/json;charset=UTF-8", `{"access_token":"`+token+`","token_type":"Bearer","expires_in":86400}`))
		got, err := newService().MachineToken(t.Context(), machineRequest(domain))
		require.NoError(t, err)
		require.Equal(t, token, got.AccessToken)
		require.Equal(t, "Bearer", got.Type)
		require.True(t, end.Equal(got.Expires), "ends %s, not %s", end, got.Expires)
		require.Equal(t, []string{"a/r", "b/w"}, got.Scopes)
	})

	t.Run("a JWT that seems to live longer than the response says does not: the clock here is slow", func(t *testing.T) {
		token := unsignedJWT(fmt.Sprintf(`{"exp":%d}`, time.Now().Add(65*time.Minute).Unix()))
		domain := endpoint(t, raw(200, "application/json", `{"access_token":"`+token+`","token_type":"Bearer","expires_in":3600}`))
		got, err := newService().MachineToken(t.Context(), machineRequest(domain))
		require.NoError(t, err)
		require.WithinDuration(t, end, got.Expires, 5*time.Second)
	})

	t.Run("an opaque token expires when the response says", func(t *testing.T) {
		domain := endpoint(t, raw(200, "application/json", `{"access_token":"opaque","token_type":"bearer","expires_in":3600}`))
		got, err := newService().MachineToken(t.Context(), machineRequest(domain))
		require.NoError(t, err)
		require.WithinDuration(t, end, got.Expires, time.Minute)
		require.Nil(t, got.Scopes)
	})
}

func TestMachineTokenBadAnswers(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		_, _ = io.WriteString(w, `{"access_token":"half`)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    cognito.Kind
		says    string
	}{
		"a wrong secret":              {raw(400, "application/json", `{"error":"invalid_client"}`), cognito.KindInvalid, "invalid_client"},
		"a grant that is not allowed": {raw(400, "application/json", `{"error":"unauthorized_client"}`), cognito.KindInvalid, "unauthorized_client"},
		"a scope that is not allowed": {raw(400, "application/json", `{"error":"invalid_scope"}`), cognito.KindInvalid, "invalid_scope"},
		"a throttle":                  {raw(429, "application/json", `{"message":"slow"}`), cognito.KindThrottled, "throttles"},
		"a failure":                   {raw(500, "text/html", `<html>oops</html>`), cognito.KindUnavailable, "status 500"},
		"a gateway that is down":      {raw(503, "text/plain", ``), cognito.KindUnavailable, "status 503"},
		"a page":                      {raw(200, "text/html", `<html>hello</html>`), cognito.KindUnavailable, "not a token endpoint's"},
		"a page that is not found":    {raw(404, "text/html", `<html>hello</html>`), cognito.KindUnavailable, "not a token endpoint's"},
		"a firewall":                  {raw(403, "text/html", `<html>blocked</html>`), cognito.KindUnavailable, "not a token endpoint's"},
		"nothing":                     {raw(200, "application/json", ``), cognito.KindUnavailable, "not a token endpoint's"},
		"an empty object":             {raw(200, "application/json", `{}`), cognito.KindUnavailable, "not a token endpoint's"},
		"a list":                      {raw(200, "application/json", `[1]`), cognito.KindUnavailable, "not a token endpoint's"},
		"half an answer":              {cut, cognito.KindUnavailable, "not a token endpoint's"},
		"another kind of token":       {raw(200, "application/json", `{"access_token":"t","token_type":"mac","expires_in":60}`), cognito.KindUnavailable, "not a token endpoint's"},
		"a token of two words":        {raw(200, "application/json", `{"access_token":"a b","token_type":"Bearer","expires_in":60}`), cognito.KindUnavailable, "not a token endpoint's"},
		"a token without end":         {raw(200, "application/json", `{"access_token":"t","token_type":"Bearer"}`), cognito.KindUnavailable, "when it expires"},
		"a token that has ended":      {raw(200, "application/json", `{"access_token":"`+unsignedJWT(`{"exp":1}`)+`","token_type":"Bearer","expires_in":60}`), cognito.KindUnavailable, "has expired already"},
		"an error with words in it":   {raw(400, "application/json", `{"error":"the secret `+clientSecret+` is wrong"}`), cognito.KindUnavailable, "not a token endpoint's"},
		"an echo of the request":      {raw(400, "text/plain", `client_secret=`+clientSecret), cognito.KindUnavailable, "not a token endpoint's"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		}, cognito.KindUnavailable, "not a token endpoint's"},
		"a body without end":  {endless, cognito.KindUnavailable, ""},
		"silence":             {silent, cognito.KindUnavailable, "no answer in time"},
		"a closed connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, cognito.KindUnavailable, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			domain := endpoint(t, c.handler)
			_, err := newService().MachineToken(t.Context(), machineRequest(domain))
			require.Error(t, err)
			require.Equal(t, c.kind, cognito.KindOf(err), err.Error())
			require.Contains(t, err.Error(), c.says)
			require.Contains(t, err.Error(), domain, "the error must name the domain")
			require.NotContains(t, err.Error(), clientSecret)
			require.NotContains(t, err.Error(), url.QueryEscape(clientSecret))
		})
	}
}

// silent waits until the client goes away, which the server only notices once
// it has read the request.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// endless writes until the client has had enough.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for {
		if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
			return
		}
	}
}

func TestMachineTokenEndpointMissing(t *testing.T) {
	for name, domain := range map[string]string{
		"a port that is closed":      "http://127.0.0.1:1",
		"a host that does not exist": "https://nobody.invalid",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newService().MachineToken(t.Context(), machineRequest(domain))
			require.Error(t, err)
			require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
			require.Contains(t, err.Error(), "no answer")
		})
	}
}

func TestMachineTokenFollowsNoRedirect(t *testing.T) {
	asked := false
	other := endpoint(t, func(http.ResponseWriter, *http.Request) { asked = true })
	domain := endpoint(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+"/oauth2/token", http.StatusTemporaryRedirect)
	})
	_, err := newService().MachineToken(t.Context(), machineRequest(domain))
	require.Error(t, err)
	require.False(t, asked, "the secret must not follow a redirect")
}

func TestMachineTokenRefusesOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(raw(200, "application/json", `{}`))
	server.StartTLS()
	defer server.Close()
	// No authority that this machine trusts signed the certificate.
	_, err := newService().MachineToken(t.Context(), machineRequest(server.URL))
	require.Error(t, err)
	require.Contains(t, err.Error(), "certificate")
}

func FuzzParseDomain(f *testing.F) {
	for _, domain := range []string{
		"example.com", "https://example.com", "http://127.0.0.1:80", "http://[::1]", "https://a:b@c", "x/../y", "http://0x7f.1", "https://example.com#", "//x",
	} {
		f.Add(domain)
	}
	f.Fuzz(func(t *testing.T, domain string) {
		u, err := cognito.ParseDomain(domain)
		if err != nil {
			return
		}
		require.Nil(t, u.User)
		require.Empty(t, u.Path)
		require.Empty(t, u.RawQuery)
		require.NotEmpty(t, u.Hostname())
		if u.Scheme != "https" {
			require.Equal(t, "http", u.Scheme)
			host := u.Hostname()
			require.True(t, strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback(), "plain http to %q", host)
		}
		again, err := cognito.ParseDomain(u.String())
		require.NoError(t, err)
		require.Equal(t, u.String(), again.String())
	})
}

// FuzzTokenEndpointAnswer lets a token endpoint answer anything: it becomes a
// token that can be used, or an error that repeats nothing of the request.
func FuzzTokenEndpointAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"opaque","token_type":"Bearer","expires_in":60}`)
	f.Add(200, "application/json", `{"access_token":"`+unsignedJWT(`{"exp":99999999999,"scope":7}`)+`","token_type":"Bearer","expires_in":-1}`)
	f.Add(200, "text/plain", "access_token=a&token_type=bearer&expires_in=99999999999999999999")
	f.Add(400, "application/json", `{"error":"invalid_client","error_description":"`+clientSecret+`"}`)
	f.Add(302, "text/html", "<html>")
	f.Add(204, "", "\xff\xfe")
	var status int
	var contentType, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { raw(status, contentType, body)(w, r) }))
	f.Cleanup(server.Close)
	f.Fuzz(func(t *testing.T, s int, c, b string) {
		if s < 200 || s > 599 {
			return // net/http answers nothing else
		}
		status, contentType, body = s, c, b
		request := machineRequest(server.URL)
		request.NoCache = true
		token, err := newService().MachineToken(t.Context(), request)
		if err != nil {
			require.NotContains(t, err.Error(), clientSecret)
			return
		}
		require.NotEmpty(t, token.AccessToken)
		require.NotContains(t, token.AccessToken, "\n")
		require.True(t, token.Expires.After(time.Now()))
	})
}
