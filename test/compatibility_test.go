// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	compatibilityDoc = "../docs/compatibility.md"
	// updateVariable names the environment variable that makes TestCompatibility write its column.
	updateVariable = "UPDATE_DOCS"
)

// compatibilityRow is a line of the table in docs/compatibility.md. Its cell for a server is "yes"
// if problem returns an empty text, else "no: " and the text.
type compatibilityRow struct {
	what    string
	problem func(vault *sandbox.Vault, probed map[string]any) string
}

// compatibilityRows is what a server may offer to its plugins.
var compatibilityRows = []compatibilityRow{
	{"identity tokens for plugins (`identity_token_audience`)", probedFeature("identity_token")},
	{"rotation jobs (the engine rotates by itself and needs none)", probedFeature("rotation_job")},
	{"events from plugins", probedFeature("event")},
	{"password policies (`password_policy`)", probedFeature("password_policy")},
	{"the server's version, which plugins can read", probedFeature("server_version")},
	{"standbys run the plugin and forward what writes", func(vault *sandbox.Vault, _ map[string]any) string {
		if vault.Product().StandbysRunPlugins() {
			return ""
		}
		return "only the active server runs it (seen by TestCluster)"
	}},
	{"the server and its plugins lock their memory (mlock)", func(vault *sandbox.Vault, _ map[string]any) string {
		if vault.Product().LocksMemory() {
			return ""
		}
		return "not supported by the server"
	}},
}

// probedFeature returns the problem that the probe plugin reported for a feature.
func probedFeature(name string) func(*sandbox.Vault, map[string]any) string {
	return func(_ *sandbox.Vault, probed map[string]any) string {
		problem, ok := probed[name].(string)
		if !ok {
			return "the probe did not answer"
		}
		if _, reason, found := strings.Cut(problem, "desc = "); found {
			problem = reason
		}
		return problem
	}
}

// TestCompatibility checks that docs/compatibility.md says what this server offers to plugins. With
// UPDATE_DOCS=1 it writes the server's column instead.
func TestCompatibility(t *testing.T) {
	t.Parallel()
	vault := startProbe(t)
	probed, err := vault.Client().Logical().ReadWithContext(t.Context(), "probe/probe")
	require.NoError(t, err)
	cells := []string{string(vault.Product()) + " " + vault.Version(), "---"}
	for _, row := range compatibilityRows {
		cell := "yes"
		if problem := row.problem(vault, probed.Data); problem != "" {
			cell = "no: " + problem
		}
		cells = append(cells, cell)
	}
	page, err := os.ReadFile(compatibilityDoc)
	require.NoError(t, err)
	before, table, after := cutTable(t, string(page))
	column := slices.IndexFunc(table[0], func(head string) bool { return strings.HasPrefix(head, string(vault.Product())+" ") })
	require.Positive(t, column, "the table has no column for %s", vault.Product())
	if os.Getenv(updateVariable) != "" {
		text := before + withColumn(column, cells, len(table[0])).merge(table) + after
		require.NoError(t, os.WriteFile(compatibilityDoc, []byte(text), 0o644))
		return
	}
	if table[0][column] != cells[0] {
		counters.Skip(t, "docs/compatibility.md is about "+table[0][column]+", and this server is "+cells[0])
	}
	for i, row := range compatibilityRows {
		require.Equal(t, row.what, table[i+2][0], "run the test with %s=1", updateVariable)
		require.Equal(t, cells[i+2], table[i+2][column], "%s: run the test with %s=1", row.what, updateVariable)
	}
	require.Len(t, table, len(compatibilityRows)+2, "run the test with %s=1", updateVariable)
}

// startProbe starts a dev server with the probe plugin mounted at probe/.
func startProbe(t *testing.T) *sandbox.Vault {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, "probe"), "./probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	vault := watchLeaks(t, startDev(t, sandbox.VaultOptions{PluginDir: dir}))
	client := vault.Client()
	require.NoError(t, client.Sys().MountWithContext(t.Context(), "probe", &api.MountInput{Type: "probe"}))
	_, err = client.Logical().WriteWithContext(t.Context(), "sys/policies/password/probe", map[string]any{
		"policy": `length = 20  rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }`,
	})
	require.NoError(t, err)
	return vault
}

// cells is a table of Markdown, row by row.
type cells [][]string

// cutTable splits a page at its first table.
func cutTable(t *testing.T, page string) (before string, table cells, after string) {
	t.Helper()
	start := strings.Index(page, "\n|") + 1
	require.Positive(t, start, "docs/compatibility.md has no table")
	end := start
	for line := range strings.Lines(page[start:]) {
		if !strings.HasPrefix(line, "|") {
			break
		}
		end += len(line)
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		table = append(table, row)
	}
	return page[:start], table, page[end:]
}

// withColumn returns a table of the rows of compatibilityRows that has one column filled.
func withColumn(column int, values []string, width int) cells {
	table := make(cells, len(values))
	for i := range table {
		table[i] = make([]string, width)
		table[i][column] = values[i]
		if i >= 2 {
			table[i][0] = compatibilityRows[i-2].what
		}
	}
	return table
}

// merge fills the other columns from the rows of an older table and returns the Markdown.
func (c cells) merge(older cells) string {
	var text strings.Builder
	for i, row := range c {
		from := i
		if i >= 2 {
			from = slices.IndexFunc(older, func(o []string) bool { return o[0] == row[0] })
		}
		for j := range row {
			if row[j] == "" && from >= 0 && j < len(older[from]) {
				row[j] = older[from][j]
			}
		}
		text.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return text.String()
}
