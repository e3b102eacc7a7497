// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// marker is part of every secret in a hostile request, and stored of those that the mount holds. No
// error may show either.
const (
	marker = "MARK-3f9a"
	stored = "STORED-77c1"
)

// hangs is far longer than any request takes while AWS answers.
const hangs = 30 * time.Second

// storageKeys are the storage prefixes that the engine may write.
var storageKeys = regexp.MustCompile(`^(config|(roles|static-roles)/\w(([\w-.]+)?\w)?|wal/[0-9a-f-]{36}|library/sets/\w(([\w-.]+)?\w)?|library/users/\w(([\w-.]+)?\w)?/[a-z2-7]{12}|issued/heartbeat|issued/records/\w(([\w-.]+)?\w)?/[0-9]{8}-[0-9]{4}-[a-z2-7]{4}/[a-z2-7]{12}|issued/due/[0-9]{8}/[0-9]{4}/\w(([\w-.]+)?\w)?/[0-9]{8}-[0-9]{4}-[a-z2-7]{4})$`)

// fieldUse is one field of one operation of one path, with the rest of a valid request. The schema
// of the backend yields all of them.
type fieldUse struct {
	path  *framework.Path
	op    logical.Operation
	name  string
	field string
	rest  map[string]any
}

func (p fieldUse) String() string {
	return strings.ReplaceAll(fmt.Sprintf("%s %s %s", p.op, p.url(), p.field), " ", "_")
}

// ignored reports whether the engine ignores a field, because the URL has the name.
func (p fieldUse) ignored() bool {
	return slices.Contains([]string{"name", "role", "id", "no_such_field"}, p.field)
}

// urlParameter matches a parameter in the pattern of a path.
var urlParameter = regexp.MustCompile(`\(\?P<(\w+)>[^/]*\)`)

// url returns the path with the name, or the id of a record, in place of its parameters.
func (p fieldUse) url() string {
	return urlParameter.ReplaceAllStringFunc(strings.Trim(p.path.Pattern, "^?$"), func(parameter string) string {
		if urlParameter.FindStringSubmatch(parameter)[1] == "id" {
			return "20260101-0000-aaaa-aaaaaaaaaaaa"
		}
		return p.name
	})
}

// places returns the fields of all paths. For a path without a valid request here, every field is
// tried alone, on every role.
func places(h *hostile) []fieldUse {
	var all []fieldUse
	b := newBackend(Options{Now: time.Now})
	for _, path := range b.Paths {
		for _, op := range slices.Sorted(maps.Keys(path.Operations)) {
			for _, name := range namesFor(path) {
				p := fieldUse{path: path, op: op, name: name}
				rest, described := h.accepted[p.url()]
				if !described && path.Fields != nil && describedFamily.MatchString(p.url()) {
					continue
				}
				p.rest = rest
				for _, field := range append(slices.Sorted(maps.Keys(path.Fields)), "no_such_field") {
					p.field = field
					all = append(all, p)
				}
				if path.Fields["name"] == nil {
					break
				}
			}
		}
	}
	return all
}

// describedFamily matches the paths whose valid requests are all in hostile.accepted.
var describedFamily = regexp.MustCompile(`^(roles|static-roles)/|^library/[^/]+$`)

// namesFor returns the names that a path is tried with: those of roles, or those of library sets.
func namesFor(path *framework.Path) []string {
	roles, sets := []string{"user", "machine", "password", "secret"}, []string{"sized", "named"}
	switch family, _, _ := strings.Cut(strings.TrimPrefix(path.Pattern, "^"), "/"); family {
	case "library":
		return sets
	case "tokens", "check":
		return append(roles, "named")
	default:
		return roles
	}
}

// hostile is an engine with a role of every kind and two library sets, and an AWS that accepts
// every valid request. Each request gets a copy of its storage. The caller holds the user "lent" of
// the set "named", and its user "idle" is free.
type hostile struct {
	aws      *strictAWS
	accepted map[string]map[string]any
	entries  map[string][]byte
	// began is when the clock of each mount begins, so that its storage is never that of long ago.
	began time.Time
}

func newHostile(tb testing.TB) *hostile {
	tb.Helper()
	h := &hostile{aws: newStrictAWS(tb), entries: map[string][]byte{}, began: time.Now()}
	h.accepted = map[string]map[string]any{
		"config": {
			"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": stored, "region": "eu-west-1",
			"cognito_endpoint": h.aws.URL, "sts_endpoint": h.aws.URL, "iam_endpoint": h.aws.URL,
			"max_retries": 0, "request_timeout": 5,
			"rate_limits": map[string]any{"UserUpdate": 1000, "UserAccountRecovery": 1000, "UserCreation": 1000}, // for sets of hundreds of users
		},
		"roles/user": {
			"credential_type": "user", "user_pool_id": "eu-west-1_AbCdEfGhI", "app_client_id": "client",
			"app_client_secret": stored, "groups": []any{"testers"},
		},
		"roles/machine": {"app_client_id": "client", "app_client_secret": stored, "cognito_pool_domain": h.aws.URL, "scopes": "api/read"},
		"static-roles/password": {
			"user_pool_id": "eu-west-1_AbCdEfGhI", "username": "owned", "password": stored, "skip_import_rotation": true, "rotation_period": 3600,
			"app_client_id": "client", "app_client_secret": stored,
		},
		"static-roles/secret": {
			"credential_type": "app_client_secret", "user_pool_id": "eu-west-1_AbCdEfGhI", "app_client_id": "client",
			"app_client_secret": stored, "skip_import_rotation": true, "rotation_period": 3600,
		},
		"tokens/user":                   {"username": "anna", "password": stored},
		"tokens/named":                  {"username": "lent", "password": stored},
		"check/named":                   {"kind": "library"},
		"library/sized":                 {"role": "user", "size": 2},
		"library/named":                 {"role": "user", "usernames": []any{"lent"}},
		"library/manage/named/check-in": {"usernames": []any{"lent", "idle"}},
	}
	m := h.mount(tb)
	for _, path := range []string{
		"config", "roles/user", "roles/machine", "static-roles/password", "static-roles/secret", "library/sized", "library/named",
	} {
		m.requireAccepted(tb, logical.CreateOperation, path, h.accepted[path])
	}
	m.settle(tb)
	m.requireAccepted(tb, logical.UpdateOperation, "library/named/check-out", nil)
	h.accepted["library/named"] = map[string]any{"role": "user", "usernames": []any{"lent", "idle"}}
	m.requireAccepted(tb, logical.UpdateOperation, "library/named", h.accepted["library/named"])
	m.settle(tb)
	status := m.requireAccepted(tb, logical.ReadOperation, "library/named/status", nil)
	require.Equal(tb, 1, status.Data["available"], status.Data)
	require.Equal(tb, 1, status.Data["checked_out"], status.Data)
	h.entries = m.entries(tb)
	h.began = h.began.Add(2 * time.Second) // later than every time that is stored
	return h
}

func (m *hostileMount) requireAccepted(tb testing.TB, op logical.Operation, path string, data map[string]any) *logical.Response {
	tb.Helper()
	response, err := m.request(tb, op, path, data)
	require.NoError(tb, err, path)
	require.False(tb, response.IsError(), "%s: %v", path, response)
	return response
}

// settle waits until the work on library users that a request began is done. A set of hundreds of
// users takes longer, because of the limits of AWS.
func (m *hostileMount) settle(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Second)
	defer cancel()
	m.backend.(*backend).libraryWorker.wait(ctx)
}

// hostileMount is one mount with a copy of the storage.
type hostileMount struct {
	*hostile
	backend logical.Backend
	storage logical.Storage
}

func (h *hostile) mount(tb testing.TB) *hostileMount {
	tb.Helper()
	started := time.Now()
	now := func() time.Time { return h.began.Add(time.Since(started)) }
	b, err := Factory(Options{Now: now})(tb.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(),
		System: &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
	})
	require.NoError(tb, err)
	tb.Cleanup(func() { b.Cleanup(context.Background()) })
	m := &hostileMount{h, b, &logical.InmemStorage{}}
	for key, value := range h.entries {
		m.put(tb, key, value)
	}
	return m
}

func (m *hostileMount) put(tb testing.TB, key string, value []byte) {
	tb.Helper()
	require.NoError(tb, m.storage.Put(tb.Context(), &logical.StorageEntry{Key: key, Value: value}))
}

func (m *hostileMount) entries(tb testing.TB) map[string][]byte {
	tb.Helper()
	keys, err := logical.CollectKeys(tb.Context(), m.storage)
	require.NoError(tb, err)
	entries := map[string][]byte{}
	for _, key := range keys {
		entry, err := m.storage.Get(tb.Context(), key)
		require.NoError(tb, err)
		if entry != nil { // deleted since, while users of a set retire
			entries[key] = entry.Value
		}
	}
	return entries
}

func (m *hostileMount) request(tb testing.TB, op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), hangs)
	defer cancel()
	response, err := m.backend.HandleRequest(ctx, &logical.Request{
		Operation: op, Path: path, Data: data, Storage: m.storage, MountPoint: "cognito/", DisplayName: "token", ClientToken: "token",
	})
	require.NoError(tb, ctx.Err(), "%s of %q hangs", op, path)
	return response, err
}

// attack makes one hostile request, checks all invariants, and reports whether it was refused.
func (m *hostileMount) attack(tb testing.TB, p fieldUse, value any) (refused bool) {
	tb.Helper()
	url, before := p.url(), m.entries(tb)
	if p.op == logical.CreateOperation {
		m.forget(tb, url, before)
	}
	data := maps.Clone(p.rest)
	if data == nil {
		data = map[string]any{}
	}
	data[p.field] = value
	m.requireExistenceCheck(tb, p, data)
	response, err := m.request(tb, p.op, url, data)
	refusal := m.requireClearError(tb, p, response, err)
	m.settle(tb)
	after := m.entries(tb)
	for key := range after {
		require.Regexp(tb, storageKeys, key, "nothing may be stored elsewhere")
	}
	switch {
	case strings.HasPrefix(url, "rotate-role/"): // a failed rotation is stored in last_error
	case refusal != "":
		require.Equal(tb, before, after, "a request that is refused changes nothing")
	case writes(p.op):
		m.use(tb, p)
		m.useLibrary(tb, p)
		m.settle(tb)
	}
	require.Empty(tb, m.aws.takeBroken(), "Cognito's rules were broken")
	return refusal != ""
}

// forget deletes what is stored of a path, so that a request creates it.
func (m *hostileMount) forget(tb testing.TB, url string, entries map[string][]byte) {
	tb.Helper()
	set, isSet := strings.CutPrefix(url, "library/")
	for key := range entries {
		if key == url || isSet && (key == librarySetStoragePrefix+set || strings.HasPrefix(key, libraryUserStoragePrefix+set+"/")) {
			require.NoError(tb, m.storage.Delete(tb.Context(), key))
			delete(entries, key)
		}
	}
}

func writes(op logical.Operation) bool {
	return op == logical.CreateOperation || op == logical.UpdateOperation || op == logical.PatchOperation
}

// requireExistenceCheck makes the existence check that Vault makes before a write. Vault logs its
// error and returns a 500.
func (m *hostileMount) requireExistenceCheck(tb testing.TB, p fieldUse, data map[string]any) {
	tb.Helper()
	if p.op != logical.CreateOperation && p.op != logical.UpdateOperation {
		return
	}
	_, _, err := m.backend.HandleExistenceCheck(tb.Context(), &logical.Request{Operation: p.op, Path: p.url(), Data: data, Storage: m.storage})
	require.NoError(tb, err, "the existence check of %s", p)
}

// use makes the requests that read what was written.
func (m *hostileMount) use(tb testing.TB, p fieldUse) {
	tb.Helper()
	for _, path := range m.backend.(*backend).Paths {
		for _, op := range []logical.Operation{logical.ReadOperation, logical.ListOperation} {
			if path.Operations[op] == nil {
				continue
			}
			for _, name := range namesFor(path) {
				next := fieldUse{path: path, op: op, name: name, field: p.field}
				if name != p.name && path.Fields["name"] != nil && p.path.Fields["name"] != nil {
					continue
				}
				response, err := m.request(tb, op, next.url(), nil)
				m.requireClearError(tb, next, response, err)
				if path.Fields["name"] == nil {
					break
				}
			}
		}
	}
}

// shapesLibraryUsers reports whether a write concerns the users of a library set.
func (p fieldUse) shapesLibraryUsers() bool {
	switch {
	case p.ignored():
		return false
	case p.url() == "roles/user":
		of := []string{"groups", "user_attributes", "username_template", "password_policy", "dummy_email_domain"}
		return p.op == logical.UpdateOperation && slices.Contains(of, p.field)
	default:
		return strings.HasPrefix(p.url(), "library/") && p.path.Fields["role"] != nil
	}
}

// useLibrary borrows and returns a user after a request that changed its set or what the set says
// of users.
func (m *hostileMount) useLibrary(tb testing.TB, p fieldUse) {
	tb.Helper()
	if !p.shapesLibraryUsers() {
		return
	}
	for _, path := range m.backend.(*backend).Paths {
		for _, step := range []string{"/check-out$", "/check-in$"} {
			if !strings.HasSuffix(path.Pattern, step) {
				continue
			}
			for _, name := range namesFor(path) {
				next := fieldUse{path: path, op: logical.UpdateOperation, name: name, field: p.field}
				response, err := m.request(tb, next.op, next.url(), m.accepted[next.url()])
				m.requireClearError(tb, next, response, err)
			}
		}
	}
}

// requireClearError returns the text of a refusal, which must be a 400 that names the field, or "".
func (m *hostileMount) requireClearError(tb testing.TB, p fieldUse, response *logical.Response, err error) string {
	tb.Helper()
	var text string
	switch {
	case err != nil:
		text = err.Error()
		coded, ok := err.(logical.HTTPCodedError) //nolint:errorlint // the plugin boundary keeps the status of such an error, and of none that is wrapped
		require.True(tb, ok, "%s: a plain error becomes a 500: %s", p, text)
		status := coded.Code()
		require.True(tb, status < 500 || status == http.StatusBadGateway && reaches(p.field), "%s: status %d: %s", p, status, text)
	case response.IsError():
		text = response.Error().Error()
		require.True(tb, m.names(p, text), "%s: an error must name what is wrong: %s", p, text)
	default:
		return ""
	}
	require.NotEmpty(tb, text)
	require.NotContains(tb, text, marker, "%s: an error shows a secret", p)
	require.NotContains(tb, text, stored, "%s: an error shows a stored secret", p)
	require.Less(tb, len(text), 1<<20, "%s: an error must not repeat megabytes", p)
	return text
}

// reaches reports whether a field names a host, which may not answer.
func reaches(field string) bool {
	return strings.HasSuffix(field, "_endpoint") || strings.HasSuffix(field, "_domain") || field == "region"
}

// names reports whether a text names a field of a path, or something that does not exist.
func (m *hostileMount) names(p fieldUse, text string) bool {
	for field := range p.path.Fields {
		if strings.Contains(text, field) {
			return true
		}
	}
	for _, what := range []string{p.field, "role", "there is no library set", "config", "Exception", "rotat"} {
		if strings.Contains(text, what) {
			return true
		}
	}
	return false
}

// withMarker adds the marker to the value of a sensitive field.
func withMarker(p fieldUse, text string) string {
	schema := p.path.Fields[p.field]
	if schema != nil && schema.DisplayAttrs != nil && schema.DisplayAttrs.Sensitive {
		return marker + text
	}
	return text
}

// shapes returns the forms that a text can have in JSON.
var shapes = []func(text string) any{
	func(text string) any { return text },
	func(text string) any { return []any{text, text} },
	func(text string) any { return map[string]any{text: text} },
	func(text string) any { return map[string]any{text: map[string]any{text: []any{text}}} },
	func(text string) any { return []any{[]any{text}, map[string]any{text: nil}, nil, true, 1e308} },
	func(text string) any { return "api/read," + text + "=" + text },
	func(text string) any { return jsonOr(text) },
	func(text string) any { return json.Number(text) },
}

// shapeFor returns the plain text for most operations, and the other forms for operations that
// share a handler.
func shapeFor(op logical.Operation, n int) func(string) any {
	if op == logical.UpdateOperation || op == logical.PatchOperation {
		return shapes[n%len(shapes)]
	}
	return shapes[0]
}

func jsonOr(text string) any {
	var value any
	if json.Unmarshal([]byte(text), &value) != nil {
		return text
	}
	return value
}

// hostileTexts are the values that are tried in every field.
var hostileTexts = []string{
	"", " ", "/", "..", "../../config", "roles/../config", "a/b", "a\nb", "a\r\nX: y", "a\x00b", "\x00", "\xff\xfe\xfd", "é\u202eabc", "\u2028", "\ufeffx",
	"%2e%2e%2f", "%s%n%d", "${HOME}", "$(id)", "`id`", "' OR 1=1 --", "<script>alert(1)</script>", "<b>", "&amp;", `"`, `\`, "{{", "}}", "{{.RoleName}}",
	"{{.Nothing}}", "{{random 20}}{{range .}}{{end}}", "{{ range $i := 9999999999 }}x{{ end }}", "{{template \"template\" .}}", "{{call .RoleName}}",
	`{{$x := "aaaaaaaa"}}{{$x = print $x $x}}{{$x = print $x $x}}{{random 20}}`, "{{random 999999999}}", `{{printf "%999999999d" 1}}`,
	"0", "-1", "1", "007", "1e3", "1e308", "-0", "NaN", "Infinity", "9223372036854775807", "9223372036854775808", "99999999999999999999999999", "18446744074",
	"1h", "-1h", "99999999999999h", "213504d", "true", "null", "[]", "{}", `{"a":{"b":[1,null,{"c":true}]}}`, "[[[[[[1]]]]]]", "a=b", "=", "a=", ",,,", "a,a,a",
	"TZ=UTC", "CRON_TZ=", "TZ=", "TZ=../../etc/passwd * * * * *", "* * * * *", "0 0 31 2 *", "*/0 * * * *", "0-99999999999 * * * *", "@every 1s", "@reboot",
	"https://user:pw@127.0.0.1", "http://127.0.0.1:1", "http://[::1", "file:///etc/passwd", "http://0x7f.1/", "https://127.0.0.1:99999999", "//x", "javascript:alert(1)",
	"user", "client_credentials_grant", "app_client_secret", "user_password", "api", "totp", "disable",
	"lent", "idle", "lent,idle", "manage", "30s", "31s", "eu-west-1", "eu-west-1_XyZ", "arn:aws:iam::123456789012:role/../x", "example.com", strings.Repeat("A", 300), strings.Repeat("é", 9000), strings.Repeat("[", 12000),
}

// TestEveryFieldOfEveryPath tries every field of the schema with every text above in every form.
func TestEveryFieldOfEveryPath(t *testing.T) {
	blockNetwork(t)
	h := newHostile(t)
	for _, p := range places(h) {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			m := h.mount(t)
			for n, text := range hostileTexts {
				if p.ignored() && n%10 != 0 {
					continue
				}
				refused := m.attack(t, p, shapeFor(p.op, n)(withMarker(p, text)))
				if !refused || strings.HasPrefix(p.url(), "tokens/") { // that counts the refusals of a caller
					m = h.mount(t)
				}
			}
			m.attack(t, p, nil)
		})
	}
}

// FuzzRequest tries any value in any field of any path, and any name.
func FuzzRequest(f *testing.F) {
	blockNetwork(f)
	h := newHostile(f)
	all := places(h)
	for n, text := range hostileTexts {
		f.Add(uint16(n*37), uint8(n), "", text)
		f.Add(uint16(n*101), uint8(n), text, "{{.RoleName}}"+text)
	}
	f.Fuzz(func(t *testing.T, where uint16, shape uint8, name, text string) {
		p := all[int(where)%len(all)]
		m := h.mount(t)
		if name != "" && p.path.Fields["name"] != nil {
			p.name = name
			if m.backend.(*backend).Route(p.url()) == nil {
				return // no path matches such a name
			}
		}
		m.attack(t, p, shapes[int(shape)%len(shapes)](withMarker(p, text)))
	})
}

// blockNetwork makes every DNS lookup fail, so that an invented domain or endpoint reaches no one,
// and sets credentials for an engine without any.
func blockNetwork(tb testing.TB) {
	tb.Helper()
	before := net.DefaultResolver
	tb.Cleanup(func() { net.DefaultResolver = before })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("the tests ask no name server")
	}}
	tb.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	tb.Setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
	tb.Setenv("AWS_SECRET_ACCESS_KEY", stored)
}

// strictAWS answers every call and records what Cognito would refuse.
type strictAWS struct {
	*httptest.Server
	mu     sync.Mutex
	broken []string
}

func newStrictAWS(tb testing.TB) *strictAWS {
	tb.Helper()
	s := &strictAWS{}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.SetKeepAlivesEnabled(false) // or every mount of thousands keeps a connection
	s.Start()
	tb.Cleanup(s.Close)
	return s
}

func (s *strictAWS) takeBroken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.broken = nil }()
	return s.broken
}

func (s *strictAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var input struct {
		Username       string
		UserPoolID     string
		UserAttributes []struct{ Name, Value string }
	}
	if err := json.NewDecoder(r.Body).Decode(&input); operation != "" && err != nil {
		s.breaks("a body that is no JSON: %s", err)
	}
	if strings.HasPrefix(operation, "Admin") && operation != "AdminInitiateAuth" { // it has the name elsewhere
		s.checkUser(input.Username)
	}
	for _, attribute := range input.UserAttributes {
		s.checkAttribute(attribute.Name, attribute.Value)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch operation {
	case "AdminCreateUser":
		s.answer(w, map[string]any{"User": map[string]any{"Username": input.Username, "Attributes": []any{map[string]any{"Name": "sub", "Value": "sub of " + input.Username}}}})
	case "AdminGetUser":
		s.answer(w, map[string]any{
			"Username": input.Username, "Enabled": true, "UserStatus": "CONFIRMED",
			"UserAttributes": []any{map[string]any{"Name": "sub", "Value": "sub of " + input.Username}},
		})
	case "AdminListGroupsForUser":
		s.answer(w, map[string]any{"Groups": []any{}})
	case "AdminListDevices":
		s.answer(w, map[string]any{"Devices": []any{}})
	case "DescribeUserPool":
		s.answer(w, map[string]any{"UserPool": map[string]any{"Id": input.UserPoolID}})
	case "AdminInitiateAuth", "GetTokensFromRefreshToken":
		s.answer(w, map[string]any{"AuthenticationResult": map[string]any{
			"AccessToken": "a.b.c", "IdToken": "a.b.c", "RefreshToken": "r", "TokenType": "Bearer", "ExpiresIn": 3600,
		}})
	case "ListUserPoolClientSecrets":
		s.answer(w, map[string]any{"ClientSecrets": []any{map[string]any{"ClientSecretId": "client--1"}}})
	case "AddUserPoolClientSecret":
		s.answer(w, map[string]any{"ClientSecretDescriptor": map[string]any{"ClientSecretId": "client--2"}})
	case "AdminSetUserPassword", "AdminAddUserToGroup", "AdminRemoveUserFromGroup", "AdminDeleteUser", "AdminUserGlobalSignOut",
		"AdminUpdateUserAttributes", "AdminDeleteUserAttributes", "AdminEnableUser", "AdminSetUserMFAPreference", "DeleteUserPoolClientSecret":
		s.answer(w, map[string]any{})
	case "":
		s.answerElse(w, r)
	default:
		w.WriteHeader(http.StatusBadRequest)
		s.answer(w, map[string]any{"__type": "ResourceNotFoundException", "message": "there is no such thing"})
	}
}

// answerElse answers for the token endpoint, and for STS and IAM, which deny everything.
func (s *strictAWS) answerElse(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/oauth2/token" {
		w.Header().Set("Content-Type", "application/json")
		s.answer(w, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600})
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>`)
}

func (s *strictAWS) answer(w http.ResponseWriter, answer map[string]any) {
	_ = json.NewEncoder(w).Encode(answer) // the caller may be gone
}

func (s *strictAWS) breaks(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = append(s.broken, fmt.Sprintf(format, args...))
}

// cognitosUsername and cognitosAttribute come from the API reference, not from the engine.
var (
	cognitosUsername  = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}]{1,128}$`)
	cognitosAttribute = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}]{1,39}$`)
)

func (s *strictAWS) checkUser(username string) {
	if !cognitosUsername.MatchString(username) || strings.ContainsRune(username, utf8.RuneError) {
		s.breaks("username %q", username)
	}
}

func (s *strictAWS) checkAttribute(name, value string) {
	if !cognitosAttribute.MatchString(name) || utf8.RuneCountInString(value) > 2048 {
		s.breaks("attribute %q with %d characters", name, utf8.RuneCountInString(value))
	}
}
