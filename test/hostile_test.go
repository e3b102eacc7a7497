// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// residentMax is how much memory the plugin may use after values of ten megabytes: it allows for a
// few copies that are not yet collected.
const residentMax = 600 << 20

// hostileRequest is a request that the plugin or the server must reject.
type hostileRequest struct {
	name, method, path, body string
	// wants lists the acceptable statuses. Where 500 is one of them, the server itself rejects the
	// request before the plugin receives it.
	wants []int
}

func hostileRequests() []hostileRequest {
	// By default, the server accepts a string of one megabyte.
	huge, large := strings.Repeat("A", 10<<20), strings.Repeat("A", 1<<20)
	groups := make([]string, 1000)
	for n := range groups {
		groups[n] = fmt.Sprintf("group%d", n)
	}
	object := func(field string, value any) string {
		encoded, err := json.Marshal(map[string]any{"credential_type": "user", field: value})
		if err != nil {
			panic(err) // it is a map of plain values
		}
		return string(encoded)
	}
	refused, missing, byVault := []int{400}, []int{400, 404}, []int{400, 413, 500}
	return []hostileRequest{
		{"a region of 10 MB", "PUT", "roles/ci", object("region", huge), byVault},
		{"a region of 1 MB", "PUT", "roles/ci", object("region", large), refused},
		{"a secret of 10 MB", "PUT", "roles/ci", object("app_client_secret", huge), byVault},
		{"a secret of 1 MB", "PUT", "roles/ci", object("app_client_secret", large), refused},
		{"a group of 10 MB", "PUT", "roles/ci", object("groups", []string{huge}), byVault},
		{"a group of 1 MB", "PUT", "roles/ci", object("groups", []string{large}), refused},
		{"metadata of 10 MB", "PUT", "roles/ci", object("client_metadata", map[string]string{"k": huge}), byVault},
		{"metadata of 1 MB", "PUT", "roles/ci", object("client_metadata", map[string]string{"k": large}), refused},
		{"a password of 10 MB", "PUT", "tokens/ci", `{"username":"anna","password":"` + huge + `"}`, byVault},
		{"a password of 1 MB", "PUT", "tokens/ci", `{"username":"anna","password":"` + large + `"}`, refused},
		{"scopes of 10 MB", "PUT", "creds/machine", `{"scopes":"` + huge + `"}`, byVault},
		{"scopes of 1 MB", "PUT", "creds/machine", `{"scopes":"` + large + `"}`, refused},
		{"1,000 groups", "PUT", "roles/ci", object("groups", groups), refused},
		{"a schedule that is a time zone", "PUT", "config", `{"rotation_schedule":"TZ=UTC"}`, refused},
		{"a schedule of a static role that is a time zone", "PUT", "static-roles/x",
			`{"user_pool_id":"eu-west-1_x","region":"eu-west-1","username":"u","rotation_schedule":"TZ=UTC"}`, refused},
		{"a template bomb", "PUT", "roles/ci", object("username_template", `{{$x := "aaaaaaaa"}}`+strings.Repeat("{{$x = print $x $x}}", 40)), refused},
		{"a template that loops", "PUT", "roles/ci", object("username_template", "{{range 999999999}}{{end}}{{random 20}}"), refused},
		{"a secret that is a list", "PUT", "roles/fresh", `{"app_client_secret":["hush-hostile"]}`, refused},
		{"a secret that is an object", "PUT", "config", `{"aws_secret_access_key":{"a":"hush-hostile"}}`, refused},
		{"a number beyond all", "PUT", "config", `{"max_retries":99999999999999999999}`, refused},
		{"a duration beyond all", "PUT", "roles/ci", object("ttl", "18446744074"), refused},
		{"a body that is not UTF-8", "PUT", "roles/ci", "{\"region\":\"\xff\xfe\"}", refused},
		{"a body that is no JSON", "PUT", "roles/ci", "\x00{", refused},
		{"a body 20,000 deep", "PUT", "roles/ci", strings.Repeat("[", 20000), byVault},
		{"a name with a slash", "PUT", "roles/a%2Fb", object("region", "eu-west-1"), []int{400, 404, 405}},
		{"a name that climbs", "PUT", "roles/%2e%2e%2fconfig", object("region", "eu-west-1"), []int{400, 404, 405}},
		{"a name with a newline", "PUT", "roles/a%0Ab", object("region", "eu-west-1"), []int{400, 404, 405}},
		{"a name with a NUL", "PUT", "roles/a%00b", object("region", "eu-west-1"), []int{400, 404, 405}},
		{"a name of template code", "GET", "creds/%7B%7B.RoleName%7D%7D", "", missing},
		{"a name of HTML", "GET", "creds/%3Cscript%3E", "", missing},
		{"a name that is not UTF-8", "GET", "creds/%ff%fe", "", byVault},
		{"a name of 5,000 letters", "PUT", "roles/" + strings.Repeat("x", 5000), object("region", "eu-west-1"), []int{400, 404, 414}},
	}
}

func TestHostileRequests(t *testing.T) {
	count := counters.Open(t, "Hostile input", "through a real server")
	e := newIsolatedEnv(t)
	before, err := e.vault.PluginPIDs(pluginName)
	require.NoError(t, err)
	for _, request := range hostileRequests() {
		t.Run(request.name+" is rejected", func(t *testing.T) {
			count.Tried(1)
			status, text := e.send(t, request)
			require.Contains(t, request.wants, status, "%.500s", text)
			require.Less(t, len(text), 8192, "the answer must not repeat the value")
			require.NotContains(t, text, "hush-hostile")
		})
	}
	after, err := e.vault.PluginPIDs(pluginName)
	require.NoError(t, err)
	if len(after) != 1 || after[0] != before[0] {
		count.Lost(counters.Panics, 1)
	}
	require.NotContains(t, e.vault.LogText(), "hush-hostile", "the server's log shows a secret")
	require.NotEmpty(t, e.read("creds/ci").Data["password"], "the role must be unchanged")
	t.Run("the memory of the plugin stays bounded", func(t *testing.T) {
		if runtime.GOOS != "linux" {
			counters.Skip(t, "only Linux shows the memory of another process in /proc")
		}
		resident := residentMemory(t, before[0])
		count.Note(fmt.Sprintf("the plugin used %d MiB afterwards", resident>>20))
		require.Less(t, resident, residentMax)
	})
}

// send sends a request unchanged. The API client would normalise the path.
func (e *env) send(t *testing.T, r hostileRequest) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, e.client.Address()+"/v1/"+e.mount+"/"+r.path, bytes.NewBufferString(r.body))
	require.NoError(t, err)
	req.Header.Set("X-Vault-Token", e.client.Token())
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode, string(answer)
}

// residentMemory returns the resident memory of a process in bytes.
func residentMemory(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}
