// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	// nameMax bounds the name of a role, which is part of a storage's key.
	nameMax = 256
	// textMax bounds a field that is one string, in bytes. The longest that AWS
	// makes are session and refresh tokens, of some 2 KiB.
	textMax = 16 << 10
	// collectionMax bounds a list or map as a whole: what Cognito takes as the
	// value of one client_metadata key.
	collectionMax = 128 << 10
)

// input is what a request says about the fields of an entry. A write changes
// what it names; a patch also takes a null, which puts a field back to its
// default. Everything else stays.
type input struct {
	data  *framework.FieldData
	patch bool
}

func newInput(req *logical.Request, data *framework.FieldData) input {
	return input{data: data, patch: req.Operation == logical.PatchOperation}
}

// bounded refuses what no field of the engine can mean, before anything is made
// of it: an error would repeat it, and a storage may refuse it for its size.
func (in input) bounded() error {
	if in.brief() {
		return nil
	}
	for _, field := range slices.Sorted(maps.Keys(in.data.Raw)) {
		if _, known := in.data.Schema[field]; !known || !in.names(field) {
			continue
		}
		if size, most := sizes(field, in.value(field)); size > most {
			return badRequest("%s is not allowed: it is %d bytes long where %d are the most", field, size, most)
		}
		if in.data.Schema[field].Type == framework.TypeDurationSecond && overflows(in.data.Raw[field]) {
			return badRequest("%s is not allowed: it is longer than %d hours, the longest that can be counted", field, int(math.MaxInt64/time.Hour))
		}
	}
	return nil
}

// brief tells at a glance that a request exceeds no bound, as almost none does.
func (in input) brief() bool {
	for field, raw := range in.data.Raw {
		text, isText := raw.(string)
		schema := in.data.Schema[field]
		if !isText || len(text) > nameMax || schema == nil || schema.Type == framework.TypeDurationSecond {
			return false
		}
	}
	return true
}

// sizes are the bytes of a value and how many it may have. An item counts also
// when it is empty.
func sizes(field string, value any) (size, most int) {
	switch value := value.(type) {
	case string:
		if field == "name" {
			return len(value), nameMax
		}
		return len(value), textMax
	case []string:
		for _, text := range value {
			size += len(text) + 1
		}
	case map[string]string:
		for key, text := range value {
			size += len(key) + len(text) + 1
		}
	}
	return size, collectionMax
}

// overflows reports a duration that the framework, which counts in
// nanoseconds, would take for quite another one.
func overflows(raw any) bool {
	text, unit := fmt.Sprint(raw), time.Second
	if days, found := strings.CutSuffix(text, "d"); found {
		text, unit = days, 24*time.Hour
	}
	number, err := strconv.ParseFloat(text, 64)
	return err == nil && number > float64(math.MaxInt64/unit)
}

func (in input) names(field string) bool {
	raw, ok := in.data.Raw[field]
	return ok && (raw != nil || in.patch)
}

func (in input) value(field string) any {
	if in.data.Raw[field] == nil {
		return in.data.GetDefaultOrZero(field)
	}
	return in.data.Get(field)
}

// take moves a field into an entry when the request names it. The type is that
// of the field's schema, which the framework has checked before.
func take[T any](in input, field string, to *T) {
	if in.names(field) {
		*to = in.value(field).(T)
	}
}

// takeText is take for a string, without the space around it that a file or a
// pipe may have added.
func takeText(in input, field string, to *string) {
	if in.names(field) {
		*to = strings.TrimSpace(in.value(field).(string))
	}
}

// takeOpposite is take for a field whose default is true, stored so that an
// entry without it has the default.
func takeOpposite(in input, field string, to *bool) {
	if in.names(field) {
		*to = !in.value(field).(bool)
	}
}

// takeDuration is take for a field of TypeDurationSecond.
func takeDuration(in input, field string, to *time.Duration) {
	if in.names(field) {
		*to = time.Duration(in.value(field).(int)) * time.Second
	}
}

// seconds is a duration as responses show it: a time.Duration itself would
// cross the plugin boundary in nanoseconds.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// secondsUp is for what must not be asked for too early.
func secondsUp(d time.Duration) int64 { return seconds(d + time.Second - 1) }

// written answers a write. It is empty unless there is something to warn of,
// or parameters that the framework will warn about.
func written(req *logical.Request, data *framework.FieldData, warnings ...string) *logical.Response {
	response := &logical.Response{Warnings: warnings}
	for name := range req.Data {
		if _, known := data.Schema[name]; !known {
			return response
		}
	}
	if len(warnings) == 0 {
		return nil
	}
	return response
}

// notFound answers a patch of something that is not there.
func notFound(what, name string) error {
	return logical.CodedError(http.StatusNotFound, fmt.Sprintf("there is no %s %q", what, name))
}

// responds describes a 200 with these fields, for OpenAPI and for the tests
// that check every response against it.
func responds(fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: http.StatusText(http.StatusOK), Fields: fields}}}
}

// respondsNothing describes a 204.
func respondsNothing() map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}}
}

// showingDefaults adds to each description its default, which Vault's help
// leaves out.
func showingDefaults(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	for _, schema := range fields {
		if schema.Default != nil {
			schema.Description += fmt.Sprintf(" Default: %v.", schema.Default)
		}
	}
	return fields
}

// without is a copy of a path's fields for what a read of it shows: less some
// of them, and nothing is required.
func without(fields map[string]*framework.FieldSchema, names ...string) map[string]*framework.FieldSchema {
	shown := make(map[string]*framework.FieldSchema, len(fields))
	for name, schema := range fields {
		shown[name] = &framework.FieldSchema{Type: schema.Type, Description: schema.Description}
	}
	for _, name := range names {
		delete(shown, name)
	}
	return shown
}
