// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"net/http"
)

// Exceptions that more than one file returns.
const (
	codeAccessDenied      = "AccessDeniedException"
	codeAliasExists       = "AliasExistsException"
	codeFeatureNotInTier  = "FeatureUnavailableInTierException"
	codeInternalError     = "InternalErrorException"
	codeInvalidOAuthFlow  = "InvalidOAuthFlowException"
	codeInvalidParameter  = "InvalidParameterException"
	codeInvalidPassword   = "InvalidPasswordException"
	codeLimitExceeded     = "LimitExceededException"
	codeMFAMethodNotFound = "MFAMethodNotFoundException"
	codeNotAuthorized     = "NotAuthorizedException"
	codePasswordHistory   = "PasswordHistoryPolicyViolationException"
	codeRefreshTokenReuse = "RefreshTokenReuseException"
	codeResourceNotFound  = "ResourceNotFoundException"
	codeTooManyRequests   = "TooManyRequestsException"
	codeUnauthorized      = "UnauthorizedException"
	codeUserNotFound      = "UserNotFoundException"
	codeUsernameExists    = "UsernameExistsException"
)

// exception is an error with AWS's name. Status 0 means the status that belongs to the code in the
// protocol of the call.
type exception struct {
	code    string
	message string
	status  int
}

func (e *exception) Error() string {
	return e.code + ": " + e.message
}

func newException(code, format string, args ...any) *exception {
	return &exception{code: code, message: fmt.Sprintf(format, args...)}
}

func invalidParameter(format string, args ...any) *exception {
	return newException(codeInvalidParameter, format, args...)
}

func notAuthorized(format string, args ...any) *exception {
	return newException(codeNotAuthorized, format, args...)
}

func resourceNotFound(format string, args ...any) *exception {
	return newException(codeResourceNotFound, format, args...)
}

func invalidPoolConfiguration(message string) *exception {
	return newException("InvalidUserPoolConfigurationException", "%s", message)
}

func userNotFound() *exception {
	return newException(codeUserNotFound, "User does not exist.")
}

// httpStatus returns the status of an exception in the JSON protocol, where even throttling is a
// 400.
func (e *exception) httpStatus() int {
	if e.status != 0 {
		return e.status
	}
	switch e.code {
	case codeInternalError, "InternalServerException", "InternalFailure":
		return http.StatusInternalServerError
	case "ForbiddenException":
		return http.StatusForbidden
	case "ServiceUnavailableException", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}
