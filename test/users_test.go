// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

func TestUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.writeRole("mail", map[string]any{"dummy_email_domain": "example.com"})

	t.Run("a read makes a user whose tokens show its groups", func(t *testing.T) {
		secret := w.read("creds/ci")
		data := secret.Data
		require.True(t, strings.HasPrefix(data["username"].(string), "vault-ci-"), data["username"])
		require.Len(t, data["password"], 32)
		require.Equal(t, w.Seed.UserPoolID, data["user_pool_id"])
		require.Equal(t, emulatortest.Region, data["region"])
		require.Equal(t, w.Seed.AppClientID, data["app_client_id"])
		require.Equal(t, "Bearer", data["token_type"])
		require.Equal(t, json.Number("3600"), data["expires_in"])
		require.NotContains(t, data, "email")
		for _, name := range []string{"access_token", "id_token"} {
			claims := claimsOf(t, data[name])
			require.Equal(t, data["sub"], claims["sub"])
			require.ElementsMatch(t, []any{"testers", "admins"}, claims["cognito:groups"])
		}
		w.revoke(secret.LeaseID)
	})

	t.Run("the user can sign in with what was returned", func(t *testing.T) {
		w.writeRole("public", map[string]any{"app_client_id": w.Seed.PublicClientID, "app_client_secret": ""})
		secret := w.read("creds/public")
		out, err := w.Admin.AdminInitiateAuth(t.Context(), &cip.AdminInitiateAuthInput{
			UserPoolId: &w.Seed.UserPoolID, ClientId: &w.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
			AuthParameters: map[string]string{"USERNAME": secret.Data["username"].(string), "PASSWORD": secret.Data["password"].(string)},
		})
		require.NoError(t, err)
		require.NotNil(t, out.AuthenticationResult)
		w.revoke(secret.LeaseID)
	})

	t.Run("its lease is the role's, and a read can ask for a shorter one", func(t *testing.T) {
		secret := w.read("creds/ci")
		require.Equal(t, 300, secret.LeaseDuration)
		require.True(t, secret.Renewable)
		w.revoke(secret.LeaseID)

		secret = w.write("creds/ci", map[string]any{"ttl": "1m"})
		require.Equal(t, 60, secret.LeaseDuration)
		w.revoke(secret.LeaseID)

		_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/creds/ci", map[string]any{"ttl": "1h"})
		status, text := w.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "ttl 1h0m0s is not allowed")
	})

	t.Run("a dummy e-mail address is the username, and verified", func(t *testing.T) {
		secret := w.read("creds/mail")
		require.Equal(t, secret.Data["username"], secret.Data["email"])
		require.True(t, strings.HasSuffix(secret.Data["email"].(string), "@example.com"))
		require.Equal(t, true, claimsOf(t, secret.Data["id_token"])["email_verified"])
		w.revoke(secret.LeaseID)
	})

	t.Run("after the revocation the user is gone", func(t *testing.T) {
		secret := w.read("creds/ci")
		require.Len(t, w.Users(), 1)
		w.revoke(secret.LeaseID)
		require.Empty(t, w.Users())
	})

	t.Run("the vault command shows it and takes it back", func(t *testing.T) {
		out, err := w.vault.CLI(t.Context(), "read", "-format=json", w.mount+"/creds/ci")
		require.NoError(t, err)
		var secret api.Secret
		require.NoError(t, json.Unmarshal([]byte(out), &secret))
		require.Len(t, w.Users(), 1)
		_, err = w.vault.CLI(t.Context(), "lease", "revoke", "-sync", secret.LeaseID)
		require.NoError(t, err)
		require.Empty(t, w.Users())
	})

	t.Run("when the lease ends by itself the user goes too", func(t *testing.T) {
		w.writeRole("short", map[string]any{"ttl": "2s", "max_ttl": "2s"})
		w.read("creds/short")
		require.Len(t, w.Users(), 1)
		require.Eventually(t, func() bool { return len(w.Users()) == 0 }, 20*time.Second, 50*time.Millisecond)
	})

	t.Run("in a pool of e-mail addresses the user is Cognito's own id, and goes by it", func(t *testing.T) {
		pool := w.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
		client, secret := w.MakeClient(pool)
		w.writeRole("by-mail", map[string]any{
			"user_pool_id": pool, "app_client_id": client, "app_client_secret": secret, "groups": "testers", "dummy_email_domain": "example.com",
		})
		user := w.read("creds/by-mail")
		require.Equal(t, user.Data["sub"], user.Data["username"])
		require.NotEqual(t, user.Data["email"], user.Data["username"])
		w.revoke(user.LeaseID)
		require.Empty(t, w.Users())
	})

	t.Run("without tokens there is only the user", func(t *testing.T) {
		w.writeRole("plain", map[string]any{"issue_tokens": false, "app_client_id": "", "app_client_secret": ""})
		secret := w.read("creds/plain")
		require.NotContains(t, secret.Data, "access_token")
		require.NotEmpty(t, secret.Data["password"])
		w.revoke(secret.LeaseID)
	})

	t.Run("a policy of the older plugin's time is enough", func(t *testing.T) {
		require.NoError(t, w.Control.SetIAM(t.Context(), control.IAM{AllowedActions: []string{
			"cognito-idp:AdminCreateUser", "cognito-idp:AdminDeleteUser", "cognito-idp:AdminAddUserToGroup",
			"cognito-idp:AdminInitiateAuth", "cognito-idp:AdminRespondToAuthChallenge",
		}}))
		defer func() { require.NoError(t, w.Control.SetIAM(t.Context(), control.IAM{})) }()
		for range 2 {
			secret := w.read("creds/ci")
			require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, secret.Data["access_token"])["cognito:groups"])
			_, err := w.client.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
			require.NoError(t, err, "a renewal must not need a right that the older plugin did not need")
			w.revoke(secret.LeaseID)
		}
		require.Empty(t, w.Users())
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	renew := func(t *testing.T, leaseID string) (*api.Secret, error) {
		t.Helper()
		return w.client.Sys().RenewWithContext(t.Context(), leaseID, 0)
	}

	t.Run("a renewal gives the role's ttl as it is now", func(t *testing.T) {
		secret := w.read("creds/ci")
		w.writeRole("ci", map[string]any{"ttl": "7m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.Equal(t, 420, renewed.LeaseDuration)
	})

	t.Run("a renewal ends at the role's max_ttl", func(t *testing.T) {
		secret := w.read("creds/ci")
		w.writeRole("ci", map[string]any{"ttl": "2m", "max_ttl": "2m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.LessOrEqual(t, renewed.LeaseDuration, 120)
	})

	t.Run("a shorter lease is renewed as short", func(t *testing.T) {
		w.writeRole("ci", nil)
		secret := w.write("creds/ci", map[string]any{"ttl": "1m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.Equal(t, 60, renewed.LeaseDuration)
	})

	for name, c := range map[string]struct {
		prepare func(secret *api.Secret)
		says    string
	}{
		"without its role": {func(*api.Secret) { w.delete("roles/gone") }, `role "gone" is gone`},
		"with a role of the other type": {func(*api.Secret) {
			w.writeMachineRole("gone", map[string]any{"credential_type": "client_credentials_grant"})
		}, `role "gone" no longer issues users`},
		"of a user that was deleted": {func(secret *api.Secret) {
			_, err := w.Admin.AdminDeleteUser(w.Context(), &cip.AdminDeleteUserInput{UserPoolId: &w.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(w, err)
		}, "is gone from user pool"},
		"of a user that was disabled": {func(secret *api.Secret) {
			_, err := w.Admin.AdminDisableUser(w.Context(), &cip.AdminDisableUserInput{UserPoolId: &w.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(w, err)
		}, "is disabled"},
	} {
		t.Run("a renewal "+name+" fails plainly", func(t *testing.T) {
			w.writeRole("gone", map[string]any{"credential_type": "user"})
			secret := w.read("creds/gone")
			c.prepare(secret)
			_, err := renew(t, secret.LeaseID)
			status, text := w.refusal(err)
			require.Equal(t, 400, status)
			require.Contains(t, text, c.says)
			require.NotRegexp(t, `0xc[0-9a-f]{9}`, text, "Vault must not have printed a Go pointer")
		})
	}

	t.Run("a Cognito that is down does not cost anybody the lease", func(t *testing.T) {
		secret := w.read("creds/ci")
		w.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultError, Code: "InternalErrorException"})
		_, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(w *world, secret *api.Secret){
		"when nothing has changed": func(*world, *api.Secret) {},
		"without its role":         func(w *world, _ *api.Secret) { w.delete("roles/ci") },
		"when the role moved on": func(w *world, _ *api.Secret) {
			w.writeRole("ci", map[string]any{"user_pool_id": "eu-west-1_Elsewhere"})
		},
		"when the role is a machine": func(w *world, _ *api.Secret) {
			w.writeMachineRole("ci", map[string]any{"credential_type": "client_credentials_grant"})
		},
		"when the user is gone": func(w *world, secret *api.Secret) {
			_, err := w.Admin.AdminDeleteUser(w.Context(), &cip.AdminDeleteUserInput{UserPoolId: &w.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(w, err)
		},
		"when the pool is gone": func(w *world, _ *api.Secret) {
			_, err := w.Admin.DeleteUserPool(w.Context(), &cip.DeleteUserPoolInput{UserPoolId: &w.Seed.UserPoolID})
			require.NoError(w, err)
		},
		"after an answer that got lost": func(w *world, _ *api.Secret) {
			w.configure(map[string]any{"max_retries": 1})
			w.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultCutAfter, Times: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			secret := w.read("creds/ci")
			prepare(w, secret)
			w.revoke(secret.LeaseID)
			require.Empty(t, w.Users())
			_, err := w.client.Sys().LookupWithContext(t.Context(), secret.LeaseID)
			require.Error(t, err, "the lease must be gone as well")
		})
	}

	t.Run("when Cognito is down at the lease's end it is tried again", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.writeRole("ci", map[string]any{"ttl": "2s", "max_ttl": "2s"})
		w.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException", Times: 1})
		w.read("creds/ci")
		w.awaitCall("AdminDeleteUser")
		require.Len(t, w.Users(), 1)
		require.Eventually(t, func() bool { return len(w.Users()) == 0 }, time.Minute, 50*time.Millisecond)
	})

	t.Run("a revocation that cannot be done says why", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		secret := w.read("creds/ci")
		w.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
		_, text := w.refusal(w.client.Sys().RevokeWithContext(t.Context(), secret.LeaseID))
		require.Contains(t, text, "deleting user")
		require.Contains(t, text, "InternalErrorException")
		w.Heal()
		w.revoke(secret.LeaseID)
		require.Empty(t, w.Users())
	})
}

func TestHundredReadsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(map[string]any{"max_retries": 8, "request_timeout": "30s"}) // the machine is busy with other tests
	const readers = 100
	names := make(chan string, readers)
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			secret, err := w.tryRead("creds/ci")
			if err != nil {
				names <- fmt.Sprint("error: ", err)
				return
			}
			names <- secret.Data["username"].(string)
		})
	}
	group.Wait()
	close(names)
	distinct := map[string]bool{}
	for name := range names {
		require.NotContains(t, name, "error")
		distinct[name] = true
	}
	require.Len(t, distinct, readers)
	require.Len(t, w.Users(), readers)

	_, err := w.vault.CLI(t.Context(), "lease", "revoke", "-sync", "-prefix", w.mount+"/creds")
	require.NoError(t, err)
	require.Empty(t, w.Users())
}
