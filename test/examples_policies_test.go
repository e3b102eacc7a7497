// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"
)

// policyCase is a request and the policies that allow it.
type policyCase struct {
	method, path string
	data         map[string]any
	allowed      []string
	// status is the expected status if it is neither a success nor 403.
	status int
}

// policyCases returns the requests in an order in which each finds what it needs.
func policyCases(pool string) []policyCase {
	const operator, ci, service = "operator", "ci", "service"
	role := map[string]any{"credential_type": "user", "user_pool_id": pool, "issue_tokens": false}
	account := map[string]any{"credential_type": "user_password", "user_pool_id": pool, "username": "nobody", "rotation_period": "1h", "self_managed": true}
	return []policyCase{
		{http.MethodGet, "cognito/creds/ci-user", nil, []string{ci}, 0},
		{http.MethodPut, "cognito/tokens/ci-user", map[string]any{}, []string{ci}, http.StatusBadRequest}, // no refresh_token
		{http.MethodPut, "cognito/library/e2e/check-out", map[string]any{"wait": "30s"}, []string{ci}, 0},
		{http.MethodPut, "cognito/library/e2e/check-in", nil, []string{ci}, 0},
		{http.MethodPut, "cognito/library/manage/e2e/check-in", nil, []string{operator}, http.StatusBadRequest}, // no usernames
		{http.MethodGet, "cognito/creds/machine", nil, []string{service}, 0},
		{http.MethodGet, "cognito/static-creds/batch", nil, []string{service}, 0},
		{http.MethodPut, "sys/leases/renew", map[string]any{"lease_id": "none"}, []string{service}, http.StatusBadRequest},
		{http.MethodPut, "sys/leases/revoke", map[string]any{"lease_id": "none"}, []string{service}, 0},
		{http.MethodPut, "sys/leases/revoke/cognito/none", nil, []string{operator}, 0},
		{http.MethodPut, "sys/leases/revoke/another/none", nil, nil, 0},
		{http.MethodPut, "auth/token/renew-self", nil, []string{service}, 0},
		{http.MethodGet, "auth/token/lookup-self", nil, []string{service}, 0},

		{http.MethodGet, "cognito/config", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/config", map[string]any{"max_retries": 4}, []string{operator}, 0},
		{http.MethodPatch, "cognito/config", map[string]any{"max_retries": 8}, []string{operator}, 0},
		{http.MethodPut, "cognito/config/rotate-root", nil, []string{operator}, http.StatusBadRequest}, // there is no key
		{"LIST", "cognito/roles", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/roles/another", role, []string{operator}, 0},
		{http.MethodPatch, "cognito/roles/another", map[string]any{"ttl": "5m"}, []string{operator}, 0},
		{http.MethodGet, "cognito/roles/another", nil, []string{operator}, 0},
		{http.MethodGet, "cognito/check/another", nil, []string{operator}, 0},
		{http.MethodGet, "cognito/metrics", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/tidy", map[string]any{"role": "another"}, []string{operator}, 0},
		{"LIST", "cognito/library", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/library/another", map[string]any{"role": "another", "size": 1}, []string{operator}, 0},
		{http.MethodPatch, "cognito/library/another", map[string]any{"size": 2}, []string{operator}, 0},
		{http.MethodGet, "cognito/library/another", nil, []string{operator}, 0},
		{http.MethodGet, "cognito/library/another/status", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/library/another/check-out", nil, nil, 0},
		{http.MethodPut, "cognito/library/another/check-in", nil, nil, 0},
		{http.MethodDelete, "cognito/library/another", nil, []string{operator}, 0},
		{http.MethodDelete, "cognito/roles/another", nil, []string{operator}, 0},
		{"LIST", "cognito/static-roles", nil, []string{operator}, 0},
		{http.MethodPut, "cognito/static-roles/another", account, []string{operator}, http.StatusBadRequest}, // there is no such user
		{http.MethodGet, "cognito/static-roles/batch", nil, []string{operator}, 0},
		{http.MethodPatch, "cognito/static-roles/batch", map[string]any{"rotation_period": "12h"}, []string{operator}, 0},
		{http.MethodPut, "cognito/rotate-role/batch", nil, []string{operator}, 0},
		{http.MethodDelete, "cognito/static-roles/batch", nil, []string{operator}, 0},
		{"LIST", "cognito/issued", nil, []string{operator}, 0},
		{"LIST", "cognito/issued/ci-user", nil, []string{operator}, 0},
		{http.MethodGet, "sys/policies/password/none/generate", nil, []string{operator}, http.StatusNotFound},
		{http.MethodPut, "sys/leases/lookup", map[string]any{"lease_id": "none"}, []string{operator}, http.StatusBadRequest},
		{http.MethodGet, "sys/leases?type=irrevocable", nil, []string{operator}, 0},
		{http.MethodGet, "sys/leases/count?type=irrevocable", nil, []string{operator}, 0},
		{"LIST", "sys/leases/lookup/cognito/creds/ci-user", nil, []string{operator}, 0},
		{http.MethodPut, "sys/leases/revoke-prefix/cognito/creds/ci-user", map[string]any{"sync": true}, []string{operator}, 0},
		{http.MethodPut, "sys/leases/revoke-force/cognito/creds/none", nil, []string{operator}, 0},
		{http.MethodPut, "sys/leases/revoke-force/auth", nil, nil, 0},
		{http.MethodDelete, "cognito/config", nil, []string{operator}, 0},

		{http.MethodGet, "cognito/creds/another", nil, nil, 0},
		{http.MethodGet, "cognito/static-creds/another", nil, nil, 0},
		{http.MethodPut, "cognito/tokens/another", nil, nil, 0},
		{http.MethodPut, "sys/leases/revoke-prefix/auth", nil, nil, 0},
		{http.MethodGet, "sys/mounts/cognito/tune", nil, nil, 0},
		{http.MethodGet, "sys/policies/acl/cognito-operator", nil, nil, 0},
		{http.MethodPut, "auth/token/create", nil, nil, 0},

		{http.MethodPut, "auth/token/revoke-self", nil, []string{ci, service}, 0},
	}
}

// TestPolicyExamples tries every request with a token of each policy, and no other.
func TestPolicyExamples(t *testing.T) {
	t.Parallel()
	e := newExampleEnv(t)
	clients := map[string]*api.Client{}
	for _, policy := range []string{"operator", "ci", "service"} {
		clients[policy] = e.vault.Client()
		clients[policy].SetToken(e.tokenWith("cognito-" + policy))
	}
	for _, c := range policyCases(e.Seed.UserPoolID) {
		for policy, client := range clients {
			t.Run(policy+" "+c.method+" "+c.path, func(t *testing.T) {
				status := e.statusOf(client, c)
				switch {
				case !slices.Contains(c.allowed, policy):
					require.Equal(t, http.StatusForbidden, status)
				case c.status != 0:
					require.Equal(t, c.status, status)
				default:
					require.Contains(t, []int{http.StatusOK, http.StatusNoContent}, status)
				}
			})
		}
	}
}

// operatorCommand matches a command of the vault CLI that a page has for operators, up to its pipe
// or the end of its line.
var operatorCommand = regexp.MustCompile("\\bvault ((?:read|list|write|patch|delete|lease) [^`|\n]*)")

// ownRights are paths that pages name with the policy that they take: they are not the mount's.
var ownRights = []string{"identity/", "sys/plugins/", "sys/mounts/"}

// TestOperatorPolicyAllowsDocumentedCommands asks the server whether the operator's policy allows
// what the pages for operators say.
func TestOperatorPolicyAllowsDocumentedCommands(t *testing.T) {
	t.Parallel()
	e := newBareEnv(t)
	policy, err := os.ReadFile("../examples/policies/operator.hcl")
	require.NoError(t, err)
	require.NoError(t, e.client.Sys().PutPolicyWithContext(t.Context(), "cognito-operator", string(policy)))
	token := e.tokenWith("cognito-operator")
	for _, page := range []string{"troubleshooting.md", "runbooks.md"} {
		text, err := os.ReadFile(filepath.Join("../docs", page))
		require.NoError(t, err)
		commands := operatorCommand.FindAllStringSubmatch(string(text), -1)
		require.NotEmpty(t, commands, page)
		for _, found := range commands {
			path, needed := neededCapability(found[1])
			if strings.HasSuffix(path, "/") || path == "" || slices.ContainsFunc(ownRights, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
				continue
			}
			t.Run(page+": vault "+found[1], func(t *testing.T) {
				capabilities, err := e.client.Sys().CapabilitiesWithContext(t.Context(), token, path)
				require.NoError(t, err)
				for _, capability := range needed {
					require.Contains(t, capabilities, capability, "%s", path)
				}
			})
		}
	}
}

// neededCapability returns the path that a command of the CLI asks for, and the capabilities that
// it takes.
func neededCapability(command string) (path string, needed []string) {
	words := strings.Fields(command)
	verb, words := words[0], words[1:]
	var flags []string
	for _, word := range words {
		switch {
		case strings.HasPrefix(word, "-"):
			flags = append(flags, word)
		case path == "" && strings.Contains(word, "/"):
			path = strings.Trim(word, `"')`)
		}
	}
	switch verb {
	case "lease":
		return neededForLease(words[0], flags, path)
	case "write":
		return path, []string{"update"}
	default:
		return path, map[string][]string{"read": {"read"}, "list": {"list"}, "patch": {"patch"}, "delete": {"delete"}}[verb]
	}
}

func neededForLease(verb string, flags []string, path string) (string, []string) {
	switch {
	case slices.Contains(flags, "-force"):
		return "sys/leases/revoke-force/" + path, []string{"update", "sudo"}
	case slices.Contains(flags, "-prefix"):
		return "sys/leases/revoke-prefix/" + path, []string{"update", "sudo"}
	case verb == "lookup":
		return "sys/leases/lookup", []string{"update"}
	default:
		return "sys/leases/revoke/" + path, []string{"update"}
	}
}

// statusOf returns the status of the answer.
func (e *exampleEnv) statusOf(client *api.Client, c policyCase) int {
	e.Helper()
	path, query, _ := strings.Cut(c.path, "?")
	req := client.NewRequest(c.method, "/v1/"+path)
	var err error
	req.Params, err = url.ParseQuery(query)
	require.NoError(e, err)
	require.NoError(e, req.SetJSONBody(c.data))
	if c.method == http.MethodPatch {
		req.Headers.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := client.RawRequestWithContext(e.Context(), req) //nolint:staticcheck // the other methods hide the status
	if resp == nil {
		require.NoError(e, err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
