// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// These tests are the rows of the table in SECURITY.md: each attacker has a token with a policy of exactly
// its rights.

// attacker returns a client whose token may do what the rules say, and nothing else.
func (e *env) attacker(rules ...string) *api.Client {
	e.Helper()
	policy := e.mount + "-attacker-" + fmt.Sprint(len(rules)) + fmt.Sprint(attackers.Add(1))
	text := ""
	for n := 0; n < len(rules); n += 2 {
		text += fmt.Sprintf("path %q { capabilities = [%s] }\n", e.mount+"/"+rules[n], rules[n+1])
	}
	require.NoError(e, e.client.Sys().PutPolicyWithContext(e.Context(), policy, text))
	token, err := e.client.Auth().Token().CreateWithContext(e.Context(), &api.TokenCreateRequest{Policies: []string{policy}, TTL: "10m"})
	require.NoError(e, err)
	client := e.vault.Client()
	client.SetToken(token.Auth.ClientToken)
	return client
}

var attackers atomic.Int32

// writeAs sends a write as an attacker and returns status and text of a refusal, or 0.
func (e *env) writeAs(client *api.Client, path string, data map[string]any) (int, string) {
	e.Helper()
	_, err := client.Logical().WriteWithContext(e.Context(), e.mount+"/"+path, data)
	if err == nil {
		return 0, ""
	}
	return e.refusal(err)
}

// readAs sends a read as an attacker and returns status and text of a refusal, or 0.
func (e *env) readAs(client *api.Client, path string) (int, string) {
	e.Helper()
	_, err := client.Logical().ReadWithContext(e.Context(), e.mount+"/"+path)
	if err == nil {
		return 0, ""
	}
	return e.refusal(err)
}

// evilDomain is a server that an attacker names as the domain of a user pool.
func evilDomain(t *testing.T) (address string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func TestAuthorityOfARoleWriter(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	evil, requests := evilDomain(t)
	writer := e.attacker("roles/*", `"create", "update", "patch", "read"`, "creds/*", `"read"`)

	t.Run("a stored client secret cannot be sent to another server", func(t *testing.T) {
		status, text := e.writeAs(writer, "roles/machine", map[string]any{"cognito_pool_domain": evil})
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "app_client_secret is required")
	})
	t.Run("a secret that is looked up cannot be sent to another server", func(t *testing.T) {
		status, _ := e.writeAs(writer, "roles/stolen", map[string]any{
			"app_client_id": e.Seed.M2MClientID, "user_pool_id": e.Seed.UserPoolID, "region": emulatortest.Region, "cognito_pool_domain": evil,
		})
		require.Zero(t, status)
		status, text := e.readAs(writer, "creds/stolen")
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "the client secret is not sent to it")
	})
	t.Run("the secret of a static role cannot be sent to another server", func(t *testing.T) {
		e.write("static-roles/api", map[string]any{
			"credential_type": "app_client_secret", "user_pool_id": e.Seed.UserPoolID, "app_client_id": e.Seed.M2MClientID, "rotation_period": "1h",
		})
		status, _ := e.writeAs(writer, "roles/static", map[string]any{"static_role": "api", "cognito_pool_domain": evil})
		require.Zero(t, status)
		status, text := e.readAs(writer, "creds/static")
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "the client secret is not sent to it")
		status, _ = e.readAs(writer, "static-creds/api")
		require.Equal(t, http.StatusForbidden, status)
	})
	t.Run("link-local addresses are not reached", func(t *testing.T) {
		status, _ := e.writeAs(writer, "roles/metadata", map[string]any{
			"app_client_id": "client", "app_client_secret": "hush-own", "cognito_pool_domain": "169.254.169.254",
		})
		require.Zero(t, status)
		_, text := e.readAs(writer, "creds/metadata")
		require.Contains(t, text, "link-local addresses are not allowed")
	})
	t.Run("the secrets of the config are not returned", func(t *testing.T) {
		status, _ := e.readAs(writer, "config")
		require.Equal(t, http.StatusForbidden, status)
		role, err := writer.Logical().ReadWithContext(t.Context(), e.mount+"/roles/machine")
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprint(role.Data), e.Seed.M2MClientSecret)
	})
	require.Zero(t, requests.Load())
}

func TestAuthorityOfARoleReader(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	reader := e.attacker("creds/ci", `"read", "update"`, "creds/machine", `"read", "update"`, "tokens/ci", `"update"`)
	const person, password = "person", "hush-Right-1"
	_, err := e.Admin.AdminCreateUser(t.Context(), &cip.AdminCreateUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(person), MessageAction: "SUPPRESS"})
	require.NoError(t, err)
	_, err = e.Admin.AdminSetUserPassword(t.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &e.Seed.UserPoolID, Username: aws.String(person), Password: aws.String(password), Permanent: true,
	})
	require.NoError(t, err)

	t.Run("tokens/ does not sign in other users of the pool", func(t *testing.T) {
		before := len(e.Calls().Of("AdminInitiateAuth"))
		status, known := e.writeAs(reader, "tokens/ci", map[string]any{"username": person, "password": password})
		require.Equal(t, http.StatusBadRequest, status)
		status, unknown := e.writeAs(reader, "tokens/ci", map[string]any{"username": "nobody", "password": password})
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, known, unknown, "the answers must not tell users apart")
		require.Len(t, e.Calls().Of("AdminInitiateAuth"), before)
	})
	t.Run("passwords cannot be tried without end", func(t *testing.T) {
		status := 0
		for range 6 {
			status, _ = e.writeAs(reader, "tokens/ci", map[string]any{"username": "guess", "password": "hush-Guess-1"})
		}
		require.Equal(t, http.StatusTooManyRequests, status)
	})
	t.Run("min_ttl does not buy a token per read", func(t *testing.T) {
		for range 5 {
			status, _ := e.writeAs(reader, "creds/machine", map[string]any{"min_ttl": "59m"})
			require.Zero(t, status)
		}
		require.Len(t, e.Calls().Of(control.OperationToken), 1)
	})
	t.Run("other paths are denied", func(t *testing.T) {
		for _, path := range []string{"roles/ci", "config", "static-creds/ci", "check/ci"} {
			status, _ := e.readAs(reader, path)
			require.Equal(t, http.StatusForbidden, status, path)
		}
	})
}

func TestAuthorityOfAConfigWriter(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	writer := e.attacker("config", `"create", "update", "patch", "read"`)
	config, err := writer.Logical().ReadWithContext(t.Context(), e.mount+"/config")
	require.NoError(t, err)
	require.NotContains(t, config.Data, "aws_secret_access_key")
	status, text := e.writeAs(writer, "config", map[string]any{"aws_access_key_id": "AKIAOTHER"})
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "aws_secret_access_key is required")
	status, _ = e.writeAs(writer, "config", map[string]any{"aws_secret_access_key": "hush\nvault write cognito/roles/x"})
	require.Equal(t, http.StatusBadRequest, status)
	for _, path := range []string{"roles/ci", "creds/ci", "static-creds/ci"} {
		status, _ := e.readAs(writer, path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
}

// TestAuthorityOfACaller reads as a token whose display name was chosen by its holder.
func TestAuthorityOfACaller(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.write("roles/ci", map[string]any{"username_template": "{{.DisplayName}}-{{random 20}}", "dummy_email_domain": "example.com"})
	policy := e.mount + "-caller"
	require.NoError(t, e.client.Sys().PutPolicyWithContext(t.Context(), policy, fmt.Sprintf("path %q { capabilities = [\"read\"] }", e.mount+"/creds/ci")))
	token, err := e.client.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{
		Policies: []string{policy}, DisplayName: "eve@victim.example", TTL: "10m",
	})
	require.NoError(t, err)
	client := e.vault.Client()
	client.SetToken(token.Auth.ClientToken)
	user, err := client.Logical().ReadWithContext(t.Context(), e.mount+"/creds/ci")
	require.NoError(t, err)
	require.Regexp(t, `^[a-zA-Z0-9_-]+@example\.com$`, user.Data["email"])
	e.revoke(user.LeaseID)
}
