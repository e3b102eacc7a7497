// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"errors"

	"github.com/aws/smithy-go"
)

const (
	codeConcurrentModification = "ConcurrentModificationException"
	codeInvalidParameter       = "InvalidParameterException"
	codeLimitExceeded          = "LimitExceededException"
)

// hints say what to do about errors whose message from AWS does not.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/CommonErrors.html
var hints = map[string]string{
	"CodeMismatchException":           hintClock,
	"EnableSoftwareTokenMFAException": hintClock,
	codeConcurrentModification:        "the same object was being changed by another request, so try again",
	"ForbiddenException":              "the AWS WAF web ACL of the user pool blocked the request: let it allow requests of the Vault server",
	"OperationNotEnabledException": "the user pool does not allow this in this region, as a replica in a secondary region does not, " +
		"which only signs users in and issues tokens: set region to the primary region of the user pool",
	"PasswordResetRequiredException": "an administrator has reset the password: set a permanent one in the user pool",
	"UserNotConfirmedException":      "the user is not confirmed: confirm it in the user pool",
}

// hintClock is for one-time codes that Cognito does not accept. EnableSoftwareTokenMFAException is
// what VerifySoftwareToken returns for a wrong code.
const hintClock = "a one-time code is wrong or was used before; if it was right, correct the clock of the machine that made it, " +
	"which must be right to within 30 seconds"

// hintAttempts is for limits that are lifted by themselves, such as "Attempt limit exceeded".
const hintAttempts = "the limit is lifted after some time, so try again later"

func hintFor(operation, code string, kind Kind) string {
	switch {
	case code != codeLimitExceeded:
		return hints[code]
	case kind == KindThrottled:
		return hintAttempts
	default:
		return creating[operation]
	}
}

// withHint appends a hint to AWS's message.
func withHint(message, hint string) string {
	switch {
	case hint == "":
		return message
	case message == "":
		return hint
	default:
		return message + "; " + hint
	}
}

// creating maps the operations whose LimitExceededException is about the number of objects that
// exist to what to do about it. It does not pass with time, unlike that of other operations.
var creating = map[string]string{
	"AddUserPoolClientSecret": "an app client has two secrets at most: the engine deletes none that it did not add",
	"CreateUserPoolClient":    "", // CreateAppClient says it
}

// isPassingLimit reports whether an error is a limit of attempts or requests.
func isPassingLimit(api smithy.APIError, err error) bool {
	_, ofObjects := creating[operationOf(err)]
	return api.ErrorCode() == codeLimitExceeded && !ofObjects
}

// operationOf returns the name of the operation that failed, or "".
func operationOf(err error) string {
	name := ""
	var op *smithy.OperationError
	for errors.As(err, &op) {
		name, err = op.OperationName, op.Err
	}
	return name
}
