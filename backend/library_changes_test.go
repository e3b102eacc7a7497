// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
)

func (l *lender) deleteAtCognito(username string) {
	l.T.Helper()
	_, err := l.Admin.AdminDeleteUser(l.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &l.Seed.UserPoolID, Username: &username})
	require.NoError(l.T, err)
}

func (l *lender) requireNoEntries() {
	l.T.Helper()
	require.Eventually(l.T, func() bool { return len(l.entries("library/users/")) == 0 }, 5*time.Second, 5*time.Millisecond)
}

// newPair returns a mount whose set has taken over two users.
func newPair(t *testing.T) *lender {
	t.Helper()
	l := &lender{newIssuer(t, hourly())}
	l.plant("worker-1")
	l.plant("worker-2")
	l.WriteOK("library/e2e", map[string]any{"role": "ci", "usernames": "worker-1,worker-2"})
	l.requireReady(2)
	return l
}

func otherOfPair(name string) string {
	return map[string]string{"worker-1": "worker-2", "worker-2": "worker-1"}[name]
}

// TestLibraryGivesUp ends sets of users that somebody deleted at Cognito.
func TestLibraryGivesUp(t *testing.T) {
	t.Run("a lent user that is missing is given up when it comes back, and not made again", func(t *testing.T) {
		l := newPair(t)
		lent := l.checkOut("anna", nil)
		gone := lent.Data["username"].(string)
		other := otherOfPair(gone)
		l.WriteOK("library/e2e", map[string]any{"usernames": other})
		l.deleteAtCognito(gone)
		require.NoError(t, l.revoke(lent.Secret))
		require.Len(t, l.entries("library/users/e2e/"), 1)
		require.Len(t, l.Users(), 1)
	})

	t.Run("a set whose user is missing can be deleted", func(t *testing.T) {
		l := newPair(t)
		lent := l.checkOut("anna", nil)
		l.deleteAtCognito(lent.Data["username"].(string))
		require.ErrorContains(t, l.revoke(lent.Secret), "is missing")
		l.OK(logical.DeleteOperation, "library/e2e", nil)
		l.requireNoEntries()
		require.Len(t, l.Users(), 1)
		require.NoError(t, l.revoke(lent.Secret))
		require.Empty(t, l.records())
	})

	t.Run("a username can be written again while its user is still lent", func(t *testing.T) {
		l := newPair(t)
		lent := l.checkOut("anna", nil)
		other := map[string]string{"worker-1": "worker-2", "worker-2": "worker-1"}[lent.Data["username"].(string)]
		l.WriteOK("library/e2e", map[string]any{"usernames": other})
		l.WriteOK("library/e2e", map[string]any{"usernames": "worker-1,worker-2"})
		require.NoError(t, l.revoke(lent.Secret))
		l.requireReady(2)
	})

	t.Run("a second name of a user that the set has is refused", func(t *testing.T) {
		l := newPair(t)
		sub := l.userOf("worker-1").Attributes["sub"]
		require.Contains(t, l.WriteRefused("library/e2e", map[string]any{"usernames": "worker-1,worker-2," + sub}), `library set "e2e" has the user`)
	})
}

// TestLibraryRoleChanges changes a role while the users of its set are free.
func TestLibraryRoleChanges(t *testing.T) {
	t.Run("free users follow the role before they are lent", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.WriteOK("roles/ci", map[string]any{"groups": "admins", "user_attributes": map[string]string{"nickname": "robot"}})
		for _, who := range []string{"anna", "ben"} {
			user := l.userOf(l.checkOut(who, nil).Data["username"].(string))
			require.Equal(t, []string{"admins"}, user.Groups)
			require.Equal(t, "robot", user.Attributes["nickname"])
		}
	})

	t.Run("free users get an authenticator when the role asks for one", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		l.setMFA(types.UserPoolMfaTypeOptional, true)
		l.WriteOK("roles/ci", map[string]any{"mfa": "totp"})
		require.NotEmpty(t, l.checkOut("anna", nil).Data["totp_secret"])
	})

	t.Run("free users follow another role of the set", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		l.WriteOK("roles/other", map[string]any{
			"credential_type": "user", "user_pool_id": l.Seed.UserPoolID, "region": l.Seed.Region, "groups": "admins",
			"app_client_id": l.Seed.AppClientID, "app_client_secret": l.Seed.AppClientSecret,
		})
		l.WriteOK("library/e2e", map[string]any{"role": "other"})
		require.Equal(t, []string{"admins"}, l.userOf(l.checkOut("anna", nil).Data["username"].(string)).Groups)
	})

	t.Run("a role that is written again unchanged makes no call", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		l.checkIn("anna")
		require.NoError(t, l.tick())
		require.NoError(t, l.Control.ResetCalls(t.Context()))
		l.WriteOK("roles/ci", hourly())
		require.NoError(t, l.tick())
		require.Zero(t, len(l.Calls().Of("AdminSetUserPassword")))
		l.requireReady(1)
	})
}

// TestLibraryChallenge lets an administrator give a free user a second factor: one such user must
// not block the set.
func TestLibraryChallenge(t *testing.T) {
	l := newLender(t, hourly(), map[string]any{"size": 2})
	_, err := l.Admin.SetUserPoolMfaConfig(t.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &l.Seed.UserPoolID, MfaConfiguration: types.UserPoolMfaTypeOptional,
		SmsMfaConfiguration: &types.SmsMfaConfigType{SmsConfiguration: &types.SmsConfigurationType{SnsCallerArn: aws.String("arn:aws:iam::123456789012:role/sms")}},
	})
	require.NoError(t, err)
	for _, user := range l.Users()[:1] {
		_, err = l.Admin.AdminUpdateUserAttributes(t.Context(), &cip.AdminUpdateUserAttributesInput{
			UserPoolId: &l.Seed.UserPoolID, Username: &user.Username, UserAttributes: []types.AttributeType{
				{Name: aws.String("phone_number"), Value: aws.String("+491701234567")}, {Name: aws.String("phone_number_verified"), Value: aws.String("true")},
			},
		})
		require.NoError(t, err)
		_, err = l.Admin.AdminSetUserMFAPreference(t.Context(), &cip.AdminSetUserMFAPreferenceInput{
			UserPoolId: &l.Seed.UserPoolID, Username: &user.Username, SMSMfaSettings: &types.SMSMfaSettingsType{Enabled: true, PreferredMfa: true},
		})
		require.NoError(t, err)
	}
	l.checkOut("anna", nil)
	l.checkOut("ben", nil)
}

// TestLibraryCheck reads what check/ finds of a set.
func TestLibraryCheck(t *testing.T) {
	read := func(l *lender) (status string, problems []string) {
		l.T.Helper()
		answer := l.OK(logical.ReadOperation, "check/e2e", map[string]any{"kind": "library"}).Data
		return answer["status"].(string), answer["problems"].([]string)
	}
	newChecked := func(t *testing.T, recovery types.RecoveryOptionNameType) *lender {
		t.Helper()
		l := &lender{newIssuer(t, hourly())}
		l.OK(logical.PatchOperation, "config", map[string]any{"rate_limits": nil}) // those of the tests exceed the account's quotas
		pool := l.MakePool(&cip.CreateUserPoolInput{AccountRecoverySetting: &types.AccountRecoverySettingType{
			RecoveryMechanisms: []types.RecoveryOptionType{{Name: recovery, Priority: aws.Int32(1)}},
		}})
		client, secret := l.MakeClient(pool)
		l.WriteOK("roles/shut", map[string]any{
			"credential_type": "user", "user_pool_id": pool, "region": l.Seed.Region, "groups": "testers", "ttl": "1h",
			"app_client_id": client, "app_client_secret": secret,
		})
		l.WriteOK("library/e2e", map[string]any{"role": "shut", "size": 2})
		l.requireReady(2)
		return l
	}

	t.Run("is ok for a set with free users in a pool that only an administrator recovers", func(t *testing.T) {
		status, problems := read(newChecked(t, types.RecoveryOptionNameTypeAdminOnly))
		require.Equal(t, "ok", status, problems)
	})

	t.Run("warns of account recovery by users", func(t *testing.T) {
		status, problems := read(newChecked(t, types.RecoveryOptionNameTypeVerifiedEmail))
		require.Equal(t, "warn", status)
		require.Len(t, problems, 1)
		require.Contains(t, problems[0], `account_recovery (warn): Users of the pool can recover their account by "verified_email".`)
	})

	t.Run("fails for a user that could not be prepared, with its error", func(t *testing.T) {
		l := newChecked(t, types.RecoveryOptionNameTypeAdminOnly)
		lent := l.checkOut("anna", nil)
		l.Deny("cognito-idp:AdminUserGlobalSignOut")
		require.Error(t, l.revoke(lent.Secret))
		status, problems := read(l)
		require.Equal(t, "fail", status)
		require.Contains(t, problems[0], "library_users (fail): 1 users could not be prepared: \""+lent.Data["username"].(string))
		require.Contains(t, problems[0], "cognito-idp:AdminUserGlobalSignOut")
	})

	t.Run("warns if no user is free", func(t *testing.T) {
		l := newChecked(t, types.RecoveryOptionNameTypeAdminOnly)
		l.checkOut("anna", nil)
		l.checkOut("ben", nil)
		status, problems := read(l)
		require.Equal(t, "warn", status)
		require.Contains(t, problems[0], "0 of 2 users are free, 2 are checked out.")
	})

	t.Run("refuses a set that does not exist", func(t *testing.T) {
		l := &lender{newIssuer(t, hourly())}
		require.Contains(t, l.Refused(logical.ReadOperation, "check/ghost", map[string]any{"kind": "library"}), `there is no library set "ghost"`)
	})
}

// TestLibraryBesideOthers reads sets with the rest of the engine.
func TestLibraryBesideOthers(t *testing.T) {
	t.Run("tidy never touches the users of a set", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.checkOut("anna", nil)
		l.clocks.advance(60 * 24 * time.Hour)
		require.Empty(t, l.tidy(map[string]any{"dry_run": false})["users"])
		l.requireUsers(2, "")
	})

	t.Run("check-outs count towards max_issued of the role, and are listed with its records", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.WriteOK("roles/ci", map[string]any{"max_issued": 1})
		lent := l.checkOut("anna", nil)
		_, err := l.as("ben", "library/e2e/check-out", nil)
		require.ErrorContains(t, err, "has issued max_issued=1 already")
		listed := l.OK(logical.ListOperation, "issued/ci", nil).Data
		require.Len(t, listed["keys"], 1)
		require.NoError(t, l.revoke(lent.Secret))
		l.checkOut("ben", nil)
	})

	t.Run("a node learns of a set and of users that another node wrote", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		other := &lender{&issuer{pool: l.pool, clocks: l.clocks, log: l.log}}
		mount := *l.pool
		other.pool = &mount
		other.newProcess()
		require.Contains(t, other.noneFreeOf(1), "1 of its 1 users are checked out")
		l.WriteOK("library/e2e", map[string]any{"size": 3})
		l.requireReady(2)
		for _, key := range append(l.keysOf("library/sets/"), l.keysOf("library/users/e2e/")...) {
			other.Backend.InvalidateKey(t.Context(), key)
		}
		require.Contains(t, other.noneFreeOf(3), "3 of its 3 users are checked out")
	})

	t.Run("the user of a restored snapshot is reset when its lease ends", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		snapshot := l.snapshot()
		l.checkIn("anna")
		later := l.checkOut("ben", nil)
		l.restore(snapshot)
		l.newProcess()
		require.NoError(t, l.tick())
		l.noneFree(nil)
		require.NoError(t, l.revoke(lent.Secret))
		require.False(t, l.signsIn(later.Data["username"].(string), later.Data["password"].(string)))
		l.requireReady(1)
	})

	t.Run("revoke -force leaves the user to the reconciler", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.Deny("cognito-idp:AdminSetUserPassword")
		require.Error(t, l.revoke(lent.Secret), "Vault drops the lease all the same")
		l.Deny()
		l.pass(10 * time.Minute)
		l.requireReady(1)
		require.Empty(t, l.records())
	})
}

// noneFreeOf checks users out until none is free, and returns the error.
func (l *lender) noneFreeOf(most int) string {
	l.T.Helper()
	for range most + 1 {
		if _, err := l.as("crowd", "library/e2e/check-out", nil); err != nil {
			return err.Error()
		}
	}
	require.Fail(l.T, "more users are free than the set has")
	return ""
}

func (l *lender) keysOf(prefix string) (keys []string) {
	l.T.Helper()
	for _, name := range l.entries(prefix) {
		keys = append(keys, prefix+name)
	}
	return keys
}

// snapshot returns a copy of the storage.
func (l *lender) snapshot() map[string][]byte {
	l.T.Helper()
	copied := map[string][]byte{}
	require.NoError(l.T, logical.ScanView(l.T.Context(), l.storage.Storage.(logical.ClearableView), func(key string) {
		entry, err := l.storage.Storage.Get(l.T.Context(), key)
		require.NoError(l.T, err)
		copied[key] = entry.Value
	}))
	return copied
}

func (l *lender) restore(snapshot map[string][]byte) {
	l.T.Helper()
	require.NoError(l.T, logical.ClearView(l.T.Context(), l.storage.Storage.(logical.ClearableView)))
	for key, value := range snapshot {
		require.NoError(l.T, l.storage.Storage.Put(l.T.Context(), &logical.StorageEntry{Key: key, Value: value}))
	}
}

// TestLibraryTickDuringReset runs a tick while the worker stores why it could not create a user.
// The tick skips the user, because the worker has it locked.
func TestLibraryTickDuringReset(t *testing.T) {
	t.Parallel()
	l := newLender(t, hourly(), map[string]any{"size": 1})
	require.NoError(t, l.Control.ResetCalls(t.Context()))
	l.Deny("cognito-idp:AdminCreateUser")
	putsOf := func(calls []string) int {
		return len(slices.DeleteFunc(calls, func(call string) bool { return call != "put library" }))
	}
	var putsBefore atomic.Int64 // before the failure
	var ticked atomic.Bool
	l.storage.Fail(backendtest.StorageFault{When: func() bool {
		created, puts := l.Calls().Of("AdminCreateUser"), int64(putsOf(l.storage.Calls()))
		if len(created) == 0 || created[0].Status == 0 {
			putsBefore.Store(puts)
		} else if puts > putsBefore.Load() && ticked.CompareAndSwap(false, true) {
			l.Deny()
			l.clocks.advance(10 * time.Minute)
			assert.NoError(t, l.tick())
		}
		return false
	}})
	l.WriteOK("library/e2e", map[string]any{"size": 2})
	l.requireReady(2)
}
