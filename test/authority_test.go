// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// These tests are the rows of the table in SECURITY.md: each attacker has a token with a policy of
// exactly its rights.

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

// makePerson creates a user that the engine did not issue.
func (e *env) makePerson(username, password string) {
	e.Helper()
	_, err := e.Admin.AdminCreateUser(e.Context(), &cip.AdminCreateUserInput{UserPoolId: &e.Seed.UserPoolID, Username: &username, MessageAction: "SUPPRESS"})
	require.NoError(e, err)
	_, err = e.Admin.AdminSetUserPassword(e.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	require.NoError(e, err)
}

// userNamed returns a user of the emulator.
func (e *env) userNamed(username string) control.User {
	e.Helper()
	users := e.Users()
	i := slices.IndexFunc(users, func(u control.User) bool { return u.Username == username })
	require.GreaterOrEqual(e, i, 0, "there is no user %s", username)
	return users[i]
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
	e.makePerson(person, password)

	t.Run("tokens/ does not sign in other users of the pool", func(t *testing.T) {
		before := len(e.Calls().Of("AdminInitiateAuth"))
		status, known := e.writeAs(reader, "tokens/ci", map[string]any{"username": person, "password": password})
		require.Equal(t, http.StatusBadRequest, status)
		status, unknown := e.writeAs(reader, "tokens/ci", map[string]any{"username": "nobody", "password": password})
		require.Equal(t, http.StatusBadRequest, status)
		require.Equal(t, known, unknown, "the answers must not tell users apart")
		require.Len(t, e.Calls().Of("AdminInitiateAuth"), before)
	})
	t.Run("tokens/ signs in a user that the role issued, until it is revoked", func(t *testing.T) {
		user := e.read("creds/ci")
		login := map[string]any{"username": user.Data["username"], "password": user.Data["password"]}
		status, text := e.writeAs(reader, "tokens/ci", login)
		require.Zero(t, status, text)
		e.revoke(user.LeaseID)
		before := len(e.Calls().Of("AdminInitiateAuth"))
		status, _ = e.writeAs(reader, "tokens/ci", login)
		require.Equal(t, http.StatusBadRequest, status)
		require.Len(t, e.Calls().Of("AdminInitiateAuth"), before)
	})
	t.Run("passwords cannot be tried without end", func(t *testing.T) {
		status := 0
		for range 6 {
			status, _ = e.writeAs(reader, "tokens/ci", map[string]any{"username": "guess", "password": "hush-Guess-1"})
		}
		require.Equal(t, http.StatusTooManyRequests, status)
	})
	t.Run("nor with one name after the other", func(t *testing.T) {
		status := 0
		for n := range 31 {
			status, _ = e.writeAs(reader, "tokens/ci", map[string]any{"username": fmt.Sprintf("guess-%d", n), "password": "hush-Guess-1"})
		}
		require.Equal(t, http.StatusTooManyRequests, status)
	})
	t.Run("min_ttl does not buy a token per read", func(t *testing.T) {
		for range 5 {
			status, _ := e.writeAs(reader, "creds/machine", map[string]any{"min_ttl": "1h"})
			require.Zero(t, status)
		}
		require.Len(t, e.Calls().Of(control.OperationToken), 1)
	})
	t.Run("neither fresh nor scopes buy a token per read or evict that of another role", func(t *testing.T) {
		e.writeMachineRole("other", map[string]any{"scopes": "api/write"})
		other := e.read("creds/other").Data["access_token"]
		before := len(e.Calls().Of(control.OperationToken))
		for range 3 {
			for _, request := range []map[string]any{{"fresh": true}, {"scopes": "api/read"}} {
				status, _ := e.writeAs(reader, "creds/machine", request)
				require.Zero(t, status)
			}
		}
		require.Len(t, e.Calls().Of(control.OperationToken), before)
		require.Equal(t, other, e.read("creds/other").Data["access_token"])
	})
	t.Run("a read asks for no more than the role gives", func(t *testing.T) {
		for path, request := range map[string]map[string]any{"creds/ci": {"ttl": "2h"}, "creds/machine": {"scopes": "api/write"}} {
			status, text := e.writeAs(reader, path, request)
			require.Equal(t, http.StatusBadRequest, status, text)
		}
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

// TestAuthorityOfAnEndpoint lets a config writer send the requests of AWS to a server of its own.
func TestAuthorityOfAnEndpoint(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	writer := e.attacker("config", `"create", "update", "patch", "read"`)
	var mu sync.Mutex
	var seen strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_ = r.Write(&seen)
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(server.Close)
	status, text := e.writeAs(writer, "config", map[string]any{"cognito_endpoint": server.URL, "sts_endpoint": server.URL})
	require.Zero(t, status, text)
	_, err := e.tryRead("creds/ci")
	require.Error(t, err)
	mu.Lock()
	defer mu.Unlock()
	require.Contains(t, seen.String(), "AWS4-HMAC-SHA256", "the requests are signed")
	require.NotContains(t, seen.String(), secretKey, "but they do not hold the key")
}

// TestAuthorityOfAStaticReader reads and signs in the user of a static role.
func TestAuthorityOfAStaticReader(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.makePerson("ann", "hush-Right-1")
	e.makePerson("eve", "hush-Right-1")
	e.write("static-roles/ann", map[string]any{
		"user_pool_id": e.Seed.UserPoolID, "username": "ann", "rotation_period": "1h",
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	})
	reader := e.attacker("static-creds/ann", `"read"`, "tokens/ann", `"update"`)
	creds, err := reader.Logical().ReadWithContext(t.Context(), e.mount+"/static-creds/ann")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(creds.Data), e.Seed.AppClientSecret)

	before := len(e.Calls().Of("AdminInitiateAuth"))
	wrong := map[string]string{}
	for _, username := range []string{"ann", "eve", "nobody"} {
		status, text := e.writeAs(reader, "tokens/ann", map[string]any{"username": username, "password": "hush-Right-1"})
		require.Equal(t, http.StatusBadRequest, status)
		wrong[text] = username
	}
	_, text := e.writeAs(reader, "tokens/ann", map[string]any{"username": "eve", "password": creds.Data["password"]})
	wrong[text] = "eve with the password of ann"
	require.Len(t, wrong, 1, "the answers must not tell users apart")
	require.Len(t, e.Calls().Of("AdminInitiateAuth"), before, "no password is tried at Cognito")
	status, text := e.writeAs(reader, "tokens/ann", map[string]any{"username": "ann", "password": creds.Data["password"]})
	require.Zero(t, status, text)
	for _, path := range []string{"static-roles/ann", "creds/ci", "issued/ci", "config"} {
		status, _ := e.readAs(reader, path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
	status, _ = e.writeAs(reader, "rotate-role/ann", nil)
	require.Equal(t, http.StatusForbidden, status)
}

// TestAuthorityOfADomain answers a role writer's machine role as a hostile server and as a hostile
// network do.
func TestAuthorityOfADomain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	writer := e.attacker("roles/*", `"create", "update"`, "creds/*", `"read"`)
	evil, requests := evilDomain(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		hidden string
	}{
		"a redirect is not followed": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, evil+"/oauth2/token", http.StatusTemporaryRedirect)
		}, evil},
		"an answer without an end is cut": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"`))
			for range 64 {
				_, _ = w.Write([]byte(strings.Repeat("A", 1<<20)))
			}
		}, "AAAA"},
		"the answer of another service is not shown": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("internal: the answer of another service"))
		}, "another service"},
		"an answer that is no token is not shown": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"access_token":"internal\nanother service","token_type":"Bearer","expires_in":"x"}`))
		}, "another service"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.answer)
			t.Cleanup(server.Close)
			status, text := e.writeAs(writer, "roles/probe", map[string]any{
				"app_client_id": "client", "app_client_secret": "hush-own-secret", "cognito_pool_domain": server.URL,
			})
			require.Zero(t, status, text)
			status, text = e.readAs(writer, "creds/probe")
			require.GreaterOrEqual(t, status, 400)
			require.NotContains(t, text, c.hidden)
			require.NotContains(t, text, "hush-own-secret")
		})
	}
	require.Zero(t, requests.Load())
	e.read("creds/machine")
}

// TestAuthorityOverOwnedUsers requires that a role writer cannot take over the user of a static
// role.
func TestAuthorityOverOwnedUsers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.makePerson("ann", "hush-Right-1")
	role := map[string]any{"user_pool_id": e.Seed.UserPoolID, "username": "ann", "rotation_period": "1h"}
	e.write("static-roles/ann", role)
	password := e.read("static-creds/ann").Data["password"]
	writer := e.attacker("static-roles/*", `"create", "update", "patch", "read"`)
	status, text := e.writeAs(writer, "static-roles/mine", role)
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "owns the same")
	role["username"] = e.userNamed("ann").Sub
	status, _ = e.writeAs(writer, "static-roles/mine", role)
	require.Equal(t, http.StatusBadRequest, status, "nor by its sub")
	read, err := writer.Logical().ReadWithContext(t.Context(), e.mount+"/static-roles/ann")
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(read.Data), password)
	require.Equal(t, password, e.read("static-creds/ann").Data["password"])
}

// TestAuthorityOfANeighbourMount may do everything on one mount and nothing on another, which
// reaches the same pool.
func TestAuthorityOfANeighbourMount(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	neighbour := newEnvOn(t, e.vault)
	neighbour.Cognito = e.Cognito
	neighbour.configure(nil)
	neighbour.writeRole("ci", nil)
	neighbour.writeMachineRole("machine", nil)
	user, token := e.read("creds/ci"), e.read("creds/machine").Data["access_token"]
	attacker := neighbour.attacker("*", `"create", "read", "update", "patch", "delete", "list"`)

	for _, path := range []string{"creds/ci", "roles/ci", "config", "issued/ci", "metrics"} {
		status, _ := e.readAs(attacker, path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
	status, _ := neighbour.writeAs(attacker, "tokens/ci", map[string]any{"username": user.Data["username"], "password": user.Data["password"]})
	require.Equal(t, http.StatusBadRequest, status, "the records of the other mount do not count")
	records, err := attacker.Logical().ListWithContext(t.Context(), neighbour.mount+"/issued")
	require.NoError(t, err)
	require.Nil(t, records)
	mine, err := attacker.Logical().ReadWithContext(t.Context(), neighbour.mount+"/creds/machine")
	require.NoError(t, err)
	require.NotEqual(t, token, mine.Data["access_token"], "the cache is not shared")
	require.NoError(t, e.client.Sys().UnmountWithContext(t.Context(), neighbour.mount))
	require.True(t, containsUser(e.Users(), user.Data["username"].(string)))
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

// TestAuthorityOfATemplate writes templates that would take all memory or time.
func TestAuthorityOfATemplate(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	writer := e.attacker("roles/*", `"create", "update", "read"`)
	for name, template := range map[string]string{
		"doubles":         `{{$x := "aaaaaaaaaa"}}` + strings.Repeat("{{$x = print $x $x}}", 40) + "{{random 20}}",
		"much randomness": "{{random 999999999}}",
		"a wide printf":   `{{printf "%999999999d" 1}}{{random 20}}`,
		"a long loop":     "{{range 999999999}}{{end}}{{random 20}}",
		"itself":          `{{define "t"}}{{template "t"}}{{end}}{{template "t"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			status, text := e.writeAs(writer, "roles/bomb", map[string]any{
				"credential_type": "user", "user_pool_id": e.Seed.UserPoolID, "issue_tokens": false, "username_template": template,
			})
			require.Equal(t, http.StatusBadRequest, status)
			require.Contains(t, text, "username_template")
		})
	}
	require.Nil(t, e.read("roles/bomb"))
	e.revoke(e.read("creds/ci").LeaseID)
}

// TestAuthorityOfACognitoUser has a user of the pool whose name and attributes are meant to do harm
// where Vault reads or shows them.
func TestAuthorityOfACognitoUser(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	name := `"eve"<b>{{.MountPoint}}%s` + strings.Repeat("e\u0301", 40)
	e.makePerson(name, "hush-Right-1")
	_, err := e.Admin.AdminUpdateUserAttributes(t.Context(), &cip.AdminUpdateUserAttributesInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &name,
		UserAttributes: []types.AttributeType{
			{Name: aws.String("name"), Value: aws.String("{{.MountPoint}}\r\nX-Vault-Token: x\x00" + strings.Repeat("e", 1900))},
			{Name: aws.String("email"), Value: aws.String("vault-ci-abcdefghijklmnopqrstuvwxyz@victim.example")},
		},
	})
	require.NoError(t, err)
	e.write("static-roles/eve", map[string]any{
		"user_pool_id": e.Seed.UserPoolID, "username": name, "rotation_period": "1h", "issue_tokens": true,
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	})
	reader := e.attacker("static-creds/eve", `"read"`, "rotate-role/eve", `"update"`)
	creds, err := reader.Logical().ReadWithContext(t.Context(), e.mount+"/static-creds/eve")
	require.NoError(t, err)
	require.Equal(t, name, creds.Data["username"])
	require.NotEmpty(t, creds.Data["access_token"])
	require.Empty(t, e.write("tidy", map[string]any{"role": "ci", "safety_buffer": "1s"}).Data["users"])
	e.read("check/ci")

	_, err = e.Admin.AdminDeleteUser(t.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: &name})
	require.NoError(t, err)
	status, text := e.writeAs(reader, "rotate-role/eve", nil)
	require.GreaterOrEqual(t, status, 400)
	require.Contains(t, text, "{{.MountPoint}}", "the name is shown as it is, and not as a template")
	require.Contains(t, text, `\"eve\"`, "and quoted")
	require.NotContains(t, text, creds.Data["password"])
	e.revoke(e.read("creds/ci").LeaseID)
}

// TestAuthorityOfTheNetwork puts a server with a certificate of its own in the way to AWS and to a
// pool's domain.
func TestAuthorityOfTheNetwork(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	var requests atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		_, _ = w.Write([]byte(`{"access_token":"forged","token_type":"Bearer","expires_in":3600}`))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the handshakes fail
	server.StartTLS()
	t.Cleanup(server.Close)
	e.writeMachineRole("far", map[string]any{"cognito_pool_domain": server.URL})
	reader := e.attacker("creds/*", `"read"`)
	status, _ := e.readAs(reader, "creds/far")
	require.Equal(t, http.StatusBadGateway, status)

	e.configure(map[string]any{"cognito_endpoint": server.URL, "sts_endpoint": server.URL})
	status, _ = e.readAs(reader, "creds/ci")
	require.Equal(t, http.StatusBadGateway, status)
	require.Zero(t, requests.Load(), "no request, and so no secret, is sent to a server that cannot prove who it is")
}

// TestAuthorityOfAnAnswer answers the requests of AWS without an end.
func TestAuthorityOfAnAnswer(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const answerMax = 64 << 20
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = w.Write([]byte(`{"User":{"Username":"`))
		for part := []byte(strings.Repeat("A", 1<<20)); sent.Load() < answerMax; {
			n, err := w.Write(part)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	e.configure(map[string]any{"cognito_endpoint": server.URL, "sts_endpoint": server.URL})
	reader := e.attacker("creds/ci", `"read"`)
	status, text := e.readAs(reader, "creds/ci")
	require.GreaterOrEqual(t, status, 400)
	require.NotContains(t, text, "AAAA")
	require.Less(t, sent.Load(), int64(answerMax), "the rest is not read")
}

// TestAuthorityOfAnAssumedRole names an IAM role of its own: its trust policy, which the attacker
// writes, must not learn the external ID by which other accounts recognize this engine.
func TestAuthorityOfAnAssumedRole(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const own, other = "arn:aws:iam::123456789012:role/engine", "arn:aws:iam::999999999999:role/attacker"
	e.configure(map[string]any{"aws_assume_role_arn": own, "aws_external_id": "id-of-the-engine"})
	e.revoke(e.read("creds/ci").LeaseID)
	writer := e.attacker("roles/*", `"create", "update"`, "creds/*", `"read"`)
	status, text := e.writeAs(writer, "roles/confused", map[string]any{
		"credential_type": "user", "user_pool_id": e.Seed.UserPoolID, "issue_tokens": false, "aws_assume_role_arn": other,
	})
	require.Zero(t, status, text)
	user, err := writer.Logical().ReadWithContext(t.Context(), e.mount+"/creds/confused")
	require.NoError(t, err)
	e.revoke(user.LeaseID)

	sent := map[string]string{}
	for _, call := range e.Calls().Of("AssumeRole") {
		sent[call.RoleARN] = call.ExternalID
	}
	require.Equal(t, map[string]string{own: "id-of-the-engine", other: ""}, sent)
}
