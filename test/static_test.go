// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// addUser creates a user outside the engine.
func (e *env) addUser(username string) {
	e.Helper()
	_, err := e.Admin.AdminCreateUser(e.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("hush-First-1"),
	})
	require.NoError(e, err)
}

func (e *env) ownPassword(name, username string) {
	e.Helper()
	e.write("static-roles/"+name, map[string]any{
		"credential_type": "user_password", "user_pool_id": e.Seed.UserPoolID, "username": username, "rotation_period": "60s",
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	})
}

func (e *env) ownSecret(name string) {
	e.Helper()
	e.write("static-roles/"+name, map[string]any{
		"credential_type": "app_client_secret", "user_pool_id": e.Seed.UserPoolID, "rotation_period": "60s",
		"app_client_id": e.Seed.M2MClientID, "cognito_pool_domain": e.Seed.Domain,
	})
}

// passwordWorks reports whether a password signs a user in, without the server.
func (e *env) passwordWorks(username, password string) bool {
	e.Helper()
	_, err := e.Admin.AdminInitiateAuth(e.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &e.Seed.UserPoolID, ClientId: &e.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	return err == nil
}

// secretWorks reports whether an app client secret gets a token, without the server.
func (e *env) secretWorks(secret string) bool {
	e.Helper()
	_, err := cognito.New(e.Context(), cognito.Settings{}).MachineToken(e.Context(), cognito.MachineTokenRequest{
		Domain: e.Seed.Domain, AppClient: cognito.AppClient{ID: e.Seed.M2MClientID, Secret: secret}, NoCache: true,
	})
	return err == nil
}

func TestStaticRoles(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.addUser("ann")

	t.Run("a rotation replaces the password of a user", func(t *testing.T) {
		e.ownPassword("ann", "ann")
		first := e.read("static-creds/ann")
		require.Empty(t, first.LeaseID)
		require.Equal(t, json.Number("60"), first.Data["rotation_period"])
		require.True(t, e.passwordWorks("ann", first.Data["password"].(string)))
		e.write("rotate-role/ann", nil)
		second := e.read("static-creds/ann")
		require.False(t, e.passwordWorks("ann", first.Data["password"].(string)))
		require.True(t, e.passwordWorks("ann", second.Data["password"].(string)))
		require.NotContains(t, e.read("static-roles/ann").Data, "password")
	})

	t.Run("a rotation replaces the secret of an app client, and roles for tokens use the new one", func(t *testing.T) {
		e.ownSecret("client")
		e.write("roles/follower", map[string]any{"static_role": "client", "cognito_pool_domain": e.Seed.Domain, "scopes": "api/read"})
		for range 3 {
			require.True(t, e.secretWorks(e.read("static-creds/client").Data["app_client_secret"].(string)))
			require.Equal(t, "api/read", e.read("creds/follower").Data["scope"])
			e.write("rotate-role/client", nil)
		}
	})

	t.Run("static roles are listed in order", func(t *testing.T) {
		secret, err := e.client.Logical().ListWithContext(t.Context(), e.mount+"/static-roles")
		require.NoError(t, err)
		require.Equal(t, []any{"ann", "client"}, secret.Data["keys"])
	})

	t.Run("deleting a static role keeps its user and warns", func(t *testing.T) {
		password := e.read("static-creds/ann").Data["password"].(string)
		secret, err := e.client.Logical().DeleteWithContext(t.Context(), e.mount+"/static-roles/ann")
		require.NoError(t, err)
		require.Contains(t, strings.Join(secret.Warnings, ""), "stays as it is")
		require.True(t, e.passwordWorks("ann", password))
	})
}

// TestPluginDiesInARotation kills the plugin in every call of a rotation, before Cognito receives
// the call and after Cognito has done it but not answered.
func TestPluginDiesInARotation(t *testing.T) {
	t.Parallel()
	// A lost sign-in counts against the limit of two wrong ones within 15 minutes, so each has its
	// own user.
	roles := map[string][]string{
		"ann":    {"AdminSetUserPassword"},
		"abe":    {"AdminInitiateAuth"},
		"bob":    {"InitiateAuth"},
		"ben":    {"ChangePassword"},
		"client": {"ListUserPoolClientSecrets", "DeleteUserPoolClientSecret", "AddUserPoolClientSecret", control.OperationToken},
	}
	for _, kind := range []string{control.FaultHang, control.FaultHangAfter} {
		t.Run("static-creds returns values that work after the plugin was killed during a "+kind, func(t *testing.T) {
			t.Parallel()
			e := newIsolatedEnv(t)
			e.configure(map[string]any{"request_timeout": "10s"}) // until the process is killed
			for _, name := range []string{"ann", "abe"} {
				e.addUser(name)
				e.ownPassword(name, name)
			}
			for _, name := range []string{"bob", "ben"} {
				e.addUser(name)
				e.ownPasswordSelfManaged(name, name, "hush-First-1")
			}
			e.ownSecret("client")
			e.write("rotate-role/client", nil) // so that the next rotation has to delete a secret first
			for role, operations := range roles {
				for _, operation := range operations {
					e.killPluginDuring(operation, kind, role)
					require.True(t, e.staticCredsHold(role), "%s after the plugin was killed in %s", role, operation)
					if e.rotateAfterCrash(role, role == "bob" || role == "ben") {
						require.True(t, e.staticCredsWork(role), "%s after the next rotation, after the plugin was killed in %s", role, operation)
					}
				}
			}
		})
	}
}

// staticCredsHold reports whether static-creds returns a value that works, or warns that the value
// is in doubt: the result of an interrupted change is unknown until the engine's next attempt.
func (e *env) staticCredsHold(role string) bool {
	e.Helper()
	warnings := e.read("static-creds/" + role).Warnings
	return e.staticCredsWork(role) || strings.Contains(strings.Join(warnings, "\n"), "is in doubt")
}

// rotateAfterCrash rotates a static role and reports whether it did. For a self-managed role the
// engine may refuse, because the lost sign-in and the one that tried the other password used up the
// limit of wrong sign-ins.
func (e *env) rotateAfterCrash(role string, selfManaged bool) bool {
	e.Helper()
	_, err := e.client.Logical().WriteWithContext(e.Context(), e.mount+"/rotate-role/"+role, nil)
	if err != nil && selfManaged {
		require.ErrorContains(e, err, "may have had a wrong password")
		return false
	}
	require.NoError(e, err)
	return true
}

// killPluginDuring kills the plugin while a rotation waits for a call.
func (e *env) killPluginDuring(operation, kind, role string) {
	e.Helper()
	require.NoError(e, e.Control.ResetCalls(e.Context()))
	e.Fault(control.Fault{Operation: operation, Kind: kind, Times: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = e.client.Logical().WriteWithContext(e.Context(), e.mount+"/rotate-role/"+role, nil)
	}()
	e.awaitCall(operation)
	e.killPlugin()
	<-done // the server repeats the request with the next process
	require.NoError(e, awaitPlugin(e.Context(), e.client, e.mount))
	e.Heal()
}

func (e *env) staticCredsWork(role string) bool {
	e.Helper()
	data := e.read("static-creds/" + role).Data
	if secret, ok := data["app_client_secret"].(string); ok {
		return e.secretWorks(secret)
	}
	return e.passwordWorks(data["username"].(string), data["password"].(string))
}

// ownPasswordSelfManaged writes a static role that changes the password with the user's own rights.
func (e *env) ownPasswordSelfManaged(name, username, password string) {
	e.Helper()
	out, err := e.Admin.CreateUserPoolClient(e.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &e.Seed.UserPoolID, ClientName: aws.String("self"), ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	require.NoError(e, err)
	e.write("static-roles/"+name, map[string]any{
		"credential_type": "user_password", "user_pool_id": e.Seed.UserPoolID, "username": username, "rotation_period": "60s",
		"app_client_id": out.UserPoolClient.ClientId, "self_managed": true, "password": password,
	})
}

// TestReadersDuringRotations reads continuously, as services do, while values rotate as fast as
// possible.
func TestReadersDuringRotations(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.configure(map[string]any{"request_timeout": "30s"})
	e.addUser("ann")
	e.ownPassword("ann", "ann")
	e.ownSecret("client")
	var rotating atomic.Bool
	var begun atomic.Int64
	rotating.Store(true)
	go func() {
		defer rotating.Store(false)
		for range 15 {
			e.write("rotate-role/ann", nil)
			begun.Add(1)
			e.write("rotate-role/client", nil)
		}
	}()
	password := func() string { return e.read("static-creds/ann").Data["password"].(string) }
	for reads := 0; rotating.Load() || reads < 30; reads++ {
		before := begun.Load()
		if secret := e.read("static-creds/client").Data["app_client_secret"].(string); !e.secretWorks(secret) {
			require.Greater(t, begun.Load(), before, "a returned secret must work until the next rotation starts")
		}
		if returned := password(); !e.passwordWorks("ann", returned) {
			require.NotEqual(t, returned, password(), "a password that Cognito rejects must not be returned again")
		}
	}
}

// TestVaultAgentFollowsRotations lets the server's own agent keep a password in a file while it
// rotates on schedule.
func TestVaultAgentFollowsRotations(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.addUser("ann")
	e.ownPassword("ann", "ann")
	rendered := runAgent(e, "static-creds/ann", "password")
	seen := map[string]bool{}
	require.Eventually(t, func() bool {
		password, err := os.ReadFile(rendered)
		if err == nil {
			seen[string(password)] = true
		}
		return len(seen) == 2
	}, 3*time.Minute, 200*time.Millisecond, "the agent rendered %d passwords", len(seen))
	password, err := os.ReadFile(rendered)
	require.NoError(t, err)
	require.True(t, e.passwordWorks("ann", string(password)))
}

// TestRotationAfterRestart restarts the server. The new process does the rotation that becomes due.
func TestRotationAfterRestart(t *testing.T) {
	t.Parallel()
	server := startServer(t, sandbox.VaultOptions{PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace"})
	e := newEnvOn(t, server.Vault)
	e.addUser("ann")
	e.ownPassword("ann", "ann")
	before := e.read("static-creds/ann").Data["password"].(string)

	require.NoError(t, server.Restart(t.Context()))
	require.True(t, e.passwordWorks("ann", before))
	var after string
	require.Eventually(t, func() bool {
		after = e.read("static-creds/ann").Data["password"].(string)
		return after != before
	}, 3*time.Minute, 500*time.Millisecond)
	require.True(t, e.passwordWorks("ann", after))
}
