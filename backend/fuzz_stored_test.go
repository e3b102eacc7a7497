// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/helper/jsonutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// damagedID is the id of the damaged WAL entry.
const damagedID = "11111111-2222-3333-4444-555555555555"

// entriesToDamage holds the entries of a mount and the path whose delete removes each.
var entriesToDamage = []struct{ key, remedy string }{
	{"config", "config"}, {"roles/user", "roles/user"}, {"roles/machine", "roles/machine"},
	{"static-roles/password", "static-roles/password"}, {"static-roles/secret", "static-roles/secret"},
	{framework.WALPrefix + damagedID, ""}, {heartbeatStoragePath, ""},
	{recordKey("user", "20010101-0101-abcd-abcdefgh2345"), ""}, {dueStoragePrefix + "20010101/0101/user/20010101-0101-abcd", ""},
}

// storedTexts are entries of the 2021 plugin, of this one, and damaged ones.
var storedTexts = []string{
	"", "null", "true", "7", `"text"`, "[]", "{}", "{", `{"`, "\x00\x00\x00", "\xff\xfe", "G", "G\x1f\x8b", "L", "S\x00", "4", "{}{}", "{} trailing",
	strings.Repeat("[", 20000), strings.Repeat(`{"a":`, 20000), `{"groups":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + "}",
	`{"aws_access_key_id":"AKIAOLD","aws_secret_access_key":"` + stored + `","aws_session_token":"","aws_assume_role_arn":""}`,
	`{"aws_access_key_id":7,"max_retries":"many","request_timeout":"10s"}`, `{"max_retries":-7,"request_timeout":-1}`, `{"max_retries":1e99}`,
	`{"rotation_schedule":"TZ=UTC","aws_access_key_id":"A","aws_secret_access_key":"` + stored + `"}`,
	`{"rate_limits":{"UserCreation":-1,"nobody":0}}`, `{"region":"\u0000","cognito_endpoint":"::","username_template":"{{","password_policy":"/"}`,
	`{"credential_type":"user","app_client_id":"c","app_client_secret":"` + stored + `","region":"eu-west-1","user_pool_id":"eu-west-1_x","group":"a b","ttl":3600000000000,"max_ttl":0}`,
	`{"credential_type":"anything","app_client_id":"c","app_client_secret":"` + stored + `","cognito_pool_domain":"../..","ttl":-1}`,
	`{"credential_type":"user","user_pool_id":"x","username_template":"{{range .}}{{end}}","user_attributes":{"sub":"{{"},"groups":[""]}`,
	`{"credential_type":"user","ttl":"1h","scopes":"a","min_token_ttl":{},"former_pools":7}`, `{"former_pools":[{},{"user_pool_id":"/"},null]}`,
	`{"credential_type":"user_password","rotation_schedule":"TZ=UTC","value":"` + stored + `","next_vault_rotation":"never"}`,
	`{"credential_type":"user_password","user_pool_id":"eu-west-1_x","username":"a\nb","rotation_schedule":"TZ=UTC","value":"` + stored + `"}`,
	`{"credential_type":"app_client_secret","pending":{"value":"` + stored + `","before":[null]},"failures":-1,"retry_at":"0001-01-01T00:00:00Z"}`,
	`{"credential_type":"app_client_secret","pending":{},"rotation_period":-1,"last_vault_rotation":"9999-12-31T23:59:59Z"}`,
	`{"kind":"user","data":{"username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","created":"2020-01-01T00:00:00Z"},"created_at":1}`,
	`{"kind":"user","data":7,"created_at":1}`, `{"kind":"user","data":{"username":["u"]},"created_at":1}`, `{"kind":"user","created_at":"yesterday"}`,
	`{"kind":"user","data":{"username":"u","user_pool_id":"p","handover":{"id":"` + damagedID + `","lease_end":"2020-01-01T00:00:00Z"}},"created_at":1}`,
	`{"kind":"user","data":{"username":"u","user_pool_id":"p","handover":{}},"created_at":1}`, `{"kind":"unheard of","data":{},"created_at":1}`,
	`{"kind":"root_key","data":{"access_key_id":"A"},"created_at":1}`, `{"kind":"root_key","data":"` + stored + `","created_at":-1}`, `{"id":"","kind":null}`,
	`{"username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","created":"2020-01-01T00:00:00Z","handover":{"id":"` + damagedID + `","lease_end":"2020-01-01T00:00:00Z","revocation":"delete"}}`,
	`{"username":"u","handover":null}`, `{"username":"u","user_pool_id":"p","handover":{"lease_end":"soon"}}`,
	`{"version":1,"kind":"user","state":"creating","created":"2001-01-01T01:01:01Z"}`, `{"version":1,"kind":"user","state":"delivered","username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1"}`,
	`{"version":1,"kind":"unheard of","state":"confirmed","deadline":"2001-01-01T01:01:01Z"}`, `{"version":2,"kind":"user","state":"ending"}`, `{"version":1,"kind":"user","state":"unheard of"}`,
	`{"credential_type":"user_password","state":"setting"}`, `{"credential_type":"app_client_secret","state":"proving","failures":-1}`,
	`{"credential_type":"user_password","user_pool_id":"eu-west-1_x","region":"eu-west-1","username":"u","state":"rejected","pending":{"earlier":"` + stored + `"},"rotation_period":3600000000000}`,
	`{"version":"1"}`, `{"version":1,"deadline":"soon"}`, `{"watch":7}`, `{"watch":"w","last":"9999-12-31T23:59:59Z","clock_shift":9223372036854775807}`, `{"watch":"w","clock_shift":-9223372036854775808}`,
}

func TestDamagedStorage(t *testing.T) {
	blockNetwork(t)
	h := newHostile(t)
	for n := range entriesToDamage {
		for _, text := range storedTexts {
			t.Run(fmt.Sprintf("%s %.40q", entriesToDamage[n].key, text), func(t *testing.T) { h.damage(t, n, text) })
		}
	}
}

// FuzzStored replaces an entry of the engine with any content.
func FuzzStored(f *testing.F) {
	blockNetwork(f)
	h := newHostile(f)
	for n := range entriesToDamage {
		for _, text := range storedTexts {
			f.Add(uint8(n), text)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) { h.damage(t, int(which)%len(entriesToDamage), text) })
}

// damage replaces one entry and requires that every request is answered, the other entries work,
// and a delete removes the damaged one.
func (h *hostile) damage(tb testing.TB, which int, text string) {
	tb.Helper()
	key, remedy := entriesToDamage[which].key, entriesToDamage[which].remedy
	m := h.mount(tb)
	if key == configStoragePath {
		text = h.withTestEndpoints(text)
	}
	m.put(tb, key, []byte(text))
	m.useAll(tb, key)
	if key != "config" && remedy != "" {
		for _, other := range []string{"creds/user", "creds/machine", "static-creds/password", "static-creds/secret"} {
			if !strings.HasSuffix(key, other[strings.IndexByte(other, '/'):]) {
				m.mustWork(tb, logical.ReadOperation, other, nil)
			}
		}
	}
	if remedy == "" {
		require.NoError(tb, m.storage.Delete(tb.Context(), key))
	} else {
		m.remove(tb, remedy, key)
		m.mustWork(tb, logical.CreateOperation, remedy, h.accepted[remedy])
	}
	m.mustWork(tb, logical.ReadOperation, "creds/user", nil)
	require.Empty(tb, m.aws.takeBroken(), "Cognito's rules were broken")
}

// remove deletes a damaged entry. Only a static role whose password is in doubt is kept, as long as
// it is, and a role that a library set uses.
func (m *hostileMount) remove(tb testing.TB, path, key string) {
	tb.Helper()
	response, err := m.request(tb, logical.DeleteOperation, path, nil)
	require.NoError(tb, err, "delete of %q", path)
	if response.IsError() {
		require.Regexp(tb, "cannot be deleted now: it is not known which of two passwords is in force|cannot be deleted: library set .* uses it", response.Error().Error())
		require.NoError(tb, m.storage.Delete(tb.Context(), key))
	}
}

func (m *hostileMount) mustWork(tb testing.TB, op logical.Operation, path string, data map[string]any) {
	tb.Helper()
	response, err := m.request(tb, op, path, data)
	require.NoError(tb, err, "%s of %q", op, path)
	require.False(tb, response.IsError(), "%s of %q: %v", op, path, response)
}

// useAll makes every request that may read the entry, and a tick. Errors must name the entry or
// what is in it, and hold no secret.
func (m *hostileMount) useAll(tb testing.TB, key string) {
	tb.Helper()
	requests := []*logical.Request{
		{Operation: logical.RollbackOperation, Data: map[string]any{"immediate": true}}, {Operation: logical.RotationOperation},
		m.leaseOf(logical.RenewOperation, "user"), m.leaseOf(logical.RevokeOperation, "user"),
	}
	for _, p := range places(m.hostile) {
		if p.field == "no_such_field" && p.op != logical.DeleteOperation && !strings.HasPrefix(p.url(), "rotate") &&
			!strings.HasPrefix(p.url(), "config/") {
			requests = append(requests, &logical.Request{Operation: p.op, Path: p.url()})
		}
	}
	for _, request := range requests {
		if strings.HasPrefix(request.Path, key) && request.Operation != logical.ReadOperation {
			continue // that would repair it
		}
		_, text := m.send(tb, request)
		require.NotContains(tb, text, stored, "%s of %q", request.Operation, request.Path)
		require.Less(tb, len(text), 1<<16)
	}
}

// withTestEndpoints sets the endpoints of a config to the AWS of the test, so that no other is
// called.
func (h *hostile) withTestEndpoints(text string) string {
	var config map[string]any
	if jsonutil.DecodeJSON([]byte(text), &config) != nil { // as the storage does: it takes the first value of two
		return text
	}
	for _, endpoint := range []string{"cognito_endpoint", "sts_endpoint", "iam_endpoint"} {
		if config == nil {
			config = map[string]any{}
		}
		config[endpoint] = h.aws.URL
	}
	kept, err := json.Marshal(config)
	if err != nil {
		return text
	}
	return string(kept)
}

func (m *hostileMount) leaseOf(op logical.Operation, role string) *logical.Request {
	return &logical.Request{Operation: op, Path: "creds/" + role, Secret: &logical.Secret{InternalData: map[string]any{
		"secret_type": string(kindUser), "username": "u", "role": role,
	}}}
}

// send makes a request and returns the text of a refusal or error.
func (m *hostileMount) send(tb testing.TB, request *logical.Request) (*logical.Response, string) {
	tb.Helper()
	request.Storage, request.MountPoint, request.DisplayName = m.storage, "cognito/", "token"
	ctx := tb.Context()
	response, err := m.backend.HandleRequest(ctx, request)
	switch {
	case err != nil:
		return response, err.Error()
	case response.IsError():
		return response, response.Error().Error()
	default:
		return response, ""
	}
}

// leaseTexts are the internal data of leases: of the 2021 plugin, of this one, and invalid ones.
var leaseTexts = []string{
	`{}`, `null`, `{"secret_type":"user","username":"u","role":"user"}`, `{"secret_type":"user","username":7,"role":[]}`,
	`{"secret_type":"user","username":"u","role":"../config"}`, `{"secret_type":"user","username":"u","role":"nobody"}`, `{"secret_type":"other"}`,
	`{"secret_type":"user","username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","created":"2020-01-01T00:00:00Z","revocation":"disable","ttl":"5m0s"}`,
	`{"secret_type":"user","username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","created":"yesterday"}`, `{"secret_type":"user","username":"u","ttl":"-1"}`,
	`{"secret_type":"user","username":"\u0000/..\n","user_pool_id":"../..","region":"eu west","revocation":"explode"}`,
	`{"secret_type":"user","username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","handover":"../roles/user"}`,
	`{"secret_type":"user","username":"u","user_pool_id":"eu-west-1_x","region":"eu-west-1","handover":""}`,
}

// FuzzLease renews and revokes leases with any internal data.
func FuzzLease(f *testing.F) {
	blockNetwork(f)
	h := newHostile(f)
	for _, text := range leaseTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var data map[string]any
		if json.Unmarshal([]byte(text), &data) != nil || strings.Contains(text, stored) {
			return // Vault keeps nothing else
		}
		for _, op := range []logical.Operation{logical.RenewOperation, logical.RevokeOperation} {
			m := h.mount(t)
			before := withoutIssued(m.entries(t))
			response, refusal := m.send(t, &logical.Request{Operation: op, Path: "creds/user", Secret: &logical.Secret{InternalData: data}})
			require.NotContains(t, refusal, stored)
			if op == logical.RenewOperation && refusal == "" {
				require.NotNil(t, response.Secret, "Vault takes an answer without a secret for a renewal that it is not")
			}
			require.Equal(t, before, withoutIssued(m.entries(t)), "a lease changes nothing but its record")
		}
	})
}

// withoutIssued leaves out what is stored about issued objects.
func withoutIssued(entries map[string][]byte) map[string][]byte {
	maps.DeleteFunc(entries, func(key string, _ []byte) bool { return strings.HasPrefix(key, issuedStoragePrefix) })
	return entries
}

// FuzzWAL rolls back WAL entries with any data, whose time and kind lead to their handler.
func FuzzWAL(f *testing.F) {
	blockNetwork(f)
	h := newHostile(f)
	for n, text := range slices.Concat(storedTexts, leaseTexts) {
		f.Add(uint8(n), text)
	}
	kinds := []string{"user", walKindRootKey, "unheard of", ""}
	f.Fuzz(func(t *testing.T, kind uint8, text string) {
		var data any
		if json.Unmarshal([]byte(text), &data) != nil {
			data = text
		}
		entry, err := json.Marshal(framework.WALEntry{Kind: kinds[int(kind)%len(kinds)], Data: data, CreatedAt: time.Now().Add(-time.Hour).Unix()})
		require.NoError(t, err)
		m := h.mount(t)
		m.put(t, framework.WALPrefix+damagedID, entry)
		_, refusal := m.send(t, &logical.Request{Operation: logical.RollbackOperation})
		require.NotContains(t, refusal, stored)
		for key, value := range m.entries(t) {
			if !strings.HasPrefix(key, framework.WALPrefix) && !strings.HasPrefix(key, issuedStoragePrefix) && key != "config" {
				require.Equal(t, h.entries[key], value, "a roll-back touches nothing but users and keys")
			}
		}
		m.mustWork(t, logical.ReadOperation, "creds/user", nil)
	})
}
