// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// example returns a file of the examples, for the mount and the pool of the test.
func (e *env) example(path string) string {
	e.Helper()
	text, err := os.ReadFile(filepath.Join("../examples", path))
	require.NoError(e, err)
	return strings.NewReplacer(
		"cognito/creds/", e.mount+"/creds/", "eu-west-1_AbCdEfGhI", e.Seed.UserPoolID,
		"example.auth.eu-west-1.amazoncognito.com", e.Seed.Domain,
	).Replace(string(text))
}

// setUpExample writes the role and the policy of an example, and returns the name of the policy.
func (e *env) setUpExample(dir, role string) (policy string) {
	e.Helper()
	var fields map[string]any
	require.NoError(e, json.Unmarshal([]byte(e.example(dir+"/"+role+".json")), &fields))
	e.write("roles/"+role, fields)
	policy = e.mount + "-" + role
	require.NoError(e, e.client.Sys().PutPolicyWithContext(e.Context(), policy, e.example(dir+"/policy.hcl")))
	return policy
}

func TestOnCallExample(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	policy := e.setUpExample("on-call", "elevate-me")
	for _, name := range []string{"ann", "bob"} {
		e.addUser(name)
	}
	ann := e.person("ann", policy, map[string]any{"cognito_username": "ann"})
	bob := e.person("bob", policy, map[string]any{"cognito_username": "bob"})

	lease, err := ann.Logical().ReadWithContext(t.Context(), e.mount+"/creds/elevate-me")
	require.NoError(t, err)
	require.Equal(t, 3600, lease.LeaseDuration)
	require.Equal(t, []string{"admins"}, e.user("ann").Groups)
	require.Empty(t, e.user("bob").Groups)
	_, err = ann.Sys().RenewWithContext(t.Context(), lease.LeaseID, 0)
	require.NoError(t, err)
	for _, path := range []string{"roles/elevate-me", "issued/elevate-me", "check/elevate-me", "config"} {
		status, _ := e.readAs(bob, path)
		require.Equal(t, http.StatusForbidden, status, path)
	}
	require.NoError(t, ann.Sys().RevokeWithContext(t.Context(), lease.LeaseID))
	require.Eventually(t, func() bool { return len(e.user("ann").Groups) == 0 }, hangLimit, 20*time.Millisecond, "she has given it back")
}

func TestAppClientExample(t *testing.T) {
	t.Parallel()
	e := newIsolatedEnv(t)
	policy := e.setUpExample("app-client", "orders")
	dir := t.TempDir()
	for _, file := range []string{"agent.hcl", "client.json.ctmpl"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(e.example("app-client/"+file)), 0o600))
	}
	require.NoError(t, e.client.Sys().EnableAuthWithOptionsWithContext(t.Context(), "approle", &api.EnableAuthOptions{Type: "approle"}))
	e.writeAppRoleFiles(dir, map[string]any{"token_policies": policy, "token_no_default_policy": true, "token_period": "1h"})

	agent := exec.CommandContext(t.Context(), binaries.vault, "agent", "-config=agent.hcl")
	agent.Dir, agent.Env = dir, []string{"HOME=" + dir, "VAULT_ADDR=" + e.vault.Addr}
	var output bytes.Buffer
	agent.Stdout, agent.Stderr = &output, &output
	require.NoError(t, agent.Start())
	stop := sync.OnceFunc(func() {
		_ = agent.Process.Signal(os.Interrupt) // it may have ended already
		_ = agent.Wait()
	})
	t.Cleanup(stop)

	(&exampleEnv{env: e}).awaitFile(filepath.Join(dir, "client.json"))
	text, err := os.ReadFile(filepath.Join(dir, "client.json"))
	require.NoError(t, err)
	var client struct {
		ID       string `json:"client_id"`
		Secret   string `json:"client_secret"`
		Endpoint string `json:"token_endpoint"`
		Scopes   []string
	}
	require.NoError(t, json.Unmarshal(text, &client))
	require.Equal(t, e.Seed.Domain+"/oauth2/token", client.Endpoint)
	token, err := cognito.New(t.Context(), cognito.Settings{}).MachineToken(t.Context(), cognito.MachineTokenRequest{
		Domain: e.Seed.Domain, Scopes: client.Scopes, NoCache: true, AppClient: cognito.AppClient{ID: client.ID, Secret: client.Secret},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"api/read"}, token.Scopes)
	stop()
	require.NotContains(t, output.String(), client.Secret)
}
