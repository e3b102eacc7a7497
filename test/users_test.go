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
	e := newEnv(t)
	e.writeRole("mail", map[string]any{"dummy_email_domain": "example.com"})

	t.Run("a read creates a user whose tokens show its groups", func(t *testing.T) {
		secret := e.read("creds/ci")
		data := secret.Data
		require.True(t, strings.HasPrefix(data["username"].(string), "vault-ci-"), data["username"])
		require.Len(t, data["password"], 32)
		require.Equal(t, e.Seed.UserPoolID, data["user_pool_id"])
		require.Equal(t, emulatortest.Region, data["region"])
		require.Equal(t, e.Seed.AppClientID, data["app_client_id"])
		require.Equal(t, "Bearer", data["token_type"])
		require.Equal(t, json.Number("3600"), data["expires_in"])
		require.NotContains(t, data, "email")
		for _, name := range []string{"access_token", "id_token"} {
			claims := claimsOf(t, data[name])
			require.Equal(t, data["sub"], claims["sub"])
			require.ElementsMatch(t, []any{"testers", "admins"}, claims["cognito:groups"])
		}
		e.revoke(secret.LeaseID)
	})

	t.Run("the returned password signs the user in", func(t *testing.T) {
		e.writeRole("public", map[string]any{"app_client_id": e.Seed.PublicClientID, "app_client_secret": ""})
		secret := e.read("creds/public")
		out, err := e.Admin.AdminInitiateAuth(t.Context(), &cip.AdminInitiateAuthInput{
			UserPoolId: &e.Seed.UserPoolID, ClientId: &e.Seed.PublicClientID, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
			AuthParameters: map[string]string{"USERNAME": secret.Data["username"].(string), "PASSWORD": secret.Data["password"].(string)},
		})
		require.NoError(t, err)
		require.NotNil(t, out.AuthenticationResult)
		e.revoke(secret.LeaseID)
	})

	t.Run("the lease has the ttl of the role, and a read can shorten it", func(t *testing.T) {
		secret := e.read("creds/ci")
		require.Equal(t, 300, secret.LeaseDuration)
		require.True(t, secret.Renewable)
		e.revoke(secret.LeaseID)

		secret = e.write("creds/ci", map[string]any{"ttl": "1m"})
		require.Equal(t, 60, secret.LeaseDuration)
		e.revoke(secret.LeaseID)

		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/creds/ci", map[string]any{"ttl": "1h"})
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "ttl 1h is not allowed")
	})

	t.Run("with dummy_email_domain the username is a verified e-mail address", func(t *testing.T) {
		secret := e.read("creds/mail")
		require.Equal(t, secret.Data["username"], secret.Data["email"])
		require.True(t, strings.HasSuffix(secret.Data["email"].(string), "@example.com"))
		require.Equal(t, true, claimsOf(t, secret.Data["id_token"])["email_verified"])
		e.revoke(secret.LeaseID)
	})

	t.Run("a revocation deletes the user", func(t *testing.T) {
		secret := e.read("creds/ci")
		require.Len(t, e.Users(), 1)
		e.revoke(secret.LeaseID)
		require.Empty(t, e.Users())
	})

	t.Run("the command line reads and revokes a user", func(t *testing.T) {
		out, err := e.vault.CLI(t.Context(), "read", "-format=json", e.mount+"/creds/ci")
		require.NoError(t, err)
		var secret api.Secret
		require.NoError(t, json.Unmarshal([]byte(out), &secret))
		require.Len(t, e.Users(), 1)
		_, err = e.vault.CLI(t.Context(), "lease", "revoke", "-sync", secret.LeaseID)
		require.NoError(t, err)
		require.Empty(t, e.Users())
	})

	t.Run("the expiry of the lease deletes the user", func(t *testing.T) {
		e.writeRole("short", map[string]any{"ttl": "2s", "max_ttl": "2s"})
		e.read("creds/short")
		require.Len(t, e.Users(), 1)
		require.Eventually(t, func() bool { return len(e.Users()) == 0 }, 20*time.Second, 50*time.Millisecond)
	})

	t.Run("in a pool of e-mail addresses the username is the sub, and revocation deletes it", func(t *testing.T) {
		pool := e.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
		client, secret := e.MakeClient(pool)
		e.writeRole("by-mail", map[string]any{
			"user_pool_id": pool, "app_client_id": client, "app_client_secret": secret, "groups": "testers", "dummy_email_domain": "example.com",
		})
		user := e.read("creds/by-mail")
		require.Equal(t, user.Data["sub"], user.Data["username"])
		require.NotEqual(t, user.Data["email"], user.Data["username"])
		e.revoke(user.LeaseID)
		require.Empty(t, e.Users())
	})

	t.Run("with issue_tokens=false a read returns a user without tokens", func(t *testing.T) {
		e.writeRole("plain", map[string]any{"issue_tokens": false, "app_client_id": "", "app_client_secret": ""})
		secret := e.read("creds/plain")
		require.NotContains(t, secret.Data, "access_token")
		require.NotEmpty(t, secret.Data["password"])
		e.revoke(secret.LeaseID)
	})

	t.Run("the IAM policy of the 2021 plugin is sufficient", func(t *testing.T) {
		require.NoError(t, e.Control.SetIAM(t.Context(), control.IAM{AllowedActions: []string{
			"cognito-idp:AdminCreateUser", "cognito-idp:AdminDeleteUser", "cognito-idp:AdminAddUserToGroup",
			"cognito-idp:AdminInitiateAuth", "cognito-idp:AdminRespondToAuthChallenge",
		}}))
		defer func() { require.NoError(t, e.Control.SetIAM(t.Context(), control.IAM{})) }()
		for range 2 {
			secret := e.read("creds/ci")
			require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, secret.Data["access_token"])["cognito:groups"])
			_, err := e.client.Sys().RenewWithContext(t.Context(), secret.LeaseID, 0)
			require.NoError(t, err, "a renewal must not need more permissions than the 2021 plugin")
			e.revoke(secret.LeaseID)
		}
		require.Empty(t, e.Users())
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	renew := func(t *testing.T, leaseID string) (*api.Secret, error) {
		t.Helper()
		return e.client.Sys().RenewWithContext(t.Context(), leaseID, 0)
	}

	t.Run("a renewal uses the current ttl of the role", func(t *testing.T) {
		secret := e.read("creds/ci")
		e.writeRole("ci", map[string]any{"ttl": "7m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.Equal(t, 420, renewed.LeaseDuration)
	})

	t.Run("a renewal does not exceed the current max_ttl of the role", func(t *testing.T) {
		secret := e.read("creds/ci")
		e.writeRole("ci", map[string]any{"ttl": "2m", "max_ttl": "2m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.LessOrEqual(t, renewed.LeaseDuration, 120)
	})

	t.Run("a shortened lease is renewed by its own ttl", func(t *testing.T) {
		e.writeRole("ci", nil)
		secret := e.write("creds/ci", map[string]any{"ttl": "1m"})
		renewed, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
		require.Equal(t, 60, renewed.LeaseDuration)
	})

	for name, c := range map[string]struct {
		prepare func(secret *api.Secret)
		says    string
	}{
		"without its role": {func(*api.Secret) { e.delete("roles/gone") }, `role "gone" is gone`},
		"with a role of the other type": {func(*api.Secret) {
			e.writeMachineRole("gone", map[string]any{"credential_type": "client_credentials_grant"})
		}, `role "gone" has credential_type "client_credentials_grant" by now`},
		"of a user that was deleted": {func(secret *api.Secret) {
			_, err := e.Admin.AdminDeleteUser(e.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(e, err)
		}, "is gone from user pool"},
		"of a user that was disabled": {func(secret *api.Secret) {
			_, err := e.Admin.AdminDisableUser(e.Context(), &cip.AdminDisableUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(e, err)
		}, "is disabled"},
	} {
		t.Run("a renewal "+name+" fails with a 400 that says why", func(t *testing.T) {
			e.writeRole("gone", map[string]any{"credential_type": "user"})
			secret := e.read("creds/gone")
			c.prepare(secret)
			_, err := renew(t, secret.LeaseID)
			status, text := e.refusal(err)
			require.Equal(t, 400, status)
			require.Contains(t, text, c.says)
			require.NotRegexp(t, `0xc[0-9a-f]{9}`, text, "the error must not be a Go pointer")
		})
	}

	t.Run("a renewal succeeds while Cognito is down", func(t *testing.T) {
		secret := e.read("creds/ci")
		e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultError, Code: "InternalErrorException"})
		_, err := renew(t, secret.LeaseID)
		require.NoError(t, err)
	})
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(e *env, secret *api.Secret){
		"of an unchanged role":       func(*env, *api.Secret) {},
		"after its role was deleted": func(e *env, _ *api.Secret) { e.delete("roles/ci") },
		"after the role was moved to another pool": func(e *env, _ *api.Secret) {
			e.writeRole("ci", map[string]any{"user_pool_id": "eu-west-1_Elsewhere"})
		},
		"after the role became one for tokens": func(e *env, _ *api.Secret) {
			e.writeMachineRole("ci", map[string]any{"credential_type": "client_credentials_grant"})
		},
		"of a user that was deleted": func(e *env, secret *api.Secret) {
			_, err := e.Admin.AdminDeleteUser(e.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(secret.Data["username"].(string))})
			require.NoError(e, err)
		},
		"of a pool that was deleted": func(e *env, _ *api.Secret) {
			_, err := e.Admin.DeleteUserPool(e.Context(), &cip.DeleteUserPoolInput{UserPoolId: &e.Seed.UserPoolID})
			require.NoError(e, err)
		},
		"with a lost answer": func(e *env, _ *api.Secret) {
			e.configure(map[string]any{"max_retries": 1})
			e.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultCutAfter, Times: 1})
		},
	} {
		t.Run("a revocation "+name+" ends user and lease", func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			secret := e.read("creds/ci")
			prepare(e, secret)
			e.revoke(secret.LeaseID)
			require.Empty(t, e.Users())
			_, err := e.client.Sys().LookupWithContext(t.Context(), secret.LeaseID)
			require.Error(t, err, "the lease must be gone, too")
		})
	}

	t.Run("a revocation that fails at expiry is retried", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeRole("ci", map[string]any{"ttl": "2s", "max_ttl": "2s"})
		e.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException", Times: 1})
		e.read("creds/ci")
		e.awaitCall("AdminDeleteUser")
		require.Len(t, e.Users(), 1)
		require.Eventually(t, func() bool { return len(e.Users()) == 0 }, time.Minute, 50*time.Millisecond)
	})

	t.Run("a failed revocation says why, and the next one succeeds", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		secret := e.read("creds/ci")
		e.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
		_, text := e.refusal(e.client.Sys().RevokeWithContext(t.Context(), secret.LeaseID))
		require.Contains(t, text, "deleting user")
		require.Contains(t, text, "InternalErrorException")
		e.Heal()
		e.revoke(secret.LeaseID)
		require.Empty(t, e.Users())
	})
}

func TestConcurrentReads(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.configure(map[string]any{"max_retries": 8, "request_timeout": "30s"}) // the machine is busy with other tests
	const readers = 100
	names := make(chan string, readers)
	var group sync.WaitGroup
	for range readers {
		group.Go(func() {
			secret, err := e.tryRead("creds/ci")
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
	require.Len(t, e.Users(), readers)

	_, err := e.vault.CLI(t.Context(), "lease", "revoke", "-sync", "-prefix", e.mount+"/creds")
	require.NoError(t, err)
	require.Empty(t, e.Users())
}

// TestIssuedTable lists what was issued as an operator does.
func TestIssuedTable(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	user := e.read("creds/ci")
	table, err := e.vault.CLI(t.Context(), "list", "-detailed", e.mount+"/issued/ci")
	require.NoError(t, err)
	for _, column := range []string{"created", "display_name", "entity_id", "expires", "state", "username"} {
		require.Regexp(t, `(?m)^Keys\s.*\b`+column+`\b`, table)
	}
	require.Regexp(t, `(?m)^\d{8}-\d{4}-\S+\s.*\bdelivered\b.*`+user.Data["username"].(string), table, "one user is one line")
	require.NotContains(t, table, user.Data["password"])
	roles, err := e.vault.CLI(t.Context(), "list", "-detailed", e.mount+"/issued")
	require.NoError(t, err)
	require.Regexp(t, `(?m)^ci\s+1\s*$`, roles)
}
