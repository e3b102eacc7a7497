// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// lender is a mount with a library set "e2e", whose role is "ci".
type lender struct{ *issuer }

// newLender returns a mount whose set has its users ready.
func newLender(t *testing.T, role, set map[string]any) *lender {
	t.Helper()
	mfa := role["mfa"]
	role = maps.Clone(role)
	delete(role, "mfa")
	l := &lender{newIssuer(t, role)}
	limits := maps.Clone(noLimits)
	limits["UserRead"], limits["UserResourceRead"] = 1000, 1000
	l.WriteOK("config", map[string]any{"rate_limits": limits, "request_timeout": "10s"}) // the machine may be busy
	if mfa != nil {
		l.setMFA(types.UserPoolMfaTypeOptional, true)
		l.WriteOK("roles/ci", map[string]any{"mfa": mfa})
	}
	l.clocks.set(time.Since(l.clocks.now())) // one-time codes follow the emulator's clock
	settings := map[string]any{"role": "ci"}
	maps.Copy(settings, set)
	l.WriteOK("library/e2e", settings)
	l.requireReady(max(1, intOf(settings["size"])))
	return l
}

func intOf(value any) int {
	n, _ := value.(int)
	return n
}

func (l *lender) status() map[string]any {
	l.T.Helper()
	return l.Read("library/e2e/status")
}

// requireReady waits for the work behind the requests.
func (l *lender) requireReady(free int) {
	l.T.Helper()
	require.Eventually(l.T, func() bool { return l.status()["available"] == free }, 10*time.Second, 5*time.Millisecond, "%d users must be free", free)
}

// as makes a request as an entity with a token.
func (l *lender) as(who, path string, data map[string]any) (*logical.Response, error) {
	l.T.Helper()
	return l.Backend.HandleRequest(l.T.Context(), &logical.Request{
		Operation: logical.UpdateOperation, Path: path, Data: data, Storage: l.Storage, MountPoint: "cognito/",
		DisplayName: "token", EntityID: "entity-" + who, ClientToken: "token-" + who,
	})
}

func (l *lender) checkOut(who string, data map[string]any) *logical.Response {
	l.T.Helper()
	wait := map[string]any{"wait": 10} // a user is shown as available a moment before it is lent
	maps.Copy(wait, data)
	response, err := l.as(who, "library/e2e/check-out", wait)
	require.NoError(l.T, err)
	require.False(l.T, response.IsError(), "%v", response)
	return response
}

// noneFree makes a check-out that finds no free user, and returns the error.
func (l *lender) noneFree(data map[string]any) string {
	l.T.Helper()
	_, err := l.as("nobody", "library/e2e/check-out", data)
	var coded logical.HTTPCodedError
	require.ErrorAs(l.T, err, &coded)
	require.Equal(l.T, http.StatusConflict, coded.Code())
	return err.Error()
}

func (l *lender) checkIn(who string, usernames ...string) *logical.Response {
	l.T.Helper()
	data := map[string]any{}
	if len(usernames) > 0 {
		data["usernames"] = usernames
	}
	response, err := l.as(who, "library/e2e/check-in", data)
	require.NoError(l.T, err)
	return response
}

// userOf returns what Cognito has of a user.
func (l *lender) userOf(username string) control.User {
	l.T.Helper()
	for _, user := range l.Users() {
		if user.Username == username {
			return user
		}
	}
	require.Fail(l.T, "there is no user "+username)
	return control.User{}
}

func (l *lender) signsIn(username, password string) bool {
	l.T.Helper()
	_, err := l.Admin.AdminInitiateAuth(l.T.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &l.Seed.UserPoolID, ClientId: aws.String(l.publicClient()), AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": username, "PASSWORD": password},
	})
	return err == nil
}

func (l *lender) publicClient() string { return l.MakePublicClient(l.Seed.UserPoolID) }

func (l *lender) userInfo(username string) map[string]any {
	l.T.Helper()
	info, _ := l.status()["users"].(map[string]any)[username].(map[string]any)
	return info
}

func TestLibrary(t *testing.T) {
	t.Run("lends the users of a size, each to one holder, and refuses more with the time of the next one", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.requireUsers(2, "")
		one, other := l.checkOut("anna", nil), l.checkOut("ben", nil)
		require.NotEqual(t, one.Data["username"], other.Data["username"])
		require.Equal(t, "e2e", one.Data["library"])
		require.NotEmpty(t, one.Data["access_token"])
		require.True(t, l.signsIn(one.Data["username"].(string), one.Data["password"].(string)))
		require.Contains(t, l.noneFree(nil), `library set "e2e" has no free user: 2 of its 2 users are checked out; the next one is due at `)
		require.Equal(t, time.Hour, one.Secret.TTL)
		info := l.userInfo(one.Data["username"].(string))
		require.Equal(t, false, info["available"])
		require.Equal(t, "entity-anna", info["borrower_entity_id"])
		require.NotEmpty(t, info["due_at"])
	})

	t.Run("costs one call to Cognito with tokens, and none without", func(t *testing.T) {
		for tokens, calls := range map[bool]int{true: 1, false: 0} {
			role := hourly()
			role["issue_tokens"] = tokens
			l := newLender(t, role, map[string]any{"size": 1})
			require.NoError(t, l.Control.ResetCalls(t.Context()))
			answer := l.checkOut("anna", nil)
			require.Equal(t, tokens, answer.Data["access_token"] != nil)
			require.Len(t, cognitoCalls(l.Calls()), calls)
		}
	})

	t.Run("resets a user whose lease is revoked, so that its holder has nothing left", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		first := l.checkOut("anna", nil)
		username, password := first.Data["username"].(string), first.Data["password"].(string)
		require.NoError(t, l.revoke(first.Secret))
		require.False(t, l.signsIn(username, password))
		require.Zero(t, l.userOf(username).Sessions)
		second := l.checkOut("ben", nil)
		require.Equal(t, username, second.Data["username"])
		require.NotEqual(t, password, second.Data["password"])
		require.Len(t, l.records(), 1)
	})

	t.Run("ignores the end of a check-out that has ended, and refuses its renewal", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		first := l.checkOut("anna", nil)
		require.Equal(t, []string{first.Data["username"].(string)}, l.checkIn("anna").Data["check_ins"])
		second := l.checkOut("ben", nil)
		require.NoError(t, l.revoke(first.Secret))
		require.True(t, l.signsIn(second.Data["username"].(string), second.Data["password"].(string)))
		_, err := l.lease(logical.RenewOperation, first.Secret)
		require.ErrorContains(t, err, "has ended, so its lease cannot be renewed")
		l.renew(second.Secret)
		require.NoError(t, l.revoke(second.Secret))
		require.Empty(t, l.records())
	})

	t.Run("a renewal moves the time when the user is due", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		before := l.userInfo(lent.Data["username"].(string))["due_at"].(string)
		l.clocks.advance(10 * time.Minute)
		l.renew(lent.Secret)
		require.Greater(t, l.userInfo(lent.Data["username"].(string))["due_at"], before)
	})

	t.Run("ends a check-out whose lease Vault has lost", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.pass(90 * time.Minute)
		l.requireReady(1)
		require.False(t, l.signsIn(lent.Data["username"].(string), lent.Data["password"].(string)))
		require.Empty(t, l.records())
	})

	t.Run("waits for a user in the order of the requests", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		served := make(chan string, 2)
		var wait sync.WaitGroup
		for _, who := range []string{"ben", "cleo"} {
			waiting := l.waiting()
			wait.Go(func() {
				response, err := l.as(who, "library/e2e/check-out", map[string]any{"wait": "30s"})
				if err == nil && !response.IsError() {
					served <- who
					l.checkIn(who)
				}
			})
			require.Eventually(t, func() bool { return l.waiting() == waiting+1 }, 5*time.Second, time.Millisecond)
		}
		require.NoError(t, l.revoke(lent.Secret))
		wait.Wait()
		require.Equal(t, []string{"ben", "cleo"}, []string{<-served, <-served})
	})

	t.Run("gives up waiting when the time is over", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		l.checkOut("anna", nil)
		began := time.Now()
		l.noneFree(map[string]any{"wait": 1})
		require.GreaterOrEqual(t, time.Since(began), time.Second)
		require.Zero(t, l.waiting())
	})

	t.Run("64 check-outs at once of a set of 8 give 8 different users", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 8})
		var mu sync.Mutex
		var names []string
		conflicts := 0
		var work sync.WaitGroup
		for range 64 {
			work.Go(func() {
				response, err := l.as("anna", "library/e2e/check-out", nil)
				mu.Lock()
				defer mu.Unlock()
				var coded logical.HTTPCodedError
				switch {
				case err == nil && !response.IsError():
					names = append(names, response.Data["username"].(string))
				case asCoded(err, &coded) && coded.Code() == http.StatusConflict:
					conflicts++
				}
			})
		}
		work.Wait()
		slices.Sort(names)
		require.Len(t, slices.Compact(names), 8)
		require.Equal(t, 56, conflicts)
	})
}

func asCoded(err error, coded *logical.HTTPCodedError) bool {
	found, is := err.(logical.HTTPCodedError) //nolint:errorlint // Vault looks at the outermost error only
	*coded = found
	return is
}

// waiting returns how many check-outs wait.
func (l *lender) waiting() int {
	l.T.Helper()
	waiting := l.Read("metrics")["library_waiting"].(map[string]any)["library=e2e"]
	return int(waiting.(float64))
}

// cognitoCalls returns the calls to Cognito. The account is asked for at STS in the background,
// once.
func cognitoCalls(log *control.CallLog) []control.Call {
	return slices.DeleteFunc(slices.Clone(log.Calls), func(c control.Call) bool { return c.Operation == "GetCallerIdentity" })
}

// TestLibraryHolder plays a holder who uses its access token to keep the account.
func TestLibraryHolder(t *testing.T) {
	role := hourly()
	role["user_attributes"] = map[string]string{"name": "Robot"}
	l := newLender(t, role, map[string]any{"size": 1})
	lent := l.checkOut("eve", nil)
	username, token := lent.Data["username"].(string), aws.String(lent.Data["access_token"].(string))
	before := l.userOf(username)
	ctx := t.Context()
	_, err := l.Admin.UpdateUserAttributes(ctx, &cip.UpdateUserAttributesInput{AccessToken: token, UserAttributes: []types.AttributeType{
		{Name: aws.String("email"), Value: aws.String("eve@evil.example")}, {Name: aws.String("nickname"), Value: aws.String("eve")},
	}})
	require.NoError(t, err)
	_, err = l.Admin.ChangePassword(ctx, &cip.ChangePasswordInput{
		AccessToken: token, PreviousPassword: aws.String(lent.Data["password"].(string)), ProposedPassword: aws.String("Eve-knows-1234"),
	})
	require.NoError(t, err)
	_, err = l.Admin.StartWebAuthnRegistration(ctx, &cip.StartWebAuthnRegistrationInput{AccessToken: token})
	require.Error(t, err, "a set needs a pool without passkeys")
	_, err = l.Admin.AdminAddUserToGroup(ctx, &cip.AdminAddUserToGroupInput{UserPoolId: &l.Seed.UserPoolID, GroupName: aws.String("admins"), Username: &username})
	require.NoError(t, err)

	require.NoError(t, l.revoke(lent.Secret))
	after := l.userOf(username)
	require.Equal(t, before.Attributes, after.Attributes)
	require.Equal(t, before.Groups, after.Groups)
	require.Empty(t, after.MFA)
	require.Zero(t, after.Sessions)
	require.False(t, l.signsIn(username, "Eve-knows-1234"))
	_, err = l.Admin.GetUser(ctx, &cip.GetUserInput{AccessToken: token})
	require.Error(t, err)
	next := l.checkOut("ben", nil)
	require.True(t, l.signsIn(username, next.Data["password"].(string)))
}

func TestLibraryReset(t *testing.T) {
	t.Run("repairs a user that is disabled and one that must reset its password", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		username := lent.Data["username"].(string)
		l.disable(username)
		require.NoError(t, l.revoke(lent.Secret))
		lent = l.checkOut("anna", nil)
		require.NoError(t, l.Control.SetUserStatus(t.Context(), control.UserStatus{UserPoolID: l.Seed.UserPoolID, Username: username, Status: "RESET_REQUIRED"}))
		require.NoError(t, l.revoke(lent.Secret))
		l.checkOut("anna", nil)
	})

	t.Run("tries one more user if a sign-in is refused, and resets the first", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		broken := slices.Sorted(maps.Keys(l.status()["users"].(map[string]any)))
		for _, name := range broken[:1] {
			_, err := l.Admin.AdminSetUserPassword(t.Context(), &cip.AdminSetUserPasswordInput{
				UserPoolId: &l.Seed.UserPoolID, Username: &name, Password: aws.String("Other-than-1234"), Permanent: true,
			})
			require.NoError(t, err)
		}
		one := l.checkOut("anna", nil)
		l.requireReady(1)
		other := l.checkOut("ben", nil)
		require.NotEqual(t, one.Data["username"], other.Data["username"])
	})

	t.Run("fails the revocation while Cognito does not answer, and the user is free later", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.Fault(control.Fault{Operation: "AdminUserGlobalSignOut", Kind: control.FaultError, Code: "InternalErrorException", Status: 500})
		require.Error(t, l.revoke(lent.Secret))
		info := l.userInfo(lent.Data["username"].(string))
		require.Contains(t, info["last_error"], "InternalErrorException")
		require.Equal(t, false, info["available"])
		require.Contains(t, l.noneFree(nil), "being prepared or broken")
		l.Heal()
		l.pass(2 * time.Minute)
		l.requireReady(1)
		require.Empty(t, l.userInfo(lent.Data["username"].(string))["last_error"])
		require.NoError(t, l.revoke(lent.Secret), "the check-out has ended")
	})

	t.Run("a check-in whose reset fails returns the user with a warning", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.Deny("cognito-idp:AdminUserGlobalSignOut")
		answer := l.checkIn("anna")
		require.Len(t, answer.Data["check_ins"], 1)
		require.Len(t, answer.Warnings, 1)
		require.Contains(t, answer.Warnings[0], "was checked in but is not free yet")
		l.Deny()
		l.pass(2 * time.Minute)
		l.requireReady(1)
		require.NoError(t, l.revoke(lent.Secret))
	})

	t.Run("creates a user again that was deleted at Cognito", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		username := lent.Data["username"].(string)
		_, err := l.Admin.AdminDeleteUser(t.Context(), &cip.AdminDeleteUserInput{UserPoolId: &l.Seed.UserPoolID, Username: &username})
		require.NoError(t, err)
		l.clocks.advance(time.Minute)
		require.NoError(t, l.revoke(lent.Secret))
		next := l.checkOut("ben", nil)
		require.NotEqual(t, username, next.Data["username"])
		l.requireUsers(1, "")
	})

	t.Run("gives each holder another authenticator", func(t *testing.T) {
		role := hourly()
		role["mfa"] = "totp"
		l := newLender(t, role, map[string]any{"size": 1})
		first := l.checkOut("anna", nil)
		require.NotEmpty(t, first.Data["totp_secret"])
		require.NotEmpty(t, first.Data["access_token"])
		require.NoError(t, l.revoke(first.Secret))
		second := l.checkOut("ben", nil)
		require.NotEqual(t, first.Data["totp_secret"], second.Data["totp_secret"])
		require.NotEmpty(t, second.Data["access_token"])
	})

	t.Run("follows its role when the user comes back", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.WriteOK("roles/ci", map[string]any{"groups": "admins", "user_attributes": map[string]string{"nickname": "robot"}})
		require.NoError(t, l.revoke(lent.Secret))
		user := l.userOf(lent.Data["username"].(string))
		require.Equal(t, []string{"admins"}, user.Groups)
		require.Equal(t, "robot", user.Attributes["nickname"])
		l.WriteOK("roles/ci", map[string]any{"user_attributes": map[string]string{}})
		require.NoError(t, l.revoke(l.checkOut("anna", nil).Secret))
		require.NotContains(t, l.userOf(lent.Data["username"].(string)).Attributes, "nickname")
	})
}

func TestLibraryUsernames(t *testing.T) {
	newNamed := func(t *testing.T) *lender {
		t.Helper()
		l := &lender{newIssuer(t, hourly())}
		l.plant("worker-1")
		l.WriteOK("library/e2e", map[string]any{"role": "ci", "usernames": "worker-1"})
		l.requireReady(1)
		return l
	}

	t.Run("takes over existing users, and gives them up without deleting them", func(t *testing.T) {
		l := newNamed(t)
		lent := l.checkOut("anna", nil)
		require.Equal(t, "worker-1", lent.Data["username"])
		require.Equal(t, []string{"testers"}, l.userOf("worker-1").Groups)
		require.Contains(t, l.Refused(logical.DeleteOperation, "library/e2e", nil), "is checked out")
		require.NoError(t, l.revoke(lent.Secret))
		l.OK(logical.DeleteOperation, "library/e2e", nil)
		require.Eventually(t, func() bool { return len(l.entries("library/users/")) == 0 }, 5*time.Second, 5*time.Millisecond)
		require.False(t, l.signsIn("worker-1", lent.Data["password"].(string)))
	})

	t.Run("reports a user that is missing, and takes it up again", func(t *testing.T) {
		l := newNamed(t)
		lent := l.checkOut("anna", nil)
		_, err := l.Admin.AdminDeleteUser(t.Context(), &cip.AdminDeleteUserInput{UserPoolId: &l.Seed.UserPoolID, Username: aws.String("worker-1")})
		require.NoError(t, err)
		require.ErrorContains(t, l.revoke(lent.Secret), `user "worker-1" is missing: create it again in the user pool, or remove it from usernames`)
		l.plant("worker-1")
		l.pass(2 * time.Minute)
		l.requireReady(1)
	})

	t.Run("refuses users that are federated, missing, or owned already", func(t *testing.T) {
		l := newNamed(t)
		l.plant("ann")
		l.plant("google_1")
		require.NoError(t, l.Control.SetUserStatus(t.Context(), control.UserStatus{UserPoolID: l.Seed.UserPoolID, Username: "google_1", Status: "EXTERNAL_PROVIDER"}))
		l.WriteOK("static-roles/ann", map[string]any{
			"credential_type": "user_password", "user_pool_id": l.Seed.UserPoolID, "username": "ann", "rotation_period": "1h",
		})
		for username, refusal := range map[string]string{
			"ann":      `static role "ann" owns the user's password`,
			"google_1": "signs in with another provider",
			"worker-1": `library set "e2e" has the user`,
			"ghost":    "UserNotFoundException",
		} {
			require.Contains(t, l.WriteRefused("library/other", map[string]any{"role": "ci", "usernames": username}), refusal)
		}
		require.Nil(t, l.Read("library/other"))
		require.Contains(t, l.WriteRefused("static-roles/worker", map[string]any{
			"credential_type": "user_password", "user_pool_id": l.Seed.UserPoolID, "username": "worker-1", "rotation_period": "1h",
		}), `library set "e2e" has the user`)
	})
}

func TestLibraryChanges(t *testing.T) {
	t.Run("grows at once, and shrinks by users that are free and by those that come back", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		one, other := l.checkOut("anna", nil), l.checkOut("ben", nil)
		l.WriteOK("library/e2e", map[string]any{"size": 3})
		l.requireReady(1)
		l.WriteOK("library/e2e", map[string]any{"size": 1})
		l.requireReady(0)
		require.Eventually(t, func() bool { return len(l.Users()) == 2 }, 5*time.Second, 5*time.Millisecond)
		require.NoError(t, l.revoke(one.Secret))
		require.NoError(t, l.revoke(other.Secret))
		l.requireReady(1)
		l.requireUsers(1, "")
	})

	t.Run("deletes its users with the set", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.OK(logical.DeleteOperation, "library/e2e", nil)
		require.Eventually(t, func() bool { return len(l.Users()) == 0 && len(l.entries("library/users/")) == 0 }, 5*time.Second, 5*time.Millisecond)
	})

	t.Run("protects its role", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		require.Contains(t, l.Refused(logical.DeleteOperation, "roles/ci", nil), `library set "e2e" uses it`)
		for field, value := range map[string]any{
			"credential_type": "client_credentials_grant", "user_pool_id": "eu-west-1_Other1234", "region": "eu-west-2",
		} {
			require.Contains(t, l.WriteRefused("roles/ci", map[string]any{field: value, "app_client_secret": ""}), `library set "e2e" uses the role`)
		}
		require.Contains(t, l.WriteRefused("roles/ci", map[string]any{"username_template": "{{.DisplayName}}-{{random 20}}"}), "depends on the caller")
	})

	t.Run("refuses what cannot work and changes nothing", func(t *testing.T) {
		l := &lender{newIssuer(t, hourly())}
		passkeys := l.MakePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{SignInPolicy: &types.SignInPolicyType{
			AllowedFirstAuthFactors: []types.AuthFactorType{types.AuthFactorTypePassword, types.AuthFactorTypeWebAuthn},
		}}})
		client, secret := l.MakeClient(passkeys)
		l.WriteOK("roles/keys", map[string]any{"credential_type": "user", "user_pool_id": passkeys, "app_client_id": client, "app_client_secret": secret})
		l.WriteOK("roles/caller", map[string]any{
			"credential_type": "user", "user_pool_id": l.Seed.UserPoolID, "issue_tokens": false, "user_attributes": map[string]string{"nickname": "{{.DisplayName}}"},
		})
		for refusal, data := range map[string]map[string]any{
			"role is required":              {"size": 1},
			`there is no role "ghost"`:      {"role": "ghost", "size": 1},
			"size is required":              {"role": "ci"},
			"size -1 is not allowed":        {"role": "ci", "size": -1},
			"size 1001 is not allowed":      {"role": "ci", "size": 1001},
			"mutually exclusive":            {"role": "ci", "size": 1, "usernames": "x"},
			`usernames holds "a b"`:         {"role": "ci", "usernames": []string{"a b"}},
			"allows passkeys":               {"role": "keys", "size": 1},
			"user_attributes hold nickname": {"role": "caller", "size": 1},
		} {
			require.Contains(t, l.WriteRefused("library/bad", data), refusal)
		}
		require.Contains(t, l.WriteRefused("library/manage", map[string]any{"role": "ci", "size": 1}), "is reserved")
		require.Empty(t, l.entries("library/"))
		require.Contains(t, l.Refused(logical.UpdateOperation, "library/bad/check-out", nil), `there is no library set "bad"`)
	})

	t.Run("an unchanged write makes no call and changes nothing", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		require.NoError(t, l.Control.ResetCalls(t.Context()))
		l.WriteOK("library/e2e", map[string]any{"role": "ci", "size": 1})
		require.Empty(t, cognitoCalls(l.Calls()))
	})
}

func TestLibraryCheckIn(t *testing.T) {
	l := newLender(t, hourly(), map[string]any{"size": 3})
	anna, ben := l.checkOut("anna", nil).Data["username"].(string), l.checkOut("ben", nil).Data["username"].(string)
	require.Empty(t, l.checkIn("nobody").Data["check_ins"])
	require.Contains(t, l.checkIn("anna", ben).Error().Error(), "another caller checked out")
	require.Contains(t, l.checkIn("anna", "ghost").Error().Error(), "has no such user")
	second := l.checkOut("anna", nil).Data["username"].(string)
	require.Contains(t, l.checkIn("anna").Error().Error(), "usernames is required: the caller has checked out 2 users")
	require.Equal(t, []string{anna, second}, l.checkIn("anna", anna, second).Data["check_ins"])
	require.Empty(t, l.checkIn("anna", anna).Data["check_ins"], "it is back already")
	forced, err := l.as("operator", "library/manage/e2e/check-in", map[string]any{"usernames": ben})
	require.NoError(t, err)
	require.Equal(t, []string{ben}, forced.Data["check_ins"])
	l.WriteOK("library/e2e", map[string]any{"disable_check_in_enforcement": true})
	lent := l.checkOut("anna", nil).Data["username"].(string)
	require.Equal(t, []string{lent}, l.checkIn("ben", lent).Data["check_ins"])
	l.requireReady(3)
	require.Empty(t, l.records())
	forced, err = l.as("operator", "library/manage/e2e/check-in", map[string]any{"usernames": lent})
	require.NoError(t, err)
	require.Equal(t, []string{lent}, forced.Data["check_ins"], "a free user is reset once more")
}

// awaitCall waits until AWS has got a call about a user.
func (l *lender) awaitCall(operation, username string) {
	l.T.Helper()
	require.Eventually(l.T, func() bool {
		return slices.ContainsFunc(l.Calls().Calls, func(c control.Call) bool { return c.Operation == operation && c.Username == username })
	}, 5*time.Second, 5*time.Millisecond, "%s of %s", operation, username)
}

// TestLibrarySetsTakeTurns lets AWS not answer about the many users of one set, while another set
// needs its user reset.
func TestLibrarySetsTakeTurns(t *testing.T) {
	t.Parallel()
	l := newLender(t, hourly(), map[string]any{"size": 20})
	l.WriteOK("library/small", map[string]any{"role": "ci", "size": 1})
	require.Eventually(t, func() bool { return l.Read("library/small/status")["available"] == 1 }, 10*time.Second, 5*time.Millisecond)
	var username string
	for username = range l.Read("library/small/status")["users"].(map[string]any) {
		require.NoError(t, l.Control.ResetCalls(t.Context()))
	}
	l.sealed(10 * time.Minute)
	l.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultHang})
	var work sync.WaitGroup
	work.Go(func() { _ = l.tick() })
	l.awaitCall("AdminSetUserPassword", username)
	l.Heal()
	work.Wait()
}

func TestLibraryTokens(t *testing.T) {
	l := newLender(t, hourly(), map[string]any{"size": 2})
	ask := func(who, path string, data map[string]any) *logical.Response {
		response, err := l.as(who, path, data)
		require.NoError(t, err)
		return response
	}
	lent := l.checkOut("anna", nil)
	refresh := map[string]any{"refresh_token": lent.Data["refresh_token"]}
	login := map[string]any{"username": lent.Data["username"], "password": lent.Data["password"]}
	require.NotEmpty(t, ask("anna", "tokens/e2e", refresh).Data["access_token"])
	require.NotEmpty(t, ask("anna", "tokens/e2e", login).Data["access_token"])
	require.ErrorContains(t, ask("anna", "tokens/ci", login).Error(), "refused the request", "the role did not issue the user")

	l.checkOut("ben", nil)
	require.ErrorContains(t, ask("ben", "tokens/e2e", refresh).Error(), "refused the request", "another caller has the user")
	require.ErrorContains(t, ask("ben", "tokens/e2e", login).Error(), "refused the request")

	l.checkIn("anna")
	require.ErrorContains(t, ask("anna", "tokens/e2e", refresh).Error(), "refused the request", "the user is back")
	require.ErrorContains(t, ask("anna", "tokens/e2e", login).Error(), "refused the request")
	l.WriteOK("library/ci", map[string]any{"role": "ci", "size": 1})
	require.ErrorContains(t, ask("anna", "tokens/ci", login).Error(), `"ci" is the name of a role and of a library set`)
}

// TestLibraryOtherProcesses hands a set to the process after one that died or was replaced.
func TestLibraryOtherProcesses(t *testing.T) {
	t.Run("a restart keeps who has which user", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		lent := l.checkOut("anna", nil)
		l.newProcess()
		require.NoError(t, l.tick())
		next := l.checkOut("ben", nil)
		require.NotEqual(t, lent.Data["username"], next.Data["username"])
		l.noneFree(nil)
		l.renew(lent.Secret)
		require.NoError(t, l.revoke(lent.Secret))
		l.requireReady(1)
	})

	t.Run("a lent user whose record is lost is reset", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		require.NoError(t, logical.ClearView(t.Context(), issuedView(l.issuer)))
		l.newProcess()
		require.NoError(t, l.tick())
		l.requireReady(1)
		require.False(t, l.signsIn(lent.Data["username"].(string), lent.Data["password"].(string)))
	})

	t.Run("a performance secondary lends nothing", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 1})
		lent := l.checkOut("anna", nil)
		l.System.ReplicationStateVal = consts.ReplicationPerformanceSecondary
		l.newProcess()
		for _, path := range []string{"library/e2e/check-out", "library/e2e/check-in", "library/manage/e2e/check-in"} {
			response, err := l.as("anna", path, map[string]any{})
			require.NoError(t, err)
			require.ErrorContains(t, response.Error(), "belongs to the primary cluster")
		}
		require.NoError(t, l.revoke(lent.Secret), "a cluster that was the primary lets its leases go")
		require.True(t, l.signsIn(lent.Data["username"].(string), lent.Data["password"].(string)))
		require.Len(t, l.status()["users"], 1)
	})

	t.Run("an unmount deletes the users that the engine created", func(t *testing.T) {
		l := newLender(t, hourly(), map[string]any{"size": 2})
		l.checkOut("anna", nil)
		l.System.TaintedVal = true
		require.NoError(t, l.tick())
		require.Empty(t, l.Users())
	})
}

// TestLibraryStorageFails fails each storage call of a check-out and of its end, before or after it
// takes effect, and once kills the process there. The user is never lent twice, never lost and
// never free with a password that somebody has.
func TestLibraryStorageFails(t *testing.T) {
	for _, fault := range []backendtest.StorageFault{{}, {Afterwards: true}, {ForGood: true}, {ForGood: true, Afterwards: true}} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v, and the process dies: %t", fault, dies), func(t *testing.T) {
				t.Parallel()
				for at, happened := fault, true; happened; {
					at.At++
					happened = lendWithFault(t, at, dies)
				}
			})
		}
	}
}

// lendWithFault checks a user out and in again over a storage that fails at one call, and reports
// whether the call was made.
func lendWithFault(t *testing.T, fault backendtest.StorageFault, dies bool) bool {
	t.Helper()
	l := newLender(t, hourly(), map[string]any{"size": 1})
	var met atomic.Bool // work behind the request may meet the fault, too
	fault.Met = func() { met.Store(true) }
	l.storage.Fail(fault)
	lent, err := l.as("anna", "library/e2e/check-out", nil)
	if err == nil && !lent.IsError() {
		err = l.revoke(lent.Secret)
	} else {
		lent = nil
	}
	l.storage.Repair()
	if dies {
		l.newProcess()
	}
	if lent != nil && err != nil {
		require.NoError(t, l.tick())
		require.NoError(t, l.revoke(lent.Secret), "Vault repeats it")
	}
	l.pass(10 * time.Minute) // longer than a failed reset waits
	l.requireReady(1)
	l.requireUsers(1, "no user is lost")
	next := l.checkOut("ben", nil)
	require.True(t, l.signsIn(next.Data["username"].(string), next.Data["password"].(string)))
	if lent != nil {
		require.NotEqual(t, lent.Data["password"], next.Data["password"], "a password that was seen is not lent again")
	}
	require.NoError(t, l.revoke(next.Secret))
	l.pass(2 * time.Hour) // longer than the ttl
	require.Empty(t, l.records(), "no record is left")
	return met.Load()
}

// TestLibraryFailedCheckOutLeavesRoom fails the storage from each call of a check-out on. The
// check-out that failed does not count towards max_issued once the storage works again.
func TestLibraryFailedCheckOutLeavesRoom(t *testing.T) {
	for _, afterwards := range []bool{false, true} {
		t.Run(fmt.Sprintf("the call takes effect: %t", afterwards), func(t *testing.T) {
			t.Parallel()
			for at, happened := 1, true; happened; at++ {
				happened = failCheckOut(t, backendtest.StorageFault{At: at, ForGood: true, Afterwards: afterwards})
			}
		})
	}
}

// failCheckOut makes a check-out over a storage that fails, and another one after that. It reports
// whether the storage failed.
func failCheckOut(t *testing.T, fault backendtest.StorageFault) bool {
	t.Helper()
	l := newLender(t, hourly(), map[string]any{"size": 1})
	l.WriteOK("roles/ci", map[string]any{"max_issued": 1})
	l.storage.Fail(fault)
	lent, err := l.as("anna", "library/e2e/check-out", nil)
	l.storage.Repair()
	if err == nil && !lent.IsError() {
		return false
	}
	l.pass(3 * time.Minute) // longer than a failed reset waits, and shorter than the ttl
	l.requireReady(1)
	l.checkOut("ben", nil)
	require.Len(t, l.records(), 1)
	return true
}

// TestLibraryAWSHangs lets AWS not answer until the end of an attempt to reset a user.
func TestLibraryAWSHangs(t *testing.T) {
	t.Parallel()
	l := newLender(t, hourly(), map[string]any{"size": 1})
	l.WriteOK("config", map[string]any{"request_timeout": "60s"})
	lent := l.checkOut("anna", nil)
	l.Fault(control.Fault{Operation: "AdminListDevices", Kind: control.FaultHang})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := l.Backend.HandleRequest(ctx, &logical.Request{Operation: logical.RevokeOperation, Path: "library/e2e/check-out", Secret: lent.Secret, Storage: l.Storage})
	require.ErrorContains(t, err, "no answer in time")
	info := l.userInfo(lent.Data["username"].(string))
	require.Contains(t, info["last_error"], "no answer in time", "status says why the user is not free")
}

// TestLibraryLittleTime ends a check-out in an attempt that has little time left, as at the end of
// a tick or of a long wait for a quota.
func TestLibraryLittleTime(t *testing.T) {
	t.Parallel()
	l := newLender(t, hourly(), map[string]any{"size": 1})
	lent := l.checkOut("anna", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 1900*time.Millisecond)
	defer cancel()
	_, err := l.Backend.HandleRequest(ctx, &logical.Request{Operation: logical.RevokeOperation, Path: "library/e2e/check-out", Secret: lent.Secret, Storage: l.Storage})
	require.NoError(t, err, "AWS answers in time")
	l.requireReady(1)
}

// TestLibraryAWSFails fails each call to AWS of a check-out and of its end, before or after its
// effect.
func TestLibraryAWSFails(t *testing.T) {
	role := hourly()
	role["mfa"] = "totp"
	for _, kind := range []string{control.FaultCutBefore, control.FaultCutAfter} {
		for _, operation := range []string{
			"AdminInitiateAuth", "AdminRespondToAuthChallenge", "AdminSetUserPassword", "AdminUserGlobalSignOut", "AdminGetUser",
			"AdminUpdateUserAttributes", "AdminDeleteUserAttributes", "AdminListGroupsForUser", "AdminAddUserToGroup", "AdminRemoveUserFromGroup",
			"AdminListDevices", "AdminSetUserMFAPreference", "AssociateSoftwareToken", "VerifySoftwareToken",
		} {
			t.Run(fmt.Sprintf("%s is %s", operation, kind), func(t *testing.T) {
				t.Parallel()
				l := newLender(t, role, map[string]any{"size": 1})
				l.Fault(control.Fault{Operation: operation, Kind: kind, Times: 1})
				lent, err := l.as("anna", "library/e2e/check-out", nil)
				if err != nil || lent.IsError() {
					l.requireReady(1)
					lent = l.checkOut("anna", nil)
				}
				l.WriteOK("roles/ci", map[string]any{"groups": "admins", "user_attributes": map[string]string{"nickname": "robot"}})
				if err := l.revoke(lent.Secret); err != nil {
					require.NoError(t, l.revoke(lent.Secret), "Vault repeats it")
				}
				l.requireReady(1)
				l.requireUsers(1, "no user is lost")
				next := l.checkOut("ben", nil)
				require.NotEqual(t, lent.Data["password"], next.Data["password"])
				require.Equal(t, []string{"admins"}, l.userOf(next.Data["username"].(string)).Groups)
			})
		}
	}
}
