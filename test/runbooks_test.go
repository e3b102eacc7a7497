// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const runbooksKey, runbooksSecret = "AKIARUNBOOKS00000001", "hush-runbooks-key"

// newRunbooksEnv is what docs/runbooks.md describes: the roles ci-user and machine and the static
// role ann at cognito/, with a terminal.
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

// TestRunbooks breaks what each section of docs/runbooks.md is about, pastes its commands, and
// looks whether it works again.
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

	t.Run("a quota that is nearly full gets more room", func(*testing.T) {
		e.write("config", map[string]any{"rate_limits": "UserUpdate=1"})
		issued()
		bash.requireIn("quota: see", `"category=UserUpdate": 1`)
		bash.paste("quota: do")
		issued()
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
		bash.variables["IAM_USER"] = "vault"
		bash.paste("leak: key")
		require.Len(t, e.Keys(), 1, "the key that leaked still works")
		require.Equal(t, e.read("config").Data["aws_access_key_id"], e.Keys()[0].ID)
		password := e.read("static-creds/ann").Data["password"].(string)
		bash.paste("leak: static")
		require.False(t, e.passwordWorks("ann", password), "the password that leaked still works")
		issued()
		bash.paste("leak: creds")
		require.Empty(t, e.engineUsers())
	})

	t.Run("a region that is down leaves nothing behind when it is back", func(t *testing.T) {
		issued()
		e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutBefore})
		bash.requireIn("region: see", "no answer")
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
}

// TestRunbookOfLostPool deletes the pool that the roles use.
func TestRunbookOfLostPool(t *testing.T) {
	t.Parallel()
	p := openPage(t, "runbooks.md", 1)
	e, bash := newRunbooksEnv(t, p)
	e.read("creds/ci-user")
	_, err := e.Admin.DeleteUserPool(t.Context(), &cip.DeleteUserPoolInput{UserPoolId: &e.Seed.UserPoolID})
	require.NoError(t, err)
	bash.requireIn("pool: see", e.Seed.UserPoolID)

	pool := e.MakePool(&cip.CreateUserPoolInput{})
	client, secret := e.MakeClient(pool)
	_, err = e.Admin.AdminCreateUser(t.Context(), &cip.AdminCreateUserInput{UserPoolId: &pool, Username: aws.String("ann")})
	require.NoError(t, err)
	bash.variables["NEW_POOL"], bash.variables["NEW_CLIENT"], bash.variables["NEW_SECRET"] = pool, client, secret
	bash.paste("pool: role")
	bash.paste("pool: do")
	require.Empty(t, e.leases("creds/ci-user"), "the leases of the lost users are gone")
	require.Equal(t, pool, e.read("creds/ci-user").Data["user_pool_id"])
	require.NotEmpty(t, e.read("static-creds/ann").Data["password"])
}

// TestIrrevocableLeases takes the plugin away from Vault, which gives a lease up at once then, and
// looks for the alert. With the plugin back, the runbook ends the lease.
func TestIrrevocableLeases(t *testing.T) {
	t.Parallel()
	needsCommands(t, "promtool")
	p := openPage(t, "runbooks.md", 1)
	plugins := t.TempDir()
	program, err := os.ReadFile(binaries.plugin)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(plugins, pluginName), program, 0o700))
	server := startServer(t, sandbox.VaultOptions{PluginDir: plugins, Config: telemetry})
	e := &env{T: t, Cognito: emulatortest.Start(t), vault: watchLeaks(t, server.Vault), client: server.Client(), mount: "cognito"}
	t.Cleanup(func() { learnSecrets(t, e.Control) })
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.configure(nil)
	e.writeRole("ci-user", nil)
	lease := e.read("creds/ci-user").LeaseID
	requireIrrevocableAlert(e, false)

	require.NoError(t, os.Remove(filepath.Join(plugins, pluginName)))
	require.NoError(t, server.Restart(t.Context()))
	_, err = e.client.Logical().WriteWithContext(t.Context(), "sys/leases/revoke", map[string]any{"lease_id": lease, "sync": false})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return e.irrevocableLeases() == 1 }, 20*time.Second, 100*time.Millisecond, "%s", server.LogText())
	requireIrrevocableAlert(e, true)

	require.NoError(t, os.WriteFile(filepath.Join(plugins, pluginName), program, 0o700))
	require.NoError(t, server.Restart(t.Context()))
	bash := newTerminal(e, p)
	bash.requireIn("irrevocable: see", lease)
	bash.requireIn("irrevocable: do", "0")
	require.Empty(t, e.Users())
}

// requireIrrevocableAlert lets promtool say whether the alert of the example fires if the server's
// own metric stays as it is.
func requireIrrevocableAlert(e *env, fires bool) {
	e.Helper()
	metric := regexp.MustCompile(`(?m)^vault_expire_num_irrevocable_leases ([0-9.]+)$`)
	var value string
	require.Eventually(e, func() bool {
		_, text := e.scrape(e.vault.Token, "sys/metrics", "prometheus")
		found := metric.FindStringSubmatch(text)
		if found != nil {
			value = found[1]
		}
		return found != nil && (value != "0") == fires
	}, time.Minute, 100*time.Millisecond, "the server shows no such number of irrevocable leases")
	rules, err := filepath.Abs("../examples/monitoring/alerts.yml")
	require.NoError(e, err)
	expected := "[]"
	if fires {
		expected = `[{labels: '{alertname="VaultIrrevocableLeases"}', value: 1}]`
	}
	test := filepath.Join(e.TempDir(), "irrevocable.yml")
	require.NoError(e, os.WriteFile(test, []byte(fmt.Sprintf(`
rule_files: [%q]
tests:
  - interval: 1m
    input_series: [{series: vault_expire_num_irrevocable_leases, values: %[2]sx20}]
    promql_expr_test:
      - {expr: 'max by (alertname) (ALERTS{alertstate="firing"})', eval_time: 15m, exp_samples: %[3]s}
`, rules, value, expected)), 0o600))
	requirePromtool(e.T, "", "test", "rules", test)
}

// TestRunbooksOfNewPaths pastes the sections about paths that an engine may lack.
func TestRunbooksOfNewPaths(t *testing.T) {
	t.Parallel()
	p := openPage(t, "runbooks.md", 1)
	e, bash := newRunbooksEnv(t, p)

	t.Run("tidy deletes users that have no record", func(t *testing.T) {
		e.needsPath(t, "tidy")
		e.read("creds/ci-user")
		bash.requireIn("snapshot: look", `"dry_run": true`)
		bash.requireIn("snapshot: tidy", `"complete": true`)
		require.Len(t, e.engineUsers(), 1, "a user with a record stays")
	})
}

// TestRunbooksOfLibrary breaks what the sections about library sets are about.
func TestRunbooksOfLibrary(t *testing.T) {
	t.Parallel()
	p := openPage(t, "runbooks.md", 1)
	e, bash := newRunbooksEnv(t, p)
	e.writeLibrary(1, map[string]any{"ttl": "2h", "max_ttl": "2h"})

	t.Run("a set whose users are all lent gets more users, or one that its holder has forgotten", func(t *testing.T) {
		lent := e.checkOut(e.client, nil)
		bash.requireIn("library: see", nameIn(lent)+": lent to ")
		bash.paste("library: grow")
		e.awaitFree(9)
		bash.variables["NAME"] = nameIn(lent)
		bash.paste("library: force")
		require.Equal(t, 10, e.countOf("available"))
		require.False(t, e.holds(lent))
	})

	t.Run("a user that cannot be reset is free when the cause is corrected", func(t *testing.T) {
		lent := e.checkOut(e.client, nil)
		e.Deny("cognito-idp:AdminUserGlobalSignOut")
		_, err := e.client.Logical().WriteWithContext(t.Context(), "cognito/"+checkInPath, nil)
		require.NoError(t, err)
		bash.requireIn("stuck: see", "AdminUserGlobalSignOut")
		e.Deny()
		bash.requireIn("stuck: do", `"broken": 0`)
		require.Equal(t, 10, e.countOf("available"))
		require.False(t, e.holds(lent))
	})

	t.Run("no password of before a snapshot is lent after it was restored", func(t *testing.T) {
		lent := e.checkOut(e.client, nil)
		name := nameIn(e.checkOut(e.client, nil))
		e.setPassword(name, "hush-Later-2") // what Vault does not know
		bash.paste("snapshot: library")
		require.Equal(t, 10, e.countOf("available"))
		require.False(t, e.holds(lent))
		require.False(t, e.passwordWorks(name, "hush-Later-2"))
	})
}

// needsPath skips a test about a path that the engine does not have.
func (e *env) needsPath(t *testing.T, path string) {
	t.Helper()
	_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/"+path, nil)
	if err != nil && strings.Contains(err.Error(), "unsupported path") {
		counters.Skip(t, "this version of the engine has no "+path)
	}
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

// TestEveryRunbookIsPasted sees to it that no block of docs/runbooks.md is left out by all of the
// tests above.
func TestEveryRunbookIsPasted(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("runbooks_test.go")
	require.NoError(t, err)
	for name := range openPage(t, "runbooks.md", 1).blocks {
		require.Contains(t, string(source), fmt.Sprintf("%q", name), "no test pastes this block")
	}
}

// TestAlertsHaveRunbooks follows the links of examples/monitoring/alerts.yml.
func TestAlertsHaveRunbooks(t *testing.T) {
	t.Parallel()
	runbooks, err := os.ReadFile("../docs/runbooks.md")
	require.NoError(t, err)
	text, err := os.ReadFile("../examples/monitoring/alerts.yml")
	require.NoError(t, err)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &rules))
	for _, rule := range rules.Groups[0].Rules {
		require.True(t, strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/runbooks.md#"+strings.ToLower(rule.Alert)), rule.Alert)
		_, section, found := strings.Cut(string(runbooks), "\n## "+rule.Alert+"\n")
		require.True(t, found, "docs/runbooks.md has no section %s", rule.Alert)
		section, _, _ = strings.Cut(section, "\n## ")
		require.Contains(t, section, "**See.**", rule.Alert)
		require.Contains(t, section, "**Do.**", rule.Alert)
	}
	requirePromtool(t, "", "check", "rules", "../examples/monitoring/alerts.yml")
}
