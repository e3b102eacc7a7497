// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// userError is the caller's fault: a 400 whose text names the field, the value
// and what is allowed.
type userError struct{ text string }

func (e *userError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &userError{fmt.Sprintf(format, args...)}
}

// answer turns an error into what Vault sends. Statuses survive the plugin
// boundary only in a coded error that nothing wraps, so this is the last thing
// that happens to an error.
func toResponse(err error) (*logical.Response, error) {
	var user *userError
	var aws *cognito.Error
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &user):
		return logical.ErrorResponse("%s", user.text), nil
	case errors.As(err, &aws):
		return cognitoResponse(aws, err.Error())
	default:
		return nil, err
	}
}

func cognitoResponse(e *cognito.Error, text string) (*logical.Response, error) {
	switch e.Kind {
	case cognito.KindInvalid, cognito.KindNotFound:
		return logical.ErrorResponse("%s", text), nil
	case cognito.KindDenied:
		return nil, logical.CodedError(http.StatusForbidden, text)
	case cognito.KindThrottled:
		return nil, logical.CodedError(http.StatusTooManyRequests, text)
	default:
		return nil, logical.CodedError(http.StatusBadGateway, text)
	}
}

// seconds is a duration as responses show it: a time.Duration itself would
// cross the plugin boundary in nanoseconds.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// secondsUp is for what must not be asked for too early.
func secondsUp(d time.Duration) int64 { return seconds(d + time.Second - 1) }

// written answers a write. It is empty unless there is something to warn of,
// or parameters that the framework will warn about.
func writeResponse(req *logical.Request, data *framework.FieldData, warnings ...string) *logical.Response {
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
func responseSchema(fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: http.StatusText(http.StatusOK), Fields: fields}}}
}

// noContent describes a 204.
func noContent() map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}}
}

// describeDefaults adds to each description its default, which Vault's help
// leaves out.
func describeDefaults(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	for _, schema := range fields {
		if schema.Default != nil {
			schema.Description += fmt.Sprintf(" Default: %v.", schema.Default)
		}
	}
	return fields
}

// without is a copy of a path's fields for what a read of it shows: less some
// of them, and nothing is required.
func responseFields(fields map[string]*framework.FieldSchema, names ...string) map[string]*framework.FieldSchema {
	shown := make(map[string]*framework.FieldSchema, len(fields))
	for name, schema := range fields {
		shown[name] = &framework.FieldSchema{Type: schema.Type, Description: schema.Description}
	}
	for _, name := range names {
		delete(shown, name)
	}
	return shown
}

// masked marks the fields of a response that a user interface should not show
// unasked.
func markSensitive(fields map[string]*framework.FieldSchema, names ...string) map[string]*framework.FieldSchema {
	for _, name := range names {
		fields[name].DisplayAttrs = &framework.DisplayAttributes{Sensitive: true}
	}
	return fields
}

// setTime adds a time unless there is none.
func setTime(shown map[string]any, field string, at time.Time) {
	if !at.IsZero() {
		shown[field] = at.UTC().Format(time.RFC3339)
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func requiredField(field, meaning string) error {
	return badRequest("%s is missing: it must be %s", field, meaning)
}
