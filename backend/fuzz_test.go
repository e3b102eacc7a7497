// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// FuzzUsernameTemplate tries any template: none may panic, run without end, or render a username
// that Cognito refuses.
func FuzzUsernameTemplate(f *testing.F) {
	for _, text := range []string{
		"{{.RoleName}}-{{random 20}}", "{{random_digits 9}}", "{{uuid}}", "{{", "{{.DisplayName | uppercase | truncate 3}}", "{{random -1}}",
		"{{range .}}{{end}}", `{{printf "%200d" 1}}{{random 10}}`, "{{.RoleName | replace \"a\" \"{{\"}}", "\x00\xff{{random 9}}", "{{unix_time}}",
		"{{index .RoleName 99}}", "{{slice .RoleName 1 0}}", "{{call .RoleName}}", "{{.RoleName.Nothing}}", "{{with $x := random 8}}{{$x}}{{end}}",
	} {
		f.Add(text, "ci", "ldap-anna")
	}
	f.Fuzz(func(t *testing.T, text, role, display string) {
		data := templateData{RoleName: role, DisplayName: display, MountPoint: "cognito/", UserPoolID: "eu-west-1_x"}
		username, err := renderUsername(text, data)
		if err == nil {
			require.Regexp(t, usernamePattern, username)
			require.LessOrEqual(t, len(username), usernameMax)
		}
		if value, err := renderAttribute(text, data); err == nil {
			require.LessOrEqual(t, len(value), attributeMax)
		}
	})
}

// FuzzOwnUsername tries any role name.
func FuzzOwnUsername(f *testing.F) {
	f.Add("ci", "")
	f.Add("../../x", "example.com")
	f.Add("a.very.long.role.name.that.goes.on.and.on.and.on.and.on.and.on.and.on", "EXAMPLE.com")
	f.Fuzz(func(t *testing.T, role, domain string) {
		if domain != "" && !validEmailDomain(domain) {
			return
		}
		username := newUsername(role, domain)
		require.Regexp(t, usernamePattern, username)
		require.Regexp(t, `^vault-[a-z0-9_-]*-[a-z2-7]{26}(@|$)`, username, "the random part must not be cut")
		require.NotEqual(t, username, newUsername(role, domain))
	})
}

// FuzzScopes tries any scopes in a request: it gets what the role allows, or an error.
func FuzzScopes(f *testing.F) {
	f.Add("api/read")
	f.Add("api/read,api/write")
	f.Add("api/read api/write")
	f.Add(" ,,api/read\n")
	f.Add("\"\\\x00")
	all := cognito.MachineTokenRequest{Scopes: []string{"api/read", "api/write"}}
	schema := map[string]*framework.FieldSchema{"scopes": {Type: framework.TypeCommaStringSlice}}
	f.Fuzz(func(t *testing.T, asked string) {
		data := &framework.FieldData{Raw: map[string]any{"scopes": asked}, Schema: schema}
		if data.Validate() != nil {
			return
		}
		request, err := narrowScopes(all, input{data: data})
		if err != nil {
			require.True(t, utf8.ValidString(err.Error()) || !utf8.ValidString(asked))
			return
		}
		require.NotEmpty(t, request.Scopes)
		require.Subset(t, all.Scopes, request.Scopes)
	})
}
