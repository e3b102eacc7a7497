// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// writeMembershipRole writes a role that puts a user of the seeded pool into the group testers.
func (e *env) writeMembershipRole(name string, more map[string]any) {
	e.Helper()
	role := map[string]any{
		"credential_type": "group_membership", "user_pool_id": e.Seed.UserPoolID, "groups": "testers", "ttl": "10m",
		"username": "{{identity.entity.metadata.cognito_username}}",
	}
	maps.Copy(role, more)
	e.write("roles/"+name, role)
}

// person signs in to the server by userpass. The metadata of the entity is what an operator wrote.
func (e *env) person(name, policy string, metadata map[string]any) *api.Client {
	e.Helper()
	ctx, login := e.Context(), e.mount+"-people"
	mounts, err := e.client.Sys().ListAuthWithContext(ctx)
	require.NoError(e, err)
	if mounts[login+"/"] == nil {
		require.NoError(e, e.client.Sys().EnableAuthWithOptionsWithContext(ctx, login, &api.EnableAuthOptions{Type: "userpass"}))
		mounts, err = e.client.Sys().ListAuthWithContext(ctx)
		require.NoError(e, err)
	}
	write := func(client *api.Client, path string, data map[string]any) *api.Secret {
		secret, err := client.Logical().WriteWithContext(ctx, path, data)
		require.NoError(e, err)
		return secret
	}
	const password = "hush-Person-1"
	write(e.client, "auth/"+login+"/users/"+name, map[string]any{"password": password, "token_policies": policy})
	entity := write(e.client, "identity/entity", map[string]any{"name": e.mount + "-" + name, "metadata": metadata})
	write(e.client, "identity/entity-alias", map[string]any{
		"name": name, "canonical_id": entity.Data["id"], "mount_accessor": mounts[login+"/"].Accessor,
	})
	client, err := e.client.Clone()
	require.NoError(e, err)
	client.SetToken(write(e.client, "auth/"+login+"/login/"+name, map[string]any{"password": password}).Auth.ClientToken)
	return client
}

func TestGroupMembership(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.writeMembershipRole("elevate-me", nil)
	policy := e.mount + "-elevate"
	require.NoError(t, e.client.Sys().PutPolicyWithContext(t.Context(), policy, `path "`+e.mount+`/creds/elevate-me" { capabilities = ["read"] }`))
	for _, name := range []string{"ann", "bob"} {
		e.addUser(name)
	}
	ann := e.person("ann", policy, map[string]any{"cognito_username": "ann"})
	bob := e.person("bob", policy, map[string]any{"cognito_username": "bob"})

	lease, err := ann.Logical().ReadWithContext(t.Context(), e.mount+"/creds/elevate-me")
	require.NoError(t, err)
	require.Equal(t, "ann", lease.Data["username"])
	require.Equal(t, []any{"testers"}, lease.Data["groups"])
	require.Equal(t, []string{"testers"}, e.user("ann").Groups)
	require.Empty(t, e.user("bob").Groups, "each raises only themselves")

	asked, err := ann.Logical().ReadWithDataWithContext(t.Context(), e.mount+"/creds/elevate-me", map[string][]string{"username": {"bob"}})
	require.NoError(t, err)
	require.Equal(t, "ann", asked.Data["username"], "the caller does not choose the user")
	require.Empty(t, e.user("bob").Groups)
	e.revoke(asked.LeaseID)
	require.Equal(t, []string{"testers"}, e.user("ann").Groups, "her first lease lives")

	second, err := bob.Logical().ReadWithContext(t.Context(), e.mount+"/creds/elevate-me")
	require.NoError(t, err)
	require.Equal(t, []string{"testers"}, e.user("bob").Groups)
	status, _ := e.writeAs(ann, "roles/elevate-me", map[string]any{"username": "bob"})
	require.Equal(t, http.StatusForbidden, status)
	status, _ = e.writeAs(ann, "creds/elevate-me", map[string]any{"username": "bob"})
	require.Equal(t, http.StatusForbidden, status)

	issued, err := e.client.Logical().ListWithContext(t.Context(), e.mount+"/issued/elevate-me")
	require.NoError(t, err)
	who := map[any]any{}
	for _, info := range issued.Data["key_info"].(map[string]any) {
		record := info.(map[string]any)
		require.NotEmpty(t, record["expires"])
		who[record["username"]] = record["display_name"]
	}
	require.Equal(t, map[any]any{"ann": e.mount + "-people-ann", "bob": e.mount + "-people-bob"}, who)

	outsider := e.person("eve", policy, map[string]any{"team": "none"})
	status, text := e.readAs(outsider, "creds/elevate-me")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, text, "names no user for this caller")

	e.revoke(lease.LeaseID)
	require.Empty(t, e.user("ann").Groups)
	require.Equal(t, []string{"testers"}, e.user("bob").Groups, "the end of one lease is not that of another person's")
	e.revoke(second.LeaseID)
	require.Empty(t, e.user("bob").Groups)
}
