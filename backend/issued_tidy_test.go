// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"maps"
	"testing"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// newTidied is a mount of which a restored snapshot left one user without record and lease.
func newTidied(t *testing.T, role map[string]any) (i *issuer, lost string) {
	t.Helper()
	i = newIssuer(t, role)
	i.clocks.set(time.Since(i.clocks.now())) // Cognito says when users were created
	lost = i.OK(logical.ReadOperation, "creds/ci", nil).Data["username"].(string)
	require.NoError(t, logical.ClearView(t.Context(), issuedView(i)))
	return i, lost
}

func (i *issuer) tidy(data map[string]any) map[string]any {
	i.T.Helper()
	request := map[string]any{"role": "ci"}
	maps.Copy(request, data)
	return i.OK(logical.UpdateOperation, "tidy", request).Data
}

func (i *issuer) plant(username string) {
	i.T.Helper()
	_, err := i.Admin.AdminCreateUser(i.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &i.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress,
	})
	require.NoError(i.T, err)
}

func (i *issuer) usernames() (names []string) {
	i.T.Helper()
	for _, user := range i.Users() {
		names = append(names, user.Username)
	}
	return names
}

func TestTidy(t *testing.T) {
	const day = 24 * time.Hour

	t.Run("lists a user without a record, and deletes it on demand", func(t *testing.T) {
		i, lost := newTidied(t, hourly())
		i.clocks.advance(4 * day)
		found := i.tidy(nil)
		require.Equal(t, []string{lost}, found["users"])
		require.Equal(t, 0, found["deleted"])
		require.Equal(t, true, found["complete"])
		i.requireUsers(1, "dry_run is the default")
		require.Equal(t, 1, i.tidy(map[string]any{"dry_run": false})["deleted"])
		i.requireUsers(0, "it was deleted")
	})

	t.Run("leaves a user with a record alone", func(t *testing.T) {
		i, lost := newTidied(t, hourly())
		kept := i.OK(logical.ReadOperation, "creds/ci", nil).Data["username"]
		i.clocks.advance(4 * day)
		require.Equal(t, []string{lost}, i.tidy(map[string]any{"dry_run": false})["users"])
		require.Equal(t, []string{kept.(string)}, i.usernames())
	})

	for name, c := range map[string]struct {
		role, request map[string]any
		age           time.Duration
	}{
		"the safety buffer":       {hourly(), nil, 71 * time.Hour},
		"the mount's maximum TTL": {hourly(), map[string]any{"safety_buffer": 1}, 23 * time.Hour},
		"the role's max_ttl":      {map[string]any{"ttl": "1h", "max_ttl": "100h"}, nil, 99 * time.Hour},
	} {
		t.Run("leaves a user alone that is younger than "+name, func(t *testing.T) {
			i, lost := newTidied(t, c.role)
			i.clocks.advance(c.age)
			require.Empty(t, i.tidy(c.request)["users"])
			i.clocks.advance(3 * time.Hour)
			require.Equal(t, []string{lost}, i.tidy(c.request)["users"])
		})
	}

	t.Run("leaves disabled users alone", func(t *testing.T) {
		i, lost := newTidied(t, hourly())
		i.disable(lost)
		i.clocks.advance(4 * day)
		require.Empty(t, i.tidy(nil)["users"])
	})

	t.Run("leaves the user of a static role alone", func(t *testing.T) {
		i, lost := newTidied(t, hourly())
		i.WriteOK("static-roles/x", map[string]any{
			"credential_type": "user_password", "user_pool_id": i.Seed.UserPoolID, "region": i.Seed.Region, "username": lost, "rotation_period": "1h",
		})
		i.clocks.advance(4 * day)
		require.Empty(t, i.tidy(nil)["users"])
	})

	t.Run("touches no strangers that are named alike", func(t *testing.T) {
		for template, strangers := range map[string][]string{
			"": {
				"vault-ci", "vault-ci-", "vault-ci-anna", "vault-ci-anna-abcdefghijklmnopqrstuvwxy", "vault-ci-abcdefghijklmnopqrstuvwxy",
				"vault-ci-abcdefghijklmnopqrstuvwxyz2", "vault-ci-ABCDEFGHIJKLMNOPQRSTUVWXYZ", "vault-ci-abcdefghijklmnopqrstuvwx01", "vault-ci-x-abcdefghijklmnopqrstuvwxyz",
				"xvault-ci-abcdefghijklmnopqrstuvwxyz",
			},
			"test-{{.RoleName}}-{{random 20 | lowercase}}":            {"test-ci-", "test-ci-anna", "test-ci-abcdefghijklmnopqrst1", "test-c-abcdefghijklmnopqrst", "test-ci-abcdefghij_lmnopqrst"},
			"{{.DisplayName}}-{{unix_time}}-{{random 12}}":            {"token-1700000000", "token-1700000000-anna", "token-abc-abcdefghijkl", "1700000000-abcdefghijkl"},
			"u{{random_digits 10}}":                                   {"u", "u123456789", "u12345678901", "user1234567890"},
			"{{printf \"%s_%s\" .RoleName (uuid) | truncate 30}}-end": {"ci_anna-end", "ci_-end"},
		} {
			t.Run(template, func(t *testing.T) {
				i, lost := newTidied(t, map[string]any{"ttl": "1h", "username_template": template})
				for _, stranger := range strangers {
					i.plant(stranger)
				}
				i.clocks.advance(4 * day)
				require.Equal(t, []string{lost}, i.tidy(map[string]any{"dry_run": false})["users"])
				require.ElementsMatch(t, strangers, i.usernames())
			})
		}
	})

	t.Run("finds users in a pool whose usernames are subs", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.clocks.set(time.Since(i.clocks.now()))
		pool := i.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
		id, secret := i.MakeClient(pool)
		i.WriteOK("roles/mail", userRole(map[string]any{
			"user_pool_id": pool, "app_client_id": id, "app_client_secret": secret, "dummy_email_domain": "ci.example", "ttl": "1h",
		}))
		lost := i.Read("creds/mail")["username"]
		require.NoError(t, logical.ClearView(t.Context(), issuedView(i)))
		kept := i.Read("creds/mail")["username"]
		i.clocks.advance(4 * day)
		found := i.OK(logical.UpdateOperation, "tidy", map[string]any{"user_pool_id": pool}).Data
		require.Equal(t, []string{lost.(string)}, found["users"])
		require.NotEqual(t, lost, kept)
	})

	t.Run("finds many users page by page", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.clocks.set(time.Since(i.clocks.now()))
		for range 130 {
			i.issue()
		}
		require.NoError(t, logical.ClearView(t.Context(), issuedView(i)))
		i.clocks.advance(4 * day)
		require.Equal(t, 130, i.tidy(map[string]any{"dry_run": false})["deleted"])
		i.requireUsers(0, "all were deleted")
	})

	t.Run("says how many users could not be deleted, and why", func(t *testing.T) {
		i, _ := newTidied(t, hourly())
		i.clocks.advance(4 * day)
		i.Deny("cognito-idp:AdminDeleteUser")
		response := i.OK(logical.UpdateOperation, "tidy", map[string]any{"role": "ci", "dry_run": false})
		require.Contains(t, response.Warnings[0], "1 users could not be deleted")
		require.Contains(t, response.Warnings[0], "AdminDeleteUser")
	})

	t.Run("deletes nothing while the mount's maximum TTL is unknown", func(t *testing.T) {
		i, _ := newTidied(t, hourly())
		i.clocks.advance(4 * day)
		i.System.MaxLeaseTTLVal = 0
		_, err := i.Request(t.Context(), logical.UpdateOperation, "tidy", map[string]any{"role": "ci", "dry_run": false})
		require.ErrorContains(t, err, "Vault does not say")
		i.requireUsers(1, "its lease may be alive")
	})

	t.Run("refuses what makes no sense", func(t *testing.T) {
		i := newIssuer(t, hourly())
		i.WriteOK("roles/m", machineRole(nil))
		for says, data := range map[string]map[string]any{
			`exactly one of them must be given`: {},
			`user_pool_id "p" are not allowed`:  {"role": "ci", "user_pool_id": "p"},
			`there is no role "nobody"`:         {"role": "nobody"},
			`role "m" is of credential_type`:    {"role": "m"},
			`no role issues users there`:        {"user_pool_id": "eu-west-1_x"},
		} {
			require.Contains(t, i.Refused(logical.UpdateOperation, "tidy", data), says)
		}
	})
}
