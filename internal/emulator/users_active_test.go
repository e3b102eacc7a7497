// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/stretchr/testify/require"
)

// activeUsers returns the counts of the seeded pool by month.
func (b *env) activeUsers() map[string]int {
	b.t.Helper()
	counts, err := b.control.MonthlyActiveUsers(b.ctx, b.seed.UserPoolID)
	require.NoError(b.t, err)
	byMonth := map[string]int{}
	for _, count := range counts {
		require.Equal(b.t, b.seed.UserPoolID, count.UserPoolID)
		byMonth[count.Month] = count.Users
	}
	return byMonth
}

func TestMonthlyActiveUsersByOperation(t *testing.T) {
	for name, test := range map[string]struct {
		do    func(b *env, tokens, refresh string) error
		count bool
	}{
		"a sign-in counts": {count: true, do: func(b *env, _, _ string) error {
			_, err := b.signIn(b.seededClient(), "ann", goodPassword)
			return err
		}},
		"a token refresh counts": {count: true, do: func(b *env, _, refresh string) error {
			_, err := b.refresh(b.seededClient(), refresh)
			return err
		}},
		"AdminGetUser counts": {count: true, do: func(b *env, _, _ string) error {
			_, err := b.getUser(b.seed.UserPoolID, "ann")
			return err
		}},
		"GetUser counts":                {count: true, do: func(b *env, access, _ string) error { return b.whoAmI(access) }},
		"AdminSetUserPassword counts":   {count: true, do: func(b *env, _, _ string) error { return b.setPassword(b.seed.UserPoolID, "ann", otherPassword) }},
		"AdminUserGlobalSignOut counts": {count: true, do: func(b *env, _, _ string) error { return b.signOut(b.seed.UserPoolID, "ann") }},
		"AdminUpdateUserAttributes counts": {count: true, do: func(b *env, _, _ string) error {
			_, err := b.cognito.AdminUpdateUserAttributes(b.ctx, &cognitoidentityprovider.AdminUpdateUserAttributesInput{
				UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), UserAttributes: attributesOf("name", "Ann"),
			})
			return err
		}},
		"ListUsers does not count": {do: func(b *env, _, _ string) error {
			_, err := b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{UserPoolId: &b.seed.UserPoolID})
			return err
		}},
		"a group membership does not count": {do: func(b *env, _, _ string) error { return b.addToGroup(b.seed.UserPoolID, "ann", b.seed.Group) }},
		"a deletion does not count":         {do: func(b *env, _, _ string) error { return b.deleteUser(b.seed.UserPoolID, "ann") }},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			b.clock.Advance(31*24*time.Hour - 12*time.Hour - time.Minute) // a minute before April
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(b.seededClient(), "ann")
			b.clock.Advance(2 * time.Minute)
			require.NoError(t, test.do(b, *tokens.AccessToken, *tokens.RefreshToken))
			want := map[string]int{"2026-03": 1}
			if test.count {
				want["2026-04"] = 1
			}
			require.Equal(t, want, b.activeUsers())
		})
	}
}

func TestMonthlyActiveUsersCountEachUserOnce(t *testing.T) {
	b := newEnv(t)
	require.Empty(t, b.activeUsers())
	b.createUser(b.seed.UserPoolID, "ann")
	b.createConfirmedUser(b.seed.UserPoolID, "bob")
	for range 3 {
		b.mustSignIn(b.seededClient(), "bob")
	}
	require.Equal(t, map[string]int{"2026-03": 2}, b.activeUsers())

	require.NoError(t, b.deleteUser(b.seed.UserPoolID, "bob"))
	require.Equal(t, map[string]int{"2026-03": 2}, b.activeUsers(), "a deleted user has been counted")
	b.createUser(b.seed.UserPoolID, "bob")
	require.Equal(t, map[string]int{"2026-03": 3}, b.activeUsers(), "a new user with an old name is another user")

	require.NoError(t, b.control.Reset(b.ctx))
	require.Empty(t, b.activeUsers())
}

func TestFailedSignInDoesNotCountAsActive(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	b.clock.Advance(31 * 24 * time.Hour)
	_, err := b.signIn(b.seededClient(), "ann", otherPassword)
	requireCode(t, err, "NotAuthorizedException")
	require.Equal(t, map[string]int{"2026-03": 1}, b.activeUsers())
}

func TestWrongSignInsAreListedWithTheirTimes(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	first := b.clock.Now()
	_, err := b.signIn(b.seededClient(), "ann", otherPassword)
	requireCode(t, err, "NotAuthorizedException")
	b.clock.Advance(time.Minute)
	for range 4 {
		_, err = b.signIn(b.seededClient(), "ann", otherPassword)
		requireCode(t, err, "NotAuthorizedException")
	}
	ann := b.user(b.seed.UserPoolID, "ann")
	require.Len(t, ann.WrongSignIns, 5)
	require.Equal(t, first, ann.WrongSignIns[0])
	require.Equal(t, b.clock.Now().Add(time.Second), ann.LockedUntil)
}

func TestAppClientsAreListedWithTheirSecrets(t *testing.T) {
	b := newEnv(t)
	clients, err := b.control.AppClients(b.ctx, b.seed.UserPoolID)
	require.NoError(t, err)
	require.Len(t, clients, 3)
	for _, client := range clients {
		if client.ClientID == b.seed.M2MClientID {
			require.Equal(t, "machine", client.Name)
			require.Equal(t, b.seed.Scopes, client.Scopes)
			require.Len(t, client.Secrets, 1)
			require.Equal(t, b.seed.M2MClientSecret, client.Secrets[0].Value)
		}
	}
}
