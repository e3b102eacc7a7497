// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

func TestMembership(t *testing.T) {
	tests := map[string]struct {
		username string
		group    string
		code     string
		words    string
	}{
		"a user joins a group":                 {username: "ann", group: "testers"},
		"an unknown group is not found":        {username: "ann", group: "nobody", code: "ResourceNotFoundException", words: "Group not found."},
		"an unknown user is not found":         {username: "bob", group: "testers", code: "UserNotFoundException"},
		"a group name with a space is refused": {username: "ann", group: "two words", code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			pool := b.seed.UserPoolID
			b.createUser(pool, "ann")
			requireOutcome(t, b.addToGroup(pool, test.username, test.group), test.code, test.words)
			if test.code == "" {
				require.NoError(t, b.addToGroup(pool, test.username, test.group), "joining twice is accepted")
				require.Equal(t, []string{"testers"}, b.user(pool, "ann").Groups)
			}
		})
	}
}

func TestGroupsOfUser(t *testing.T) {
	b := newEnv(t)
	pool := b.seed.UserPoolID
	b.createUser(pool, "ann")
	for _, group := range b.seed.Groups {
		require.NoError(t, b.addToGroup(pool, "ann", group))
	}
	require.Equal(t, []string{"admins", "testers"}, b.groupsOf(pool, "ann"))

	_, err := b.cognito.AdminRemoveUserFromGroup(b.ctx, &cognitoidentityprovider.AdminRemoveUserFromGroupInput{
		UserPoolId: &pool, Username: aws.String("ann"), GroupName: aws.String("admins"),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"testers"}, b.groupsOf(pool, "ann"))

	_, err = b.cognito.DeleteGroup(b.ctx, &cognitoidentityprovider.DeleteGroupInput{UserPoolId: &pool, GroupName: aws.String("testers")})
	require.NoError(t, err)
	require.Empty(t, b.groupsOf(pool, "ann"))
	_, err = b.cognito.GetGroup(b.ctx, &cognitoidentityprovider.GetGroupInput{UserPoolId: &pool, GroupName: aws.String("testers")})
	requireCode(t, err, "ResourceNotFoundException", "Group not found.")
}

func (b *env) groupsOf(pool, username string) []string {
	b.t.Helper()
	pages := cognitoidentityprovider.NewAdminListGroupsForUserPaginator(b.cognito,
		&cognitoidentityprovider.AdminListGroupsForUserInput{UserPoolId: &pool, Username: &username, Limit: aws.Int32(1)})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.ctx)
		require.NoError(b.t, err)
		require.LessOrEqual(b.t, len(page.Groups), 1)
		for _, group := range page.Groups {
			names = append(names, *group.GroupName)
		}
	}
	return names
}

func TestGroupIsCreatedOnce(t *testing.T) {
	b := newEnv(t)
	out, err := b.cognito.CreateGroup(b.ctx, &cognitoidentityprovider.CreateGroupInput{
		UserPoolId: &b.seed.UserPoolID, GroupName: aws.String("new"), Description: aws.String("fresh"), Precedence: aws.Int32(3),
	})
	require.NoError(t, err)
	got, err := b.cognito.GetGroup(b.ctx, &cognitoidentityprovider.GetGroupInput{UserPoolId: &b.seed.UserPoolID, GroupName: aws.String("new")})
	require.NoError(t, err)
	require.Equal(t, out.Group, got.Group)
	require.Equal(t, int32(3), *got.Group.Precedence)

	_, err = b.cognito.CreateGroup(b.ctx, &cognitoidentityprovider.CreateGroupInput{UserPoolId: &b.seed.UserPoolID, GroupName: aws.String("new")})
	requireCode(t, err, "GroupExistsException")
}

func TestDeletedUserLeavesItsGroups(t *testing.T) {
	b := newEnv(t)
	pool := b.seed.UserPoolID
	b.createUser(pool, "ann")
	require.NoError(t, b.addToGroup(pool, "ann", b.seed.Group))
	require.NoError(t, b.deleteUser(pool, "ann"))
	b.createUser(pool, "ann")
	require.Empty(t, b.user(pool, "ann").Groups)
}

func TestListUsersFilters(t *testing.T) {
	tests := map[string]struct {
		filter string
		want   []string
		code   string
	}{
		"no filter lists all users":                                  {want: []string{"Vault-ann", "bob", "vault-ann", "vault-cat"}},
		"an equal username is listed":                                {filter: `username = "bob"`, want: []string{"bob"}},
		"usernames with the prefix are listed":                       {filter: `username ^= "vault-"`, want: []string{"vault-ann", "vault-cat"}},
		"usernames that contain the prefix elsewhere are not listed": {filter: `username ^= "ann"`, want: nil},
		"a filter without spaces is accepted":                        {filter: `username^="vault-c"`, want: []string{"vault-cat"}},
		"usernames are compared case-sensitively":                    {filter: `username = "VAULT-ANN"`, want: nil},
		"an equal e-mail address is listed":                          {filter: `email = "vault-ann@example.com"`, want: []string{"vault-ann"}},
		"a user status is compared case-insensitively":               {filter: `cognito:user_status = "confirmed"`, want: []string{"bob"}},
		"disabled users are listed by status":                        {filter: `status = "Disabled"`, want: []string{"vault-cat"}},
		"a custom attribute in a filter is refused":                  {filter: `custom:team = "red"`, code: "InvalidParameterException"},
		"a value without quotes is refused":                          {filter: `username = bob`, code: "InvalidParameterException"},
		"an unknown operator is refused":                             {filter: `username != "bob"`, code: "InvalidParameterException"},
	}
	b := newEnv(t)
	pool := b.seed.UserPoolID
	b.createConfirmedUser(pool, "bob")
	b.createUser(pool, "vault-ann", "email", "vault-ann@example.com")
	b.createUser(pool, "vault-cat")
	b.createUser(pool, "Vault-ann")
	require.NoError(t, b.disableUser(pool, "vault-cat"))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := &cognitoidentityprovider.ListUsersInput{UserPoolId: &pool}
			if test.filter != "" {
				in.Filter = &test.filter
			}
			out, err := b.cognito.ListUsers(t.Context(), in)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				require.Equal(t, test.want, usernamesOf(out.Users))
			}
		})
	}
}

func usernamesOf(users []types.UserType) []string {
	var names []string
	for _, user := range users {
		names = append(names, *user.Username)
	}
	return names
}

func TestListUsersPages(t *testing.T) {
	b := newEnv(t)
	pool := b.seed.UserPoolID
	for i := range 61 {
		b.createUser(pool, fmt.Sprintf("user-%02d", i))
	}
	pages := cognitoidentityprovider.NewListUsersPaginator(b.cognito, &cognitoidentityprovider.ListUsersInput{UserPoolId: &pool})
	var sizes []int
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.ctx)
		require.NoError(t, err)
		sizes = append(sizes, len(page.Users))
	}
	require.Equal(t, []int{60, 1}, sizes)

	_, err := b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{UserPoolId: &pool, Limit: aws.Int32(61)})
	requireCode(t, err, "InvalidParameterException")
	_, err = b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{UserPoolId: &pool, PaginationToken: aws.String("beyond")})
	requireCode(t, err, "InvalidParameterException")
}

func TestListUsersReturnsRequestedAttributes(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann", "email", "ann@example.com", "name", "Ann")
	out, err := b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{
		UserPoolId: &b.seed.UserPoolID, AttributesToGet: []string{"email"},
	})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"email": "ann@example.com"}, attributeMap(out.Users[0].Attributes))
}

func TestListUsersInGroup(t *testing.T) {
	b := newEnv(t)
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		b.createUser(b.seed.UserPoolID, name)
		if name != "dan" {
			require.NoError(t, b.addToGroup(b.seed.UserPoolID, name, "testers"))
		}
	}
	var got []string
	pages := cognitoidentityprovider.NewListUsersInGroupPaginator(b.cognito, &cognitoidentityprovider.ListUsersInGroupInput{
		UserPoolId: &b.seed.UserPoolID, GroupName: aws.String("testers"), Limit: aws.Int32(2),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.ctx)
		require.NoError(t, err)
		for _, user := range page.Users {
			got = append(got, *user.Username)
		}
	}
	require.Equal(t, []string{"ann", "bob", "cat"}, got)
	_, err := b.cognito.ListUsersInGroup(b.ctx, &cognitoidentityprovider.ListUsersInGroupInput{
		UserPoolId: &b.seed.UserPoolID, GroupName: aws.String("missing"),
	})
	requireCode(t, err, "ResourceNotFoundException", "Group not found.")
}

func TestListGroups(t *testing.T) {
	b := newEnv(t)
	out, err := b.cognito.ListGroups(b.ctx, &cognitoidentityprovider.ListGroupsInput{UserPoolId: &b.seed.UserPoolID})
	require.NoError(t, err)
	require.Len(t, out.Groups, 2)
	require.Equal(t, "admins", *out.Groups[0].GroupName)
}

func TestUserHasAtMost100Groups(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	for i := range 101 {
		name := fmt.Sprintf("group-%d", i)
		_, err := b.cognito.CreateGroup(b.ctx, &cognitoidentityprovider.CreateGroupInput{UserPoolId: &b.seed.UserPoolID, GroupName: &name})
		require.NoError(t, err)
		if i < 100 {
			require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", name))
		}
	}
	requireCode(t, b.addToGroup(b.seed.UserPoolID, "ann", "group-100"), "InvalidParameterException")
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", "group-7"), "joining twice is accepted")
}

func TestRemovingUserFromGroup(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	remove := func(group string) error {
		_, err := b.cognito.AdminRemoveUserFromGroup(b.ctx, &cognitoidentityprovider.AdminRemoveUserFromGroupInput{
			UserPoolId: &b.seed.UserPoolID, Username: aws.String("ann"), GroupName: &group,
		})
		return err
	}
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", "testers"))
	require.NoError(t, remove("testers"))
	require.Empty(t, b.user(b.seed.UserPoolID, "ann").Groups)
	require.NoError(t, remove("testers"), "leaving twice is accepted")
	requireCode(t, remove("missing"), "ResourceNotFoundException", "Group not found.")
}
