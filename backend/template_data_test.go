// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"strings"
	"testing"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// readAs reads creds/ci as a caller with a display name and an entity.
func (p *pool) readAs(displayName, entityID string) (*logical.Response, error) {
	p.T.Helper()
	return p.Backend.HandleRequest(p.T.Context(), &logical.Request{
		Operation: logical.ReadOperation, Path: "creds/ci", Storage: p.storage, MountPoint: "cognito/", DisplayName: displayName, EntityID: entityID,
	})
}

func TestCallersDecideNoAddress(t *testing.T) {
	const template = "{{.DisplayName}}-{{random 20}}"

	t.Run("hostile display names are made safe in usernames and addresses", func(t *testing.T) {
		p := newPool(t)
		p.WriteOK("roles/ci", map[string]any{"username_template": template, "dummy_email_domain": "example.com", "issue_tokens": false})
		for _, name := range []string{"oidc-eve@victim.example", "eve victim.example", "\r\n@", "", "日本語", "{{.MountPoint}}", strings.Repeat("x@y.", 90)} {
			response, err := p.readAs(name, "")
			require.NoError(t, err)
			require.False(t, response.IsError(), "%q: %v", name, response)
			require.Regexp(t, `^[a-zA-Z0-9_-]{1,40}-[a-zA-Z0-9]{20}$`, response.Data["username"])
			require.Regexp(t, `^[a-zA-Z0-9_-]+@example\.com$`, response.Data["email"])
		}
	})

	for name, c := range map[string]struct {
		role map[string]any
		says string
	}{
		"a domain from the caller in an attribute": {map[string]any{"user_attributes": map[string]any{"email": "x@{{.DisplayName}}.com"}}, "the domain depends on the caller"},
		"a domain from the caller in a username":   {map[string]any{"username_template": "{{random 20}}@{{.DisplayName}}.com"}, "domain of the usernames depends on the caller"},
		"a verified address from the caller": {map[string]any{"user_attributes": map[string]any{
			"email": "{{.DisplayName}}@victim.example", "email_verified": "true"}}, "email depends on the caller"},
		"a verified phone number from the caller": {map[string]any{"user_attributes": map[string]any{
			"phone_number": "{{.DisplayName}}", "phone_number_verified": "true"}}, "phone_number depends on the caller"},
	} {
		t.Run(name+" is refused when the role is written", func(t *testing.T) {
			p := newPool(t)
			require.Contains(t, p.WriteRefused("roles/ci", c.role), c.says)
		})
	}

	t.Run("an address outside dummy_email_domain is not verified by default", func(t *testing.T) {
		p := newPool(t)
		p.WriteOK("roles/ci", map[string]any{"user_attributes": map[string]any{"email": "{{.DisplayName}}@team.example"}, "dummy_email_domain": "example.com"})
		_, err := p.readAs("eve", "")
		require.NoError(t, err)
		require.NotEqual(t, "true", p.attributes(p.Users()[0].Username)["email_verified"])
	})

	t.Run("a caller's own values stay whole in attributes that no one signs in with", func(t *testing.T) {
		p := newPool(t)
		p.WriteOK("roles/ci", map[string]any{"user_attributes": map[string]any{"name": "{{.DisplayName}}"}})
		_, err := p.readAs("Ann O'Hara\n", "")
		require.NoError(t, err)
		require.Equal(t, "Ann O'Hara", p.attributes(p.Users()[0].Username)["name"])
	})
}

func TestIdentityTemplates(t *testing.T) {
	p := newPool(t)
	p.System.EntityVal = &logical.Entity{ID: "e1", Name: "ann@corp", Metadata: map[string]string{"team": "{{.MountPoint}}"}}
	p.WriteOK("roles/ci", map[string]any{
		"username_template": "{{identity.entity.name}}-{{.EntityName}}-{{random 20}}",
		"user_attributes":   map[string]any{"name": "{{ identity.entity.metadata.team }}"},
	})
	response, err := p.readAs("x", "e1")
	require.NoError(t, err)
	require.False(t, response.IsError(), "%v", response)
	require.Regexp(t, `^ann-corp-ann-corp-[a-zA-Z0-9]{20}$`, response.Data["username"])
	require.Equal(t, "{{.MountPoint}}", p.attributes(response.Data["username"].(string))["name"], "a value must not be parsed as a template")

	response, err = p.readAs("x", "")
	require.NoError(t, err)
	require.ErrorContains(t, response.Error(), "needs an entity")
}

// attributes returns the attributes of a user at Cognito.
func (p *pool) attributes(username string) map[string]string {
	p.T.Helper()
	out, err := p.Admin.AdminGetUser(p.T.Context(), &cip.AdminGetUserInput{UserPoolId: &p.Seed.UserPoolID, Username: &username})
	require.NoError(p.T, err)
	attributes := map[string]string{}
	for _, attribute := range out.UserAttributes {
		attributes[*attribute.Name] = *attribute.Value
	}
	return attributes
}
