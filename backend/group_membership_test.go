// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"maps"
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

// membershipRole returns the required fields of a group_membership role, and more.
func membershipRole(more map[string]any) map[string]any {
	role := map[string]any{
		"credential_type": "group_membership", "user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1",
		"username": "ann", "groups": "admins",
	}
	maps.Copy(role, more)
	return role
}

// elevator is a mount whose role "ci" puts user ann into the groups admins and oncall. She is a
// tester.
type elevator struct{ *issuer }

func newElevator(t *testing.T, more map[string]any) *elevator {
	t.Helper()
	e := &elevator{newIssuer(t, nil)}
	e.OK(logical.DeleteOperation, "roles/ci", nil)
	for _, group := range []string{"oncall", "extra"} {
		_, err := e.Admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &e.Seed.UserPoolID, GroupName: &group})
		require.NoError(t, err)
	}
	e.addMember("ann", "testers")
	e.role("ci", more)
	return e
}

func (e *elevator) role(name string, more map[string]any) {
	e.T.Helper()
	role := membershipRole(map[string]any{"user_pool_id": e.Seed.UserPoolID, "groups": "admins,oncall", "ttl": "1h", "max_ttl": "24h"})
	maps.Copy(role, more)
	e.WriteOK("roles/"+name, role)
}

func (e *elevator) addMember(username string, groups ...string) {
	e.T.Helper()
	_, err := e.Admin.AdminCreateUser(e.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &e.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress,
	})
	require.NoError(e.T, err)
	for _, group := range groups {
		e.join(username, group)
	}
}

func (e *elevator) join(username, group string) {
	e.T.Helper()
	_, err := e.Admin.AdminAddUserToGroup(e.T.Context(), &cip.AdminAddUserToGroupInput{UserPoolId: &e.Seed.UserPoolID, Username: &username, GroupName: &group})
	require.NoError(e.T, err)
}

func (e *elevator) leave(username, group string) {
	e.T.Helper()
	_, err := e.Admin.AdminRemoveUserFromGroup(e.T.Context(), &cip.AdminRemoveUserFromGroupInput{UserPoolId: &e.Seed.UserPoolID, Username: &username, GroupName: &group})
	require.NoError(e.T, err)
}

func (e *elevator) deleteMember(username string) {
	e.T.Helper()
	_, err := e.Admin.AdminDeleteUser(e.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: &username})
	require.NoError(e.T, err)
}

func (e *elevator) groupsOf(username string) []string {
	e.T.Helper()
	for _, user := range e.Users() {
		if user.Username == username {
			return user.Groups
		}
	}
	return nil
}

// requireGroups requires that ann is in exactly these groups.
func (e *elevator) requireGroups(why string, groups ...string) {
	e.T.Helper()
	require.ElementsMatch(e.T, groups, e.groupsOf("ann"), why)
}

func (e *elevator) elevate(role string) *logical.Secret {
	e.T.Helper()
	return e.OK(logical.ReadOperation, "creds/"+role, nil).Secret
}

// requireNothingStored requires that nothing is left of ended leases, after the ticks that tidy up.
func (e *elevator) requireNothingStored() {
	e.T.Helper()
	e.pass(8 * time.Minute)
	require.Empty(e.T, e.entries("issued/members/"))
	require.Empty(e.T, e.entries("issued/records/"))
}

func TestMembershipRole(t *testing.T) {
	t.Run("reads back its own fields only", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/jit", membershipRole(map[string]any{"sign_out_on_revoke": true, "ttl": "5m", "max_ttl": "1h", "max_issued": 3, "groups": "oncall,admins"}))
		require.Equal(t, map[string]any{
			"credential_type": "group_membership", "user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1",
			"aws_assume_role_arn": "", "aws_external_id": "", "username": "ann", "groups": []string{"admins", "oncall"},
			"sign_out_on_revoke": true, "ttl": int64(300), "max_ttl": int64(3600), "max_issued": 3,
		}, m.Read("roles/jit"))
	})

	t.Run("loses the app client when it changes to this type", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/jit", userRole(map[string]any{"app_client_secret": "a secret"}))
		m.WriteOK("roles/jit", membershipRole(nil))
		m.WriteOK("roles/jit", map[string]any{"credential_type": "user", "issue_tokens": false})
		require.Equal(t, false, m.Read("roles/jit")["app_client_secret_set"])
	})

	for _, template := range []string{
		"ann", "Google_1234", "ann@example.com", "{{identity.entity.metadata.cognito_username}}", "{{ identity.entity.name }}",
		"Google_{{identity.entity.aliases.auth_oidc_1234.name}}", "{{identity.entity.aliases.auth_oidc_1234.metadata.sub}}",
		"{{identity.groups.names.oncall.metadata.user}}",
	} {
		t.Run("may name "+template, func(t *testing.T) {
			backendtest.New(t).WriteOK("roles/jit", membershipRole(map[string]any{"username": template}))
		})
	}

	for name, c := range map[string]struct {
		fields  map[string]any
		refusal string
	}{
		"without a username":                {map[string]any{"username": ""}, "username is required"},
		"without groups":                    {map[string]any{"groups": ""}, "groups is required"},
		"without a pool":                    {map[string]any{"user_pool_id": ""}, "user_pool_id is required"},
		"with a space in the username":      {map[string]any{"username": "ann smith"}, `username "ann smith" is not allowed`},
		"with a Go template":                {map[string]any{"username": "{{.DisplayName}}"}, `username "{{.DisplayName}}" is not allowed`},
		"with an unknown selector":          {map[string]any{"username": "{{identity.entity.nmae}}"}, "is not allowed"},
		"with all metadata at once":         {map[string]any{"username": "{{identity.entity.metadata}}"}, "is not allowed"},
		"with a template that is not ended": {map[string]any{"username": "{{identity.entity.name"}, "is not allowed"},
		"with a bad group":                  {map[string]any{"groups": []string{"on call"}}, "groups holds"},
		"with a ttl above max_ttl":          {map[string]any{"ttl": "2h", "max_ttl": "1h"}, `ttl "2h" is not allowed`},
		"with an app client":                {map[string]any{"app_client_id": "client"}, "app_client_id is not allowed"},
		"with scopes":                       {map[string]any{"scopes": "a/b"}, "scopes is not allowed"},
	} {
		t.Run("is refused "+name, func(t *testing.T) {
			m := backendtest.New(t)
			require.Contains(t, m.WriteRefused("roles/jit", membershipRole(c.fields)), c.refusal)
			require.Nil(t, m.Read("roles/jit"))
		})
	}
}

func TestMembershipLease(t *testing.T) {
	t.Run("grants what the user did not have, and takes only that away", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "admins,oncall,testers"})
		response := e.OK(logical.ReadOperation, "creds/ci", nil)
		require.Equal(t, "ann", response.Data["username"])
		require.Equal(t, []string{"admins", "oncall"}, response.Data["groups"])
		require.Equal(t, []string{"testers"}, response.Data["already_member_of"])
		require.Equal(t, time.Hour, response.Secret.TTL)
		e.requireGroups("the lease lives", "testers", "admins", "oncall")

		info := e.OK(logical.ListOperation, "issued/ci", nil).Data["key_info"].(map[string]any)
		require.Len(t, info, 1)
		for id, summary := range info {
			require.Equal(t, "ann", summary.(map[string]any)["username"])
			require.Equal(t, []string{"admins", "oncall"}, summary.(map[string]any)["groups"])
			require.NotEmpty(t, summary.(map[string]any)["expires"])
			record := e.Read("issued/ci/" + id)
			require.Equal(t, []string{"testers"}, record["already_member_of"])
			require.Equal(t, "token", record["display_name"])
		}

		require.NoError(t, e.revoke(response.Secret))
		e.requireGroups("she was a tester before", "testers")
		require.NoError(t, e.revoke(response.Secret), "it is ended already")
		e.requireNothingStored()
	})

	t.Run("issues a lease that grants nothing if the user has every group", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "testers"})
		response := e.OK(logical.ReadOperation, "creds/ci", nil)
		require.Empty(t, response.Data["groups"])
		require.NoError(t, e.Control.ResetCalls(t.Context()))
		require.NoError(t, e.revoke(response.Secret))
		require.Empty(t, e.Calls().Of("AdminRemoveUserFromGroup"))
		e.requireGroups("she was a tester before", "testers")
	})

	t.Run("lists groups of several pages", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "zz"})
		for n := range 70 {
			group := fmt.Sprintf("g%02d", n)
			_, err := e.Admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &e.Seed.UserPoolID, GroupName: &group})
			require.NoError(t, err)
			e.join("ann", group)
		}
		_, err := e.Admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &e.Seed.UserPoolID, GroupName: aws.String("zz")})
		require.NoError(t, err)
		e.join("ann", "zz")
		require.Equal(t, []string{"zz"}, e.OK(logical.ReadOperation, "creds/ci", nil).Data["already_member_of"])
	})

	t.Run("ends soon after its first ttl when Vault lost it", func(t *testing.T) {
		e := newElevator(t, nil)
		e.elevate("ci")
		e.pass(time.Hour)
		e.requireGroups("its lease may have begun a little later", "testers", "admins", "oncall")
		e.pass(8 * time.Minute)
		e.requireGroups("no lease can have it any more", "testers")
		e.requireNothingStored()
	})

	t.Run("stays until max_ttl when it is renewed", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.pass(30 * time.Minute)
		e.renew(secret)
		require.Equal(t, []string{"confirmed"}, e.states())
		e.pass(23*time.Hour + 30*time.Minute)
		e.requireGroups("its lease may be alive", "testers", "admins", "oncall")
		e.pass(8 * time.Minute)
		e.requireGroups("no lease can be alive", "testers")
	})

	t.Run("counts for max_issued", func(t *testing.T) {
		e := newElevator(t, map[string]any{"max_issued": 1})
		e.elevate("ci")
		_, err := e.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
		require.ErrorContains(t, err, "max_issued=1")
	})

	t.Run("ends the sessions of the user if the role says so and something is removed", func(t *testing.T) {
		for _, c := range []struct {
			role map[string]any
			want int
		}{{map[string]any{"sign_out_on_revoke": true}, 1}, {nil, 0}, {map[string]any{"sign_out_on_revoke": true, "groups": "testers"}, 0}} {
			e := newElevator(t, c.role)
			secret := e.elevate("ci")
			require.NoError(t, e.revoke(secret))
			require.Len(t, e.Calls().Of("AdminUserGlobalSignOut"), c.want)
		}
	})

	t.Run("ends before the mount is unmounted", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.System.TaintedVal = true
		require.NoError(t, e.tick())
		e.requireGroups("the mount goes", "testers")
		require.NoError(t, e.revoke(secret))
	})

	t.Run("refuses request fields of other types", func(t *testing.T) {
		e := newElevator(t, nil)
		require.Contains(t, e.Refused(logical.ReadOperation, "creds/ci", map[string]any{"scopes": "a/b"}), "scopes is not allowed")
		require.Contains(t, e.Refused(logical.ReadOperation, "creds/ci", map[string]any{"ttl": "2h"}), "ttl 2h is not allowed")
		e.requireGroups("nothing was issued", "testers")
	})
}

func TestMembershipLeasesOverlap(t *testing.T) {
	for name, order := range map[string][]int{"the first ends first": {0, 1}, "the first ends last": {1, 0}} {
		t.Run("of two roles: "+name, func(t *testing.T) {
			e := newElevator(t, map[string]any{"groups": "admins,testers"})
			e.role("other", map[string]any{"groups": "admins,testers,extra"})
			first := e.elevate("ci")
			second := e.OK(logical.ReadOperation, "creds/other", nil)
			require.Equal(t, []string{"admins", "extra"}, second.Data["groups"], "it grants what another lease grants")
			require.Equal(t, []string{"testers"}, second.Data["already_member_of"])
			secrets := []*logical.Secret{first, second.Secret}
			require.NoError(t, e.revoke(secrets[order[0]]))
			require.Contains(t, e.groupsOf("ann"), "admins", "the other lease grants it")
			require.NoError(t, e.revoke(secrets[order[1]]))
			e.requireGroups("both have ended", "testers")
			e.requireNothingStored()
		})
	}

	t.Run("at once: the last end removes the group", func(t *testing.T) {
		e := newElevator(t, nil)
		var mu sync.Mutex
		var secrets []*logical.Secret
		parallel := func(do func(n int)) {
			var group sync.WaitGroup
			for n := range 8 {
				group.Go(func() { do(n) })
			}
			group.Wait()
		}
		parallel(func(int) {
			response, err := e.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			if err == nil && !response.IsError() {
				mu.Lock()
				defer mu.Unlock()
				secrets = append(secrets, response.Secret)
			}
		})
		require.Len(t, secrets, 8)
		e.requireGroups("they live", "testers", "admins", "oncall")
		parallel(func(n int) {
			if _, err := e.lease(logical.RevokeOperation, secrets[n]); err != nil {
				t.Error(err)
			}
		})
		e.requireGroups("all have ended", "testers")
		e.requireNothingStored()
	})

	t.Run("with one whose end fails", func(t *testing.T) {
		e := newElevator(t, nil)
		first := e.elevate("ci")
		e.failing("AdminRemoveUserFromGroup")
		require.Error(t, e.revoke(first))
		e.Heal()
		second := e.elevate("ci")
		require.NoError(t, e.revoke(first))
		e.requireGroups("the second lives", "testers", "admins", "oncall")
		require.NoError(t, e.revoke(second))
		e.requireGroups("both have ended", "testers")
	})

	t.Run("after the death of the process", func(t *testing.T) {
		e := newElevator(t, nil)
		first := e.elevate("ci")
		e.newProcess()
		second := e.elevate("ci")
		e.newProcess()
		require.NoError(t, e.revoke(first))
		e.requireGroups("the second lives", "testers", "admins", "oncall")
		require.NoError(t, e.revoke(second))
		e.requireGroups("both have ended", "testers")
	})
}

func TestMembershipsThatAnAdministratorChanges(t *testing.T) {
	t.Run("an addition during the lease is removed with it", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.leave("ann", "admins")
		e.join("ann", "admins")
		e.join("ann", "extra")
		require.NoError(t, e.revoke(secret))
		e.requireGroups("extra is not of the lease", "testers", "extra")
	})

	t.Run("a removal during the lease is not undone by a renewal, but by the next lease", func(t *testing.T) {
		e := newElevator(t, nil)
		first := e.elevate("ci")
		e.leave("ann", "admins")
		e.renew(first)
		e.requireGroups("an administrator removed it", "testers", "oncall")
		second := e.elevate("ci")
		require.NoError(t, e.revoke(second))
		require.NoError(t, e.revoke(first))
		e.requireGroups("both have ended", "testers")
	})

	t.Run("an addition after the end stays, also if Vault repeats the revocation", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		require.NoError(t, e.revoke(secret))
		e.join("ann", "admins")
		require.NoError(t, e.revoke(secret))
		e.requireGroups("an administrator gave it", "testers", "admins")
	})

	for name, meanwhile := range map[string]func(e *elevator){
		"the process died before the record was deleted": func(*elevator) {},
		"the record was stored once more since":          func(e *elevator) { e.clocks.advance(20 * time.Minute); require.NoError(e.T, e.tick()) },
	} {
		t.Run("an addition after the end stays, also if "+name, func(t *testing.T) {
			e := newElevator(t, nil)
			first := e.elevate("ci")
			e.storage.Repair()
			require.NoError(t, e.revoke(first))
			calls := e.storage.Calls()
			deletions := slices.DeleteFunc(slices.Clone(calls), func(call string) bool { return call != "delete issued" })
			require.Len(t, deletions, 2, "the index entry and the record: %v", calls)
			second := e.elevate("ci")
			e.storage.Fail(backendtest.StorageFault{At: len(calls), ForGood: true})
			require.Error(t, e.revoke(second))
			e.requireGroups("the end had got so far", "testers")
			e.newProcess()
			e.storage.Repair()
			meanwhile(e)
			e.join("ann", "admins")
			require.NoError(t, e.revoke(second))
			e.requireGroups("an administrator gave it", "testers", "admins")
			e.requireNothingStored()
		})
	}

	t.Run("a group that is deleted does not keep the lease", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		_, err := e.Admin.DeleteGroup(t.Context(), &cip.DeleteGroupInput{UserPoolId: &e.Seed.UserPoolID, GroupName: aws.String("admins")})
		require.NoError(t, err)
		require.NoError(t, e.revoke(secret))
		e.requireGroups("the other is removed", "testers")
	})

	t.Run("a user that is deleted does not keep the lease, which cannot be renewed", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.deleteMember("ann")
		_, err := e.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "is gone from user pool")
		require.NoError(t, e.revoke(secret))
		e.requireNothingStored()
	})

	t.Run("another user of the same name keeps everything", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.deleteMember("ann")
		e.addMember("ann", "admins")
		_, err := e.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "is gone from user pool")
		require.NoError(t, e.revoke(secret))
		e.requireGroups("it is another user", "admins")
		e.requireNothingStored()
	})

	t.Run("a user that is disabled cannot be raised, and its lease cannot be renewed", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.disable("ann")
		_, err := e.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "is disabled, so its lease cannot be renewed")
		require.Contains(t, e.Refused(logical.ReadOperation, "creds/ci", nil), "is disabled")
	})

	t.Run("a role that is gone or of another type renews nothing, and its leases end", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		e.WriteOK("roles/ci", machineRole(map[string]any{"credential_type": "client_credentials_grant"}))
		_, err := e.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "so the lease of \"ann\" cannot be renewed")
		e.OK(logical.DeleteOperation, "roles/ci", nil)
		_, err = e.lease(logical.RenewOperation, secret)
		require.ErrorContains(t, err, "is gone, so the lease of")
		require.NoError(t, e.revoke(secret))
		e.requireGroups("the lease has ended", "testers")
	})

	t.Run("a pool that is not found in another account keeps the lease", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		for _, operation := range []string{"AdminGetUser", "AdminRemoveUserFromGroup"} {
			e.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: "ResourceNotFoundException"})
		}
		e.WriteOK("config", map[string]any{"sts_endpoint": "http://127.0.0.1:1"})
		require.ErrorContains(t, e.revoke(secret), "may still be there")
		e.Heal()
		require.NoError(t, e.revoke(secret))
		e.requireGroups("the lease has ended", "testers")
	})

	t.Run("a pool that is deleted does not keep the lease", func(t *testing.T) {
		e := newElevator(t, nil)
		secret := e.elevate("ci")
		for _, operation := range []string{"AdminGetUser", "AdminRemoveUserFromGroup"} {
			e.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: "ResourceNotFoundException"})
		}
		require.NoError(t, e.revoke(secret))
	})
}

func TestMembershipThatWasNotDelivered(t *testing.T) {
	t.Run("is undone at once when a group does not exist", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "admins,nosuch"})
		require.Contains(t, e.Refused(logical.ReadOperation, "creds/ci", nil), "see check/ci")
		e.requireGroups("nothing was delivered", "testers")
		require.Empty(t, e.records())
		require.Empty(t, e.entries("issued/members/"))
	})

	for _, kind := range []string{control.FaultCutAfter, control.FaultErrorAfter, control.FaultHangAfter} {
		t.Run("is removed again later when it may take effect late: "+kind, func(t *testing.T) {
			e := newElevator(t, nil)
			e.Fault(control.Fault{Operation: "AdminAddUserToGroup", Kind: kind, Code: "InternalErrorException"})
			_, err := e.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			requireStatus(t, 502, err)
			e.Heal()
			e.requireGroups("it is undone", "testers")
			require.Equal(t, []string{"creating"}, e.states())
			e.join("ann", "admins") // as AWS would do it late
			e.pass(7 * time.Minute)
			e.requireGroups("the reconciler removed it", "testers")
			e.requireNothingStored()
		})
	}

	t.Run("is removed by the reconciler when the undo fails, and another lease keeps what it grants", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "admins,nosuch"})
		e.role("other", map[string]any{"groups": "admins"})
		e.failing("AdminRemoveUserFromGroup")
		e.Refused(logical.ReadOperation, "creds/ci", nil)
		e.Heal()
		e.requireGroups("the undo failed", "testers", "admins")
		response := e.OK(logical.ReadOperation, "creds/other", nil)
		require.Equal(t, []string{"admins"}, response.Data["groups"], "it did not exist before")
		e.pass(7 * time.Minute)
		require.Empty(t, e.records())
		e.requireGroups("the other lease grants it", "testers", "admins")
		require.NoError(t, e.revoke(response.Secret))
		e.requireGroups("that has ended, too", "testers")
	})
}

func TestMembershipsWhenStorageFailsAtEveryCall(t *testing.T) {
	e := newElevator(t, nil)
	e.storage.Repair()
	secret := e.elevate("ci")
	issue := len(e.storage.Calls())
	e.storage.Repair()
	require.NoError(t, e.revoke(secret))
	revoke := len(e.storage.Calls())
	require.NotZero(t, issue)
	require.NotZero(t, revoke)
	for _, afterwards := range []bool{false, true} {
		for n := range issue {
			t.Run(fmt.Sprintf("issue, call %d, afterwards %t", n+1, afterwards), func(t *testing.T) {
				e := newElevator(t, nil)
				e.storage.Fail(backendtest.StorageFault{At: n + 1, Afterwards: afterwards})
				response, err := e.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
				e.storage.Repair()
				if err == nil {
					require.NoError(t, e.revoke(response.Secret))
				}
				e.requireGroups("nothing was delivered, or it has ended", "testers")
				e.pass(8 * time.Minute)
				e.requireNothingStored()
			})
		}
		for n := range revoke {
			t.Run(fmt.Sprintf("revoke, call %d, afterwards %t", n+1, afterwards), func(t *testing.T) {
				e := newElevator(t, nil)
				secret, other := e.elevate("ci"), e.elevate("ci")
				e.storage.Fail(backendtest.StorageFault{At: n + 1, Afterwards: afterwards})
				_ = e.revoke(secret)
				e.storage.Repair()
				e.requireGroups("the other lease lives", "testers", "admins", "oncall")
				require.NoError(t, e.revoke(other))
				require.NoError(t, e.revoke(secret))
				e.requireGroups("both have ended", "testers")
				e.pass(8 * time.Minute)
				e.requireNothingStored()
			})
		}
	}
}

func TestMembershipOfTheCaller(t *testing.T) {
	newCaller := func(t *testing.T, template string, entity *logical.Entity) *elevator {
		t.Helper()
		e := newElevator(t, map[string]any{"username": template})
		e.System.EntityVal = entity
		return e
	}
	const template = "{{identity.entity.metadata.cognito_username}}"
	entity := func(username string) *logical.Entity {
		return &logical.Entity{ID: "e1", Name: "ann", Metadata: map[string]string{"cognito_username": username}}
	}

	t.Run("is that of the user whom the entity's metadata names", func(t *testing.T) {
		e := newCaller(t, template, entity("ann"))
		response, err := e.readAs("userpass-ann", "e1")
		require.NoError(t, err)
		require.Equal(t, "ann", response.Data["username"])
		id := e.records()[0]
		require.Equal(t, "e1", e.Read("issued/ci/" + id)["entity_id"])
		require.Equal(t, "userpass-ann", e.Read("issued/ci/" + id)["display_name"])
	})

	t.Run("may be named by the sub", func(t *testing.T) {
		e := newCaller(t, template, nil)
		out, err := e.Admin.AdminGetUser(t.Context(), &cip.AdminGetUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String("ann")})
		require.NoError(t, err)
		e.System.EntityVal = entity(*out.UserAttributes[slices.IndexFunc(out.UserAttributes, func(a types.AttributeType) bool { return *a.Name == "sub" })].Value)
		response, err := e.readAs("userpass-ann", "e1")
		require.NoError(t, err)
		if response.IsError() {
			require.ErrorContains(t, response.Error(), "has no user", "an emulator need not find users by their sub")
			return
		}
		require.Equal(t, "ann", response.Data["username"])
	})

	for name, c := range map[string]struct {
		template string
		entity   *logical.Entity
		id       string
		says     string
	}{
		"a token without an entity":      {template, nil, "", "needs an entity, but the caller's token has none"},
		"an entity that is gone":         {template, nil, "e1", "no entity found"},
		"an entity without the metadata": {template, &logical.Entity{ID: "e1"}, "e1", "has no value for the caller's entity"},
		"empty metadata":                 {"Google_" + template, entity(""), "e1", "is empty for the caller's entity"},
		"metadata with a space":          {template, entity("ann smith"), "e1", "which is no username"},
		"a user that does not exist":     {template, entity("eve"), "e1", `has no user "eve"`},
		"a group that the caller is not in": {
			"{{identity.groups.names.oncall.metadata.user}}", entity("ann"), "e1", "no groups were provided"},
	} {
		t.Run("is refused for "+name, func(t *testing.T) {
			e := newCaller(t, c.template, c.entity)
			response, err := e.readAs("someone", c.id)
			require.NoError(t, err)
			require.True(t, response.IsError())
			require.ErrorContains(t, response.Error(), c.says)
			e.requireGroups("nothing was granted", "testers")
			require.Empty(t, e.records())
		})
	}

	t.Run("is refused for a user who only chose the name as an alias", func(t *testing.T) {
		e := newCaller(t, template, entity("ann"))
		id := e.MakePool(&cip.CreateUserPoolInput{PoolName: aws.String("aliases"), AliasAttributes: []types.AliasAttributeType{types.AliasAttributeTypePreferredUsername}})
		_, err := e.Admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &id, GroupName: aws.String("admins")})
		require.NoError(t, err)
		_, err = e.Admin.AdminCreateUser(t.Context(), &cip.AdminCreateUserInput{
			UserPoolId: &id, Username: aws.String("eve"), MessageAction: types.MessageActionTypeSuppress,
			UserAttributes: []types.AttributeType{{Name: aws.String("preferred_username"), Value: aws.String("ann")}},
		})
		require.NoError(t, err)
		e.WriteOK("roles/ci", map[string]any{"user_pool_id": id, "groups": "admins"})
		response, err := e.readAs("userpass-ann", "e1")
		require.NoError(t, err)
		require.True(t, response.IsError())
		require.ErrorContains(t, response.Error(), `"ann" is only an alias of user "eve"`)
	})
}

func TestMembershipRoleServesNoTokens(t *testing.T) {
	e := newElevator(t, nil)
	e.elevate("ci")
	e.OK(logical.DeleteOperation, "roles/ci", nil)
	e.WriteOK("roles/ci", userRole(map[string]any{
		"user_pool_id": e.Seed.UserPoolID, "app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	}))
	text := e.Refused(logical.UpdateOperation, "tokens/ci", map[string]any{"username": "ann", "password": "whatever"})
	require.True(t, strings.HasPrefix(text, "tokens/ci refused the request"), text)
}

func TestCheckOfMemberships(t *testing.T) {
	t.Run("finds nothing wrong with a good role", func(t *testing.T) {
		e := newElevator(t, nil)
		e.OK(logical.PatchOperation, "config", map[string]any{"rate_limits": nil})
		c := e.check("ci")
		require.Equal(t, "ok", c.status)
		require.ElementsMatch(t, []string{"role", "aws_identity", "user_pool", "groups", "user", "quotas"}, c.of("ok"))
	})
	t.Run("finds a missing group and a missing user", func(t *testing.T) {
		e := newElevator(t, map[string]any{"groups": "nosuch", "username": "eve"})
		require.ElementsMatch(t, []string{"groups", "user"}, e.check("ci").of("fail"))
	})
	t.Run("finds a disabled user", func(t *testing.T) {
		e := newElevator(t, nil)
		e.disable("ann")
		require.Contains(t, e.check("ci").says("user"), "is disabled")
	})
	t.Run("names missing permissions", func(t *testing.T) {
		e := newElevator(t, nil)
		e.Deny("cognito-idp:AdminListGroupsForUser")
		require.Contains(t, e.check("ci").says("user"), "Allow cognito-idp:AdminListGroupsForUser")
	})
	t.Run("says that a user was not looked for when it depends on the caller", func(t *testing.T) {
		e := newElevator(t, map[string]any{"username": "{{identity.entity.name}}"})
		e.OK(logical.PatchOperation, "config", map[string]any{"rate_limits": nil})
		c := e.check("ci")
		require.Equal(t, "ok", c.status)
		require.Contains(t, c.says("user"), "none was looked for")
	})
}
