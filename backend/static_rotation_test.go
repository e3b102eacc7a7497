// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// refuse makes Cognito refuse an operation without effect.
func (k *staticEnv) refuse(operation, code string) {
	k.T.Helper()
	k.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: code})
}

// lose makes Cognito carry an operation out and lose the response.
func (k *staticEnv) lose(operation string) {
	k.T.Helper()
	k.Fault(control.Fault{Operation: operation, Kind: control.FaultCutAfter})
}

// calls is how many calls of an operation the engine has made.
func (k *staticEnv) calls(operation string) int {
	k.T.Helper()
	return len(k.Calls().Of(operation))
}

// tries makes a request whose result does not matter.
func (k *staticEnv) tries(op logical.Operation, path string, data map[string]any) {
	k.T.Helper()
	_, _ = k.Request(k.T.Context(), op, path, data)
}

// state returns a field of static role x.
func (k *staticEnv) state(field string) string {
	k.T.Helper()
	return k.Read("static-roles/x")[field].(string)
}

// foreignSecret is a secret of the app client that the engine did not make.
const foreignSecret = "hushForeignSecretOf32Characters1"

// foreign adds a secret that Vault did not create, and returns its id.
func (k *staticEnv) foreign() string {
	k.T.Helper()
	out, err := k.Admin.AddUserPoolClientSecret(k.T.Context(), &cip.AddUserPoolClientSecretInput{
		UserPoolId: &k.Seed.UserPoolID, ClientId: &k.Seed.M2MClientID, ClientSecret: aws.String(foreignSecret),
	})
	require.NoError(k.T, err)
	return *out.ClientSecretDescriptor.ClientSecretId
}

func (k *staticEnv) deleteSecret(id string) {
	k.T.Helper()
	_, err := k.Admin.DeleteUserPoolClientSecret(k.T.Context(), &cip.DeleteUserPoolClientSecretInput{
		UserPoolId: &k.Seed.UserPoolID, ClientId: &k.Seed.M2MClientID, ClientSecretId: &id,
	})
	require.NoError(k.T, err)
}

func (k *staticEnv) secretIDs() []string {
	k.T.Helper()
	out, err := k.Admin.ListUserPoolClientSecrets(k.T.Context(), &cip.ListUserPoolClientSecretsInput{UserPoolId: &k.Seed.UserPoolID, ClientId: &k.Seed.M2MClientID})
	require.NoError(k.T, err)
	var ids []string
	for _, secret := range out.ClientSecrets {
		ids = append(ids, *secret.ClientSecretId)
	}
	return ids
}

// withoutRetirement deletes the secret before the one in use, as an administrator may.
func (k *staticEnv) withoutPrevious() {
	k.T.Helper()
	k.deleteSecret(k.secretIDs()[0])
}

func TestPasswordThatIsSetIsReturned(t *testing.T) {
	for name, test := range map[string]struct {
		fault string
		code  string
		role  map[string]any
	}{
		"a refused proof":      {fault: "AdminInitiateAuth", code: "InvalidParameterException"},
		"an unreachable proof": {fault: "AdminInitiateAuth", code: "InternalErrorException"},
		"a denied sign-out":    {fault: "AdminUserGlobalSignOut", code: "AccessDeniedException", role: map[string]any{"sign_out_on_rotation": true}},
	} {
		t.Run(name+" after a rotation is a warning and is made up for", func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()["a password"]
			for field, value := range test.role {
				role[field] = value
			}
			k.WriteOK("static-roles/x", role)
			before := k.value()
			k.refuse(test.fault, test.code)
			response := k.OK(logical.UpdateOperation, "rotate-role/x", nil)
			require.Contains(t, strings.Join(response.Warnings, ""), test.code)
			k.Heal()
			require.NotEqual(t, before, k.value())
			k.requireEqualAtBothEnds(role)
			require.Equal(t, "proving", k.state("state"))
			require.Contains(t, k.state("last_error"), test.code)

			k.pass(time.Minute)
			k.tick()
			require.Equal(t, "idle", k.state("state"))
			require.Empty(t, k.state("last_error"))
			k.requireEqualAtBothEnds(role)
		})

		t.Run(name+" while the role is created does not lose the password", func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()["a password"]
			for field, value := range test.role {
				role[field] = value
			}
			k.refuse(test.fault, test.code)
			response := k.WriteOK("static-roles/x", role)
			require.Contains(t, strings.Join(response.Warnings, ""), test.code)
			k.Heal()
			k.requireEqualAtBothEnds(role)
		})
	}
}

func TestSignOutIsMadeUpForAfterARefusedRotation(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	role["sign_out_on_rotation"] = true
	k.Deny("cognito-idp:AdminUserGlobalSignOut")
	k.WriteOK("static-roles/x", role)
	k.pass(time.Hour)
	k.Deny("cognito-idp:AdminUserGlobalSignOut", "cognito-idp:AdminSetUserPassword")
	k.tick()
	require.Equal(t, "proving", k.state("state"))
	k.Deny("cognito-idp:AdminSetUserPassword")
	before := k.calls("AdminUserGlobalSignOut")
	k.pass(-50 * time.Minute) // so that no rotation is due
	k.OK(logical.PatchOperation, "static-roles/x", map[string]any{"rotation_period": "2h"})
	k.tick()
	require.Equal(t, before+1, k.calls("AdminUserGlobalSignOut"))
	require.Equal(t, "idle", k.state("state"))
}

func TestCertainFailuresAreFoundBeforeThePasswordIsSet(t *testing.T) {
	for name, test := range map[string]struct {
		change func(k *staticEnv)
		says   string
	}{
		"a flow that the app client does not allow": {func(k *staticEnv) {
			_, err := k.Admin.UpdateUserPoolClient(k.T.Context(), &cip.UpdateUserPoolClientInput{
				UserPoolId: &k.Seed.UserPoolID, ClientId: &k.client, ExplicitAuthFlows: []types.ExplicitAuthFlowsType{"ALLOW_USER_SRP_AUTH"},
			})
			require.NoError(k.T, err)
		}, "ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		"a secret of the app client that is not set": {func(k *staticEnv) {
			k.WriteOK("static-roles/x", map[string]any{"app_client_secret": ""})
		}, "app_client_secret"},
		"a user that was deleted and created again": {func(k *staticEnv) {
			_, err := k.Admin.AdminDeleteUser(k.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &k.Seed.UserPoolID, Username: aws.String(staticUser)})
			require.NoError(k.T, err)
			k.addUser(staticUser)
		}, "its sub is"},
	} {
		t.Run(name+" stops the rotation", func(t *testing.T) {
			k := newStaticEnv(t)
			k.WriteOK("static-roles/x", k.kinds()["a password"])
			test.change(k)
			before := k.calls("AdminSetUserPassword")
			require.Contains(t, k.Refused(logical.UpdateOperation, "rotate-role/x", nil), test.says)
			require.Equal(t, before, k.calls("AdminSetUserPassword"))
			require.Contains(t, k.state("last_error"), test.says)
			require.Equal(t, "idle", k.state("state"))
		})
	}

	t.Run("a write with such an app client creates nothing", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		role["app_client_secret"] = ""
		before := k.calls("AdminSetUserPassword")
		require.Contains(t, k.WriteRefused("static-roles/x", role), "app_client_secret")
		require.Equal(t, before, k.calls("AdminSetUserPassword"))
		require.Nil(t, k.Read("static-roles/x"))
	})

	t.Run("a check that is denied stops nothing", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		k.Deny("cognito-idp:AdminGetUser", "cognito-idp:DescribeUserPoolClient")
		k.OK(logical.UpdateOperation, "rotate-role/x", nil)
		k.requireEqualAtBothEnds(role)
	})
}

func TestReadsInDoubtSignNoUserIn(t *testing.T) {
	for _, kind := range []string{"a password", "a self-managed password"} {
		t.Run(kind, func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()[kind]
			role["issue_tokens"] = true
			k.WriteOK("static-roles/x", role)
			k.lose("AdminSetUserPassword")
			k.lose("ChangePassword")
			k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
			k.tries(logical.UpdateOperation, "rotate-role/x", nil)
			require.Equal(t, "setting", k.state("state"))
			signIns := k.calls("AdminInitiateAuth") + k.calls("InitiateAuth")
			for range 8 {
				k.pass(20 * time.Second)
				creds := k.Read("static-creds/x")
				require.Equal(t, true, creds["in_doubt"])
				require.Positive(t, creds["ttl"])
				require.NotContains(t, creds, "access_token")
				require.NotEmpty(t, creds["password"])
			}
			require.Equal(t, signIns, k.calls("AdminInitiateAuth")+k.calls("InitiateAuth"))
			k.Heal()
			k.pass(20 * time.Minute)
			k.tick()
			k.requireEqualAtBothEnds(role)
			require.NotContains(t, k.Read("static-creds/x"), "in_doubt")
			require.NotEmpty(t, k.Read("static-creds/x")["access_token"])
		})
	}
}

func TestPasswordInDoubt(t *testing.T) {
	t.Run("a read resolves the doubt by setting the password again", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		k.lose("AdminSetUserPassword")
		k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
		k.tries(logical.UpdateOperation, "rotate-role/x", nil)
		k.Heal()
		k.restart()
		k.pass(time.Minute)
		signIns := k.calls("AdminInitiateAuth")
		k.requireEqualAtBothEnds(role)
		require.Equal(t, signIns+1, k.calls("AdminInitiateAuth"), "the one of the test itself")
	})

	t.Run("a read resolves the doubt in a pool with a password history, too", func(t *testing.T) {
		for _, proven := range []bool{true, false} {
			k := newStaticEnv(t)
			pool := k.MakePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{
				MinimumLength: aws.Int32(8), PasswordHistorySize: aws.Int32(5),
			}}})
			client, secret := k.MakeClient(pool)
			role := map[string]any{"user_pool_id": pool, "region": "eu-west-1", "username": staticUser, "rotation_period": "1h"}
			if proven {
				role["app_client_id"], role["app_client_secret"] = client, secret
			}
			k.Seed.UserPoolID = pool
			k.addUser(staticUser)
			k.WriteOK("static-roles/x", role)
			k.lose("AdminSetUserPassword")
			k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
			k.tries(logical.UpdateOperation, "rotate-role/x", nil)
			require.Equal(t, "setting", k.state("state"))
			k.Heal()
			k.pass(time.Minute)
			k.tick()
			k.WriteOK("roles/ci", map[string]any{"user_pool_id": pool, "app_client_id": client, "app_client_secret": secret})
			k.requireEqualAtBothEnds(role)
		}
	})

	t.Run("a response that a later throttle hides is still lost", func(t *testing.T) {
		k := newStaticEnv(t)
		k.WriteOK("config", map[string]any{"max_retries": 1})
		role := k.kinds()["a password"]
		k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultCutAfter, Times: 1})
		k.refuse("AdminSetUserPassword", "TooManyRequestsException")
		k.refuse("AdminInitiateAuth", "InternalErrorException")
		k.tries(logical.CreateOperation, "static-roles/x", role)
		require.Equal(t, "setting", k.state("state"))
		k.Heal()
		k.pass(time.Minute)
		k.tick()
		k.requireEqualAtBothEnds(role)
	})

	t.Run("a role cannot be deleted", func(t *testing.T) {
		k := newStaticEnv(t)
		role := k.kinds()["a password"]
		k.WriteOK("static-roles/x", role)
		k.lose("AdminSetUserPassword")
		k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
		k.tries(logical.UpdateOperation, "rotate-role/x", nil)
		require.Contains(t, k.Refused(logical.DeleteOperation, "static-roles/x", nil), "cannot be deleted now")
		k.Heal()
		k.pass(time.Minute)
		k.tick()
		k.requireEqualAtBothEnds(role)
		k.OK(logical.DeleteOperation, "static-roles/x", nil)
	})
}

func TestSecretsOfOthersAreLeftAlone(t *testing.T) {
	withoutDomain := func(k *staticEnv) map[string]any {
		role := k.kinds()["a secret"]
		delete(role, "cognito_pool_domain")
		return role
	}

	t.Run("a refused add adopts no secret that another adds later", func(t *testing.T) {
		k := newStaticEnv(t)
		role := withoutDomain(k)
		k.WriteOK("static-roles/x", role)
		k.withoutPrevious()
		value := k.value()
		k.Deny("cognito-idp:AddUserPoolClientSecret")
		k.tries(logical.UpdateOperation, "rotate-role/x", nil)
		k.Deny()
		k.foreign()
		for range 4 {
			k.pass(2 * time.Hour)
			k.tick()
			require.Equal(t, value, k.value())
			require.True(t, k.works(role, value))
			require.True(t, k.works(role, foreignSecret))
		}
		require.Contains(t, k.state("last_error"), "as many as Cognito allows")
		require.NotContains(t, k.state("last_error"), "delete it")
	})

	t.Run("a role that could not be created adopts no secret that another adds later", func(t *testing.T) {
		k := newStaticEnv(t)
		role := withoutDomain(k)
		k.Deny("cognito-idp:ListUserPoolClientSecrets")
		// The role cannot be deleted, as if the process had died.
		k.storage.Fail(backendtest.StorageFault{When: func() bool { return slices.Contains(k.storage.Calls(), "delete static-roles") }})
		k.tries(logical.CreateOperation, "static-roles/x", role)
		k.storage.Repair()
		k.Deny()
		k.restart()
		original := k.secretIDs()[0]
		k.foreign()
		k.deleteSecret(original)
		for range 4 {
			k.pass(2 * time.Hour)
			k.tick()
			require.True(t, k.works(role, foreignSecret))
		}
	})

	t.Run("a lost response adopts no secret without a proof", func(t *testing.T) {
		k := newStaticEnv(t)
		role := withoutDomain(k)
		k.WriteOK("static-roles/x", role)
		k.withoutPrevious()
		value := k.value()
		k.Fault(control.Fault{Operation: "AddUserPoolClientSecret", Kind: control.FaultCutBefore})
		k.tries(logical.UpdateOperation, "rotate-role/x", nil)
		k.Heal()
		id := k.foreign()
		for range 4 {
			k.pass(2 * time.Hour)
			k.tick()
			require.Equal(t, value, k.value())
			require.True(t, k.works(role, value))
			require.True(t, k.works(role, foreignSecret))
		}
		require.Contains(t, k.state("last_error"), id)
		require.Contains(t, k.state("last_error"), "cognito_pool_domain")

		k.deleteSecret(id)
		k.pass(2 * time.Hour)
		k.tick()
		require.NotEqual(t, value, k.value())
		k.requireEqualAtBothEnds(role)
	})

	t.Run("a lost response is resolved once a domain proves the secret", func(t *testing.T) {
		k := newStaticEnv(t)
		role := withoutDomain(k)
		k.WriteOK("static-roles/x", role)
		k.withoutPrevious()
		value := k.value()
		k.lose("AddUserPoolClientSecret")
		k.tries(logical.UpdateOperation, "rotate-role/x", nil)
		k.Heal()
		k.pass(2 * time.Hour)
		k.tick()
		require.Equal(t, value, k.value())
		k.WriteOK("static-roles/x", map[string]any{"cognito_pool_domain": k.Seed.Domain})
		k.tick()
		require.NotEqual(t, value, k.value())
		k.requireEqualAtBothEnds(role)
		require.Len(t, k.secretIDs(), 2)
	})

	t.Run("an app client with two secrets is refused without advice to delete one", func(t *testing.T) {
		k := newStaticEnv(t)
		k.foreign()
		text := k.WriteRefused("static-roles/x", k.kinds()["a secret"])
		require.Contains(t, text, "as many as Cognito allows")
		require.NotRegexp(t, `\b[Dd]elete\b`, text, "one of them may be in use")
		require.Len(t, k.secretIDs(), 2)
	})
}

func TestUnchangedWritesKeepTheSchedule(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		k.WriteOK("static-roles/x", role)
		first := k.value()
		for range 3 {
			k.pass(50 * time.Minute)
			calls := len(k.Calls().Calls)
			k.WriteOK("static-roles/x", role)
			require.Len(t, k.Calls().Calls, calls, "an unchanged write calls nothing")
			k.tick()
		}
		require.NotEqual(t, first, k.value())
		k.requireEqualAtBothEnds(role)
	})
}

func TestSelfManagedPasswordThatWasReset(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a self-managed password"]
	k.WriteOK("static-roles/x", role)
	k.lose("ChangePassword")
	k.tries(logical.UpdateOperation, "rotate-role/x", nil)
	k.Heal()
	k.setPassword(staticUser, "hush-Reset-1")
	const quarter = 15
	wrong := 0
	for minute := range 120 {
		k.pass(time.Minute)
		k.tick()
		if minute%quarter == quarter-1 {
			require.Contains(t, k.state("last_error"), "write the present password")
			now := len(k.wrongSignIns())
			require.LessOrEqual(t, now-wrong, 2, "in minutes %d to %d", minute-quarter+1, minute)
			wrong = now
		}
	}
	require.Equal(t, "rejected", k.state("state"))

	k.pass(15 * time.Minute)
	require.Contains(t, k.WriteRefused("static-roles/x", map[string]any{"password": "hush-Wrong-1"}), "Incorrect")
	k.WriteOK("static-roles/x", map[string]any{"password": "hush-Reset-1"})
	require.Equal(t, "hush-Reset-1", k.value())
	k.pass(2 * time.Hour)
	k.tick()
	require.NotEqual(t, "hush-Reset-1", k.value())
	k.requireEqualAtBothEnds(role)
}

// TestWrongSignInsAreBounded demands rotations, writes guesses and reads tokens of a user whose
// password was reset.
func TestWrongSignInsAreBounded(t *testing.T) {
	for _, kind := range []string{"a password", "a self-managed password"} {
		t.Run(kind, func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()[kind]
			role["issue_tokens"] = true
			k.WriteOK("static-roles/x", role)
			k.setPassword(staticUser, "hush-Reset-1")
			before := len(k.wrongSignIns())
			for quarter := range 3 {
				for n := range 6 {
					if kind != "a password" { // which is set by force
						k.tries(logical.UpdateOperation, "rotate-role/x", nil)
					}
					k.tries(logical.UpdateOperation, "static-roles/x", map[string]any{"password": fmt.Sprintf("hush-Guess-%d", n)})
					k.tries(logical.ReadOperation, "static-creds/x", nil)
					k.pass(2 * time.Minute)
				}
				require.LessOrEqual(t, len(k.wrongSignIns())-before, 2*(quarter+1))
				k.pass(15 * time.Minute)
			}
			require.Greater(t, len(k.wrongSignIns()), before, "some were tried")
		})
	}
}

func TestDamagedCountOfSignIns(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a self-managed password"]
	k.WriteOK("static-roles/x", role)
	k.tries(logical.UpdateOperation, "static-roles/x", map[string]any{"password": "hush-Wrong-1"})
	counts := k.entries("static-sign-ins/")
	require.NotEmpty(t, counts)
	for _, count := range counts {
		require.NoError(t, k.storage.Put(t.Context(), &logical.StorageEntry{Key: "static-sign-ins/" + count, Value: []byte("{")}))
	}
	require.Contains(t, k.Refused(logical.UpdateOperation, "rotate-role/x", nil), "is not signed in before")
	k.pass(15 * time.Minute)
	k.OK(logical.UpdateOperation, "rotate-role/x", nil)
	k.requireEqualAtBothEnds(role)
}

func (k *staticEnv) wrongSignIns() []time.Time {
	k.T.Helper()
	for _, user := range k.Users() {
		if user.Username == staticUser {
			return user.WrongSignIns
		}
	}
	return nil
}

func TestUsersAreIdentifiedBySub(t *testing.T) {
	k := newStaticEnv(t)
	pool := k.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
	client, secret := k.MakeClient(pool)
	k.Seed.UserPoolID = pool
	k.addUser("ann@example.com")
	role := map[string]any{
		"user_pool_id": pool, "region": "eu-west-1", "username": "ann@example.com", "rotation_period": "1h",
		"app_client_id": client, "app_client_secret": secret,
	}
	k.WriteOK("static-roles/x", role)
	value, sub := k.value(), k.state("sub")
	require.Equal(t, "ann@example.com", k.state("username"))

	k.WriteOK("static-roles/x", role)
	require.Equal(t, value, k.value(), "the same write again changes nothing")
	role["username"] = sub
	k.WriteOK("static-roles/x", role)
	require.Equal(t, value, k.value(), "the sub is another name of the same user")
	require.Contains(t, k.WriteRefused("static-roles/y", role), `static role "x" owns the same`)
	role["username"] = "ann@example.com"
	k.WriteOK("static-roles/x", role)
	require.Equal(t, value, k.value(), "so is the address")
	k.addUser("bob@example.com")
	role["username"] = "bob@example.com"
	require.Contains(t, k.WriteRefused("static-roles/x", role), "cannot change")
}

func TestReadersShareOneSignIn(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	role["issue_tokens"], role["app_client_id"] = true, k.makeRotatingClient()
	delete(role, "app_client_secret")
	k.WriteOK("static-roles/x", role)
	before := k.calls("AdminInitiateAuth")
	var mu sync.Mutex
	access, refresh := map[any]int{}, 0
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			response, err := k.Request(t.Context(), logical.ReadOperation, "static-creds/x", nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				access[response.Data["access_token"]]++
			}
			if err == nil && response.Data["refresh_token"] != nil {
				refresh++
			}
		})
	}
	readers.Wait()
	require.Equal(t, before+1, k.calls("AdminInitiateAuth"))
	require.Len(t, access, 1)
	require.Equal(t, 1, refresh, "a refresh token that serves once goes to one reader")

	calls := len(k.Calls().Calls)
	require.NotEmpty(t, k.Read("static-creds/x")["access_token"])
	require.Len(t, k.Calls().Calls, calls, "fresh tokens cost no call")
}

func TestReadWithoutTokens(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	role["issue_tokens"] = true
	k.WriteOK("static-roles/x", role)
	k.refuse("AdminInitiateAuth", "InvalidParameterException")
	for range 5 {
		response := k.OK(logical.ReadOperation, "static-creds/x", nil)
		require.NotEmpty(t, response.Data["password"])
		require.NotContains(t, response.Data, "access_token")
		require.Contains(t, strings.Join(response.Warnings, ""), "there are no tokens")
	}
	require.Equal(t, 2, k.calls("AdminInitiateAuth"), "the proof of the first rotation, and one attempt for all reads")
}

func TestRotationWindowHoldsAfterAFailure(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	delete(role, "rotation_period")
	role["rotation_schedule"], role["rotation_window"] = "0 3 * * *", "1h"
	k.WriteOK("static-roles/x", role)
	first := k.value()
	next, err := time.Parse(time.RFC3339, k.state("next_vault_rotation"))
	require.NoError(t, err)
	k.pass(next.Sub(k.now()))
	k.Deny("cognito-idp:AdminSetUserPassword")
	k.tick()
	require.Contains(t, k.state("last_error"), "AdminSetUserPassword")
	k.Deny()
	k.pass(8 * time.Hour)
	k.tick()
	require.Equal(t, first, k.value(), "the window is over")
	require.Equal(t, next.Add(24*time.Hour).Format(time.RFC3339), k.state("next_attempt"))
	require.EqualValues(t, 16*3600, k.Read("static-creds/x")["ttl"])
	k.pass(16 * time.Hour)
	k.tick()
	require.NotEqual(t, first, k.value())
	k.requireEqualAtBothEnds(role)
}

func TestRotationWindowHoldsInDoubt(t *testing.T) {
	k := newStaticEnv(t)
	role := k.kinds()["a password"]
	delete(role, "rotation_period")
	role["rotation_schedule"], role["rotation_window"] = "0 3 * * *", "1h"
	k.WriteOK("static-roles/x", role)
	first := k.value()
	next, err := time.Parse(time.RFC3339, k.state("next_vault_rotation"))
	require.NoError(t, err)
	k.pass(next.Sub(k.now()))
	k.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultCutBefore})
	k.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutBefore})
	k.tick()
	require.Equal(t, "setting", k.state("state"))
	k.Heal()
	sets := k.calls("AdminSetUserPassword")
	k.pass(8 * time.Hour)
	k.tick()
	require.Equal(t, "idle", k.state("state"), "a sign-in shows that the old password is in force")
	require.Equal(t, first, k.value())
	require.Equal(t, sets, k.calls("AdminSetUserPassword"))
	k.requireEqualAtBothEnds(role)
}

func TestSkippedImportRotationIsProven(t *testing.T) {
	for kind, wrong := range map[string]map[string]any{
		"a password":              {"password": "hush-Wrong-1"},
		"a self-managed password": {"password": "hush-Wrong-1"},
		"a secret":                {"app_client_secret": "hushWrongSecretOf32Characters123"},
	} {
		t.Run(kind+" that is wrong is refused", func(t *testing.T) {
			k := newStaticEnv(t)
			role := k.kinds()[kind]
			for field, value := range wrong {
				role[field] = value
			}
			role["skip_import_rotation"] = true
			text := k.WriteRefused("static-roles/x", role)
			require.NotContains(t, text, "rong-1")
			require.Nil(t, k.Read("static-roles/x"))
		})
	}
}

func TestQueuedRotationsRotateOnce(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		k.WriteOK("static-roles/x", role)
		set := map[string]string{"a password": "AdminSetUserPassword", "a self-managed password": "ChangePassword", "a secret": "AddUserPoolClientSecret"}
		operation := ""
		for kind, fields := range k.kinds() {
			if fmt.Sprint(fields) == fmt.Sprint(role) {
				operation = set[kind]
			}
		}
		before := k.calls(operation)
		require.NoError(t, k.Control.SetLatency(t.Context(), control.Latency{Operations: map[string]int{operation: 300}}))
		var callers sync.WaitGroup
		callers.Go(func() { k.OK(logical.UpdateOperation, "rotate-role/x", nil) })
		require.Eventually(t, func() bool { return k.calls(operation) == before+1 }, 5*time.Second, time.Millisecond)
		for range 5 {
			callers.Go(func() { k.OK(logical.UpdateOperation, "rotate-role/x", nil) })
		}
		callers.Wait()
		require.Equal(t, before+1, k.calls(operation))
		k.requireEqualAtBothEnds(role)
	})
}

func TestReadsOutsideOfDoubtCostNothing(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		k.WriteOK("static-roles/x", role)
		k.pass(2 * time.Hour) // due, and not yet noticed
		calls := len(k.Calls().Calls)
		for range 3 {
			require.EqualValues(t, 1, k.Read("static-creds/x")["ttl"])
			require.NotEmpty(t, k.value())
		}
		require.Len(t, k.Calls().Calls, calls)
	})
}

func TestClockThatIsSetBack(t *testing.T) {
	eachKind(t, func(t *testing.T, k *staticEnv, role map[string]any) {
		k.pass(24 * time.Hour)
		k.WriteOK("static-roles/x", role)
		k.tick()
		first := k.value()
		k.pass(-24 * time.Hour)
		k.tick()
		k.pass(time.Hour)
		k.tick()
		require.NotEqual(t, first, k.value(), "the schedule follows the clock")
		k.requireEqualAtBothEnds(role)
	})
}
