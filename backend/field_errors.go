// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// shownValueMax is how much of a refused value an error repeats, in bytes.
const shownValueMax = 100

// refuseFieldTypes says which fields of a request have a value of a type that
// they cannot have. It replaces the answer of the framework, which repeats the
// value of any field: also of a secret that was sent as an object.
func (b *backend) refuseFieldTypes(req *logical.Request, answered *logical.Response) *logical.Response {
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
	return []string{fmt.Sprintf("%s%s is not allowed: it must be %s", name, shownValue(kind, value), wantedOf(kind))}
}

// shownValue is the value of a field that is never a secret, if it has no parts
// that might be one.
func shownValue(kind framework.FieldType, value any) string {
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
		return fmt.Sprintf(" %q", text[:min(len(text), shownValueMax)])
	}
}

func wantedOf(kind framework.FieldType) string {
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
