// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2/clientcredentials"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// tokenAnswer is an answer of the token endpoint.
type tokenAnswer struct {
	status int
	body   map[string]any
	header http.Header
}

// askToken posts a form; if id is set, the client authenticates in the Authorization header.
func (b *env) askToken(form url.Values, id, secret string) tokenAnswer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.url+"/oauth2/token", strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(id, secret)
	}
	return b.sendToken(req)
}

func (b *env) sendToken(req *http.Request) tokenAnswer {
	b.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	answer := tokenAnswer{status: resp.StatusCode, header: resp.Header, body: map[string]any{}}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		require.NoError(b.t, json.Unmarshal(raw, &answer.body))
	}
	return answer
}

func clientCredentials(extra ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i < len(extra); i += 2 {
		form.Set(extra[i], extra[i+1])
	}
	return form
}

func TestClientCredentials(t *testing.T) {
	tests := map[string]struct {
		scope string
		want  string
	}{
		"one requested scope is granted":                  {scope: "api/read", want: "api/read"},
		"two requested scopes are granted in their order": {scope: "api/write api/read", want: "api/write api/read"},
		"no requested scope grants all scopes":            {want: "api/read api/write"},
	}
	for name, test := range tests {
		for _, basic := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				b := newEnv(t)
				form := clientCredentials()
				if test.scope != "" {
					form.Set("scope", test.scope)
				}
				id, secret := b.seed.M2MClientID, b.seed.M2MClientSecret
				if !basic {
					form.Set("client_id", id)
					form.Set("client_secret", secret)
					id = ""
				}
				answer := b.askToken(form, id, secret)
				require.Equal(t, http.StatusOK, answer.status)
				require.Len(t, answer.body, 3)
				require.Equal(t, "Bearer", answer.body["token_type"])
				require.InEpsilon(t, 3600, answer.body["expires_in"], 0)

				token := answer.body["access_token"].(string)
				claims := claimsOf(t, &token)
				now := float64(b.clock.Now().Unix())
				require.NotEmpty(t, claims["jti"])
				delete(claims, "jti")
				require.Equal(t, map[string]any{
					"sub": b.seed.M2MClientID, "client_id": b.seed.M2MClientID, "token_use": "access", "scope": test.want,
					"iss":       "https://cognito-idp.eu-west-1.amazonaws.com/" + b.seed.UserPoolID,
					"auth_time": now, "iat": now, "exp": now + 3600, "version": float64(2),
				}, claims)
			})
		}
	}
}

func TestTokenEndpointRefusals(t *testing.T) {
	tests := map[string]struct {
		form   url.Values
		client func(b *env) (id, secret string)
		error  string
	}{
		"a wrong secret is refused":                                       {form: clientCredentials(), client: func(b *env) (string, string) { return b.seed.M2MClientID, "wrong" }, error: "invalid_client"},
		"a missing secret is refused":                                     {form: clientCredentials(), client: func(b *env) (string, string) { return b.seed.M2MClientID, "" }, error: "invalid_client"},
		"an unknown client is refused":                                    {form: clientCredentials(), client: func(*env) (string, string) { return "nobody", "secret" }, error: "invalid_client"},
		"a public client is refused":                                      {form: clientCredentials(), client: func(b *env) (string, string) { return b.seed.PublicClientID, "" }, error: "invalid_client"},
		"a client without the grant is refused":                           {form: clientCredentials(), client: func(b *env) (string, string) { return b.seed.AppClientID, b.seed.AppClientSecret }, error: "unauthorized_client"},
		"an unknown scope is refused":                                     {form: clientCredentials("scope", "api/delete"), error: "invalid_scope"},
		"a known and an unknown scope are refused":                        {form: clientCredentials("scope", "api/read api/delete"), error: "invalid_scope"},
		"another grant type is refused":                                   {form: url.Values{"grant_type": {"password"}}, error: "unsupported_grant_type"},
		"a missing grant type is refused":                                 {form: url.Values{}, error: "invalid_request"},
		"a client id in the form that differs from the header is refused": {form: clientCredentials("client_id", "another"), error: "invalid_request"},
		"secrets in form and header are refused":                          {form: clientCredentials("client_secret", "x"), error: "invalid_request"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			id, secret := b.seed.M2MClientID, b.seed.M2MClientSecret
			if test.client != nil {
				id, secret = test.client(b)
			}
			answer := b.askToken(test.form, id, secret)
			require.Equal(t, http.StatusBadRequest, answer.status)
			require.Equal(t, map[string]any{"error": test.error}, answer.body)
			require.NotEmpty(t, answer.header.Get("X-Amz-Cognito-Request-Id"))
		})
	}
}

func TestTokenEndpointRefusesJSON(t *testing.T) {
	b := newEnv(t)
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.url+"/oauth2/token", strings.NewReader(`{"grant_type":"client_credentials"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(b.seed.M2MClientID, b.seed.M2MClientSecret)
	require.Equal(t, map[string]any{"error": "invalid_request"}, b.sendToken(req).body)
}

func TestTokenEndpointNeedsADomain(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	b.createResourceServer(pool)
	client := b.createClient(pool, machineClient("api/read"))
	require.Equal(t, http.StatusNotFound, b.askToken(clientCredentials(), *client.ClientId, *client.ClientSecret).status)

	_, err := b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{UserPoolId: &pool, Domain: aws.String("my-domain")})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, b.askToken(clientCredentials(), *client.ClientId, *client.ClientSecret).status)
}

func TestTokenEndpointNeedsOAuthFlowsEnabled(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		machineClient("api/read")(in)
		in.AllowedOAuthFlowsUserPoolClient = false
	})
	require.Equal(t, "unauthorized_client", b.askToken(clientCredentials(), *client.ClientId, *client.ClientSecret).body["error"])
}

func TestOAuth2LibraryGetsAToken(t *testing.T) {
	b := newEnv(t)
	config := clientcredentials.Config{
		ClientID: b.seed.M2MClientID, ClientSecret: b.seed.M2MClientSecret, TokenURL: b.url + "/oauth2/token", Scopes: b.seed.Scopes,
	}
	token, err := config.Token(b.ctx)
	require.NoError(t, err)
	require.True(t, token.Type() == "Bearer" && token.AccessToken != "")
}

func TestClientMetadataOfTokensIsRecorded(t *testing.T) {
	b := newEnv(t)
	form := clientCredentials("aws_client_metadata", `{"who":"me"}`)
	require.Equal(t, http.StatusOK, b.askToken(form, b.seed.M2MClientID, b.seed.M2MClientSecret).status)
	call := b.calls().Of(control.OperationToken)[0]
	require.Equal(t, map[string]string{"who": "me"}, call.ClientMetadata)
	require.Equal(t, b.seed.M2MClientID, call.ClientID)
}

func TestDeletedClientGetsNoToken(t *testing.T) {
	b := newEnv(t)
	_, err := b.cognito.DeleteUserPoolClient(b.ctx, &cognitoidentityprovider.DeleteUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.M2MClientID})
	require.NoError(t, err)
	require.Equal(t, "invalid_client", b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).body["error"])
}

func (b *env) createResourceServer(pool string) {
	b.t.Helper()
	_, err := b.cognito.CreateResourceServer(b.ctx, &cognitoidentityprovider.CreateResourceServerInput{
		UserPoolId: &pool, Identifier: aws.String("api"), Name: aws.String("api"),
		Scopes: []types.ResourceServerScopeType{{ScopeName: aws.String("read"), ScopeDescription: aws.String("to read")}},
	})
	require.NoError(b.t, err)
}

func machineClient(scopes ...string) func(*cognitoidentityprovider.CreateUserPoolClientInput) {
	return func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.GenerateSecret = true
		in.ExplicitAuthFlows = nil
		in.AllowedOAuthFlows = []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}
		in.AllowedOAuthFlowsUserPoolClient = true
		in.AllowedOAuthScopes = scopes
	}
}

// clientTokenClient changes a client into one that may use GetClientToken.
func clientTokenClient(in *cognitoidentityprovider.CreateUserPoolClientInput) {
	in.GenerateSecret = true
	in.ExplicitAuthFlows = []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"}
	in.AllowedOAuthScopes = []string{"api/read", "api/write"}
}

func TestGetClientToken(t *testing.T) {
	tests := map[string]struct {
		scopes []string
		change func(in *cognitoidentityprovider.GetClientTokenInput, b *env)
		want   string
		code   string
	}{
		"no requested scope grants all scopes": {want: "api/read api/write"},
		"a requested scope is granted":         {scopes: []string{"api/write"}, want: "api/write"},
		"an unknown scope is refused":          {scopes: []string{"api/delete"}, code: "InvalidParameterException"},
		"a wrong secret is refused": {
			change: func(in *cognitoidentityprovider.GetClientTokenInput, _ *env) { in.Secret = aws.String("wrong") },
			code:   "NotAuthorizedException",
		},
		"an unknown client is refused": {
			change: func(in *cognitoidentityprovider.GetClientTokenInput, _ *env) { in.ClientId = aws.String("missing") },
			code:   "ResourceNotFoundException",
		},
		"a client without ALLOW_CLIENT_TOKEN_AUTH is refused": {
			change: func(in *cognitoidentityprovider.GetClientTokenInput, b *env) {
				in.ClientId, in.Secret = &b.seed.M2MClientID, &b.seed.M2MClientSecret
			},
			code: "InvalidParameterException",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.createClient(b.seed.UserPoolID, clientTokenClient)
			in := &cognitoidentityprovider.GetClientTokenInput{
				ClientId: client.ClientId, Secret: client.ClientSecret, Scopes: test.scopes, ClientMetadata: map[string]string{"who": "me"},
			}
			if test.change != nil {
				test.change(in, b)
			}
			out, err := b.cognito.GetClientToken(b.ctx, in)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				claims := claimsOf(t, out.ClientAuthenticationResult.AccessToken)
				require.Equal(t, test.want, claims["scope"])
				require.Equal(t, *client.ClientId, claims["sub"])
				require.Equal(t, int32(3600), out.ClientAuthenticationResult.ExpiresIn)
				require.Equal(t, "Bearer", *out.ClientAuthenticationResult.TokenType)
				require.Equal(t, map[string]string{"who": "me"}, b.calls().Of("GetClientToken")[0].ClientMetadata)
			}
		})
	}
}
