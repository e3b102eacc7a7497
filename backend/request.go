// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"math"
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
func (in input) checkSizes() error {
	if in.brief() {
		return nil
	}
	for _, field := range slices.Sorted(maps.Keys(in.data.Raw)) {
		if _, known := in.data.Schema[field]; !known || !in.has(field) {
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

func (in input) has(field string) bool {
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
func setField[T any](in input, field string, to *T) {
	if in.has(field) {
		*to = in.value(field).(T)
	}
}

// setString is take for a string, without the space around it that a file or a
// pipe may have added.
func setString(in input, field string, to *string) {
	if in.has(field) {
		*to = strings.TrimSpace(in.value(field).(string))
	}
}

// setNegated is take for a field whose default is true, stored so that an
// entry without it has the default.
func setNegated(in input, field string, to *bool) {
	if in.has(field) {
		*to = !in.value(field).(bool)
	}
}

// setDuration is take for a field of TypeDurationSecond.
func setDuration(in input, field string, to *time.Duration) {
	if in.has(field) {
		*to = time.Duration(in.value(field).(int)) * time.Second
	}
}

// valueTextMax is how much of a refused value an error repeats, in bytes.
const valueTextMax = 100

// replaceFieldErrors says which fields of a request have a value of a type that
// they cannot have. It replaces the answer of the framework, which repeats the
// value of any field: also of a secret that was sent as an object.
func (b *backend) replaceFieldErrors(req *logical.Request, answered *logical.Response) *logical.Response {
	if !answered.IsError() || !strings.HasPrefix(answered.Error().Error(), "Field validation failed") {
		return answered
	}
	path := b.Route(req.Path)
	var refused []string
	for _, name := range slices.Sorted(maps.Keys(req.Data)) {
		refused = append(refused, fieldTypeError(path.Fields, name, req.Data[name])...)
	}
	return logical.ErrorResponse("%s", strings.Join(refused, "\n"))
}

// fieldTypeError is empty for a field that has a value of its type.
func fieldTypeError(fields map[string]*framework.FieldSchema, name string, value any) []string {
	data := framework.FieldData{Raw: map[string]any{name: value}, Schema: fields}
	if data.Validate() == nil {
		return nil
	}
	kind := fields[name].Type
	return []string{fmt.Sprintf("%s%s is not allowed: it must be %s", name, valueText(kind, value), expectedValue(kind))}
}

// valueText is the value of a field that is never a secret, if it has no parts
// that might be one.
func valueText(kind framework.FieldType, value any) string {
	switch kind {
	case framework.TypeBool, framework.TypeInt, framework.TypeInt64, framework.TypeDurationSecond:
	default:
		return ""
	}
	switch value.(type) {
	case map[string]any, []any:
		return ""
	default:
		text := fmt.Sprint(value)
		return fmt.Sprintf(" %q", text[:min(len(text), valueTextMax)])
	}
}

func expectedValue(kind framework.FieldType) string {
	switch kind {
	case framework.TypeBool:
		return "true or false"
	case framework.TypeInt, framework.TypeInt64:
		return "a whole number"
	case framework.TypeDurationSecond:
		return "a duration that is not negative, such as 90, 30s or 1h"
	case framework.TypeCommaStringSlice, framework.TypeStringSlice:
		return "a list of strings, or one string with commas between them"
	case framework.TypeKVPairs:
		return "a map of strings, or a list of key=value"
	case framework.TypeMap:
		return "a map"
	default:
		return "a string"
	}
}
