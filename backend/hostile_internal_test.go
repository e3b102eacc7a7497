// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

const hostileSuite = "Hostile input"

// refusedWithin makes a request that must be a 400 that names the field, in a
// few words and with little memory.
func (m *hostileMount) refusedWithin(t *testing.T, p fieldUse, value any, mostAllocated uint64) string {
	t.Helper()
	data := map[string]any{}
	maps.Copy(data, p.rest)
	data[p.field] = value
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	response, err := m.request(t, p.op, p.url(), data)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.True(t, response.IsError(), "it was not refused: %v", response)
	text := response.Error().Error()
	require.Less(t, len(text), 4096, "an error must not repeat the value")
	require.True(t, strings.Contains(text, p.field) || strings.Contains(text, "role"), text)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, mostAllocated)
	require.Equal(t, m.hostile.entries, m.entries(t), "a request that is refused changes nothing")
	return text
}

// updates are the places of all fields that a request can set.
func (h *hostile) updates() []fieldUse {
	var found []fieldUse
	for _, p := range places(h) {
		if p.op == logical.UpdateOperation && !p.ignored() && !strings.HasPrefix(p.url(), "rotate-") {
			found = append(found, p)
		}
	}
	return found
}

// TestHugeValues sends ten megabytes to everything that takes a text.
func TestHugeValues(t *testing.T) {
	const mostAllocated = 256 << 20 // in all, and little of it at once
	count := counters.Open(t, hostileSuite, "10 MB values in every field")
	h := newHostile(t)
	huge := strings.Repeat("A", 10<<20)
	for _, p := range h.updates() {
		for _, value := range hugeValues(p.path.Fields[p.field].Type, huge) {
			t.Run(fmt.Sprintf("%s as %T", p, value), func(t *testing.T) {
				count.Tried(1)
				h.mount(t).refusedWithin(t, p, value, mostAllocated)
			})
		}
	}
}

func hugeValues(kind framework.FieldType, huge string) []any {
	switch kind {
	case framework.TypeString, framework.TypeLowerCaseString:
		return []any{huge}
	case framework.TypeCommaStringSlice:
		return []any{[]any{huge}}
	case framework.TypeKVPairs:
		return []any{map[string]any{huge: huge[:1<<20]}}
	default:
		return nil // the framework refuses it before the engine hears of it
	}
}

func TestManyItems(t *testing.T) {
	const mostAllocated = 150 << 20
	count := counters.Open(t, hostileSuite, "1,000 groups; lists and maps of 10,000")
	h := newHostile(t)
	list, dictionary := make([]any, 10_000), map[string]any{}
	for n := range list {
		list[n] = fmt.Sprintf("item%d", n)
		dictionary[fmt.Sprintf("custom:key%d", n)] = "{{random 128}}"
	}
	for _, p := range h.updates() {
		var value any = list
		switch p.path.Fields[p.field].Type {
		case framework.TypeCommaStringSlice:
		case framework.TypeKVPairs:
			value = dictionary
		default:
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			count.Tried(1)
			h.mount(t).refusedWithin(t, p, value, mostAllocated)
		})
	}
	t.Run("1,000 groups are refused with the number that Cognito allows", func(t *testing.T) {
		count.Tried(1)
		p := fieldUse{op: logical.UpdateOperation, name: "user", field: "groups", path: newBackend(Options{}).Route("roles/user")}
		text := h.mount(t).refusedWithin(t, p, list[:1000], mostAllocated)
		require.Contains(t, text, "1000")
		require.Contains(t, text, "100")
	})
}

// TestTemplateBombs are templates that would take all time or memory if they
// were let. They are refused wherever a template may stand.
func TestTemplateBombs(t *testing.T) {
	const mostAllocated = 64 << 20
	count := counters.Open(t, hostileSuite, "template bombs")
	h := newHostile(t)
	doubling := func(step string) string { return `{{$x := "aaaaaaaaaa"}}` + strings.Repeat(step, 40) + "{{random 20}}" }
	for name, template := range map[string]string{
		"print doubles":             doubling("{{$x = print $x $x}}"),
		"println doubles":           doubling("{{$x = println $x $x}}"),
		"printf doubles":            doubling(`{{$x = printf "%s%s" $x $x}}`)[:len(doubling(""))-14+25*28] + "{{random 20}}",
		"replace squares":           doubling(`{{$x = replace "a" $x $x}}`)[:len(doubling(""))-14+30*26] + "{{random 20}}",
		"replace of nothing":        doubling(`{{$x = replace "" $x $x}}`)[:len(doubling(""))-14+30*25] + "{{random 20}}",
		"base64 of base64":          `{{"aaaaaaaaaa"` + strings.Repeat("|base64", 130) + "}}{{random 20}}",
		"html of html":              `{{"<<<<<<<<<<"` + strings.Repeat("|html", 150) + "}}{{random 20}}",
		"js of js":                  `{{"<<<<<<<<<<"` + strings.Repeat("|js", 200) + "}}{{random 20}}",
		"a time that doubles":       `{{"1111122222"` + strings.Repeat("|timestamp", 90) + "}}{{random 20}}",
		"a wide printf":             `{{printf "%999999d" 1}}{{random 20}}`,
		"a printf of many widths":   `{{printf "` + strings.Repeat("%999d", 180) + `"}}{{random 20}}`,
		"a width that is given":     `{{printf "%[1]*d" 99999999}}{{random 20}}`,
		"much randomness":           "{{random 999999999}}",
		"a range over a number":     "{{range 999999999}}{{end}}{{random 20}}",
		"a range after a trim":      "{{- range $i := 999999999}}{{end}}{{random 20}}",
		"a template in itself":      `{{define "t"}}{{template "t"}}{{end}}{{template "t"}}`,
		"a block in itself":         `{{block "t" .}}{{template "t"}}{{end}}`,
		"a template that is a book": strings.Repeat("{{random 20}}", 10_000),
	} {
		for _, field := range []string{"username_template", "user_attributes"} {
			t.Run(name+" in "+field, func(t *testing.T) {
				count.Tried(1)
				p := fieldUse{op: logical.UpdateOperation, name: "user", field: field, path: newBackend(Options{}).Route("roles/user")}
				var value any = template
				if field == "user_attributes" {
					value = map[string]any{"name": template}
				}
				h.mount(t).refusedTemplate(t, p, value, mostAllocated)
			})
		}
	}
}

// refusedTemplate is refusedWithin for an error that may show the template.
func (m *hostileMount) refusedTemplate(t *testing.T, p fieldUse, value any, mostAllocated uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	response, err := m.request(t, p.op, p.url(), map[string]any{p.field: value})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.True(t, response.IsError(), "it was not refused: %v", response)
	require.Contains(t, response.Error().Error(), p.field)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, mostAllocated)
}

// TestSchedulesThatAreNone holds the parser of schedules to errors: of "TZ=UTC"
// it panics, which would end every mount of the plugin.
func TestSchedulesThatAreNone(t *testing.T) {
	count := counters.Open(t, hostileSuite, "schedules that are none")
	h := newHostile(t)
	for _, schedule := range []string{"TZ=UTC", "CRON_TZ=UTC", "TZ=", "TZ=Europe/Paris 0 3 * * *", "@every 1s", "0 0 31 2 *", "*/0 * * * *", strings.Repeat("* ", 500)} {
		for _, path := range []string{"config", "static-roles/password"} {
			t.Run(fmt.Sprintf("%s %.20q", path, schedule), func(t *testing.T) {
				count.Tried(1)
				p := fieldUse{op: logical.UpdateOperation, name: "password", field: "rotation_schedule", path: newBackend(Options{}).Route(path)}
				p.rest = map[string]any{"rotation_period": 0}
				h.mount(t).refusedWithin(t, p, schedule, 16<<20)
			})
		}
	}
}
