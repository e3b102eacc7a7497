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
	"unicode"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

const (
	// nameMax bounds the name of a role, which is part of a storage key.
	nameMax = 256
	// textMax bounds a string, in bytes. The longest that AWS creates are session and refresh
	// tokens of about 2 KiB.
	textMax = 16 << 10
	// collectionMax bounds a list or map as a whole, in bytes: Cognito allows as much for one value
	// of client_metadata.
	collectionMax = 128 << 10
)

// input holds the fields of a request. A write changes the fields that it names. A patch may also
// set a field to null, which restores its default.
type input struct {
	data  *framework.FieldData
	patch bool
}

func newInput(req *logical.Request, data *framework.FieldData) input {
	return input{data: data, patch: req.Operation == logical.PatchOperation}
}

// checkSizes refuses values that are too long for any use. An error text would repeat them, and the
// storage may refuse them.
func (in input) checkSizes() error {
	for _, field := range in.fields() {
		if size, most := sizes(field, in.value(field)); size > most {
			return badRequest("%s is not allowed: it has %d bytes, more than the limit of %d", field, size, most)
		}
		if isSecret(in.data.Schema[field]) && hasControls(in.value(field)) {
			return badRequest("%s is not allowed: it holds a line break or another control character", field)
		}
		if in.data.Schema[field].Type == framework.TypeDurationSecond && overflows(in.data.Raw[field]) {
			return badRequest("%s is not allowed: it is longer than %dh", field, int(math.MaxInt64/time.Hour))
		}
	}
	return nil
}

func isSecret(schema *framework.FieldSchema) bool {
	return schema.DisplayAttrs != nil && schema.DisplayAttrs.Sensitive
}

// hasControls reports whether a text holds a control character, other than in the space around it.
// AWS creates no such secret; a text that was pasted too far has line breaks.
func hasControls(value any) bool {
	text, isText := value.(string)
	return isText && strings.ContainsFunc(strings.TrimSpace(text), unicode.IsControl)
}

// sizes returns the bytes of a value and the limit for its field. An empty item counts as one byte.
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

// overflows reports whether a duration is too long for a time.Duration. The framework would accept
// it and store another value.
func overflows(raw any) bool {
	text, unit := fmt.Sprint(raw), time.Second
	if days, found := strings.CutSuffix(text, "d"); found {
		text, unit = days, 24*time.Hour
	}
	number, err := strconv.ParseFloat(text, 64)
	return err == nil && number > float64(math.MaxInt64/unit)
}

// fields returns the names of the fields that the request sets, sorted.
func (in input) fields() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(in.data.Raw)), func(field string) bool {
		return in.data.Schema[field] == nil || !in.has(field)
	})
}

// has reports whether the request sets a field.
func (in input) has(field string) bool {
	raw, ok := in.data.Raw[field]
	return ok && (raw != nil || in.patch)
}

// value returns a field as its schema types it, or the default for a null.
func (in input) value(field string) any {
	if in.data.Raw[field] == nil {
		return in.data.GetDefaultOrZero(field)
	}
	return in.data.Get(field)
}

// setField stores a field of the request, if it is set. T must be the type of the field's schema,
// which the framework has validated.
func setField[T any](in input, field string, to *T) {
	if in.has(field) {
		*to = in.value(field).(T)
	}
}

// setString stores a string without surrounding space, which a file or a pipe may have added.
func setString(in input, field string, to *string) {
	if in.has(field) {
		*to = strings.TrimSpace(in.value(field).(string))
	}
}

// setNegated stores the opposite of a field whose default is true, so that an entry without the
// field has the default.
func setNegated(in input, field string, to *bool) {
	if in.has(field) {
		*to = !in.value(field).(bool)
	}
}

// setDuration stores a field of TypeDurationSecond.
func setDuration(in input, field string, to *time.Duration) {
	if in.has(field) {
		*to = time.Duration(in.value(field).(int)) * time.Second
	}
}

// valueTextMax bounds how much of a refused value an error repeats, in bytes.
const valueTextMax = 100

// replaceFieldErrors replaces the framework's error for values of a wrong type. The framework
// repeats each value, even of a secret that was sent as an object.
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

// fieldTypeError returns the error for a value of a wrong type, or nothing.
func fieldTypeError(fields map[string]*framework.FieldSchema, name string, value any) []string {
	data := framework.FieldData{Raw: map[string]any{name: value}, Schema: fields}
	if data.Validate() == nil {
		return nil
	}
	kind := fields[name].Type
	return []string{fmt.Sprintf("%s%s is not allowed: it must be %s", name, valueText(kind, value), expectedValue(kind))}
}

// valueText returns a value for an error text, or "" if it may hold a secret.
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
