// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"maps"
	"strings"
	"testing"

	"vault-plugin-secrets-cognito/backend/backendtest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// userRole returns the required fields of a user role, and more.
func userRole(more map[string]any) map[string]any {
	role := map[string]any{
		"credential_type": "user",
		"user_pool_id":    "eu-west-1_AbCdEfGhI",
		"region":          "eu-west-1",
		"app_client_id":   "client",
	}
	maps.Copy(role, more)
	return role
}

// machineRole returns the required fields of a client_credentials_grant role, and more.
func machineRole(more map[string]any) map[string]any {
	role := map[string]any{
		"app_client_id":       "client",
		"app_client_secret":   "hush",
		"cognito_pool_domain": "example.auth.eu-west-1.amazoncognito.com",
	}
	maps.Copy(role, more)
	return role
}

func TestRoles(t *testing.T) {
	t.Run("a role of type user reads back what was written", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/CI", userRole(map[string]any{
			"app_client_secret":   "hush",
			"groups":              "b,a",
			"dummy_email_domain":  "example.com",
			"issue_tokens":        false,
			"ttl":                 "5m",
			"max_ttl":             "1h",
			"max_issued":          7,
			"aws_assume_role_arn": "arn:aws:iam::123456789012:role/other",
			"aws_external_id":     "abc",
			"client_metadata":     map[string]any{"k": "v"},
			"username_template":   "x-{{random 20}}",
			"user_attributes":     map[string]any{"custom:team": "qa"},
			"mfa":                 "totp",
			"revocation":          "disable",
		}))
		require.Equal(t, map[string]any{
			"credential_type":       "user",
			"user_pool_id":          "eu-west-1_AbCdEfGhI",
			"region":                "eu-west-1",
			"app_client_id":         "client",
			"app_client_secret_set": true,
			"groups":                []string{"a", "b"},
			"dummy_email_domain":    "example.com",
			"issue_tokens":          false,
			"ttl":                   int64(300),
			"max_ttl":               int64(3600),
			"max_issued":            7,
			"aws_assume_role_arn":   "arn:aws:iam::123456789012:role/other",
			"aws_external_id":       "abc",
			"client_metadata":       map[string]string{"k": "v"},
			"username_template":     "x-{{random 20}}",
			"user_attributes":       map[string]string{"custom:team": "qa"},
			"password_policy":       "",
			"mfa":                   "totp",
			"revocation":            "disable",
			"tokens_for":            "issued",
		}, m.Read("roles/ci"))
	})

	t.Run("a role of type client_credentials_grant, the default, reads back what was written", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/m2m", machineRole(map[string]any{"scopes": "b/w,a/r", "cache_tokens": false, "min_token_ttl": "2m"}))
		require.Equal(t, map[string]any{
			"credential_type":       "client_credentials_grant",
			"user_pool_id":          "",
			"region":                "",
			"app_client_id":         "client",
			"app_client_secret_set": true,
			"aws_assume_role_arn":   "",
			"aws_external_id":       "",
			"client_metadata":       map[string]string{},
			"cognito_pool_domain":   "example.auth.eu-west-1.amazoncognito.com",
			"scopes":                []string{"a/r", "b/w"},
			"token_source":          "endpoint",
			"static_role":           "",
			"cache_tokens":          false,
			"min_token_ttl":         int64(120),
		}, m.Read("roles/m2m"))
	})

	t.Run("a machine role needs no secret with user_pool_id and no domain with token_source=api", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", map[string]any{
			"app_client_id": "client", "user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1", "token_source": "api",
		})
		role := m.Read("roles/x")
		require.Equal(t, false, role["app_client_secret_set"])
		require.Equal(t, "api", role["token_source"])
		require.Equal(t, true, role["cache_tokens"])
		require.Equal(t, int64(30), role["min_token_ttl"])
	})

	t.Run("a read of a missing role returns nothing", func(t *testing.T) {
		require.Nil(t, backendtest.New(t).Read("roles/nobody"))
	})

	t.Run("roles are listed sorted by name", func(t *testing.T) {
		m := backendtest.New(t)
		for _, name := range []string{"zebra", "Ape", "lion"} {
			m.WriteOK("roles/"+name, machineRole(nil))
		}
		require.Equal(t, []string{"ape", "lion", "zebra"}, m.OK(logical.ListOperation, "roles/", nil).Data["keys"])
	})

	t.Run("a deleted role no longer exists", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", machineRole(nil))
		m.OK(logical.DeleteOperation, "roles/x", nil)
		require.Nil(t, m.Read("roles/x"))
	})

	t.Run("a write changes only the fields that it names", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"groups": "g", "ttl": 60, "issue_tokens": true, "app_client_secret": "hush"}))
		before := m.Read("roles/x")
		m.WriteOK("roles/x", nil)
		require.Equal(t, before, m.Read("roles/x"))
		m.WriteOK("roles/x", map[string]any{"ttl": 120})
		before["ttl"] = int64(120)
		require.Equal(t, before, m.Read("roles/x"))
	})

	t.Run("a patch changes the fields that it names and resets the ones that are null", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"groups": "g", "ttl": 60, "max_ttl": 90, "issue_tokens": false, "app_client_secret": "hush"}))
		want := m.Read("roles/x")
		m.OK(logical.PatchOperation, "roles/x", map[string]any{"max_ttl": nil, "issue_tokens": nil, "groups": nil, "ttl": 30, "app_client_secret": nil})
		want["max_ttl"], want["issue_tokens"], want["groups"], want["group"] = int64(0), true, []string{}, ""
		want["ttl"], want["app_client_secret_set"] = int64(30), false
		require.Equal(t, want, m.Read("roles/x"))
	})

	t.Run("a patch of a missing role is a 404", func(t *testing.T) {
		_, err := backendtest.New(t).Request(t.Context(), logical.PatchOperation, "roles/x", userRole(nil))
		requireStatus(t, 404, err)
	})

	t.Run("group is the older spelling of groups", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"group": "g"}))
		require.Equal(t, []string{"g"}, m.Read("roles/x")["groups"])
		require.Equal(t, "g", m.Read("roles/x")["group"])
		m.WriteOK("roles/x", map[string]any{"group": ""})
		require.Equal(t, []string{}, m.Read("roles/x")["groups"])
	})

	t.Run("a role can be written back as it was read", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"groups": "g"}))
		m.WriteOK("roles/x", m.Read("roles/x"))
	})

	t.Run("a change of the app client requires its secret or an empty one", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"app_client_secret": "hush\n"}))
		require.Contains(t, m.WriteRefused("roles/x", map[string]any{"app_client_id": "other"}), "app_client_secret is required")
		m.WriteOK("roles/x", map[string]any{"app_client_id": "other", "app_client_secret": ""})
	})

	t.Run("a region that differs from the user pool id is warned about", func(t *testing.T) {
		response := backendtest.New(t).WriteOK("roles/x", userRole(map[string]any{"region": "eu-west-2"}))
		require.Contains(t, strings.Join(response.Warnings, ""), `region "eu-west-1"`)
	})

	t.Run("a change of type drops the fields of the former type", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"groups": "g", "ttl": 60}))
		m.WriteOK("roles/x", machineRole(map[string]any{"credential_type": "client_credentials_grant"}))
		m.WriteOK("roles/x", map[string]any{"credential_type": "user", "app_client_secret": ""})
		require.Equal(t, []string{}, m.Read("roles/x")["groups"])
		require.Equal(t, int64(0), m.Read("roles/x")["ttl"])
	})

	t.Run("the region defaults to the one in the user pool id", func(t *testing.T) {
		m := backendtest.New(t)
		role := userRole(nil)
		delete(role, "region")
		m.WriteOK("roles/x", role)
		require.Empty(t, m.Read("roles/x")["region"])
	})

	t.Run("the region defaults to the one of the config", func(t *testing.T) {
		m := backendtest.New(t)
		role := userRole(map[string]any{"user_pool_id": "local_AbCdEfGhI"})
		delete(role, "region")
		require.Contains(t, m.WriteRefused("roles/x", role), "region is required")
		m.WriteOK("config", map[string]any{"region": "eu-west-1"})
		m.WriteOK("roles/x", role)
	})

	t.Run("issue_tokens=false needs no app client", func(t *testing.T) {
		m := backendtest.New(t)
		role := userRole(map[string]any{"issue_tokens": false})
		delete(role, "app_client_id")
		m.WriteOK("roles/x", role)
	})

	t.Run("a copied role is warned about the secret that it lacks", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"app_client_secret": "hush"}))
		role := m.Read("roles/x")
		require.Equal(t, true, role["app_client_secret_set"])
		response := m.WriteOK("roles/copy", userRole(map[string]any{"app_client_secret_set": role["app_client_secret_set"]}))
		require.Contains(t, response.Warnings[0], "this role stores no app_client_secret")
		require.Nil(t, m.WriteOK("roles/x", userRole(map[string]any{"app_client_secret_set": true})), "a role that has its secret needs no warning")
	})

	t.Run("an unknown field is warned about", func(t *testing.T) {
		response := backendtest.New(t).WriteOK("roles/x", machineRole(map[string]any{"scope": "a"}))
		require.Contains(t, strings.Join(response.Warnings, "\n"), "[scope]")
	})

	t.Run("a role that the 2021 plugin stored loads, and is stored in a form that it can load", func(t *testing.T) {
		m := backendtest.New(t)
		require.NoError(t, m.Storage.Put(t.Context(), &logical.StorageEntry{Key: "roles/old", Value: []byte(
			`{"credential_type":"user","cognito_pool_domain":"","app_client_secret":"","region":"eu-west-1","app_client_id":"c",` +
				`"user_pool_id":"eu-west-1_AbCdEfGhI","group":"g","dummy_email_domain":"example.com","ttl":300000000000,"max_ttl":0}`)}))
		role := m.Read("roles/old")
		require.Equal(t, []string{"g"}, role["groups"])
		require.Equal(t, int64(300), role["ttl"])
		require.Equal(t, true, role["issue_tokens"])
		m.WriteOK("roles/old", nil)
		entry, err := m.Storage.Get(t.Context(), "roles/old")
		require.NoError(t, err)
		require.Contains(t, string(entry.Value), `"group":"g"`)
		require.Contains(t, string(entry.Value), `"ttl":300000000000`)
	})
}

// TestErrorsNameTheWayOut does what an error advises.
func TestErrorsNameTheWayOut(t *testing.T) {
	for name, more := range map[string]map[string]any{
		"a user's fields without a type name the type":              {"groups": "g"},
		"a user's pool and app client without a type name the type": {},
	} {
		t.Run(name, func(t *testing.T) {
			m := backendtest.New(t)
			role := userRole(more)
			delete(role, "credential_type")
			require.Contains(t, m.WriteRefused("roles/x", role), "did you mean credential_type=user?")
			role["credential_type"] = "user"
			m.WriteOK("roles/x", role)
		})
	}

	t.Run("a field of another type that was named has no such hint", func(t *testing.T) {
		m := backendtest.New(t)
		require.NotContains(t, m.WriteRefused("roles/x", machineRole(map[string]any{
			"credential_type": "client_credentials_grant", "groups": "g",
		})), "did you mean")
	})

	t.Run("two rotation times name what clears the first", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"aws_access_key_id": "AKIA", "aws_secret_access_key": "s", "rotation_period": "24h"})
		schedule := map[string]any{"rotation_schedule": "0 3 * * *"}
		require.Contains(t, m.WriteRefused("config", schedule), "also write rotation_period=0")
		schedule["rotation_period"] = "0"
		m.WriteOK("config", schedule)
		require.Equal(t, "0 3 * * *", m.Read("config")["rotation_schedule"])
	})

	t.Run("the region of a pool is in its ID", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("roles/x", userRole(map[string]any{"region": ""}))
	})

	t.Run("durations are shown as they are written", func(t *testing.T) {
		m := backendtest.New(t)
		require.Contains(t, m.WriteRefused("roles/x", userRole(map[string]any{"ttl": "2h", "max_ttl": "1h"})), `ttl "2h" is not allowed: it must not be longer than max_ttl 1h`)
	})
}

func TestRolesRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		role map[string]any
		says string
	}{
		"an unknown type":                       {userRole(map[string]any{"credential_type": "root"}), `credential_type "root" is not allowed`},
		"a user role without a pool":            {userRole(map[string]any{"user_pool_id": ""}), "user_pool_id is required"},
		"a pool id with a slash":                {userRole(map[string]any{"user_pool_id": "../x"}), `user_pool_id "../x"`},
		"a user role without a region":          {userRole(map[string]any{"user_pool_id": "local_x", "region": ""}), "region is required"},
		"an invalid region":                     {userRole(map[string]any{"region": "eu west"}), `region "eu west"`},
		"a user role without a client":          {userRole(map[string]any{"app_client_id": ""}), "app_client_id is required"},
		"a client id with a newline":            {userRole(map[string]any{"app_client_id": "a\nb"}), "app_client_id"},
		"a ttl over max_ttl":                    {userRole(map[string]any{"ttl": 61, "max_ttl": 60}), `ttl "1m1s"`},
		"a negative ttl":                        {userRole(map[string]any{"ttl": -1}), "ttl"},
		"group and groups that differ":          {userRole(map[string]any{"group": "a", "groups": "b"}), "group and groups"},
		"an unknown second factor":              {userRole(map[string]any{"mfa": "sms"}), `mfa "sms"`},
		"an unknown revocation":                 {userRole(map[string]any{"revocation": "fire"}), `revocation "fire"`},
		"an unknown tokens_for":                 {userRole(map[string]any{"tokens_for": "me"}), `tokens_for "me"`},
		"totp without a client":                 {userRole(map[string]any{"app_client_id": "", "issue_tokens": false, "mfa": "totp"}), "app_client_id is required"},
		"an attribute with a space":             {userRole(map[string]any{"user_attributes": map[string]any{"a b": "c"}}), `user_attributes holds "a b"`},
		"the sub as an attribute":               {userRole(map[string]any{"user_attributes": map[string]any{"sub": "c"}}), `user_attributes holds "sub"`},
		"an unknown verification":               {userRole(map[string]any{"user_attributes": map[string]any{"email_verified": "maybe"}}), `email_verified="maybe"`},
		"an invalid attribute template":         {userRole(map[string]any{"user_attributes": map[string]any{"name": "{{.Nobody}}"}}), "user_attributes holds name"},
		"a long attribute template":             {userRole(map[string]any{"user_attributes": map[string]any{"name": strings.Repeat("x", 2000) + "{{.RoleName}}"}}), "user_attributes holds name"},
		"an invalid template":                   {userRole(map[string]any{"username_template": "{{"}), "username_template"},
		"a template with an unknown field":      {userRole(map[string]any{"username_template": "{{.Password}}{{random 20}}"}), "username_template"},
		"a template without randomness":         {userRole(map[string]any{"username_template": "{{.RoleName}}"}), "only 0 characters"},
		"a template with few random characters": {userRole(map[string]any{"username_template": "x-{{random 6}}"}), "only 6 characters"},
		"a template that cuts the random part":  {userRole(map[string]any{"username_template": `{{printf "0123456789-%s" (random 20) | truncate 14}}`}), "only 3 characters"},
		"a template with only the time":         {userRole(map[string]any{"username_template": `{{unix_time}}-{{unix_time_millis}}-{{timestamp "150405.000000000"}}`}), "only 0 characters"},
		"a template of a long username":         {userRole(map[string]any{"username_template": strings.Repeat("x", 120) + "{{random 20}}"}), "longer than the 128 characters"},
		"a template with a space":               {userRole(map[string]any{"username_template": "a {{random 20}}"}), "holds a space"},
		"a template with a loop":                {userRole(map[string]any{"username_template": "{{range 99999999}}x{{end}}{{random 20}}"}), "range"},
		"a template with a wide printf":         {userRole(map[string]any{"username_template": `{{printf "%999999999d" 1}}{{random 20}}`}), "not allowed in printf"},
		"a template with long randomness":       {userRole(map[string]any{"username_template": "{{random 999999999}}"}), "must be up to 128"},
		"a missing password policy":             {userRole(map[string]any{"password_policy": "nobody's"}), `password_policy "nobody's"`},
		"a template for a machine role":         {machineRole(map[string]any{"username_template": "{{random 20}}"}), "username_template is not allowed"},
		"a group with a space":                  {userRole(map[string]any{"groups": []any{"a b"}}), `groups holds "a b"`},
		"an e-mail domain with an @":            {userRole(map[string]any{"dummy_email_domain": "a@b.c"}), `dummy_email_domain "a@b.c"`},
		"an e-mail domain too long":             {userRole(map[string]any{"dummy_email_domain": strings.Repeat("a.", 40) + "com"}), "dummy_email_domain"},
		"a domain for a user":                   {userRole(map[string]any{"cognito_pool_domain": "x.example.com"}), "cognito_pool_domain is not allowed"},
		"scopes for a user":                     {userRole(map[string]any{"scopes": "a/b"}), "scopes is not allowed"},
		"groups for a machine":                  {machineRole(map[string]any{"groups": "g"}), "groups is not allowed"},
		"group for a machine":                   {machineRole(map[string]any{"group": "g"}), "group is not allowed"},
		"a ttl for a machine":                   {machineRole(map[string]any{"ttl": 60}), "ttl is not allowed"},
		"a max_ttl for a machine":               {machineRole(map[string]any{"max_ttl": 60}), "max_ttl is not allowed"},
		"an e-mail domain, no user":             {machineRole(map[string]any{"dummy_email_domain": "example.com"}), "dummy_email_domain is not allowed"},
		"issue_tokens for a machine":            {machineRole(map[string]any{"issue_tokens": true}), "issue_tokens is not allowed"},
		"a machine without a client":            {machineRole(map[string]any{"app_client_id": ""}), "app_client_id is required"},
		"a machine without a secret":            {machineRole(map[string]any{"app_client_secret": ""}), "app_client_secret is required"},
		"an unknown token source":               {machineRole(map[string]any{"token_source": "thin air"}), `token_source "thin air"`},
		"an API without a region":               {machineRole(map[string]any{"token_source": "api"}), "region is required"},
		"a look-up without a region":            {machineRole(map[string]any{"app_client_secret": "", "user_pool_id": "local_x"}), "app_client_secret is required"},
		"a min_token_ttl of days":               {machineRole(map[string]any{"min_token_ttl": "48h"}), `min_token_ttl "48h"`},
		"a token source for a user":             {userRole(map[string]any{"token_source": "api"}), "token_source is not allowed"},
		"cache_tokens for a user":               {userRole(map[string]any{"cache_tokens": true}), "cache_tokens is not allowed"},
		"min_token_ttl for a user":              {userRole(map[string]any{"min_token_ttl": 1}), "min_token_ttl is not allowed"},
		"a machine without a domain":            {machineRole(map[string]any{"cognito_pool_domain": ""}), "cognito_pool_domain is required"},
		"a domain with a path":                  {machineRole(map[string]any{"cognito_pool_domain": "https://x.example.com/oauth2/token"}), "must not hold a path"},
		"a bare domain with a path":             {machineRole(map[string]any{"cognito_pool_domain": "x.example.com/a"}), "must not hold a path"},
		"a domain with user info":               {machineRole(map[string]any{"cognito_pool_domain": "https://me:pw@x.example.com"}), "must not hold a user"},
		"a domain with a query":                 {machineRole(map[string]any{"cognito_pool_domain": "https://x.example.com?a=b"}), "must not hold a query"},
		"plain http to a host":                  {machineRole(map[string]any{"cognito_pool_domain": "http://x.example.com"}), "plain http"},
		"plain http to a private host":          {machineRole(map[string]any{"cognito_pool_domain": "http://10.0.0.1"}), "plain http"},
		"a look-alike of loopback":              {machineRole(map[string]any{"cognito_pool_domain": "http://localhost.example.com"}), "plain http"},
		"another scheme":                        {machineRole(map[string]any{"cognito_pool_domain": "ftp://x.example.com"}), "only https"},
		"a domain with a space":                 {machineRole(map[string]any{"cognito_pool_domain": "x example.com"}), "cognito_pool_domain"},
		"a scope with a space":                  {machineRole(map[string]any{"scopes": []any{"a b"}}), `scopes holds "a b"`},
		"an ARN of something else":              {machineRole(map[string]any{"aws_assume_role_arn": "me"}), "aws_assume_role_arn"},
	} {
		t.Run(name, func(t *testing.T) {
			m := backendtest.New(t)
			require.Contains(t, m.WriteRefused("roles/x", c.role), c.says)
			require.Nil(t, m.Read("roles/x"), "a refused write must not create a role")
		})
	}
}

func TestRoleDomainsAllowed(t *testing.T) {
	for _, domain := range []string{
		"example.auth.eu-west-1.amazoncognito.com",
		"https://login.example.com",
		"https://login.example.com/",
		"https://login.example.com:8443",
		"http://127.0.0.1:4566",
		"http://localhost:4566",
		"http://[::1]:4566",
	} {
		t.Run(domain, func(t *testing.T) {
			m := backendtest.New(t)
			m.WriteOK("roles/x", machineRole(map[string]any{"cognito_pool_domain": domain}))
			require.Equal(t, domain, m.Read("roles/x")["cognito_pool_domain"])
		})
	}
}
