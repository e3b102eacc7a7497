// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// userWith creates a user that has a permanent password, as people do by hand, and returns its sub.
func (e *env) userWith(username, password string) string {
	e.Helper()
	e.addUser(username)
	_, err := e.Admin.AdminSetUserPassword(e.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &username, Password: aws.String(password), Permanent: true,
	})
	require.NoError(e, err)
	return e.user(username).Sub
}

// user returns a user of the seeded pool, which must exist.
func (e *env) user(username string) control.User {
	e.Helper()
	for _, user := range e.Users() {
		if user.Username == username {
			return user
		}
	}
	require.Fail(e, "there is no user "+username)
	return control.User{}
}

// TestMigrate pastes every command of docs/migrate.md.
func TestMigrate(t *testing.T) {
	t.Parallel()
	page := openPage(t, "migrate.md", 1) // the first block says what the variables are
	e := newBareEnv(t).env
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.configure(nil)
	terminal := newTerminal(e, page)
	terminal.variables["POOL"], terminal.variables["CLIENT"] = e.Seed.UserPoolID, e.Seed.PublicClientID
	admin := terminal.token

	t.Run("scripts that create users by hand are replaced by creds", func(t *testing.T) {
		terminal.paste("ci: before")
		require.Empty(t, e.Users(), "the old script deletes its user")
		e.userWith("ci-left-over", "hush-Left-0ver")
		terminal.paste("ci: role")
		terminal.paste("ci: policy")
		job, err := e.client.Auth().Token().CreateWithContext(t.Context(), &api.TokenCreateRequest{Policies: []string{"ci"}, NoDefaultPolicy: true})
		require.NoError(t, err)
		terminal.token = job.Auth.ClientToken
		terminal.paste("ci: after")
		terminal.token = admin
		created := e.Calls().Of("AdminCreateUser")
		require.NotEmpty(t, created, "the read created a user")
		require.Eventually(t, func() bool { return len(e.Users()) == 1 }, 20*time.Second, 20*time.Millisecond,
			"the end of the job's token, which revokes its leases in the background, deleted it")
		terminal.paste("ci: look")
		terminal.paste("ci: clean")
		require.Empty(t, e.Users(), "what the old script left behind is gone")
	})

	t.Run("a user shared in KV becomes a static role without a moment in which its password is wrong", func(t *testing.T) {
		const old = "hush-Shared-1"
		sub := e.userWith("ann", old)
		_, err := e.client.KVv2("secret").Put(t.Context(), "e2e/ann", map[string]any{"username": "ann", "password": old})
		require.NoError(t, err)
		terminal.paste("kv: adopt")
		require.True(t, e.passwordWorks("ann", old), "readers of KV go on working")
		terminal.paste("kv: same")
		terminal.paste("kv: rotate")
		require.False(t, e.passwordWorks("ann", old), "the shared password is worthless")
		require.True(t, e.passwordWorks("ann", e.read("static-creds/ann").Data["password"].(string)))
		require.Equal(t, sub, e.user("ann").Sub, "the user is the same")
		require.Equal(t, "86400", e.read("static-creds/ann").Data["rotation_period"].(json.Number).String())
		_, err = e.client.KVv2("secret").Get(t.Context(), "e2e/ann")
		require.ErrorIs(t, err, api.ErrSecretNotFound)
	})

	t.Run("users shared in KV become a library set that lends each to one job at a time", func(t *testing.T) {
		const old = "hush-Shared-2"
		subs := map[string]string{"carl": e.userWith("carl", old), "dora": e.userWith("dora", old)}
		for name := range subs {
			_, err := e.client.KVv2("secret").Put(t.Context(), "e2e/"+name, map[string]any{"username": name, "password": old})
			require.NoError(t, err)
		}
		terminal.paste("kv: lend")
		terminal.paste("kv: borrow")
		text, err := os.ReadFile(filepath.Join(terminal.dir, "user.json"))
		require.NoError(t, err)
		var lent api.Secret
		require.NoError(t, json.Unmarshal(text, &lent))
		require.Contains(t, subs, nameIn(&lent))
		require.False(t, e.holds(&lent), "the job has given it back")
		require.Eventually(t, func() bool { return number(t, e.read("library/shared/status").Data["available"]) == 2 }, libraryPatience, 20*time.Millisecond)
		for name, sub := range subs {
			require.False(t, e.passwordWorks(name, old), "the shared password is worthless")
			require.Equal(t, sub, e.user(name).Sub, "the user is the same")
		}
		terminal.paste("kv: clean")
	})

	t.Run("a user that a Lambda function rotated becomes a static role without a moment in which its password is wrong", func(t *testing.T) {
		const old = "hush-Lambda-1"
		sub := e.userWith("batch", old)
		require.NoError(t, os.WriteFile(filepath.Join(terminal.dir, "secret.json"), []byte(`{"username":"batch","password":"`+old+`"}`), 0o600))
		terminal.paste("lambda: stop")
		terminal.paste("lambda: adopt")
		require.True(t, e.passwordWorks("batch", old), "services that read Secrets Manager go on working")
		terminal.paste("lambda: same")
		terminal.paste("lambda: rotate")
		require.False(t, e.passwordWorks("batch", old))
		require.True(t, e.passwordWorks("batch", e.read("static-creds/batch").Data["password"].(string)))
		require.Equal(t, sub, e.user("batch").Sub, "the user is the same")
		calls, err := os.ReadFile(filepath.Join(terminal.dir, "secretsmanager.log"))
		require.NoError(t, err)
		require.Equal(t, "cancel-rotate-secret\nget-secret-value\nget-secret-value\ndelete-secret\n", string(calls), "the schedule is stopped first")
	})
	page.requireAllPasted(t)
}
