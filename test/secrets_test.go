// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/leakscan"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// auditEntry is the part of a line of an audit log that may hold secrets.
type auditEntry struct {
	Type    string `json:"type"`
	Error   string `json:"error"`
	Request struct {
		Path string         `json:"path"`
		Data map[string]any `json:"data"`
	} `json:"request"`
	Response struct {
		Data   map[string]any `json:"data"`
		Secret map[string]any `json:"secret"`
	} `json:"response"`
}

// audited returns the audit entries of a type for a path of the mount.
func (e *env) audited(kind, path string) []auditEntry {
	e.Helper()
	devices, err := e.client.Sys().ListAuditWithContext(e.Context())
	require.NoError(e, err)
	file, err := os.Open(devices[leakscan.AuditPath+"/"].Options["file_path"])
	require.NoError(e, err)
	defer file.Close()
	var entries []auditEntry
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var entry auditEntry
		require.NoError(e, json.Unmarshal(lines.Bytes(), &entry))
		if entry.Type == kind && entry.Request.Path == e.mount+"/"+path {
			entries = append(entries, entry)
		}
	}
	require.NoError(e, lines.Err())
	require.NotEmpty(e, entries, "the audit log has no %s of %s", kind, path)
	return entries
}

// requireHashed checks that the audit log shows the HMAC of a value.
func (e *env) requireHashed(shown, value any) {
	e.Helper()
	require.NotEmpty(e, value)
	hash, err := e.client.Sys().AuditHashWithContext(e.Context(), leakscan.AuditPath, value.(string))
	require.NoError(e, err)
	require.True(e, strings.HasPrefix(hash, "hmac-sha256:"))
	require.Equal(e, hash, shown)
}

func TestAuditShowsSecretsAsHashesOnly(t *testing.T) {
	t.Parallel()
	e := newEnv(t)

	user := e.read("creds/ci").Data
	entry := e.audited("response", "creds/ci")[0]
	for _, field := range []string{"password", "access_token", "id_token", "refresh_token"} {
		e.requireHashed(entry.Response.Data[field], user[field])
	}
	require.Len(t, entry.Response.Data, len(user), "the audited fields are those of the answer")
	require.NotContains(t, entry.Response.Secret, "internal_data")

	machine := e.read("creds/machine").Data
	e.requireHashed(e.audited("response", "creds/machine")[0].Response.Data["access_token"], machine["access_token"])

	e.addUser("ann")
	e.ownPassword("ann", "ann")
	owned := e.read("static-creds/ann").Data
	e.requireHashed(e.audited("response", "static-creds/ann")[0].Response.Data["password"], owned["password"])

	tokens := e.write("tokens/ci", map[string]any{"refresh_token": user["refresh_token"]}).Data
	e.requireHashed(e.audited("request", "tokens/ci")[0].Request.Data["refresh_token"], user["refresh_token"])
	e.requireHashed(e.audited("response", "tokens/ci")[0].Response.Data["access_token"], tokens["access_token"])

	e.requireHashed(e.audited("request", "config")[0].Request.Data["aws_secret_access_key"], secretKey)
	e.requireHashed(e.audited("request", "roles/ci")[0].Request.Data["app_client_secret"], e.Seed.AppClientSecret)
	e.requireHashed(e.audited("request", "roles/machine")[0].Request.Data["app_client_secret"], e.Seed.M2MClientSecret)
}

// TestSecretsOfTheWrongTypeAreNotRepeated sends secrets inside values that the SDK cannot convert
// to a string. The SDK's own error would repeat them.
func TestSecretsOfTheWrongTypeAreNotRepeated(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	const secret = "hush-of-the-wrong-type"
	for field, path := range map[string]string{
		"aws_secret_access_key": "config", "aws_session_token": "config", "app_client_secret": "roles/ci",
		"password": "tokens/ci", "refresh_token": "tokens/ci",
	} {
		for name, value := range map[string]any{
			"a map": map[string]any{"k": secret}, "a list": []any{secret, secret}, "a map of lists": map[string]any{"k": []any{map[string]any{"k": secret}}},
		} {
			t.Run("the error for "+field+" as "+name+" does not repeat it", func(t *testing.T) {
				_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/"+path, map[string]any{field: value})
				require.Error(t, err)
				status, text := e.refusal(err)
				require.Equal(t, 400, status)
				require.NotContains(t, text, secret)
				require.Contains(t, text, field)
			})
		}
	}
}

// TestLeakscanKnowsEverySecret shows that the scan searches for the secrets that exist. Otherwise
// it would find nothing because it searches for nothing.
func TestLeakscanKnowsEverySecret(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	user := e.read("creds/ci").Data
	machine := e.read("creds/machine").Data
	_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/tokens/ci", map[string]any{"username": "nobody", "password": "hush-wrong-password"})
	require.Error(t, err)
	learnSecrets(t, e.Control)

	for name, value := range map[string]any{
		"the password":                       user["password"],
		"the access token":                   user["access_token"],
		"the ID token":                       user["id_token"],
		"the refresh token":                  user["refresh_token"],
		"the machine token":                  machine["access_token"],
		"the secret of the user app client":  e.Seed.AppClientSecret,
		"the secret of the machine client":   e.Seed.M2MClientSecret,
		"the AWS secret key":                 secretKey,
		"a password that a client tried out": "hush-wrong-password",
	} {
		require.True(t, leaks.Knows(value.(string)), "%s is not known", name)
	}
	fields := map[string]bool{}
	secrets, err := e.Control.Secrets(t.Context())
	require.NoError(t, err)
	for _, secret := range secrets {
		fields[secret.Field] = true
	}
	for _, field := range []string{"TemporaryPassword", "Password", "SECRET_HASH"} {
		require.True(t, fields[field], "the emulator reports no %s", field)
	}
}

// TestLeakscanRecordsAnswers shows that the scan searches errors and answers that must not hold a
// secret, and not the answers whose purpose is to return one.
func TestLeakscanRecordsAnswers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	password := e.read("creds/ci").Data["password"].(string)
	e.read("roles/ci")
	_, err := e.tryRead("creds/nobody")
	require.Error(t, err)
	_, err = e.client.Logical().ListWithContext(t.Context(), e.mount+"/roles")
	require.NoError(t, err)

	answers, err := leaks.Answers()
	require.NoError(t, err)
	require.Contains(t, answers, "GET /v1/"+e.mount+"/roles/ci 200\n{")
	require.Contains(t, answers, "GET /v1/"+e.mount+"/creds/nobody 400\n{")
	require.Regexp(t, `(GET|LIST) /v1/`+e.mount+`/roles 200\n\{`, answers)
	require.NotContains(t, answers, "/v1/"+e.mount+"/creds/ci 200")
	require.NotContains(t, answers, password)
}

// TestLeakscanFindsASecretInTheServersLog plants a secret in the log of a real server.
func TestLeakscanFindsASecretInTheServersLog(t *testing.T) {
	t.Parallel()
	const planted = "hush-planted-by-the-test"
	recorder, err := leakscan.New(t.TempDir())
	require.NoError(t, err)
	recorder.Learn(leakscan.Secret{Field: "Password", Value: planted})
	vault := startDev(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.plugin)})
	require.NoError(t, recorder.WatchLogs(t.Context(), vault))
	scan := func() string {
		report, err := recorder.Scan()
		require.NoError(t, err)
		return strings.Join(report.Leaks, "\n")
	}
	require.Empty(t, scan())
	// The server logs the path of a new mount.
	require.NoError(t, vault.Client().Sys().MountWithContext(t.Context(), planted, &api.MountInput{Type: "kv"}))
	require.Eventually(t, func() bool { return strings.Contains(vault.LogText(), planted) }, 10*time.Second, 5*time.Millisecond)
	require.Contains(t, scan(), "log of server 1: Password, plain")
}
