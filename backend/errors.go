// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"fmt"
	"net/http"

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
func answer(err error) (*logical.Response, error) {
	var user *userError
	var aws *cognito.Error
	switch {
	case err == nil:
		return nil, nil
	case errors.As(err, &user):
		return logical.ErrorResponse("%s", user.text), nil
	case errors.As(err, &aws):
		return answerCognito(aws, err.Error())
	default:
		return nil, err
	}
}

func answerCognito(e *cognito.Error, text string) (*logical.Response, error) {
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
