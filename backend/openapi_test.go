// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"vault-plugin-secrets-cognito/backend/backendtest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// openAPI is the part that the tests read of the document that Vault generates from the engine's
// paths and serves to user interfaces and client generators.
type openAPI struct {
	Paths map[string]map[string]json.RawMessage `json:"paths"`
}

type openAPIOperation struct {
	ID         string `json:"operationId"`
	Summary    string `json:"summary"`
	Parameters []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"parameters"`
	RequestBody struct {
		Content openAPIContent `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Content openAPIContent `json:"content"`
	} `json:"responses"`
}

type openAPIContent map[string]struct {
	Schema openAPISchema `json:"schema"`
}

type openAPISchema struct {
	Properties map[string]struct {
		Type        string `json:"type"`
		Description string `json:"description"`
		Default     any    `json:"default"`
		Display     struct {
			Sensitive bool `json:"sensitive"`
		} `json:"x-vault-displayAttrs"`
	} `json:"properties"`
}

// schemas returns the schemas of the requests and of the good answers, by operation.
func (d openAPI) schemas(t *testing.T) map[string]openAPISchema {
	t.Helper()
	found := map[string]openAPISchema{}
	for name, operation := range d.operations(t) {
		for _, content := range operation.RequestBody.Content {
			found["the request of "+name] = content.Schema
		}
		found["the answer of "+name] = operation.Responses["200"].Content["application/json"].Schema
	}
	return found
}

// operations returns the operations of the document by method and path.
func (d openAPI) operations(t *testing.T) map[string]openAPIOperation {
	t.Helper()
	found := map[string]openAPIOperation{}
	for path, item := range d.Paths {
		for _, method := range []string{"get", "post", "patch", "delete"} {
			raw, has := item[method]
			if !has {
				continue
			}
			var operation openAPIOperation
			require.NoError(t, json.Unmarshal(raw, &operation))
			found[method+" "+path] = operation
		}
	}
	return found
}

// readHelp returns the help of a path, or of the whole engine for an empty path.
func readHelp(t *testing.T, m *backendtest.Mount, path string) map[string]any {
	t.Helper()
	m.System.PluginEnvironment = &logical.PluginEnvironment{}
	response, err := m.Backend.HandleRequest(t.Context(), &logical.Request{Operation: logical.HelpOperation, Path: path, Storage: m.Storage})
	require.NoError(t, err)
	return response.Data
}

func readOpenAPI(t *testing.T) openAPI {
	t.Helper()
	raw, err := json.Marshal(readHelp(t, backendtest.New(t), "")["openapi"])
	require.NoError(t, err)
	var document openAPI
	require.NoError(t, json.Unmarshal(raw, &document))
	return document
}

// TestOpenAPIOperations fixes the operation IDs, from which generated clients name their functions.
func TestOpenAPIOperations(t *testing.T) {
	ids := map[string]string{}
	for operation, found := range readOpenAPI(t).operations(t) {
		ids[operation] = found.ID
	}
	require.Equal(t, map[string]string{
		"get /config":                 "cognito-read-configuration",
		"post /config":                "cognito-write-configuration",
		"patch /config":               "cognito-patch-configuration",
		"delete /config":              "cognito-delete-configuration",
		"post /config/rotate-root":    "cognito-rotate-root-credentials",
		"get /roles/":                 "cognito-list-roles",
		"get /roles/{name}":           "cognito-read-role",
		"post /roles/{name}":          "cognito-write-role",
		"patch /roles/{name}":         "cognito-patch-role",
		"delete /roles/{name}":        "cognito-delete-role",
		"get /creds/{name}":           "cognito-generate-credentials",
		"post /creds/{name}":          "cognito-generate-credentials-with-parameters",
		"get /issued/":                "cognito-list-issued-roles",
		"get /issued/{role}/":         "cognito-list-issued-objects",
		"get /issued/{role}/{id}":     "cognito-read-issued-object",
		"post /tokens/{name}":         "cognito-exchange-tokens",
		"get /check/{name}":           "cognito-check-role",
		"get /metrics":                "cognito-read-metrics",
		"post /tidy":                  "cognito-tidy-users",
		"get /static-roles/":          "cognito-list-static-roles",
		"get /static-roles/{name}":    "cognito-read-static-role",
		"post /static-roles/{name}":   "cognito-write-static-role",
		"patch /static-roles/{name}":  "cognito-patch-static-role",
		"delete /static-roles/{name}": "cognito-delete-static-role",
		"get /static-creds/{name}":    "cognito-read-static-credentials",
		"post /rotate-role/{name}":    "cognito-rotate-static-role",

		"get /library/":                        "cognito-list-library-sets",
		"get /library/{name}":                  "cognito-read-library-set",
		"post /library/{name}":                 "cognito-write-library-set",
		"patch /library/{name}":                "cognito-patch-library-set",
		"delete /library/{name}":               "cognito-delete-library-set",
		"get /library/{name}/status":           "cognito-read-library-set-status",
		"post /library/{name}/check-out":       "cognito-check-out-library-set",
		"post /library/{name}/check-in":        "cognito-check-in-library-set",
		"post /library/manage/{name}/check-in": "cognito-force-check-in-library-set",
	}, ids)
}

func TestOpenAPIDescribesEverything(t *testing.T) {
	document := readOpenAPI(t)
	for name, operation := range document.operations(t) {
		t.Run(name, func(t *testing.T) {
			require.Regexp(t, `^cognito(-[a-z]+){2,}$`, operation.ID)
			require.Regexp(t, `^[A-Z].*\.$`, operation.Summary, "the summary is a sentence")
			for _, parameter := range operation.Parameters {
				require.NotEmpty(t, parameter.Description, parameter.Name)
			}
			requireAnswers(t, operation)
		})
	}
	for name, schema := range document.schemas(t) {
		for field, property := range schema.Properties {
			require.NotEmpty(t, property.Description, "%s of %s", field, name)
			require.NotEmpty(t, property.Type, "%s of %s", field, name)
			requireDefaultOfType(t, property.Type, property.Default)
		}
	}
}

// requireAnswers requires that an operation describes its response: fields, or none.
func requireAnswers(t *testing.T, operation openAPIOperation) {
	t.Helper()
	require.NotEmpty(t, operation.Responses)
	if _, nothing := operation.Responses["204"]; nothing {
		return
	}
	require.Contains(t, operation.Responses, "200")
	require.NotEmpty(t, operation.Responses["200"].Content["application/json"].Schema.Properties)
}

func requireDefaultOfType(t *testing.T, name string, value any) {
	t.Helper()
	if value == nil {
		return
	}
	types := map[string]any{"string": "", "boolean": false, "integer": 0.0, "number": 0.0, "array": []any{}, "object": map[string]any{}}
	require.IsType(t, types[name], value)
}

// TestOpenAPIDurations requires texts where a duration is written and seconds where it is read.
func TestOpenAPIDurations(t *testing.T) {
	schemas := readOpenAPI(t).schemas(t)
	for operation, fields := range map[string][]string{
		"/config":              {"identity_token_ttl", "request_timeout"},
		"/roles/{name}":        {"ttl", "max_ttl", "min_token_ttl"},
		"/static-roles/{name}": {"rotation_period", "rotation_window"},
	} {
		for _, field := range fields {
			require.Equal(t, "string", schemas["the request of post "+operation].Properties[field].Type, field)
			require.Equal(t, "integer", schemas["the answer of get "+operation].Properties[field].Type, field)
		}
	}
}

// TestOpenAPIReadsTakeParameters requires the query parameters of reads, which a generated client
// could not send otherwise.
func TestOpenAPIReadsTakeParameters(t *testing.T) {
	operations := readOpenAPI(t).operations(t)
	for name, want := range map[string][]string{
		"get /creds/{name}": {"fresh", "min_ttl", "scopes", "ttl"},
		"get /check/{name}": {"details", "kind"},
		"get /metrics":      {"format"},
	} {
		var names []string
		for _, parameter := range operations[name].Parameters {
			names = append(names, parameter.Name)
		}
		require.Equal(t, want, names, name)
	}
}

// TestOpenAPIMarksSecrets requires that every secret is marked as sensitive, in requests and
// responses.
func TestOpenAPIMarksSecrets(t *testing.T) {
	secrets := []string{
		"access_token", "app_client_secret", "aws_secret_access_key", "aws_session_token", "id_token", "password",
		"refresh_token", "totp_code", "totp_secret", "totp_url",
	}
	seen := map[string]bool{}
	for name, schema := range readOpenAPI(t).schemas(t) {
		for field, property := range schema.Properties {
			secret := slices.Contains(secrets, field)
			require.Equal(t, secret, property.Display.Sensitive, "%s of %s", field, name)
			seen[field] = seen[field] || secret
		}
	}
	require.Subset(t, slices.Collect(maps.Keys(seen)), secrets)
}

// TestPathHelp reads the help that vault path-help shows.
func TestPathHelp(t *testing.T) {
	m := backendtest.New(t)
	for _, path := range []string{
		"config", "config/rotate-root", "roles/", "roles/ci", "creds/ci", "tokens/ci", "check/ci", "static-roles/", "static-roles/ann",
		"static-creds/ann", "rotate-role/ann", "metrics", "issued/", "issued/ci/", "issued/ci/x",
		"library/", "library/e2e", "library/e2e/check-out", "library/e2e/check-in", "library/e2e/status", "library/manage/e2e/check-in",
	} {
		t.Run(path, func(t *testing.T) {
			synopsis, description := helpTexts(t, readHelp(t, m, path)["help"].(string))
			require.Regexp(t, `^[A-Z][^\n]{1,78}\.$`, synopsis, "the synopsis must be one sentence on one line")
			require.Regexp(t, `(?s)^[A-Z].*[^.]\.(\n\n    \$ vault [^\n]*(\n    [^\n]*)*)?$`, description, "the description must end with a sentence or an example")
			for line := range strings.Lines(description) {
				require.LessOrEqual(t, len(strings.TrimSpace(line)), 80, "%q is wider than a terminal", line)
			}
		})
	}
}

// helpTexts returns the synopsis and the description in the help of a path.
func helpTexts(t *testing.T, help string) (synopsis, description string) {
	t.Helper()
	_, description, found := strings.Cut(help, "## DESCRIPTION\n")
	require.True(t, found, "there is no description: %s", help)
	lines := strings.Split(help, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Matching Route:") {
			return strings.TrimSpace(lines[i+2]), strings.TrimSpace(description)
		}
	}
	require.Fail(t, "there is no synopsis", help)
	return "", ""
}
