// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// The tables of the API reference are generated from the framework's schema, so that they always
// match what the engine accepts and returns.
//
//go:generate go test -count=1 -run ^TestAPIReferenceTables$ . -update

const apiReference = "../docs/api.md"

var update = flag.Bool("update", false, "write the tables of docs/api.md")

// documentedPath is one path of the reference.
type documentedPath struct {
	*framework.Path
	// name is the path below the mount, such as roles/<name>.
	name string
}

func documentedPaths() []documentedPath {
	captures := regexp.MustCompile(`\(\?P<(\w+)>[^/]*\)`)
	var paths []documentedPath
	for _, path := range newBackend(Options{Now: time.Now}).Paths {
		name := strings.TrimSuffix(strings.TrimSuffix(path.Pattern, "$"), "?")
		paths = append(paths, documentedPath{path, captures.ReplaceAllString(name, "<$1>")})
	}
	return paths
}

func (p documentedPath) heading() string { return "## `" + p.name + "`" }

// tables returns the tables of a path by kind, without empty ones.
func (p documentedPath) tables() map[string]string {
	tables := map[string]string{"operations": p.operationsTable()}
	if len(p.Fields) > 0 {
		tables["fields"] = p.fieldsTable()
	}
	if fields := p.answerFields(); len(fields) > 0 {
		tables["answer"] = p.answerTable(fields)
	}
	return tables
}

// httpMethods holds the methods in the order of the reference. Create and update are the same in
// HTTP.
var httpMethods = []struct {
	operation logical.Operation
	method    string
}{
	{logical.ListOperation, "LIST"},
	{logical.ReadOperation, "GET"},
	{logical.UpdateOperation, "POST"},
	{logical.PatchOperation, "PATCH"},
	{logical.DeleteOperation, "DELETE"},
}

func (p documentedPath) operationsTable() string {
	rows := [][]string{{"request", "purpose", "statuses"}}
	for _, known := range httpMethods {
		if handler, has := p.Operations[known.operation]; has {
			properties := handler.Properties()
			rows = append(rows, []string{
				"`" + known.method + " /v1/cognito/" + p.name + "`", properties.Summary, statusesOf(properties),
			})
		}
	}
	return table(rows)
}

func statusesOf(properties framework.OperationProperties) string {
	var statuses []string
	for _, status := range slices.Sorted(maps.Keys(properties.Responses)) {
		statuses = append(statuses, fmt.Sprint(status))
	}
	return strings.Join(statuses, ", ")
}

func (p documentedPath) fieldsTable() string {
	return p.byType(p.Fields, func(names []string) string {
		rows := [][]string{{"field", "type", "default", "description"}}
		for _, name := range names {
			schema := p.Fields[name]
			rows = append(rows, []string{"`" + name + "`", typeName(schema), defaultOf(schema), p.withoutTypes(meaning(schema))})
		}
		return table(rows)
	})
}

// byType returns a table of the fields; for roles, one for each group of fields that the same types
// have.
func (p documentedPath) byType(fields map[string]*framework.FieldSchema, tableOf func(names []string) string) string {
	if p.name != "roles/<name>" {
		return tableOf(fieldOrder(fields))
	}
	var tables []string
	for _, group := range roleFieldGroups() {
		names := slices.DeleteFunc(fieldOrder(group.fields), func(name string) bool { return fields[name] == nil })
		title := "All types"
		if len(group.types) < len(allTypes) {
			title = strings.TrimSuffix(onlyTypes(group.types), " only.")
		}
		tables = append(tables, title+":\n\n"+tableOf(names))
	}
	return strings.Join(tables, "\n")
}

// fieldOrder returns the names of the fields: required ones first, then alphabetically.
func fieldOrder(fields map[string]*framework.FieldSchema) []string {
	names := slices.Collect(maps.Keys(fields))
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(rank(fields[a]), rank(fields[b])), cmp.Compare(a, b))
	})
	return names
}

func rank(schema *framework.FieldSchema) int {
	if schema.Required {
		return 0
	}
	return 1
}

// typeName returns the type as vault path-help shows it, with the JSON terms for slices and
// keypairs.
func typeName(schema *framework.FieldSchema) string {
	switch name := schema.Type.String(); name {
	case "slice":
		return "list"
	case "keypair":
		return "map"
	case "duration (sec)":
		return "duration"
	default:
		return name
	}
}

func defaultOf(schema *framework.FieldSchema) string {
	switch {
	case schema.Required:
		return "required"
	case schema.Default == nil:
		return ""
	default:
		return fmt.Sprintf("`%v`", schema.Default)
	}
}

// meaning returns the description without the default, which has its own column.
func meaning(schema *framework.FieldSchema) string {
	text := schema.Description
	if schema.Default != nil {
		text = strings.TrimSuffix(text, fmt.Sprintf(" Default: %v.", schema.Default))
	}
	return strings.ReplaceAll(text, "|", `\|`)
}

// withoutTypes drops the sentence that says which types have a field, where a title says it.
func (p documentedPath) withoutTypes(text string) string {
	if p.name != "roles/<name>" {
		return text
	}
	return typesSentence.ReplaceAllString(text, "")
}

var typesSentence = regexp.MustCompile(` Types? [a-z_, ]+ only\.$`)

// answerFields returns the fields of all responses of a path.
func (p documentedPath) answerFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{}
	for _, handler := range p.Operations {
		for _, responses := range handler.Properties().Responses {
			for _, response := range responses {
				maps.Copy(fields, response.Fields)
			}
		}
	}
	return fields
}

func (p documentedPath) answerTable(fields map[string]*framework.FieldSchema) string {
	return p.byType(fields, func(names []string) string {
		rows := [][]string{{"field of `data`", "type", "description"}}
		for _, name := range slices.Sorted(slices.Values(names)) {
			rows = append(rows, []string{"`" + name + "`", answerTypeName(fields[name]), p.withoutTypes(p.answerMeaning(name, fields[name]))})
		}
		return table(rows)
	})
}

// answerTypeName returns the type of a field in a response, where a duration is an integer.
func answerTypeName(schema *framework.FieldSchema) string {
	if schema.Type == framework.TypeDurationSecond {
		return "int (seconds)"
	}
	return typeName(schema)
}

// answerMeaning omits the default of a field that is also a request field.
func (p documentedPath) answerMeaning(name string, schema *framework.FieldSchema) string {
	if asked, both := p.Fields[name]; both && asked.Description == schema.Description {
		return meaning(asked)
	}
	return meaning(schema)
}

// table returns a Markdown table whose first row is the header.
func table(rows [][]string) string {
	var text strings.Builder
	for i, row := range rows {
		text.WriteString("| " + strings.Join(row, " | ") + " |\n")
		if i == 0 {
			text.WriteString("|" + strings.Repeat("---|", len(row)) + "\n")
		}
	}
	return text.String()
}

// generatedPart matches a table that this test generates.
var generatedPart = regexp.MustCompile(`(?s)<!-- begin (\w+) of (\S+), generated -->\n(.*?)<!-- end -->`)

func readAPIReference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(apiReference)
	require.NoError(t, err)
	return string(text)
}

// sectionOf returns the section of a path.
func sectionOf(t *testing.T, reference string, path documentedPath) string {
	t.Helper()
	_, section, found := strings.Cut(reference, path.heading()+"\n")
	require.True(t, found, "docs/api.md has no heading %s", path.heading())
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// TestAPIReferenceTables compares the tables of the reference with the schema of every path. With
// -update it writes them.
func TestAPIReferenceTables(t *testing.T) {
	want := map[string]string{}
	for _, path := range documentedPaths() {
		for kind, text := range path.tables() {
			want[kind+" of "+path.name] = text
		}
	}
	reference := readAPIReference(t)
	if *update {
		reference = withTables(reference, want)
		require.NoError(t, os.WriteFile(apiReference, []byte(reference), 0o644))
	}
	have := map[string]string{}
	for _, part := range generatedPart.FindAllStringSubmatch(reference, -1) {
		name := part[1] + " of " + part[2]
		require.NotContains(t, have, name, "docs/api.md has the table twice")
		have[name] = part[3]
	}
	for name, table := range want {
		require.Equal(t, table, have[name], "the table %q of docs/api.md is out of date: run go generate ./backend", name)
	}
	require.Len(t, have, len(want), "docs/api.md has a table of something that no longer exists")
}

func withTables(reference string, tables map[string]string) string {
	return generatedPart.ReplaceAllStringFunc(reference, func(part string) string {
		match := generatedPart.FindStringSubmatch(part)
		return fmt.Sprintf("<!-- begin %s of %s, generated -->\n%s<!-- end -->", match[1], match[2], tables[match[1]+" of "+match[2]])
	})
}

// TestAPIReferenceSections requires in the section of each path its tables, a sample request of
// each operation, and its errors.
func TestAPIReferenceSections(t *testing.T) {
	reference := readAPIReference(t)
	for _, path := range documentedPaths() {
		t.Run(path.name, func(t *testing.T) {
			section := sectionOf(t, reference, path)
			for kind := range path.tables() {
				require.Contains(t, section, fmt.Sprintf("<!-- begin %s of %s, generated -->", kind, path.name))
			}
			require.Contains(t, section, "\n### Errors\n")
			path.requireSamples(t, section)
		})
	}
}

// cliVerbs holds the verbs of the vault command.
var cliVerbs = map[logical.Operation]string{
	logical.ListOperation: "list", logical.ReadOperation: "read", logical.UpdateOperation: "write", logical.PatchOperation: "patch",
	logical.DeleteOperation: "delete",
}

func (p documentedPath) requireSamples(t *testing.T, section string) {
	t.Helper()
	prefix, _, _ := strings.Cut(p.name, "<")
	for operation := range p.Operations {
		if verb, has := cliVerbs[operation]; has {
			request := regexp.MustCompile(`(?m)^vault ` + verb + ` (-\S+ )*cognito/` + regexp.QuoteMeta(strings.TrimSuffix(prefix, "/")))
			require.Regexp(t, request, section, "no sample of vault %s", verb)
		}
	}
	require.Contains(t, section, "$VAULT_ADDR/v1/cognito/"+prefix, "no sample with curl")
}

// jsonSample matches the sample responses of the reference.
var jsonSample = regexp.MustCompile("(?s)```json\n(.*?)```")

// TestAPIReferenceAnswers requires that the sample responses of a path hold only fields of its
// schema, and together every required one.
func TestAPIReferenceAnswers(t *testing.T) {
	reference := readAPIReference(t)
	for _, path := range documentedPaths() {
		fields := path.answerFields()
		if len(fields) == 0 {
			continue
		}
		t.Run(path.name, func(t *testing.T) {
			samples := jsonSample.FindAllStringSubmatch(sectionOf(t, reference, path), -1)
			require.NotEmpty(t, samples, "there is no sample response")
			shown := map[string]bool{}
			for _, sample := range samples {
				var answer struct {
					Data map[string]any `json:"data"`
				}
				require.NoError(t, json.Unmarshal([]byte(sample[1]), &answer))
				for field := range answer.Data {
					require.Contains(t, fields, field)
					shown[field] = true
				}
			}
			for name, schema := range fields {
				require.True(t, shown[name] || !schema.Required, "no sample shows %s", name)
			}
		})
	}
}
