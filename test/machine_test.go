// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

func TestMachineToken(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.configure(map[string]any{"request_timeout": "30s"}) // a thousand clients share the machine

	t.Run("a read returns a token with its scope and expiration, and no lease", func(t *testing.T) {
		secret := e.read("creds/machine")
		require.Empty(t, secret.LeaseID)
		require.Equal(t, "Bearer", secret.Data["token_type"])
		require.Equal(t, "api/read", secret.Data["scope"])
		claims := claimsOf(t, secret.Data["access_token"])
		require.Equal(t, e.Seed.M2MClientID, claims["sub"])

		end, err := time.Parse(time.RFC3339, secret.Data["expiration"].(string))
		require.NoError(t, err)
		require.Equal(t, claims["exp"], float64(end.Unix()))
		left, err := secret.Data["expires_in"].(json.Number).Int64()
		require.NoError(t, err)
		require.InDelta(t, 3600, left, 60)
	})

	t.Run("a role without scopes returns a token with all scopes of the client", func(t *testing.T) {
		e.writeMachineRole("all", map[string]any{"scopes": ""})
		require.Equal(t, "api/read api/write", e.read("creds/all").Data["scope"])
	})

	t.Run("the answer says when to read again", func(t *testing.T) {
		data := e.read("creds/machine").Data
		ttl, err := data["ttl"].(json.Number).Int64()
		require.NoError(t, err)
		require.InDelta(t, 2700, ttl, 200)
		period, err := data["rotation_period"].(json.Number).Int64()
		require.NoError(t, err)
		require.InDelta(t, 2700, period, 200)
	})

	t.Run("a thousand concurrent reads request one token", func(t *testing.T) {
		e.writeMachineRole("busy", map[string]any{"scopes": "api/write"})
		require.NoError(t, e.Control.ResetCalls(t.Context()))
		require.NoError(t, e.Control.SetLatency(t.Context(), control.Latency{DefaultMS: 200}))
		tokens := make(chan any, 1000)
		var group sync.WaitGroup
		for range cap(tokens) {
			group.Go(func() {
				secret, err := e.tryRead("creds/busy")
				if err != nil {
					tokens <- err
					return
				}
				tokens <- secret.Data["access_token"]
			})
		}
		group.Wait()
		close(tokens)
		first := <-tokens
		require.IsType(t, "", first, "%v", first)
		for token := range tokens {
			require.Equal(t, first, token)
		}
		require.Len(t, e.Calls().Of(control.OperationToken), 1)
		require.NoError(t, e.Control.SetLatency(t.Context(), control.Latency{}))
	})

	t.Run("a read can request some scopes of the role and no others", func(t *testing.T) {
		e.writeMachineRole("both", map[string]any{"scopes": "api/read,api/write"})
		out, err := e.vault.CLI(t.Context(), "read", "-field=scope", e.mount+"/creds/both", "scopes=api/write")
		require.NoError(t, err)
		require.Equal(t, "api/write", strings.TrimSpace(out))
		_, err = e.client.Logical().ReadWithDataWithContext(t.Context(), e.mount+"/creds/both", url.Values{"scopes": {"api/delete"}})
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "api/read, api/write")
	})

	t.Run("a role without secret looks it up in the pool once", func(t *testing.T) {
		e.writeMachineRole("looked-up", map[string]any{"app_client_secret": "", "user_pool_id": e.Seed.UserPoolID, "cache_tokens": false})
		e.read("creds/looked-up")
		e.read("creds/looked-up")
		require.Len(t, e.Calls().Of("DescribeUserPoolClient"), 1)
		require.NotContains(t, fmt.Sprint(e.read("roles/looked-up").Data), e.Seed.M2MClientSecret)
	})

	t.Run("a cached token is returned while the endpoint is down", func(t *testing.T) {
		first := e.read("creds/machine").Data["access_token"]
		e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBefore})
		defer e.Heal()
		require.Equal(t, first, e.read("creds/machine").Data["access_token"])
	})

	t.Run("a requested ttl is rejected", func(t *testing.T) {
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/creds/machine", map[string]any{"ttl": "1m"})
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "ttl is not allowed")
	})
}

func TestTokensOfAUser(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	user := e.read("creds/ci")

	t.Run("a refresh token returns new tokens without a lease", func(t *testing.T) {
		tokens := e.write("tokens/ci", map[string]any{"refresh_token": user.Data["refresh_token"]})
		require.Empty(t, tokens.LeaseID)
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, tokens.Data["access_token"])["cognito:groups"])
		require.Equal(t, json.Number("3600"), tokens.Data["expires_in"])
	})

	t.Run("username and password return tokens", func(t *testing.T) {
		tokens := e.write("tokens/ci", map[string]any{"username": user.Data["username"], "password": user.Data["password"]})
		require.NotEmpty(t, tokens.Data["refresh_token"])
	})

	t.Run("after the revocation neither the refresh token nor the password works", func(t *testing.T) {
		e.revoke(user.LeaseID)
		for _, data := range []map[string]any{
			{"refresh_token": user.Data["refresh_token"]},
			{"username": user.Data["username"], "password": user.Data["password"]},
		} {
			_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/tokens/ci", data)
			status, text := e.refusal(err)
			require.Equal(t, 400, status, text)
			require.NotContains(t, text, user.Data["password"])
			require.NotContains(t, text, user.Data["refresh_token"])
		}
	})
}

func TestNewPluginProcesses(t *testing.T) {
	t.Parallel()
	e := newIsolatedEnv(t)
	config, role := e.read("config").Data, e.read("roles/ci").Data
	same := func(t *testing.T) {
		t.Helper()
		require.Equal(t, config, e.read("config").Data)
		require.Equal(t, role, e.read("roles/ci").Data)
		secret := e.read("creds/ci")
		e.revoke(secret.LeaseID)
		require.Empty(t, e.Users())
	}
	lease := e.read("creds/ci").LeaseID

	t.Run("a reload of the plugin keeps config, roles and leases", func(t *testing.T) {
		_, err := e.vault.CLI(t.Context(), "plugin", "reload", "-plugin", pluginName)
		require.NoError(t, err)
		_, err = e.client.Sys().RenewWithContext(t.Context(), lease, 0)
		require.NoError(t, err)
		e.revoke(lease)
		same(t)
	})

	t.Run("the end of the plugin's process keeps config, roles and leases", func(t *testing.T) {
		lease := e.read("creds/ci").LeaseID
		e.killPlugin()
		require.Eventually(t, func() bool { return strings.Contains(e.vault.LogText(), processDied) }, 10*time.Second, 5*time.Millisecond,
			"requireHealthy relies on this message")
		e.revoke(lease)
		same(t)
	})
}

func TestConfigChangesTakeEffectAtOnce(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.read("creds/ci")
	require.Equal(t, "AKIAPLUGIN", e.Calls().Of("AdminCreateUser")[0].AccessKey)
	e.configure(map[string]any{"aws_access_key_id": "AKIAOTHER"})
	e.read("creds/ci")
	require.Equal(t, "AKIAOTHER", e.Calls().Of("AdminCreateUser")[1].AccessKey)
}

func TestDefaultChain(t *testing.T) {
	t.Parallel()
	vault := startDev(t, sandbox.VaultOptions{
		PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace",
		Env: []string{"AWS_ACCESS_KEY_ID=AKIAFROMENV", "AWS_SECRET_ACCESS_KEY=hush"},
	})
	e := newEnvOn(t, vault)
	e.configure(map[string]any{"aws_access_key_id": "", "aws_secret_access_key": ""})
	e.read("creds/ci")
	require.Equal(t, "AKIAFROMENV", e.Calls().Of("AdminCreateUser")[0].AccessKey)
}

func TestAssumedRole(t *testing.T) {
	t.Parallel()
	e := newIsolatedEnv(t) // a reload ends the process that all mounts share
	e.configure(map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault"})
	secret := e.read("creds/ci")
	call := e.Calls().Of("AssumeRole")[0]
	require.Equal(t, "arn:aws:iam::123456789012:role/vault", call.RoleARN)
	require.Equal(t, "vault-"+e.mount, call.RoleSessionName)

	t.Run("a revocation assumes the IAM role of the deleted role", func(t *testing.T) {
		e.writeRole("other", map[string]any{"aws_assume_role_arn": "arn:aws:iam::210987654321:role/other", "aws_external_id": "abc"})
		other := e.read("creds/other")
		e.delete("roles/other")
		_, err := e.client.Sys().ReloadPluginWithContext(t.Context(), &api.ReloadPluginInput{Mounts: []string{e.mount}})
		require.NoError(t, err)
		before := len(e.Calls().Of("AssumeRole"))
		e.revoke(other.LeaseID)
		assumed := e.Calls().Of("AssumeRole")
		require.Len(t, assumed, before+1)
		require.Equal(t, "arn:aws:iam::210987654321:role/other", assumed[before].RoleARN)
		require.Equal(t, "abc", assumed[before].ExternalID)
	})
	e.revoke(secret.LeaseID)
	require.Empty(t, e.Users())
}

func TestServerShowsTheVersion(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	out, err := e.vault.CLI(t.Context(), "plugin", "list", "-detailed", "secret")
	require.NoError(t, err)
	require.Regexp(t, pluginName+`\s+secret\s+v\d+\.\d+\.\d+`, out)
	out, err = e.vault.CLI(t.Context(), "secrets", "list", "-detailed")
	require.NoError(t, err)
	require.Regexp(t, e.mount+`/.*v\d+\.\d+\.\d+`, out)
}

func TestMountsShareOnlyTheProcess(t *testing.T) {
	t.Parallel()
	one := newIsolatedEnv(t)
	two := newEnvOn(t, one.vault)
	pids, err := one.vault.PluginPIDs(pluginName)
	require.NoError(t, err)
	require.Len(t, pids, 1)

	one.writeRole("only-one", nil)
	require.Nil(t, two.read("roles/only-one"))
	one.read("creds/ci")
	require.Len(t, one.Users(), 1)
	require.Empty(t, two.Users())
}

func TestPatch(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	_, err := e.client.Logical().JSONMergePatch(t.Context(), e.mount+"/roles/ci", map[string]any{"ttl": "9m", "max_ttl": nil})
	require.NoError(t, err)
	role := e.read("roles/ci").Data
	require.Equal(t, json.Number("540"), role["ttl"])
	require.Equal(t, json.Number("0"), role["max_ttl"])
	require.Equal(t, true, role["app_client_secret_set"])
	_, err = e.client.Logical().JSONMergePatch(t.Context(), e.mount+"/roles/nobody", map[string]any{"ttl": "9m"})
	status, _ := e.refusal(err)
	require.Equal(t, 404, status)
}

func TestEveryPathHasHelp(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for _, path := range []string{"", "config", "roles", "roles/ci", "creds/ci"} {
		out, err := e.vault.CLI(t.Context(), "path-help", e.mount+"/"+path)
		require.NoError(t, err)
		require.NotEmpty(t, strings.TrimSpace(out), path)
	}
}

// TestSecretsStaySecret uses all features and then searches the trace log and all read answers for
// secrets.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	e := newIsolatedEnv(t)
	secrets := []string{secretKey, e.Seed.AppClientSecret, e.Seed.M2MClientSecret}
	collect := func(secret *api.Secret) {
		for _, name := range []string{"password", "access_token", "id_token", "refresh_token"} {
			if value, ok := secret.Data[name].(string); ok {
				secrets = append(secrets, value)
			}
		}
	}
	user := e.read("creds/ci")
	collect(user)
	collect(e.read("creds/machine"))
	collect(e.write("tokens/ci", map[string]any{"refresh_token": user.Data["refresh_token"]}))
	_, err := e.client.Sys().RenewWithContext(t.Context(), user.LeaseID, 0)
	require.NoError(t, err)
	e.makePerson("ann", "hush-Person-1")
	e.write("static-roles/ann", map[string]any{
		"user_pool_id": e.Seed.UserPoolID, "username": "ann", "rotation_period": "1h", "issue_tokens": true,
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	})
	collect(e.read("static-creds/ann"))
	shown := ""
	for path, login := range map[string]map[string]any{
		"tokens/ci":  {"username": user.Data["username"], "password": "hush-Guess-1"},
		"tokens/ann": {"username": "ann", "password": "hush-Guess-2"},
	} {
		status, text := e.writeAs(e.client, path, login)
		require.Equal(t, 400, status)
		secrets = append(secrets, login["password"].(string))
		shown += text
	}
	status, text := e.writeAs(e.client, "tokens/ann", map[string]any{"refresh_token": user.Data["refresh_token"]})
	require.Equal(t, 400, status)
	shown += text
	records, err := e.client.Logical().ListWithContext(t.Context(), e.mount+"/issued/ci")
	require.NoError(t, err)
	record := "issued/ci/" + records.Data["keys"].([]any)[0].(string)
	for _, answer := range []*api.Secret{records, e.read(record), e.write("tidy", map[string]any{"role": "ci"})} {
		text, err := json.Marshal(answer.Data)
		require.NoError(t, err)
		shown += string(text)
	}
	e.revoke(user.LeaseID)

	_, exposition := e.scrape(e.vault.Token, e.mount+"/metrics", "prometheus")
	shown += exposition + e.vault.LogText()
	for _, path := range []string{"config", "roles/ci", "roles/machine", "static-roles/ann", "metrics", "check/ci"} {
		text, err := json.Marshal(e.read(path).Data)
		require.NoError(t, err)
		shown += string(text)
	}
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		require.NotContains(t, shown, secret)
		require.NotContains(t, shown, url.QueryEscape(secret))
		require.NotContains(t, shown, base64.StdEncoding.EncodeToString([]byte(secret)))
	}
}
