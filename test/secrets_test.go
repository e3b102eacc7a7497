// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bufio"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// The search for secrets in all that Vault and the plugin wrote during all tests of this package is at the end of the
// run, see witness.testify. What follows shows that there was something to search for and to search in.

// auditEntry is one line of an audit log, as far as secrets may be in it.
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

// audited are the entries of a type about a path of the mount.
func (w *world) audited(kind, path string) []auditEntry {
	w.Helper()
	devices, err := w.client.Sys().ListAuditWithContext(w.Context())
	require.NoError(w, err)
	file, err := os.Open(devices[auditPath+"/"].Options["file_path"])
	require.NoError(w, err)
	defer file.Close()
	var entries []auditEntry
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var entry auditEntry
		require.NoError(w, json.Unmarshal(lines.Bytes(), &entry))
		if entry.Type == kind && entry.Request.Path == w.mount+"/"+path {
			entries = append(entries, entry)
		}
	}
	require.NoError(w, lines.Err())
	require.NotEmpty(w, entries, "no %s of %s was audited", kind, path)
	return entries
}

// requireHashed demands that the audit log shows a value as its HMAC.
func (w *world) requireHashed(shown, value any) {
	w.Helper()
	require.NotEmpty(w, value)
	hash, err := w.client.Sys().AuditHashWithContext(w.Context(), auditPath, value.(string))
	require.NoError(w, err)
	require.True(w, strings.HasPrefix(hash, "hmac-sha256:"))
	require.Equal(w, hash, shown)
}

func TestAuditShowsSecretsAsHashesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	user := w.read("creds/ci").Data
	entry := w.audited("response", "creds/ci")[0]
	for _, field := range []string{"password", "access_token", "id_token", "refresh_token"} {
		w.requireHashed(entry.Response.Data[field], user[field])
	}
	require.Len(t, entry.Response.Data, len(user), "the fields are those of the answer, and no secret is the name of one")
	require.NotContains(t, entry.Response.Secret, "internal_data")

	machine := w.read("creds/machine").Data
	w.requireHashed(w.audited("response", "creds/machine")[0].Response.Data["access_token"], machine["access_token"])

	w.addUser("ann")
	w.ownPassword("ann", "ann")
	owned := w.read("static-creds/ann").Data
	w.requireHashed(w.audited("response", "static-creds/ann")[0].Response.Data["password"], owned["password"])

	tokens := w.write("tokens/ci", map[string]any{"refresh_token": user["refresh_token"]}).Data
	w.requireHashed(w.audited("request", "tokens/ci")[0].Request.Data["refresh_token"], user["refresh_token"])
	w.requireHashed(w.audited("response", "tokens/ci")[0].Response.Data["access_token"], tokens["access_token"])

	w.requireHashed(w.audited("request", "config")[0].Request.Data["aws_secret_access_key"], secretKey)
	w.requireHashed(w.audited("request", "roles/ci")[0].Request.Data["app_client_secret"], w.Seed.AppClientSecret)
	w.requireHashed(w.audited("request", "roles/machine")[0].Request.Data["app_client_secret"], w.Seed.M2MClientSecret)
}

// TestSecretsOfTheWrongTypeAreNotRepeated sends secrets in the place of which Vault's framework cannot make a text, and
// which its own error repeats.
func TestSecretsOfTheWrongTypeAreNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const secret = "hush-of-the-wrong-type"
	for field, path := range map[string]string{
		"aws_secret_access_key": "config", "aws_session_token": "config", "app_client_secret": "roles/ci",
		"password": "tokens/ci", "refresh_token": "tokens/ci",
	} {
		for name, value := range map[string]any{
			"a map": map[string]any{"k": secret}, "a list": []any{secret, secret}, "a map of lists": map[string]any{"k": []any{map[string]any{"k": secret}}},
		} {
			t.Run(field+" as "+name, func(t *testing.T) {
				_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/"+path, map[string]any{field: value})
				require.Error(t, err)
				status, text := w.refusal(err)
				require.Equal(t, 400, status)
				require.NotContains(t, text, secret)
				require.Contains(t, text, field)
			})
		}
	}
}

// TestWitnessKnowsEverySecret shows that what the witness collects is what there is: without it, its search would find
// nothing because it looks for nothing.
func TestWitnessKnowsEverySecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := w.read("creds/ci").Data
	machine := w.read("creds/machine").Data
	_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/tokens/ci", map[string]any{"username": "nobody", "password": "hush-tried-in-vain"})
	require.Error(t, err)
	remembered(t, w.Control)

	for name, value := range map[string]any{
		"the password":                     user["password"],
		"the access token":                 user["access_token"],
		"the ID token":                     user["id_token"],
		"the refresh token":                user["refresh_token"],
		"the machine's token":              machine["access_token"],
		"the secret of the user's client":  w.Seed.AppClientSecret,
		"the secret of the machine":        w.Seed.M2MClientSecret,
		"the AWS secret key":               secretKey,
		"a password that somebody offered": "hush-tried-in-vain",
	} {
		require.True(t, seen.knows(value.(string)), "%s was not seen", name)
	}
	fields := map[string]bool{}
	secrets, err := w.Control.Secrets(t.Context())
	require.NoError(t, err)
	for _, secret := range secrets {
		fields[secret.Field] = true
	}
	for _, field := range []string{"TemporaryPassword", "Password", "SECRET_HASH"} {
		require.True(t, fields[field], "%s was not seen on the way to Cognito", field)
	}
}

// TestWitnessSeesAnswers shows that it searches what clients got, and only what is not there to show secrets.
func TestWitnessSeesAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	password := w.read("creds/ci").Data["password"].(string)
	w.read("roles/ci")
	_, err := w.tryRead("creds/nobody")
	require.Error(t, err)
	_, err = w.client.Logical().ListWithContext(t.Context(), w.mount+"/roles")
	require.NoError(t, err)

	answers, err := os.ReadFile(seen.answers.Name())
	require.NoError(t, err)
	require.Contains(t, string(answers), "GET /v1/"+w.mount+"/roles/ci 200\n{")
	require.Contains(t, string(answers), "GET /v1/"+w.mount+"/creds/nobody 400\n{")
	require.Regexp(t, `(GET|LIST) /v1/`+w.mount+`/roles 200\n\{`, string(answers))
	require.NotContains(t, string(answers), "/v1/"+w.mount+"/creds/ci 200")
	require.NotContains(t, string(answers), password)
}

// TestWitnessFindsWhatIsShown plants a secret in each place that it searches.
func TestWitnessFindsWhatIsShown(t *testing.T) {
	t.Parallel()
	const planted = "hush-planted-by-the-test"
	found := func(t *testing.T, w *witness) string {
		t.Helper()
		w.learn(control.Secret{Field: "Password", Value: planted})
		testimony, err := w.search()
		require.NoError(t, err)
		require.Equal(t, 1, testimony.secrets)
		return strings.Join(testimony.finds, "\n")
	}
	t.Run("an answer", func(t *testing.T) {
		w, err := newWitness(t.TempDir())
		require.NoError(t, err)
		require.Empty(t, found(t, w))
		_, err = w.answers.WriteString(`{"data":{"app_client_secret":"` + planted + `"}}`)
		require.NoError(t, err)
		require.Contains(t, found(t, w), "answers: Password, as it is")
	})
	t.Run("an audit log", func(t *testing.T) {
		w, err := newWitness(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(w.dir+"/some.audit", []byte("x="+planted), 0o600))
		require.Contains(t, found(t, w), "some.audit: Password, as it is")
	})
	t.Run("Vault's log", func(t *testing.T) {
		w, err := newWitness(t.TempDir())
		require.NoError(t, err)
		vault := newWorldApart(t).vault
		w.vaults = append(w.vaults, vault)
		require.Empty(t, found(t, w))
		// Vault logs the path of a mount.
		require.NoError(t, vault.Client().Sys().MountWithContext(t.Context(), planted, &api.MountInput{Type: "kv"}))
		require.Eventually(t, func() bool { return strings.Contains(vault.LogText(), planted) }, 10*time.Second, 5*time.Millisecond)
		require.Contains(t, found(t, w), "log of Vault 1: Password, as it is")
	})
}
