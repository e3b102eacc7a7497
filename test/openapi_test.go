// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// openAPIToolsVariable names the environment variable with the directory of the programs that
// scripts/openapi-tools.sh installs.
const openAPIToolsVariable = "OPENAPI_TOOLS"

// fuzzPolicy allows everything on a mount but to delete its configuration and to change where it
// finds AWS.
const fuzzPolicy = `
path "MOUNT/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "MOUNT/config" {
  capabilities = ["create", "read", "update", "patch"]
  denied_parameters = { "cognito_endpoint" = [], "sts_endpoint" = [], "iam_endpoint" = [], "region" = [], "aws_assume_role_arn" = [] }
}
`

// TestServedOpenAPI reads the document that a server makes of the answer of the plugin's process.
func TestServedOpenAPI(t *testing.T) {
	t.Parallel()
	// On a server of its own: Vault answers 500 while any mount of the server is being disabled.
	e := newIsolatedEnv(t)
	for name, operation := range operationsOf(e.servedOpenAPI()) {
		t.Run(name, func(t *testing.T) {
			if body, has := operation["requestBody"].(map[string]any); has {
				requireProperties(t, body)
			}
			responses := operation["responses"].(map[string]any)
			if responses["204"] == nil && !strings.HasPrefix(name, "delete ") {
				requireProperties(t, responses["200"].(map[string]any))
			}
			requireProperties(t, responses["400"].(map[string]any))
		})
	}
}

func requireProperties(t *testing.T, described map[string]any) {
	t.Helper()
	for mediaType, media := range described["content"].(map[string]any) {
		schema := media.(map[string]any)["schema"].(map[string]any)
		if schema["type"] == "string" {
			continue // metrics for Prometheus
		}
		require.NotEmpty(t, schema["properties"], mediaType)
		require.NotContains(t, schema, "$ref")
	}
}

// TestOpenAPITools lets a validator read the served document, and schemathesis send what it allows.
func TestOpenAPITools(t *testing.T) {
	t.Parallel()
	tools := os.Getenv(openAPIToolsVariable)
	if tools == "" {
		counters.Skip(t, openAPIToolsVariable+" is not set: `make test-openapi` installs the tools and sets it")
	}
	e := newIsolatedEnv(t)
	e.configure(map[string]any{"iam_endpoint": e.Seed.Domain})
	document := e.servedOpenAPI()

	t.Run("a validator finds nothing in the document", func(t *testing.T) {
		runTool(t, filepath.Join(tools, "openapi-spec-validator"), writeJSON(t, document))
	})

	t.Run("schemathesis finds no violation", func(t *testing.T) {
		describeEnvelopes(document)
		runTool(t, filepath.Join(tools, "schemathesis"), e.schemathesis(writeJSON(t, document))...)
	})
}

// schemathesis returns arguments. The checks that are left out are those that Vault itself fails:
// it ignores unknown fields, converts types, and serves PUT and LIST beside the documented methods.
// A filter in testdata/schemathesis/hooks.py drops answers of the server itself.
func (e *env) schemathesis(document string) []string {
	return []string{
		"--config-file", filepath.Join(schemathesisDir(e.T), "schemathesis.toml"), "run", document,
		"--url", e.client.Address() + "/v1",
		"--header", "X-Vault-Token: " + e.fuzzToken(),
		"--generation-deterministic", "--max-examples", "20", "--max-time", "120", "--request-timeout", "60", "--no-color", "--continue-on-failure",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth",
	}
}

// TestEscapedKeys shows that a 500 for keys in escaped surrogate pairs is the server's: every
// engine gets it. See filter_failure in testdata/schemathesis/hooks.py.
func TestEscapedKeys(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	write := func(path, body string) (int, string) {
		response, err := e.client.Logical().WriteRawWithContext(t.Context(), path, []byte(body))
		if err == nil {
			require.NoError(t, response.Body.Close())
			return response.StatusCode, ""
		}
		return e.refusal(err)
	}

	status, text := write(e.mount+"/config", `{"rate_limits": {"😀": 1, "😁": 2}}`)
	require.Equal(t, 400, status)
	require.Contains(t, text, `rate_limits holds "😀"`)

	const escaped = `{"rate_limits": {"\ud83d\ude00": 1, "\ud83d\ude01": 2}}`
	sameStatus, sameText := write(e.mount+"/config", escaped)
	if sameStatus == 500 {
		otherStatus, otherText := write("cubbyhole/any", escaped)
		require.Equal(t, 500, otherStatus)
		require.Equal(t, otherText, sameText)
		return
	}
	require.Equal(t, status, sameStatus)
	require.Equal(t, text, sameText)
}

func schemathesisDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/schemathesis")
	require.NoError(t, err)
	return dir
}

func (e *env) fuzzToken() string {
	e.Helper()
	policy := strings.ReplaceAll(fuzzPolicy, "MOUNT", e.mount)
	require.NoError(e, e.client.Sys().PutPolicyWithContext(e.Context(), e.mount, policy))
	token, err := e.client.Auth().Token().CreateWithContext(e.Context(), &api.TokenCreateRequest{Policies: []string{e.mount}})
	require.NoError(e, err)
	return token.Auth.ClientToken
}

// servedOpenAPI returns the server's document, with the paths of this mount only.
func (e *env) servedOpenAPI() map[string]any {
	e.Helper()
	response, err := e.client.Logical().ReadRawWithContext(e.Context(), "sys/internal/specs/openapi")
	require.NoError(e, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(e, err)
	var document map[string]any
	require.NoError(e, json.Unmarshal(raw, &document))
	paths := document["paths"].(map[string]any)
	for path := range paths {
		if !strings.HasPrefix(path, "/"+e.mount+"/") {
			delete(paths, path)
		}
	}
	require.NotEmpty(e, paths)
	document["components"] = map[string]any{} // of other engines
	return document
}

// operationsOf returns the operations of a document by method and path.
func operationsOf(document map[string]any) map[string]map[string]any {
	found := map[string]map[string]any{}
	for path, item := range document["paths"].(map[string]any) {
		for _, method := range []string{"get", "post", "patch", "delete"} {
			if operation, has := item.(map[string]any)[method].(map[string]any); has {
				found[method+" "+path] = operation
			}
		}
	}
	return found
}

// describeEnvelopes puts the schemas of answers where a server puts answers: below "data". Vault's
// documents leave that out.
func describeEnvelopes(document map[string]any) {
	for _, operation := range operationsOf(document) {
		ok, has := operation["responses"].(map[string]any)["200"].(map[string]any)
		if !has || ok["content"] == nil {
			continue
		}
		content := ok["content"].(map[string]any)["application/json"].(map[string]any)
		data := content["schema"].(map[string]any)
		data["additionalProperties"] = false
		content["schema"] = map[string]any{"type": "object", "properties": map[string]any{"data": data}, "required": []string{"data"}}
	}
}

func writeJSON(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "openapi.json")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	return path
}

func runTool(t *testing.T, program string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir = t.TempDir()
	command.Env = append(os.Environ(), "PYTHONPATH="+schemathesisDir(t), "SCHEMATHESIS_HOOKS=hooks", "PYTHONDONTWRITEBYTECODE=1")
	out, err := command.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("%s", out)
}
