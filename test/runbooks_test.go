// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const runbooksKey, runbooksSecret = "AKIARUNBOOKS", "hush-runbooks-key"

// newRunbooksEnv is what docs/runbooks.md describes: the roles ci-user and machine and the static role ann at cognito/, with a
// terminal at hand.
func newRunbooksEnv(t *testing.T, p *page) (*env, *terminal) {
	t.Helper()
	e := newBareEnvWith(t, sandbox.VaultOptions{Config: telemetry}).env
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.PlantKey("vault", runbooksKey, runbooksSecret)
	e.configure(map[string]any{"aws_access_key_id": runbooksKey, "aws_secret_access_key": runbooksSecret, "iam_endpoint": e.Seed.Domain})
	e.writeRole("ci-user", map[string]any{"groups": "testers", "ttl": "2h", "max_ttl": "2h"})
	e.writeMachineRole("machine", nil)
	e.addUser("ann")
	e.ownPassword("ann", "ann")
	terminal := newTerminal(e, p)
	terminal.variables["POOL"], terminal.variables["CLIENT"] = e.Seed.UserPoolID, e.Seed.PublicClientID
	return e, terminal
}

func (t *terminal) requireIn(block, want string) {
	t.env.Helper()
	require.Contains(t.env, t.paste(block), want, "%s: %s", t.page.path, block)
}

// TestRunbooks breaks what each section of docs/runbooks.md is about, pastes its commands, and looks whether it works again.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	p := openPage(t, "runbooks.md", 1) // the first block says what the variables are
	e, bash := newRunbooksEnv(t, p)
	issued := func() *api.Secret { return e.read("creds/ci-user") }

	t.Run("a plugin that does not tick is reloaded", func(t *testing.T) {
		bash.requireIn("tick: see", `"sealed": false`)
		before := e.read("metrics").Data["since"]
		awaitNextSecond()
		bash.paste("tick: do")
		require.NotEqual(t, before, e.read("metrics").Data["since"], "another process serves the mount")
	})

	t.Run("a rotation that fails is explained and made good", func(t *testing.T) {
		e.Deny("cognito-idp:AdminSetUserPassword")
		_, err := e.client.Logical().WriteWithContext(t.Context(), "cognito/rotate-role/ann", nil)
		require.Error(t, err)
		bash.requireIn("rotation: see", "ann: ")
		bash.requireIn("rotation: check", "AdminSetUserPassword")
		e.Deny()
		bash.paste("rotation: do")
		require.Empty(t, e.read("static-roles/ann").Data["last_error"])
		require.True(t, e.passwordWorks("ann", e.read("static-creds/ann").Data["password"].(string)))
	})

	t.Run("users that cannot be ended are ended when the cause is corrected", func(t *testing.T) {
		lease := issued().LeaseID
		e.Deny("cognito-idp:AdminDeleteUser")
		_, err := e.client.Logical().WriteWithContext(t.Context(), "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": true})
		require.Error(t, err)
		bash.requireIn("ending: see", `"code=AccessDeniedException,step=revoke": 1`)
		e.Deny()
		bash.paste("ending: do")
		require.Empty(t, e.engineUsers())
	})

	t.Run("a quota that is nearly full gets more room", func(t *testing.T) {
		e.write("config", map[string]any{"rate_limits": "UserUpdate=1"})
		issued()
		bash.requireIn("quota: see", `"category=UserUpdate": 1`)
		bash.paste("quota: do")
		bash.requireIn("quota: see", `"category=UserUpdate": 20`)
	})

	t.Run("an account that is throttled gets a smaller share", func(t *testing.T) {
		e.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException"})
		_, err := e.tryRead("creds/ci-user")
		require.Error(t, err)
		e.Heal()
		bash.requireIn("throttled: see", `"operation=AdminCreateUser": 1`)
		bash.requireIn("throttled: do", "UserCreation=5,")
		issued()
	})

	t.Run("a role that requests a token for every read is made to cache them", func(t *testing.T) {
		e.writeMachineRole("machine", map[string]any{"cache_tokens": false})
		for range 3 {
			e.read("creds/machine")
		}
		bash.requireIn("tokens: see", `"cache_tokens": false`)
		bash.paste("tokens: do")
		e.read("creds/machine")
		before := len(e.Calls().Of(control.OperationToken))
		for range 3 {
			e.read("creds/machine")
		}
		require.Len(t, e.Calls().Of(control.OperationToken), before, "the reads are answered from the cache")
	})

	t.Run("an access key that leaked is replaced and deleted", func(t *testing.T) {
		bash.paste("leak: key")
		require.NotEqual(t, runbooksKey, e.read("config").Data["aws_access_key_id"])
		require.Eventually(t, func() bool { return len(e.Keys()) == 1 }, deleteOldKeyLimit, 200*time.Millisecond, "the key that leaked still works")
		require.NotEqual(t, runbooksKey, e.Keys()[0].ID)
		password := e.read("static-creds/ann").Data["password"].(string)
		bash.paste("leak: static")
		require.False(t, e.passwordWorks("ann", password), "the password that leaked still works")
		issued()
		bash.paste("leak: creds")
		require.Empty(t, e.engineUsers())
	})

	t.Run("a region that is down leaves nothing behind when it is back", func(t *testing.T) {
		issued()
		e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultError, Code: "InternalErrorException", Status: 500})
		bash.requireIn("region: see", "unknown")
		e.Heal()
		bash.paste("region: do")
		require.Empty(t, e.engineUsers())
	})

	t.Run("static roles are right again after a snapshot was restored", func(t *testing.T) {
		e.setPassword("ann", "hush-Later-1") // what Vault does not know
		bash.paste("snapshot: static")
		require.True(t, e.passwordWorks("ann", e.read("static-creds/ann").Data["password"].(string)))
	})

	t.Run("after Vault is lost nothing of it is left at AWS", func(t *testing.T) {
		user, key := issued(), e.read("config").Data["aws_access_key_id"].(string)
		password := e.read("static-creds/ann").Data["password"].(string)
		bash.requireIn("lost: see", user.Data["username"].(string))
		bash.paste("lost: users")
		require.Empty(t, e.engineUsers())
		bash.paste("lost: static")
		require.False(t, e.passwordWorks("ann", password))
		bash.variables["KEY"], bash.variables["IAM_USER"] = key, "vault"
		bash.paste("lost: key")
		require.Empty(t, e.Keys())
	})
	counters.Skip(t, "to do")
}

// awaitNextSecond waits for what is shown in whole seconds to change.
func awaitNextSecond() { <-time.After(time.Second) }

func (e *env) setPassword(username, password string) {
	e.Helper()
	_, err := e.Admin.AdminSetUserPassword(e.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	require.NoError(e, err)
}

var _ = json.Number("")
var _ = strings.Contains
var _ = emulatortest.Region
