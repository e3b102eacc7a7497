// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// staleLimit is how long a standby may return what was stored before a write that it forwarded.
const staleLimit = 10 * time.Second

// pathRequest is a request that succeeds. data is nil for a read.
type pathRequest struct {
	method, path string
	data         map[string]any
}

// pathRequests returns requests for every path of the engine, in an order in which each finds what
// it needs. user is a user that the role ci issued.
func (e *env) pathRequests(user *api.Secret) []pathRequest {
	e.Helper()
	account := map[string]any{
		"credential_type": "user_password", "user_pool_id": e.Seed.UserPoolID, "username": "ann", "rotation_period": "1h",
		"app_client_id": e.Seed.AppClientID, "app_client_secret": e.Seed.AppClientSecret,
	}
	return []pathRequest{
		{http.MethodGet, "config", nil},
		{http.MethodPatch, "config", map[string]any{"max_retries": 1}},
		{"LIST", "roles", nil},
		{http.MethodGet, "roles/ci", nil},
		{http.MethodPatch, "roles/ci", map[string]any{"ttl": "6m"}},
		{http.MethodPut, "tokens/ci", map[string]any{"refresh_token": user.Data["refresh_token"]}},
		{http.MethodGet, "creds/machine", nil},
		{http.MethodGet, "check/ci", nil},
		{http.MethodGet, "metrics", nil},
		{"LIST", "issued", nil},
		{"LIST", "issued/ci", nil},
		{http.MethodGet, "issued/ci/" + e.issuedID("ci"), nil},
		{http.MethodPut, "tidy", map[string]any{"role": "ci"}},
		{http.MethodPut, "static-roles/ann", account},
		{"LIST", "static-roles", nil},
		{http.MethodGet, "static-roles/ann", nil},
		{http.MethodPatch, "static-roles/ann", map[string]any{"rotation_period": "2h"}},
		{http.MethodGet, "static-creds/ann", nil},
		{http.MethodPut, "rotate-role/ann", nil},
		{http.MethodDelete, "static-roles/ann", nil},
		{http.MethodPut, "library/e2e", map[string]any{"role": "ci", "usernames": "ben"}},
		{"LIST", "library", nil},
		{http.MethodGet, "library/e2e", nil},
		{http.MethodPatch, "library/e2e", map[string]any{"disable_check_in_enforcement": true}},
		{http.MethodPut, "library/e2e/check-out", map[string]any{"wait": "10s"}},
		{http.MethodGet, "library/e2e/status", nil},
		{http.MethodPut, "library/e2e/check-in", nil},
		{http.MethodPut, "library/manage/e2e/check-in", map[string]any{"usernames": "ben"}},
		{http.MethodDelete, "library/e2e", nil},
		{http.MethodPut, "config/rotate-root", nil},
		{http.MethodDelete, "roles/ci", nil},
		{http.MethodDelete, "config", nil},
	}
}

// issuedID returns the id of a record of a role.
func (e *env) issuedID(role string) (id string) {
	e.Helper()
	require.EventuallyWithT(e, func(c *assert.CollectT) {
		list, err := e.client.Logical().ListWithContext(e.Context(), e.mount+"/issued/"+role)
		if assert.NoError(c, err) && assert.NotNil(c, list) {
			id = list.Data["keys"].([]any)[0].(string)
		}
	}, staleLimit, 20*time.Millisecond)
	return id
}

// requestEveryPath sends a request to every path of the engine, and returns how many succeeded. It
// fails if a documented path has no request here. The mount is configured again afterwards.
func (e *env) requestEveryPath() int {
	e.Helper()
	e.addUser("ann")
	e.addUser("ben")
	e.plantRootKey(nil)
	user := e.readSoon("creds/ci")
	requests := e.pathRequests(user)
	paths := []string{"creds/ci"}
	for _, r := range requests {
		paths = append(paths, r.path)
		e.sendSoon(r)
	}
	for _, documented := range e.documentedPaths() {
		require.Condition(e, func() bool { return matchesAny(documented, paths) }, "no request for the path %s", documented)
	}
	e.configure(map[string]any{"aws_access_key_id": e.Keys()[0].ID, "aws_secret_access_key": e.Keys()[0].Secret})
	e.revoke(user.LeaseID)
	require.False(e, containsUser(e.Users(), user.Data["username"].(string)))
	return len(requests) + 2
}

// readSoon reads a path. A standby that does not yet have what was just stored gets some time.
func (e *env) readSoon(path string) (secret *api.Secret) {
	e.Helper()
	var err error
	require.Eventually(e, func() bool {
		secret, err = e.tryRead(path)
		return err == nil && secret != nil
	}, staleLimit, 20*time.Millisecond, "reading %s", path)
	return secret
}

// sendSoon sends a request, with the patience of readSoon.
func (e *env) sendSoon(r pathRequest) {
	e.Helper()
	require.EventuallyWithT(e, func(c *assert.CollectT) {
		assert.NoError(c, e.trySend(r), "%s %s", r.method, r.path)
	}, staleLimit, 20*time.Millisecond)
}

// trySend sends a request and returns the error of its answer.
func (e *env) trySend(r pathRequest) error {
	request := e.client.NewRequest(r.method, "/v1/"+e.mount+"/"+r.path)
	if r.method != http.MethodGet && r.method != "LIST" {
		if err := request.SetJSONBody(r.data); err != nil {
			return err
		}
	}
	if r.method == http.MethodPatch {
		request.Headers.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := e.client.RawRequestWithContext(e.Context(), request) //nolint:staticcheck // for any method
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// documentedPaths returns the paths of the mount in the server's OpenAPI document, with parameters
// in braces.
func (e *env) documentedPaths() []string {
	e.Helper()
	document, err := e.client.Logical().ReadWithContext(e.Context(), "sys/internal/specs/openapi")
	require.NoError(e, err)
	var paths []string
	for path := range document.Data["paths"].(map[string]any) {
		if inMount, found := strings.CutPrefix(path, "/"+e.mount+"/"); found {
			paths = append(paths, strings.TrimSuffix(inMount, "/"))
		}
	}
	require.NotEmpty(e, paths)
	return paths
}

// matchesAny reports whether one of paths is an instance of a documented path.
func matchesAny(documented string, paths []string) bool {
	pattern := regexp.MustCompile("^" + pathParameter.ReplaceAllString(documented, "[^/]+") + "$")
	for _, path := range paths {
		if pattern.MatchString(path) {
			return true
		}
	}
	return false
}
