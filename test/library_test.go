// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The paths of a job that borrows users of the set e2e, and of an operator of it.
const (
	checkOutPath    = "library/e2e/check-out"
	checkInPath     = "library/e2e/check-in"
	manageCheckIn   = "library/manage/e2e/check-in"
	libraryStatus   = "library/e2e/status"
	mayUpdate       = `"update"`
	libraryPatience = 30 * time.Second
)

// writeLibrary writes the set e2e and its role, and waits until its users are free.
func (e *env) writeLibrary(size int, role map[string]any) {
	e.Helper()
	e.writeRole("shared", role)
	e.write("library/e2e", map[string]any{"role": "shared", "size": size})
	e.awaitFree(size)
}

// awaitFree waits until the set e2e has as many free users.
func (e *env) awaitFree(want int) {
	e.Helper()
	free := func() bool { return e.countOf("available") == want }
	if !assert.Eventually(e, free, libraryPatience, 20*time.Millisecond) {
		require.Failf(e, "users are not free", "%d must be: %v", want, e.read(libraryStatus).Data)
	}
}

// countOf returns a number of the status of the set e2e.
func (e *env) countOf(field string) int {
	e.Helper()
	return number(e, e.read(libraryStatus).Data[field])
}

// number returns a whole number of an answer.
func number(t require.TestingT, value any) int {
	n, err := strconv.Atoi(fmt.Sprint(value))
	require.NoError(t, err)
	return n
}

// checkOut borrows a user of the set e2e.
func (e *env) checkOut(client *api.Client, fields map[string]any) *api.Secret {
	e.Helper()
	lent, err := client.Logical().WriteWithContext(e.Context(), e.mount+"/"+checkOutPath, fields)
	require.NoError(e, err)
	return lent
}

// job returns a client of a CI job, whose token may borrow users of the set e2e and nothing else.
func (e *env) job() *api.Client { return e.attacker(checkOutPath, mayUpdate, checkInPath, mayUpdate) }

func nameIn(secret *api.Secret) string     { return secret.Data["username"].(string) }
func passwordIn(secret *api.Secret) string { return secret.Data["password"].(string) }

// holds reports whether the password of a check-out is that of the user.
func (e *env) holds(lent *api.Secret) bool {
	e.Helper()
	return e.passwordWorks(nameIn(lent), passwordIn(lent))
}

func TestLibrary(t *testing.T) {
	t.Parallel()

	t.Run("a CI job borrows a user, renews its lease and returns it", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(1, nil)
		job := e.job()
		lent := e.checkOut(job, map[string]any{"ttl": "2m"})
		require.Equal(t, "e2e", lent.Data["library"])
		require.Equal(t, 120, lent.LeaseDuration)
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, lent.Data["access_token"])["cognito:groups"])
		require.True(t, e.holds(lent))
		info := e.read(libraryStatus).Data["users"].(map[string]any)[nameIn(lent)].(map[string]any)
		require.Equal(t, "lent", info["state"])
		require.NotEmpty(t, info["due_at"])

		_, err := job.Sys().RenewWithContext(t.Context(), lent.LeaseID, 120)
		require.NoError(t, err)
		status, _ := e.writeAs(job, "tokens/e2e", map[string]any{"refresh_token": lent.Data["refresh_token"]})
		require.Equal(t, http.StatusForbidden, status, "the job may do no more than its policy says")
		status, _ = e.readAs(job, libraryStatus)
		require.Equal(t, http.StatusForbidden, status)
		status, _ = e.writeAs(job, manageCheckIn, map[string]any{"usernames": nameIn(lent)})
		require.Equal(t, http.StatusForbidden, status)

		status, text := e.writeAs(job, checkInPath, nil)
		require.Zero(t, status, text)
		require.Equal(t, 1, e.countOf("available"), "a check-in returns when the user is free")
		require.False(t, e.holds(lent))
		require.Zero(t, e.userNamed(nameIn(lent)).Sessions)
		_, err = job.Sys().RenewWithContext(t.Context(), lent.LeaseID, 120)
		status, text = e.refusal(err)
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "the check-out of user")
	})

	t.Run("a job that waits gets the user that comes back, and a job that does not is told when", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(1, nil)
		first, second := e.job(), e.job()
		lent := e.checkOut(first, nil)
		status, text := e.writeAs(second, checkOutPath, nil)
		require.Equal(t, http.StatusConflict, status)
		require.Contains(t, text, "the next one is due at")
		next := make(chan *api.Secret, 1)
		go func() {
			lent, err := second.Logical().WriteWithContext(t.Context(), e.mount+"/"+checkOutPath, map[string]any{"wait": "30s"})
			assert.NoError(t, err)
			next <- lent
		}()
		require.Eventually(t, func() bool { return e.waiting() == 1 }, libraryPatience, 20*time.Millisecond)
		status, text = e.writeAs(first, checkInPath, nil)
		require.Zero(t, status, text)
		after := <-next
		require.NotNil(t, after)
		require.Equal(t, nameIn(lent), nameIn(after))
		require.False(t, e.holds(lent))
		require.True(t, e.holds(after))
	})

	t.Run("the end of a lease takes the user back", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(1, nil)
		lent := e.checkOut(e.job(), map[string]any{"ttl": "1s"})
		e.awaitFree(1)
		require.False(t, e.holds(lent))
	})

	t.Run("the revocation of a Vault token takes its user back", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(1, nil)
		job := e.job()
		lent := e.checkOut(job, nil)
		require.NoError(t, e.client.Auth().Token().RevokeTreeWithContext(t.Context(), job.Token()))
		e.awaitFree(1)
		require.False(t, e.holds(lent))
	})

	t.Run("an operator takes a user from its holder, whose lease then changes nothing", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(1, nil)
		holder, other, operator := e.job(), e.job(), e.attacker(manageCheckIn, mayUpdate)
		lent := e.checkOut(holder, nil)
		status, text := e.writeAs(other, checkInPath, map[string]any{"usernames": nameIn(lent)})
		require.Equal(t, http.StatusBadRequest, status)
		require.Contains(t, text, "which another caller checked out")
		require.True(t, e.holds(lent))
		status, text = e.writeAs(operator, manageCheckIn, map[string]any{"usernames": nameIn(lent)})
		require.Zero(t, status, text)
		require.False(t, e.holds(lent))
		next := e.checkOut(other, nil)
		e.revoke(lent.LeaseID)
		require.True(t, e.holds(next), "the end of the first lease is not that of the second holder")
		e.revoke(next.LeaseID)
		require.False(t, e.holds(next))
	})

	t.Run("a set whose user is lent is not deleted, and its users go with it", func(t *testing.T) {
		t.Parallel()
		e := newEnv(t)
		e.writeLibrary(2, nil)
		lent := e.checkOut(e.job(), nil)
		_, err := e.client.Logical().DeleteWithContext(t.Context(), e.mount+"/library/e2e")
		status, _ := e.refusal(err)
		require.Equal(t, http.StatusBadRequest, status)
		e.revoke(lent.LeaseID)
		e.delete("library/e2e")
		require.Eventually(t, func() bool { return len(e.Users()) == 0 }, libraryPatience, 20*time.Millisecond)
	})
}

// waiting returns how many check-outs of the set e2e wait.
func (e *env) waiting() int {
	e.Helper()
	return number(e, e.read("metrics").Data["library_waiting"].(map[string]any)["library=e2e"])
}

// TestLibraryStorm lets many jobs ask for a few users at once.
func TestLibraryStorm(t *testing.T) {
	t.Parallel()
	const users, jobs = 8, 64
	e := newEnv(t)
	e.writeLibrary(users, nil)
	job := e.job()
	var mu sync.Mutex
	var lent []*api.Secret
	conflicts := 0
	var work sync.WaitGroup
	for range jobs {
		work.Go(func() {
			secret, err := job.Logical().WriteWithContext(t.Context(), e.mount+"/"+checkOutPath, nil)
			mu.Lock()
			defer mu.Unlock()
			var refused *api.ResponseError
			switch {
			case err == nil:
				lent = append(lent, secret)
			case errors.As(err, &refused) && refused.StatusCode == http.StatusConflict:
				conflicts++
			default:
				t.Errorf("a check-out failed: %v", err)
			}
		})
	}
	work.Wait()
	requireDifferentUsers(t, lent)
	require.Len(t, lent, users)
	require.Equal(t, jobs-users, conflicts)
	for _, secret := range lent {
		require.True(t, e.holds(secret))
		e.revoke(secret.LeaseID)
	}
	require.Equal(t, users, e.countOf("available"))
	require.Len(t, e.Users(), users, "the users are those of before")
	require.Zero(t, e.irrevocableLeases())
}

func requireDifferentUsers(t *testing.T, lent []*api.Secret) {
	t.Helper()
	var names []string
	for _, secret := range lent {
		names = append(names, nameIn(secret))
	}
	slices.Sort(names)
	require.Len(t, slices.Compact(slices.Clone(names)), len(names), "no user has two holders: %v", names)
}

// TestLibraryInAgent lets the server's own agent borrow a user: a path with a parameter is a write.
// The role's lease is short, so the agent has to borrow again.
func TestLibraryInAgent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeLibrary(2, map[string]any{"ttl": "6s", "max_ttl": "6s"})
	rendered := e.render(`{{ with secret "` + e.mount + `/` + checkOutPath + `" "ttl=6s" }}{{ .Data.username }} {{ .Data.password }}{{ end }}`)
	seen := ""
	next := func() (username, password string) {
		require.Eventually(t, func() bool {
			text, err := os.ReadFile(rendered)
			changed := err == nil && string(text) != seen
			if changed {
				seen = string(text)
			}
			return changed
		}, libraryPatience, 10*time.Millisecond)
		username, password, _ = strings.Cut(seen, " ")
		return username, password
	}
	for range 2 {
		username, password := next()
		require.True(t, e.passwordWorks(username, password))
	}
	require.Len(t, e.Users(), 2)
}

// spoil does to a lent user of another pool what its holder and an administrator can do. Its holder
// signs in by itself through another app client.
func (e *env) spoil(poolID string, user map[string]any) {
	e.Helper()
	ctx := e.Context()
	name, text := user["username"].(string), aws.String("dmVyaWZpZXI=")
	client, err := e.Admin.CreateUserPoolClient(ctx, &cip.CreateUserPoolClientInput{
		UserPoolId: &poolID, ClientName: aws.String("self"),
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	require.NoError(e, err)
	session, err := e.Admin.InitiateAuth(ctx, &cip.InitiateAuthInput{
		ClientId: client.UserPoolClient.ClientId, AuthFlow: types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: map[string]string{"USERNAME": name, "PASSWORD": user["password"].(string)},
	})
	require.NoError(e, err)
	token := session.AuthenticationResult.AccessToken
	_, err = e.Admin.UpdateUserAttributes(ctx, &cip.UpdateUserAttributesInput{AccessToken: token, UserAttributes: []types.AttributeType{
		{Name: aws.String("name"), Value: aws.String("Eve")}, {Name: aws.String("nickname"), Value: aws.String("eve")},
	}})
	require.NoError(e, err)
	_, err = e.Admin.ConfirmDevice(ctx, &cip.ConfirmDeviceInput{
		AccessToken: token, DeviceKey: session.AuthenticationResult.NewDeviceMetadata.DeviceKey, DeviceName: text,
		DeviceSecretVerifierConfig: &types.DeviceSecretVerifierConfigType{PasswordVerifier: text, Salt: text},
	})
	require.NoError(e, err)
	e.enrolAuthenticator(token)
	_, err = e.Admin.AdminAddUserToGroup(ctx, &cip.AdminAddUserToGroupInput{UserPoolId: &poolID, Username: &name, GroupName: aws.String("admins")})
	require.NoError(e, err)
	_, err = e.Admin.AdminDisableUser(ctx, &cip.AdminDisableUserInput{UserPoolId: &poolID, Username: &name})
	require.NoError(e, err)
}

// enrolAuthenticator gives a user that has a session an authenticator.
func (e *env) enrolAuthenticator(token *string) {
	e.Helper()
	ctx := e.Context()
	secret, err := e.Admin.AssociateSoftwareToken(ctx, &cip.AssociateSoftwareTokenInput{AccessToken: token})
	require.NoError(e, err)
	code, err := totp.GenerateCode(*secret.SecretCode, time.Now())
	require.NoError(e, err)
	_, err = e.Admin.VerifySoftwareToken(ctx, &cip.VerifySoftwareTokenInput{AccessToken: token, UserCode: &code})
	require.NoError(e, err)
	_, err = e.Admin.SetUserMFAPreference(ctx, &cip.SetUserMFAPreferenceInput{
		AccessToken: token, SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: true, PreferredMfa: true},
	})
	require.NoError(e, err)
}

// makeRichPool creates a pool whose users can have devices and authenticators, with the groups
// testers and admins.
func (e *env) makeRichPool() (poolID string) {
	e.Helper()
	poolID = e.MakePool(&cip.CreateUserPoolInput{DeviceConfiguration: &types.DeviceConfigurationType{}})
	_, err := e.Admin.CreateGroup(e.Context(), &cip.CreateGroupInput{UserPoolId: &poolID, GroupName: aws.String("admins")})
	require.NoError(e, err)
	_, err = e.Admin.SetUserPoolMfaConfig(e.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &poolID, MfaConfiguration: types.UserPoolMfaTypeOptional,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
	})
	require.NoError(e, err)
	return poolID
}
