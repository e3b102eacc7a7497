// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/counters"
)

const hostileSuite = "Hostile input"

// hostileNames are names that people, scripts and attackers may send.
var hostileNames = map[string]string{
	"a slash": "a/b", "parents": "../../config", "an encoded slash": "%2e%2e%2f", "a newline": "a\nb", "a header": "a\r\nX-Evil: 1", "a NUL": "a\x00b",
	"a space": "a b", "template code": "{{.RoleName}}", "HTML": "<script>alert(1)</script>", "shell code": "$(reboot)", "right-to-left marks": "a\u202eb c",
	"not UTF-8": "a \xff\xfe", "too long": strings.Repeat("x", 300),
}

func TestHostileNames(t *testing.T) {
	count := counters.Open(t, hostileSuite, "names with /, .., newlines, template code, HTML")
	m := backendtest.New(t)
	for what, name := range hostileNames {
		t.Run("a role name with "+what+" is refused", func(t *testing.T) {
			count.Tried(1)
			for _, path := range []string{"roles/", "static-roles/"} {
				response, err := m.Request(t.Context(), logical.CreateOperation, path+name, userRole(nil))
				require.True(t, err != nil || response.IsError(), "%v", response)
			}
			keys, err := logical.CollectKeys(t.Context(), m.Storage)
			require.NoError(t, err)
			require.Empty(t, keys, "a refused write must store nothing")
		})
	}
	for field, write := range map[string]func(name string) (string, map[string]any){
		"groups": func(name string) (string, map[string]any) {
			return "roles/u", userRole(map[string]any{"groups": []any{name}})
		},
		"scopes": func(name string) (string, map[string]any) {
			return "roles/m", machineRole(map[string]any{"scopes": []any{name}})
		},
		"cognito_pool_domain": func(name string) (string, map[string]any) {
			return "roles/m", machineRole(map[string]any{"cognito_pool_domain": name})
		},
		"dummy_email_domain": func(name string) (string, map[string]any) {
			return "roles/u", userRole(map[string]any{"dummy_email_domain": name})
		},
		"username": func(name string) (string, map[string]any) { return "static-roles/s", staticPassword(name) },
		"user_pool_id": func(name string) (string, map[string]any) {
			return "roles/u", userRole(map[string]any{"user_pool_id": name})
		},
		"region": func(name string) (string, map[string]any) { return "roles/u", userRole(map[string]any{"region": name}) },
		"username_template": func(name string) (string, map[string]any) {
			return "roles/u", userRole(map[string]any{"username_template": name + " "})
		},
	} {
		for what, name := range hostileNames {
			if allowedAs(field, name) {
				continue
			}
			t.Run(field+" with "+what+" is refused", func(t *testing.T) {
				count.Tried(1)
				path, data := write(name)
				require.Contains(t, m.WriteRefused(path, data), field)
			})
		}
	}
}

// allowedAs reports whether Cognito itself allows a name: groups and usernames may hold any
// printable character, and scopes any printable ASCII character.
func allowedAs(field, name string) bool {
	if field == "cognito_pool_domain" && len(name) > 128 {
		return true // the name of a host may be that long
	}
	printable := !strings.ContainsAny(name, " \n\r\x00") && len(name) <= 128
	return printable && (field == "groups" || field == "scopes" || field == "username")
}

func staticPassword(username string) map[string]any {
	return map[string]any{"user_pool_id": "eu-west-1_AbCdEfGhI", "region": "eu-west-1", "username": username, "rotation_period": "1h"}
}

// TestWeirdUsersWork uses names that Cognito allows and that must reach it unchanged.
func TestWeirdUsersWork(t *testing.T) {
	count := counters.Open(t, hostileSuite, "weird names that Cognito allows, through the life of a user")
	p := newPool(t)
	for what, template := range map[string]string{
		"HTML": "<b>-{{random 20}}", "parents": "../../{{random 20}}", "an encoded slash": "%2e%2e%2f{{random 20}}", "quotes": `"'{{random 20}}`,
		"template code": "{{`{{.RoleName}}`}}-{{random 20}}", "another script": "пользователь-{{random 20}}", "an emoji": "🦀{{random 20}}",
	} {
		t.Run("a username with "+what+" works until it is revoked", func(t *testing.T) {
			count.Tried(1)
			p.OK(logical.PatchOperation, "roles/ci", map[string]any{"username_template": template})
			response := p.OK(logical.ReadOperation, "creds/ci", nil)
			require.Len(t, p.Users(), 1)
			require.Equal(t, response.Data["username"], p.Users()[0].Username)
			_, err := p.lease(logical.RevokeOperation, response.Secret)
			require.NoError(t, err)
			require.Empty(t, p.Users())
		})
	}
}
