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

// addUser makes a user that is there before Vault knows of it.
func (w *world) addUser(username string) {
	w.Helper()
	_, err := w.Admin.AdminCreateUser(w.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &w.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("hush-First-1"),
	})
	require.NoError(w, err)
}

func (w *world) ownPassword(name, username string) {
	w.Helper()
	w.write("static-roles/"+name, map[string]any{
		"credential_type": "user_password", "user_pool_id": w.Seed.UserPoolID, "username": username, "rotation_period": "60s",
		"app_client_id": w.Seed.AppClientID, "app_client_secret": w.Seed.AppClientSecret,
	})
}

func (w *world) ownSecret(name string) {
	w.Helper()
	w.write("static-roles/"+name, map[string]any{
		"credential_type": "app_client_secret", "user_pool_id": w.Seed.UserPoolID, "rotation_period": "60s",
		"app_client_id": w.Seed.M2MClientID, "cognito_pool_domain": w.Seed.Domain,
	})
}

// passwordWorks signs in as a user of the password would, not through Vault.
func (w *world) passwordWorks(username, password string) bool {
	w.Helper()
	_, err := w.Admin.AdminInitiateAuth(w.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &w.Seed.UserPoolID, ClientId: &w.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	return err == nil
}

// secretWorks fetches a token as a user of the secret would.
func (w *world) secretWorks(secret string) bool {
	w.Helper()
	_, err := cognito.New(w.Context(), cognito.Settings{}).MachineToken(w.Context(), cognito.MachineTokenRequest{
		Domain: w.Seed.Domain, AppClient: cognito.AppClient{ID: w.Seed.M2MClientID, Secret: secret}, NoCache: true,
	})
	return err == nil
}

func TestStaticRoles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addUser("ann")

	t.Run("Vault owns a user's password", func(t *testing.T) {
		w.ownPassword("ann", "ann")
		first := w.read("static-creds/ann")
		require.Empty(t, first.LeaseID)
		require.Equal(t, json.Number("60"), first.Data["rotation_period"])
		require.True(t, w.passwordWorks("ann", first.Data["password"].(string)))
		w.write("rotate-role/ann", nil)
		second := w.read("static-creds/ann")
		require.False(t, w.passwordWorks("ann", first.Data["password"].(string)))
		require.True(t, w.passwordWorks("ann", second.Data["password"].(string)))
		require.NotContains(t, w.read("static-roles/ann").Data, "password")
	})

	t.Run("and an app client's secret, which a role for tokens follows", func(t *testing.T) {
		w.ownSecret("client")
		w.write("roles/follower", map[string]any{"static_role": "client", "cognito_pool_domain": w.Seed.Domain, "scopes": "api/read"})
		for range 3 {
			require.True(t, w.secretWorks(w.read("static-creds/client").Data["app_client_secret"].(string)))
			require.Equal(t, "api/read", w.read("creds/follower").Data["scope"])
			w.write("rotate-role/client", nil)
		}
	})

	t.Run("they are listed in order", func(t *testing.T) {
		secret, err := w.client.Logical().ListWithContext(t.Context(), w.mount+"/static-roles")
		require.NoError(t, err)
		require.Equal(t, []any{"ann", "client"}, secret.Data["keys"])
	})

	t.Run("a deleted one leaves its user, and says so", func(t *testing.T) {
		password := w.read("static-creds/ann").Data["password"].(string)
		secret, err := w.client.Logical().DeleteWithContext(t.Context(), w.mount+"/static-roles/ann")
		require.NoError(t, err)
		require.Contains(t, strings.Join(secret.Warnings, ""), "stays as it is")
		require.True(t, w.passwordWorks("ann", password))
	})
}

// TestPluginDiesInARotation kills the plugin in every call that a rotation
// makes, before Cognito has heard of it and when Cognito is done with it but
// nobody has been told.
func TestPluginDiesInARotation(t *testing.T) {
	t.Parallel()
	roles := map[string][]string{
		"ann":    {"AdminSetUserPassword", "AdminInitiateAuth"},
		"bob":    {"InitiateAuth", "ChangePassword"},
		"client": {"ListUserPoolClientSecrets", "DeleteUserPoolClientSecret", "AddUserPoolClientSecret", control.OperationToken},
	}
	for _, kind := range []string{control.FaultHang, control.FaultHangAfter} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorldApart(t)
			w.configure(map[string]any{"request_timeout": "10s"}) // until the process dies
			w.addUser("ann")
			w.ownPassword("ann", "ann")
			w.addUser("bob")
			w.ownItself("bob", "bob", "hush-First-1")
			w.ownSecret("client")
			w.write("rotate-role/client", nil) // so that a place has to be made for the next secret
			for role, operations := range roles {
				for _, operation := range operations {
					w.dieIn(operation, kind, role)
					require.True(t, w.handsOutWhatWorks(role), "%s after a death in %s", role, operation)
					w.write("rotate-role/"+role, nil)
					require.True(t, w.handsOutWhatWorks(role), "%s, the next time after a death in %s", role, operation)
				}
			}
		})
	}
}

// dieIn kills the plugin while a rotation waits in a call.
func (w *world) dieIn(operation, kind, role string) {
	w.Helper()
	require.NoError(w, w.Control.ResetCalls(w.Context()))
	w.Fault(control.Fault{Operation: operation, Kind: kind, Times: 1})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.client.Logical().WriteWithContext(w.Context(), w.mount+"/rotate-role/"+role, nil)
	}()
	w.awaitCall(operation)
	w.killPlugin()
	<-done // Vault repeats the request with the next process
	require.NoError(w, awaitPlugin(w.Context(), w.client, w.mount))
	w.Heal()
}

func (w *world) handsOutWhatWorks(role string) bool {
	w.Helper()
	data := w.read("static-creds/" + role).Data
	if secret, ok := data["app_client_secret"].(string); ok {
		return w.secretWorks(secret)
	}
	return w.passwordWorks(data["username"].(string), data["password"].(string))
}

// ownItself lets Vault own a password by what the user itself may do.
func (w *world) ownItself(name, username, password string) {
	w.Helper()
	out, err := w.Admin.CreateUserPoolClient(w.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &w.Seed.UserPoolID, ClientName: aws.String("self"), ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	require.NoError(w, err)
	w.write("static-roles/"+name, map[string]any{
		"credential_type": "user_password", "user_pool_id": w.Seed.UserPoolID, "username": username, "rotation_period": "60s",
		"app_client_id": out.UserPoolClient.ClientId, "self_managed": true, "password": password,
	})
}

// TestReadersDuringRotations polls as services do, while values change as fast
// as they can.
func TestReadersDuringRotations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(map[string]any{"request_timeout": "30s"})
	w.addUser("ann")
	w.ownPassword("ann", "ann")
	w.ownSecret("client")
	var rotating atomic.Bool
	var begun atomic.Int64
	rotating.Store(true)
	go func() {
		defer rotating.Store(false)
		for range 15 {
			w.write("rotate-role/ann", nil)
			begun.Add(1)
			w.write("rotate-role/client", nil)
		}
	}()
	password := func() string { return w.read("static-creds/ann").Data["password"].(string) }
	for reads := 0; rotating.Load() || reads < 30; reads++ {
		before := begun.Load()
		if secret := w.read("static-creds/client").Data["app_client_secret"].(string); !w.secretWorks(secret) {
			require.Greater(t, begun.Load(), before, "a secret that was handed out must work until the next rotation begins")
		}
		if handedOut := password(); !w.passwordWorks("ann", handedOut) {
			require.NotEqual(t, handedOut, password(), "a password that Cognito refuses must not be handed out any more")
		}
	}
}

// TestVaultAgentFollowsRotations lets the real Vault Agent keep a password in
// a file through a rotation that nobody asked for.
func TestVaultAgentFollowsRotations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.addUser("ann")
	w.ownPassword("ann", "ann")
	rendered := runAgent(w, "static-creds/ann", "password")
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
	require.True(t, w.passwordWorks("ann", string(password)))
}

// TestRotationsOfASealedVault kills Vault, lets a rotation become due while
// nobody is there, and unseals it again.
func TestRotationsOfASealedVault(t *testing.T) {
	t.Parallel()
	options := sandbox.ServerOptions{
		VaultOptions: sandbox.VaultOptions{Binary: binaries.vault, PluginDir: filepath.Dir(binaries.plugin), LogLevel: "trace"},
		DataDir:      t.TempDir(),
	}
	server, err := sandbox.StartServer(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { server.Stop() })
	require.NoError(t, server.RegisterPlugin(t.Context(), pluginName, ""))
	w := newWorldIn(t, server.Vault)
	w.addUser("ann")
	w.ownPassword("ann", "ann")
	before := w.read("static-creds/ann").Data["password"].(string)

	server.Kill()
	server, err = sandbox.StartServer(t.Context(), options)
	require.NoError(t, err)
	w.vault, w.client = watched(t, server.Vault), server.Client()
	require.True(t, w.passwordWorks("ann", before))
	var after string
	require.Eventually(t, func() bool {
		after = w.read("static-creds/ann").Data["password"].(string)
		return after != before
	}, 3*time.Minute, 500*time.Millisecond)
	require.True(t, w.passwordWorks("ann", after))
}
