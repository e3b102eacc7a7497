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

// userError is a fault of the request: a 400 whose text names the field, the value and what is
// allowed.
type userError struct{ text string }

func (e *userError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &userError{fmt.Sprintf(format, args...)}
}

// toResponse returns what a handler returns for an error. A status survives the plugin boundary
// only in a coded error that is not wrapped, so it must be the last step.
func toResponse(err error) (*logical.Response, error) {
	var user *userError
	var aws *cognito.Error
	var coded logical.HTTPCodedError
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &user):
		return logical.ErrorResponse("%s", user.text), nil
	case errors.As(err, &aws):
		return cognitoResponse(aws, err.Error())
	case errors.As(err, &coded):
		return nil, logical.CodedError(coded.Code(), err.Error())
	default:
		return nil, err
	}
}

// roleError names the role whose use failed, and its check if the set-up of the role may be the
// cause.
func roleError(name string, err error) error {
	var aws *cognito.Error
	if errors.As(err, &aws) && aws.MayBeSetUp() {
		return fmt.Errorf("role %q: %w; see check/%s", name, err, name)
	}
	return fmt.Errorf("role %q: %w", name, err)
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

// seconds returns a duration as responses show it. A time.Duration would cross the plugin boundary
// in nanoseconds.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// secondsUp returns a duration in seconds, rounded up, for a time that a client must wait.
func secondsUp(d time.Duration) int64 { return seconds(d + time.Second - 1) }

// writeResponse returns the response to a write. It is nil unless there are warnings, or unknown
// fields that the framework warns about.
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

// notFound returns the error for a patch of something that does not exist.
func notFound(what, name string) error {
	return logical.CodedError(http.StatusNotFound, fmt.Sprintf("there is no %s %q", what, name))
}

// responseSchema describes a 200 with these fields, for OpenAPI and for the tests that validate
// every response.
func responseSchema(fields map[string]*framework.FieldSchema) map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusOK: {{Description: http.StatusText(http.StatusOK), Fields: fields}}}
}

// noContent describes a 204.
func noContent() map[int][]framework.Response {
	return map[int][]framework.Response{http.StatusNoContent: {{Description: http.StatusText(http.StatusNoContent)}}}
}

// describeDefaults adds the default to each description, because Vault's help does not show it.
func describeDefaults(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	for _, schema := range fields {
		if schema.Default != nil {
			schema.Description += fmt.Sprintf(" Default: %v.", schema.Default)
		}
	}
	return fields
}

// responseFields returns the fields of a read: those of a write without some names. No field is
// required.
func responseFields(fields map[string]*framework.FieldSchema, names ...string) map[string]*framework.FieldSchema {
	result := make(map[string]*framework.FieldSchema, len(fields))
	for name, schema := range fields {
		result[name] = &framework.FieldSchema{Type: schema.Type, Description: schema.Description}
	}
	for _, name := range names {
		delete(result, name)
	}
	return result
}

// markSensitive marks the fields that a user interface should hide.
func markSensitive(fields map[string]*framework.FieldSchema, names ...string) map[string]*framework.FieldSchema {
	for _, name := range names {
		fields[name].DisplayAttrs = &framework.DisplayAttributes{Sensitive: true}
	}
	return fields
}

// setTime sets a field to a time, unless the time is zero.
func setTime(data map[string]any, field string, at time.Time) {
	if !at.IsZero() {
		data[field] = at.UTC().Format(time.RFC3339)
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// requiredField returns the error for a field that is not set; meaning says what to write to it.
func requiredField(field, meaning string) error {
	return badRequest("%s is required: %s", field, meaning)
}
