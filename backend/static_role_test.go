// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const (
	staticUser      = "ann"
	presentPassword = "hush-Present-1"
)

// staticEnv is a mount that owns things at a Cognito, with a clock that stands
// still unless it is told otherwise.
type staticEnv struct {
	*pool
	mu   sync.Mutex
	time time.Time
	// step is how far the clock goes on with every look at it.
	step time.Duration
	// client is a confidential app client that a user can sign in through in
	// every way.
	client, clientSecret string
}

func newStaticEnv(t *testing.T) *staticEnv {
	t.Helper()
	k := &staticEnv{time: time.Now().Truncate(time.Second)}
	k.pool = newPoolOn(t, backend.Options{Now: k.now})
	k.WriteOK("config", map[string]any{"sts_endpoint": k.Seed.Domain})
	k.WriteOK("roles/ci", map[string]any{"tokens_for": "any"})
	k.addUser(staticUser)
	out, err := k.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &k.Seed.UserPoolID, ClientName: aws.String("users"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{
			types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowUserPasswordAuth,
		},
	})
	require.NoError(t, err)
	k.client, k.clientSecret = *out.UserPoolClient.ClientId, *out.UserPoolClient.ClientSecret
	return k
}

func (k *staticEnv) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.time = k.time.Add(k.step)
	return k.time
}

func (k *staticEnv) setStep(step time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.step = step
}

func (k *staticEnv) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.time = k.time.Add(d)
}

func (k *staticEnv) addUser(username string) {
	k.T.Helper()
	_, err := k.Admin.AdminCreateUser(k.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &k.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("hush-First-1"),
	})
	require.NoError(k.T, err)
	k.setPassword(username, presentPassword)
}

func (k *staticEnv) setPassword(username, password string) {
	k.T.Helper()
	_, err := k.Admin.AdminSetUserPassword(k.T.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &k.Seed.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	require.NoError(k.T, err)
}

// kinds are the static roles that there are, by what tells them apart.
func (k *staticEnv) kinds() map[string]map[string]any {
	user := map[string]any{
		"credential_type": "user_password", "user_pool_id": k.Seed.UserPoolID, "region": emulatortest.Region, "username": staticUser,
		"app_client_id": k.client, "app_client_secret": k.clientSecret, "rotation_period": "1h",
	}
	own := maps.Clone(user)
	own["self_managed"], own["password"] = true, presentPassword
	return map[string]map[string]any{
		"a password":              user,
		"a self-managed password": own,
		"a secret": {
			"credential_type": "app_client_secret", "user_pool_id": k.Seed.UserPoolID, "region": emulatortest.Region,
			"app_client_id": k.Seed.M2MClientID, "cognito_pool_domain": k.Seed.Domain, "rotation_period": "1h",
		},
	}
}

// eachKind runs a test for every kind of static role.
func eachKind(t *testing.T, test func(t *testing.T, k *staticEnv, role map[string]any)) {
	t.Helper()
	for _, kind := range []string{"a password", "a self-managed password", "a secret"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			k := newStaticEnv(t)
			test(t, k, k.kinds()[kind])
		})
	}
}

// value is what static-creds hands out.
func (k *staticEnv) value() string {
	k.T.Helper()
	data := k.Read("static-creds/x")
	if password, ok := data["password"].(string); ok {
		return password
	}
	return data["app_client_secret"].(string)
}

// works tells whether Cognito accepts a value.
func (k *staticEnv) works(role map[string]any, value string) bool {
	k.T.Helper()
	name, data := "tokens/ci", map[string]any{"username": staticUser, "password": value}
	if role["credential_type"] == "app_client_secret" {
		k.WriteOK("roles/probe", machineRole(map[string]any{
			"app_client_id": k.Seed.M2MClientID, "app_client_secret": value, "cognito_pool_domain": k.Seed.Domain, "cache_tokens": false,
		}))
		response, err := k.Request(k.T.Context(), logical.ReadOperation, "creds/probe", nil)
		return err == nil && !response.IsError()
	}
	response, err := k.Request(k.T.Context(), logical.UpdateOperation, name, data)
	return err == nil && !response.IsError()
}

func (k *staticEnv) requireEqualAtBothEnds(role map[string]any) {
	k.T.Helper()
	require.True(k.T, k.works(role, k.value()), "what Vault hands out must be what Cognito accepts")
}

func (k *staticEnv) tick() {
	k.T.Helper()
	k.OK(logical.RollbackOperation, "", nil)
}

func TestStaticRole(t *testing.T) {
	t.Run("a new one rotates at once, then when it is due, and on demand", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/X", role)
			first := k.value()
			require.NotEqual(t, presentPassword, first)
			k.requireEqualAtBothEnds(role)

			k.pass(59 * time.Minute)
			k.tick()
			require.Equal(t, first, k.value())
			k.pass(time.Minute)
			require.EqualValues(t, 1, k.Read("static-creds/x")["ttl"], "no full ttl before the rotation has happened")
			k.tick()
			second := k.value()
			require.NotEqual(t, first, second)
			k.requireEqualAtBothEnds(role)

			k.OK(logical.UpdateOperation, "rotate-role/x", nil)
			require.NotEqual(t, second, k.value())
			k.requireEqualAtBothEnds(role)
		})
	})

	t.Run("a read shows the schedule and no secret", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/x", role)
			shown := k.Read("static-roles/x")
			require.Equal(t, k.now().UTC().Format(time.RFC3339), shown["last_vault_rotation"])
			require.Equal(t, k.now().Add(time.Hour).UTC().Format(time.RFC3339), shown["next_vault_rotation"])
			require.Equal(t, "", shown["last_error"])
			for _, secret := range []string{k.value(), k.clientSecret, presentPassword} {
				require.NotContains(t, fmt.Sprint(shown), secret)
			}
			creds := k.Read("static-creds/x")
			require.Equal(t, int64(3600), creds["ttl"])
			require.Equal(t, int64(3600), creds["rotation_period"])
			require.Equal(t, shown["last_vault_rotation"], creds["last_vault_rotation"])
		})
	})

	t.Run("the import rotation can be left out with the present value", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			role["skip_import_rotation"] = true
			present := map[string]any{"password": presentPassword}
			if role["credential_type"] == "app_client_secret" {
				present = map[string]any{"app_client_secret": k.Seed.M2MClientSecret}
			}
			delete(role, "password")
			require.Contains(t, k.WriteRefused("static-roles/x", role), "is required")
			maps.Copy(role, present)
			k.WriteOK("static-roles/x", role)
			require.Contains(t, []string{presentPassword, k.Seed.M2MClientSecret}, k.value())
			k.pass(time.Hour)
			k.tick()
			require.NotContains(t, []string{presentPassword, k.Seed.M2MClientSecret}, k.value())
			k.requireEqualAtBothEnds(role)
		})
	})

	t.Run("no other static role can own the same", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/x", role)
			value := k.value()
			require.Contains(t, k.WriteRefused("static-roles/y", role), `static role "x" owns the same`)
			require.Nil(t, k.Read("static-roles/y"))
			require.Equal(t, value, k.value())
		})
	})

	t.Run("one that another node deleted owns nothing", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		require.NoError(t, k.storage.Delete(t.Context(), "static-roles/x"))
		k.Backend.InvalidateKey(t.Context(), "static-roles/x")
		k.WriteOK("static-roles/y", role)
	})

	t.Run("a deleted one leaves things as they are, and says so", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/x", role)
			value := k.value()
			response := k.OK(logical.DeleteOperation, "static-roles/x", nil)
			require.Contains(t, strings.Join(response.Warnings, ""), "stays as it is")
			require.True(t, k.works(role, value))
			k.Refused(logical.ReadOperation, "static-creds/x", nil)
			k.pass(2 * time.Hour)
			k.tick()
			require.True(t, k.works(role, value))
		})
	})

	t.Run("a changed schedule counts from now", func(t *testing.T) {
		k := newStaticEnv(t)
		k.WriteOK("static-roles/x", k.kinds()["a password"])
		k.pass(30 * time.Minute)
		k.WriteOK("static-roles/x", map[string]any{"rotation_period": "2h"})
		require.Equal(t, int64(7200), k.Read("static-creds/x")["ttl"])
		k.OK(logical.PatchOperation, "static-roles/x", map[string]any{"rotation_period": nil, "rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
		creds := k.Read("static-creds/x")
		require.Equal(t, "0 3 * * *", creds["rotation_schedule"])
		require.Equal(t, int64(24*3600), creds["rotation_period"])
		require.NotZero(t, creds["ttl"])
	})

	t.Run("a missed window is waited for again", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		delete(role, "rotation_period")
		role["rotation_schedule"], role["rotation_window"] = "0 3 * * *", "1h"
		k.WriteOK("static-roles/x", role)
		first := k.value()
		next, err := time.Parse(time.RFC3339, k.Read("static-roles/x")["next_vault_rotation"].(string))
		require.NoError(t, err)
		k.pass(next.Sub(k.now()) + 2*time.Hour)
		k.tick()
		require.Equal(t, first, k.value(), "outside its window it must not rotate")
		k.pass(22*time.Hour + 30*time.Minute)
		k.tick()
		require.NotEqual(t, first, k.value())
	})

	t.Run("roles in storage are found by a new process", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/x", role)
			first := k.value()
			k.pass(3 * time.Hour)
			k.restart()
			require.Equal(t, first, k.value())
			k.tick()
			require.NotEqual(t, first, k.value())
			k.requireEqualAtBothEnds(role)
		})
	})

	t.Run("a machine's role follows the rotations of its static role", func(t *testing.T) {
		k := newStaticEnv(t)
		k.WriteOK("static-roles/x", k.kinds()["a secret"])
		k.WriteOK("roles/m", map[string]any{"static_role": "x", "cognito_pool_domain": k.Seed.Domain})
		first := k.Read("creds/m")["access_token"]
		require.Equal(t, first, k.Read("creds/m")["access_token"])
		for range 3 {
			k.OK(logical.UpdateOperation, "rotate-role/x", nil)
			require.NotEqual(t, first, k.Read("creds/m")["access_token"])
		}
	})

	t.Run("the secret before the newest lives until the next rotation", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a secret"]
		k.WriteOK("static-roles/x", role)
		first := k.value()
		require.True(t, k.works(role, k.Seed.M2MClientSecret))
		k.OK(logical.UpdateOperation, "rotate-role/x", nil)
		require.True(t, k.works(role, first))
		require.False(t, k.works(role, k.Seed.M2MClientSecret))
	})

	t.Run("tokens of a user come from memory while they are young", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		role["issue_tokens"] = true
		k.WriteOK("static-roles/x", role)
		first := k.Read("static-creds/x")
		k.pass(30 * time.Minute)
		second := k.Read("static-creds/x")
		require.Equal(t, first["access_token"], second["access_token"])
		require.Equal(t, int64(1800), second["expires_in"])
		k.OK(logical.UpdateOperation, "rotate-role/x", nil)
		third := k.Read("static-creds/x")
		require.NotEqual(t, first["access_token"], third["access_token"])
		client, secret := k.MakeClient(k.Seed.UserPoolID)
		k.WriteOK("static-roles/x", map[string]any{"app_client_id": client, "app_client_secret": secret})
		fourth := k.Read("static-creds/x")
		require.NotEqual(t, third["access_token"], fourth["access_token"], "it is of another app client")
		k.WriteOK("config", map[string]any{"max_retries": 1})
		require.NotEqual(t, fourth["access_token"], k.Read("static-creds/x")["access_token"])
	})

	t.Run("tokens of a user that were on their way when the config changed are not kept", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		role["issue_tokens"] = true
		k.WriteOK("static-roles/x", role)
		require.NoError(t, k.Control.ResetCalls(t.Context()))
		require.NoError(t, k.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminInitiateAuth": 300}}))
		var late map[string]any
		var group sync.WaitGroup
		group.Go(func() { late = k.Read("static-creds/x") })
		require.Eventually(t, func() bool { return len(k.Calls().Of("AdminInitiateAuth")) == 1 }, 5*time.Second, time.Millisecond)
		k.WriteOK("config", map[string]any{"max_retries": 1})
		group.Wait()
		require.NotEmpty(t, late["access_token"])
		require.NotEqual(t, late["access_token"], k.Read("static-creds/x")["access_token"])
	})

	t.Run("nothing is rotated any more before an unmount", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		before := k.value()
		k.pass(2 * time.Hour)
		k.System.TaintedVal = true
		k.OK(logical.RollbackOperation, "", nil)
		require.Equal(t, before, k.value())
		require.True(t, k.works(role, before))
	})

	t.Run("a rotation can end the sessions of the old password", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		role["sign_out_on_rotation"] = true
		k.WriteOK("static-roles/x", role)
		require.Len(t, k.Calls().Of("AdminUserGlobalSignOut"), 1)
	})
}

// restart is a new process on the same storage.
func (k *staticEnv) restart() {
	k.T.Helper()
	k.pool.Mount = backendtest.NewOn(k.T, k.storage, backend.Options{Now: k.now})
}

func TestStaticRoleRefuses(t *testing.T) {
	base := func(k *staticEnv, kind string, change map[string]any) map[string]any {
		role := maps.Clone(k.kinds()[kind])
		maps.Copy(role, change)
		return role
	}
	for name, c := range map[string]struct {
		kind   string
		change map[string]any
		says   string
	}{
		"an unknown type":               {"a password", map[string]any{"credential_type": "root"}, `credential_type "root"`},
		"no pool":                       {"a password", map[string]any{"user_pool_id": ""}, "user_pool_id is required"},
		"no region":                     {"a password", map[string]any{"user_pool_id": "local_x", "region": ""}, "region is required"},
		"no user":                       {"a password", map[string]any{"username": ""}, "username is required"},
		"a user that is not there":      {"a password", map[string]any{"username": "nobody"}, `"nobody"`},
		"no schedule":                   {"a password", map[string]any{"rotation_period": 0}, "rotation_period is required"},
		"a schedule too fast":           {"a password", map[string]any{"rotation_period": 59}, `rotation_period "59s"`},
		"two schedules":                 {"a password", map[string]any{"rotation_schedule": "0 3 * * *"}, "mutually exclusive"},
		"a schedule that is none":       {"a password", map[string]any{"rotation_period": 0, "rotation_schedule": "at noon"}, `rotation_schedule "at noon"`},
		"a schedule that never comes":   {"a password", map[string]any{"rotation_period": 0, "rotation_schedule": "0 0 30 2 *"}, "rotation_schedule"},
		"a window without schedule":     {"a password", map[string]any{"rotation_window": "1h"}, "rotation_window"},
		"a window too short":            {"a password", map[string]any{"rotation_period": 0, "rotation_schedule": "0 3 * * *", "rotation_window": "1m"}, `rotation_window "1m"`},
		"tokens without a client":       {"a password", map[string]any{"app_client_id": "", "app_client_secret": "", "issue_tokens": true}, "app_client_id is required"},
		"self-managed without a client": {"a self-managed password", map[string]any{"app_client_id": "", "app_client_secret": ""}, "app_client_id is required"},
		"self-managed, no password":     {"a self-managed password", map[string]any{"password": ""}, "password is required"},
		"self-managed, wrong password":  {"a self-managed password", map[string]any{"password": "hush-Wrong-1"}, "Incorrect username or password"},
		"a username for a secret":       {"a secret", map[string]any{"username": "x"}, "username is not allowed"},
		"a domain for a password":       {"a password", map[string]any{"cognito_pool_domain": "x.example.com"}, "cognito_pool_domain is not allowed"},
		"a secret without a client":     {"a secret", map[string]any{"app_client_id": ""}, "app_client_id is required"},
		"a client that is not there":    {"a secret", map[string]any{"app_client_id": "nobody"}, `"nobody"`},
		"a policy that is not there":    {"a password", map[string]any{"password_policy": "nobodys"}, "password_policy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newStaticEnv(t)
			text := k.WriteRefused("static-roles/x", base(k, c.kind, c.change))
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "hush")
			require.Nil(t, k.Read("static-roles/x"))
			// The user's password is still what it was.
			require.True(t, k.works(map[string]any{}, presentPassword))
		})
	}

	t.Run("a second secret that is not ours, and deletes nothing", func(t *testing.T) {
		k := newStaticEnv(t)
		_, err := k.Admin.AddUserPoolClientSecret(t.Context(), &cip.AddUserPoolClientSecretInput{UserPoolId: &k.Seed.UserPoolID, ClientId: &k.Seed.M2MClientID})
		require.NoError(t, err)
		text := k.WriteRefused("static-roles/x", k.kinds()["a secret"])
		require.Contains(t, text, "has 2 secrets")
		require.Empty(t, k.Calls().Of("DeleteUserPoolClientSecret"))
	})

	t.Run("a foreign secret that came later, by its id", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a secret"]
		k.WriteOK("static-roles/x", role)
		value := k.value()
		secrets, err := k.Admin.ListUserPoolClientSecrets(t.Context(), &cip.ListUserPoolClientSecretsInput{UserPoolId: &k.Seed.UserPoolID, ClientId: &k.Seed.M2MClientID})
		require.NoError(t, err)
		k.Fault(control.Fault{
			Operation: "ListUserPoolClientSecrets", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
			Body: fmt.Sprintf(`{"ClientSecrets":[{"ClientSecretId":%q},{"ClientSecretId":"client--1"}]}`, *secrets.ClientSecrets[0].ClientSecretId),
		})
		require.Contains(t, k.Refused(logical.UpdateOperation, "rotate-role/x", nil), `"client--1"`)
		require.Empty(t, k.Calls().Of("DeleteUserPoolClientSecret"))
		require.True(t, k.works(role, value))
	})
}

func TestStaticRotationRefusals(t *testing.T) {
	t.Run("a password that the pool refuses is replaced by another, and not for ever", func(t *testing.T) {
		k := newStaticEnv(t)
		k.WriteOK("static-roles/x", k.kinds()["a password"])
		first := k.value()
		require.NoError(t, k.Control.ResetCalls(t.Context()))
		k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "InvalidPasswordException", Message: "no"})
		require.Contains(t, k.Refused(logical.UpdateOperation, "rotate-role/x", nil), "InvalidPasswordException")
		require.Len(t, k.Calls().Of("AdminSetUserPassword"), 3)
		require.Equal(t, first, k.value())
		require.EqualValues(t, 3600, k.Read("static-creds/x")["ttl"], "the next attempt is the scheduled one")
		require.Contains(t, k.Read("static-roles/x")["last_error"], "InvalidPasswordException")
		k.Heal()
		k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "PasswordHistoryPolicyViolationException", Times: 1})
		k.OK(logical.UpdateOperation, "rotate-role/x", nil)
		require.NotEqual(t, first, k.value())
		k.requireEqualAtBothEnds(k.kinds()["a password"])
	})

	t.Run("a password that breaks Cognito's own pattern leaves nothing behind once the policy is corrected", func(t *testing.T) {
		k := newStaticEnv(t)
		k.Contract.AllowInvalidRequests()
		space := ""
		k.System.SetPasswordPolicy("spaced", func() (string, error) { return "hush-" + space + rand.Text() + "-1a", nil })
		role := k.kinds()["a password"]
		role["password_policy"] = "spaced"
		k.WriteOK("static-roles/x", role)
		space = " "
		require.Contains(t, k.Refused(logical.UpdateOperation, "rotate-role/x", nil), "InvalidParameterException")
		k.requireEqualAtBothEnds(role)
		space = ""
		k.OK(logical.UpdateOperation, "rotate-role/x", nil)
		k.requireEqualAtBothEnds(role)
	})

	t.Run("a failing role backs off and holds up no other", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		k.WriteOK("static-roles/m", k.kinds()["a secret"])
		secret := k.Read("static-creds/m")["app_client_secret"]
		k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "InternalErrorException"})
		k.pass(time.Hour)
		require.NoError(t, k.Control.ResetCalls(t.Context()))
		for range 5 {
			k.tick()
		}
		require.Len(t, k.Calls().Of("AdminSetUserPassword"), 1, "no second try before the pause is over")
		require.NotEqual(t, secret, k.Read("static-creds/m")["app_client_secret"])
		k.Heal()
		k.pass(time.Minute)
		k.tick()
		k.requireEqualAtBothEnds(role)
		require.Equal(t, "", k.Read("static-roles/x")["last_error"])
	})

	t.Run("a federated user is refused", func(t *testing.T) {
		k := newStaticEnv(t)
		k.Fault(control.Fault{
			Operation: "AdminGetUser", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
			Body: `{"Username":"ann","UserStatus":"EXTERNAL_PROVIDER","Enabled":true,"UserAttributes":[]}`,
		})
		require.Contains(t, k.WriteRefused("static-roles/x", k.kinds()["a password"]), "another provider")
	})

	t.Run("a user with a temporary password manages itself from then on", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a self-managed password"]
		_, err := k.Admin.AdminSetUserPassword(t.Context(), &cip.AdminSetUserPasswordInput{
			UserPoolId: &k.Seed.UserPoolID, Username: aws.String(staticUser), Password: aws.String("hush-Temporary-1"), Permanent: false,
		})
		require.NoError(t, err)
		role["password"] = "hush-Temporary-1"
		k.WriteOK("static-roles/x", role)
		k.requireEqualAtBothEnds(role)
	})
}

// TestStaticRoleChangedWhileItRotates keeps Cognito from answering until the
// change is on its way.
func TestStaticRoleChangedWhileItRotates(t *testing.T) {
	for name, change := range map[string]func(k *staticEnv){
		"is deleted": func(k *staticEnv) { k.OK(logical.DeleteOperation, "static-roles/x", nil) },
		"is updated": func(k *staticEnv) { k.WriteOK("static-roles/x", map[string]any{"rotation_period": "2h"}) },
	} {
		t.Run("a role that "+name, func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()["a password"]
			k.WriteOK("static-roles/x", role)
			require.NoError(t, k.Control.ResetCalls(t.Context()))
			require.NoError(t, k.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{"AdminSetUserPassword": 300}}))
			var group sync.WaitGroup
			group.Go(func() { k.OK(logical.UpdateOperation, "rotate-role/x", nil) })
			require.Eventually(t, func() bool { return len(k.Calls().Of("AdminSetUserPassword")) == 1 }, 5*time.Second, time.Millisecond)
			group.Go(func() { change(k) })
			group.Wait()
			if name == "is deleted" {
				require.Nil(t, k.Read("static-roles/x"))
				k.tick()
				require.Nil(t, k.Read("static-roles/x"), "a rotation must not bring it back")
				return
			}
			k.requireEqualAtBothEnds(role)
			require.Equal(t, int64(7200), k.Read("static-roles/x")["rotation_period"])
		})
	}
}

func TestTokensOfAStaticUser(t *testing.T) {
	k := newStaticEnv(t)
	k.WriteOK("static-roles/x", k.kinds()["a password"])
	creds := k.Read("static-creds/x")
	tokens := k.OK(logical.UpdateOperation, "tokens/x", map[string]any{"username": creds["username"], "password": creds["password"]})
	require.NotEmpty(t, tokens.Data["access_token"])
	again := k.OK(logical.UpdateOperation, "tokens/x", map[string]any{"refresh_token": tokens.Data["refresh_token"]})
	require.NotEmpty(t, again.Data["access_token"])
	k.WriteOK("static-roles/m", k.kinds()["a secret"])
	require.Contains(t, k.Refused(logical.UpdateOperation, "tokens/m", map[string]any{"refresh_token": "x"}), `there is no role "m"`)
}

func TestOnboardingHalfWay(t *testing.T) {
	calls := map[string]string{
		"a password": "AdminSetUserPassword", "a self-managed password": "ChangePassword", "a secret": "AddUserPoolClientSecret",
	}
	t.Run("a first rotation whose answer got lost keeps the role: the new value may be in force", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			for name, kind := range k.kinds() {
				if fmt.Sprint(kind) == fmt.Sprint(role) {
					k.Fault(control.Fault{Operation: calls[name], Kind: control.FaultCutAfter})
				}
			}
			// Nor can a sign-in resolve it now.
			k.Fault(control.Fault{Operation: "InitiateAuth", Kind: control.FaultCutBefore, Skip: 1})
			_, err := k.Request(t.Context(), logical.CreateOperation, "static-roles/x", role)
			requireStatus(t, 502, err)
			require.NotNil(t, k.Read("static-roles/x"))
			k.Heal()
			k.pass(time.Hour)
			k.tick()
			k.requireEqualAtBothEnds(role)
		})
	})

	t.Run("one that was refused leaves no role, and nothing changed", func(t *testing.T) {
		k := newStaticEnv(t)
		k.Deny("cognito-idp:AdminSetUserPassword")
		_, err := k.Request(t.Context(), logical.CreateOperation, "static-roles/x", k.kinds()["a password"])
		requireStatus(t, 403, err)
		require.Nil(t, k.Read("static-roles/x"))
		require.True(t, k.works(map[string]any{}, presentPassword))
		k.Deny()
		k.WriteOK("static-roles/x", k.kinds()["a password"])
	})
}

func TestCheckOfStaticRoles(t *testing.T) {
	check := func(k *staticEnv) (string, map[string]map[string]any) {
		k.T.Helper()
		data := k.OK(logical.ReadOperation, "check/x", map[string]any{"kind": "static", "details": true}).Data
		findings := map[string]map[string]any{}
		for _, f := range data["details"].([]any) {
			findings[f.(map[string]any)["name"].(string)] = f.(map[string]any)
		}
		return data["status"].(string), findings
	}

	t.Run("all is well after a write", func(t *testing.T) {
		eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
			k.WriteOK("static-roles/x", role)
			value := k.value()
			status, findings := check(k)
			require.Equal(t, "ok", status, "%v", findings)
			require.Equal(t, value, k.value(), "a check changes nothing")
			require.NotContains(t, fmt.Sprint(findings), value)
		})
	})

	for name, c := range map[string]struct {
		kind    string
		breakIt func(k *staticEnv)
		finding string
		status  string
	}{
		"a user that is gone": {"a password", func(k *staticEnv) {
			_, err := k.Admin.AdminDeleteUser(k.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &k.Seed.UserPoolID, Username: aws.String(staticUser)})
			require.NoError(k.T, err)
		}, "user", "fail"},
		"a user that is disabled": {"a password", func(k *staticEnv) { k.disable(staticUser) }, "user", "warn"},
		"a right that is denied":  {"a password", func(k *staticEnv) { k.Deny("cognito-idp:AdminGetUser") }, "user", "unknown"},
		"a rotation that failed": {"a password", func(k *staticEnv) {
			k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "InternalErrorException"})
			_, _ = k.Request(k.T.Context(), logical.UpdateOperation, "rotate-role/x", nil)
			k.Heal()
		}, "rotation", "fail"},
		"a client that does not let users sign in": {"a password", func(k *staticEnv) {
			_, err := k.Admin.UpdateUserPoolClient(k.T.Context(), &cip.UpdateUserPoolClientInput{UserPoolId: &k.Seed.UserPoolID, ClientId: &k.client})
			require.NoError(k.T, err)
		}, "auth_flows", "fail"},
		"a domain that does not answer": {"a secret", func(k *staticEnv) {
			k.WriteOK("static-roles/x", map[string]any{"cognito_pool_domain": k.Seed.Domain})
			k.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBefore})
		}, "token", "fail"},
		"a secret that was deleted at Cognito": {"a secret", func(k *staticEnv) {
			k.Fault(control.Fault{Operation: "ListUserPoolClientSecrets", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
				Body: `{"ClientSecrets":[{"ClientSecretId":"client--1"}]}`})
		}, "client_secrets", "fail"},
	} {
		t.Run(name+" is found", func(t *testing.T) {
			t.Parallel()
			k := newStaticEnv(t)
			k.WriteOK("static-roles/x", k.kinds()[c.kind])
			c.breakIt(k)
			_, findings := check(k)
			require.Equal(t, c.status, findings[c.finding]["status"], "%v", findings)
			require.NotEmpty(t, findings[c.finding]["remedy"])
			for name, f := range findings {
				if name != c.finding {
					require.Equal(t, "ok", f["status"], "%v", f)
				}
			}
		})
	}

	t.Run("what is no static role, or no kind, is a 400", func(t *testing.T) {
		k := newStaticEnv(t)
		require.Contains(t, k.Refused(logical.ReadOperation, "check/nobody", map[string]any{"kind": "static"}), `there is no static role "nobody"`)
		require.Contains(t, k.Refused(logical.ReadOperation, "check/ci", map[string]any{"kind": "odd"}), `kind "odd"`)
	})
}

func TestConfigDeletedWithStaticRolesLeft(t *testing.T) {
	k := newStaticEnv(t)
	require.Nil(t, k.OK(logical.DeleteOperation, "config", nil))
	k = newStaticEnv(t)
	k.WriteOK("static-roles/x", k.kinds()["a password"])
	response := k.OK(logical.DeleteOperation, "config", nil)
	require.Contains(t, strings.Join(response.Warnings, ""), "1 static roles are left")
}

// TestSecretInUseIsNotRetired keeps a new secret from being proven, again and
// again: the one that is handed out has to live on meanwhile.
func TestSecretInUseIsNotRetired(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a secret"]
	k.WriteOK("static-roles/x", role)
	k.OK(logical.UpdateOperation, "rotate-role/x", nil)
	handedOut := k.value()
	k.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBefore})
	for range 3 {
		_, err := k.Request(t.Context(), logical.UpdateOperation, "rotate-role/x", nil)
		require.Error(t, err)
	}
	k.Heal()
	require.Equal(t, handedOut, k.value())
	require.True(t, k.works(role, handedOut))
}

// TestManyRolesDueAtOnce lets time run while a tick works, so that one tick
// cannot serve all.
func TestManyRolesDueAtOnce(t *testing.T) {
	const roles = 30
	k := newStaticEnv(t)
	k.WriteOK("config", map[string]any{"rate_limits": map[string]any{"UserAccountRecovery": 1000, "UserAuthentication": 1000, "UserRead": 1000}})
	values := map[string]any{}
	for i := range roles {
		name := fmt.Sprintf("user%02d", i)
		k.addUser(name)
		role := k.kinds()["a password"]
		role["username"] = name
		k.WriteOK("static-roles/"+name, role)
		values[name] = k.Read("static-creds/" + name)["password"]
	}
	rotated := func() (n int) {
		for name, before := range values {
			if k.Read("static-creds/" + name)["password"] != before {
				n++
			}
		}
		return n
	}
	k.pass(time.Hour)
	k.setStep(time.Second)
	k.tick()
	k.setStep(0)
	first := rotated()
	require.Positive(t, first)
	require.Less(t, first, roles, "a tick has a budget")
	for range roles {
		k.setStep(time.Second)
		k.tick()
		k.setStep(0)
	}
	require.Equal(t, roles, rotated(), "none is left behind")
}

func TestStaticRotationsAtOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		k.WriteOK("static-roles/x", role)
		var group sync.WaitGroup
		for i := range 6 {
			group.Go(func() {
				if i%2 == 0 {
					_, _ = k.Request(t.Context(), logical.UpdateOperation, "rotate-role/x", nil)
					return
				}
				k.tick()
			})
		}
		group.Wait()
		k.requireEqualAtBothEnds(role)
	})
}

// TestRotationInDoubtIsSettledSoon loses every response, so that no pause may grow.
func TestRotationInDoubtIsSettledSoon(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	k.WriteOK("static-roles/x", role)
	k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultCutAfter})
	k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
	for range 10 {
		response, err := k.Request(t.Context(), logical.UpdateOperation, "rotate-role/x", nil)
		if err == nil { // the limit on sign-ins is the caller's to wait for
			require.ErrorContains(t, response.Error(), "wrong password")
		}
	}
	k.restart()
	k.Heal()
	k.pass(time.Minute)
	k.OK(logical.UpdateOperation, "rotate-role/x", nil)
	k.requireEqualAtBothEnds(role)
}

func TestLaterWritesOfAStaticRole(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	k.WriteOK("static-roles/x", role)

	t.Run("whether it is self-managed cannot change", func(t *testing.T) {
		text := k.WriteRefused("static-roles/x", map[string]any{"self_managed": true, "password": presentPassword})
		require.Contains(t, text, "self_managed")
		require.Contains(t, text, "cannot change")
	})

	t.Run("a password that is written again is no news", func(t *testing.T) {
		role["password"] = presentPassword
		k.WriteOK("static-roles/y", k.userOf("bea", role))
		value := k.Read("static-creds/y")["password"]
		before := len(k.Calls().Of("AdminInitiateAuth"))
		require.Nil(t, k.WriteOK("static-roles/y", map[string]any{"password": presentPassword}))
		require.Equal(t, value, k.Read("static-creds/y")["password"])
		require.Len(t, k.Calls().Of("AdminInitiateAuth"), before)
	})
}

// userOf adds a user and returns the static role for it.
func (k *staticEnv) userOf(username string, role map[string]any) map[string]any {
	k.T.Helper()
	k.addUser(username)
	role = maps.Clone(role)
	role["username"] = username
	return role
}
