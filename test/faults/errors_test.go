// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"net/http"
	"os"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/awsmodel"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// otherErrors are the errors that AWS documents for the operations of other services than Cognito,
// but for failures and throttles, which anyErrors has. Those of IAM and STS are as their service
// models declare them.
var otherErrors = map[string][]string{
	"CreateAccessKey":   {"LimitExceeded", "NoSuchEntity"},
	"DeleteAccessKey":   {"LimitExceeded", "NoSuchEntity"},
	"GetUser":           {"NoSuchEntity"},
	"ListAccessKeys":    {"NoSuchEntity"},
	"AssumeRole":        {"ExpiredTokenException", "MalformedPolicyDocument", "PackedPolicyTooLarge", "RegionDisabledException"},
	"GetCallerIdentity": {},

	// RFC 6749, section 5.2, as Cognito's page on its token endpoint lists them.
	control.OperationToken: strings.Fields(`invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope`),
}

// documentedErrors returns the errors of an operation that AWS's model of Cognito declares, or
// otherErrors.
func documentedErrors(operation string) []string {
	if codes, ok := otherErrors[operation]; ok {
		return codes
	}
	return slices.DeleteFunc(slices.Clone(awsmodel.Cognito().Operations[operation].Errors), func(code string) bool {
		return slices.Contains(cognitoFailures, code)
	})
}

// trustedErrors say that there is nothing left to do. The engine trusts them, so false ones are not
// tried.
var trustedErrors = map[string][]string{
	"AdminDeleteUser":  {"UserNotFoundException", "ResourceNotFoundException"},
	"AdminDisableUser": {"UserNotFoundException", "ResourceNotFoundException"},
	"DeleteAccessKey":  {"NoSuchEntity"},
	// The pool is asked for after DeleteUserPoolClient, and gone if its list is not found.
	"DeleteUserPoolClient": {"ResourceNotFoundException"},
	"ListUserPoolClients":  {"ResourceNotFoundException"},
	// Who is gone is in no group.
	"AdminRemoveUserFromGroup": {"UserNotFoundException", "ResourceNotFoundException"},
	// A new user has had no other password than the engine's.
	"AdminSetUserPassword": {"PasswordHistoryPolicyViolationException"},
}

// cognitoFailures are what any call to Cognito may answer.
var cognitoFailures = []string{"TooManyRequestsException", "InternalErrorException", "AccessDeniedException"}

// queryOperations speak the query protocol of IAM and STS, whose words for
// failures that any call may meet are others.
var queryOperations = []string{"GetUser", "ListAccessKeys", "CreateAccessKey", "DeleteAccessKey", "GetCallerIdentity", "AssumeRole"}

// failureMode is one way in which a call to AWS fails.
type failureMode struct {
	name  string
	fault control.Fault
	// hangs says that the call does not end by itself.
	hangs bool
	// outage says that it can happen to all calls at once.
	outage bool
}

// failureModes returns the ways in which calls of one operation can fail.
func failureModes(operation string) []failureMode {
	modes := append(lostResponses(), anyErrors(operation)...)
	for _, code := range sampled(documentedErrors(operation)) {
		if !slices.Contains(trustedErrors[operation], code) {
			modes = append(modes, failureMode{name: code, fault: failing(code)})
		}
	}
	return modes
}

// lostResponses are calls without a complete response.
func lostResponses() []failureMode {
	return []failureMode{
		{name: "hangs", fault: control.Fault{Kind: control.FaultHang}, hangs: true, outage: true},
		{name: "hangs after its effect", fault: control.Fault{Kind: control.FaultHangAfter}, hangs: true, outage: true},
		{name: "is cut before its effect", fault: control.Fault{Kind: control.FaultCutBefore}, outage: true},
		{name: "is cut after its effect", fault: control.Fault{Kind: control.FaultCutAfter}, outage: true},
		{name: "is cut in its body", fault: control.Fault{Kind: control.FaultCutBody}, outage: true},
	}
}

// anyErrors are those that every operation may answer: throttled, failed and,
// where IAM has a say, denied.
func anyErrors(operation string) []failureMode {
	codes := slices.Clone(cognitoFailures)
	switch {
	case operation == control.OperationToken:
		codes = []string{"TooManyRequestsException", "server_error"}
	case slices.Contains(queryOperations, operation):
		codes = []string{"Throttling", "InternalFailure", "AccessDenied"}
	}
	if isLongRun() {
		codes = append(codes, "ExpiredTokenException")
	}
	var modes []failureMode
	for _, code := range codes {
		modes = append(modes, failureMode{name: code, fault: failing(code), outage: true})
	}
	if isLongRun() {
		unavailable := control.Fault{Kind: control.FaultRaw, Status: http.StatusServiceUnavailable}
		return append(modes, failureMode{name: "status 503", fault: unavailable, outage: true})
	}
	return modes
}

func failing(code string) control.Fault {
	return control.Fault{Kind: control.FaultError, Code: code, Message: "injected"}
}

// errorClasses are what a short run tries one documented error of.
var errorClasses = [][]string{
	{"UserNotFoundException", "ResourceNotFoundException", "NoSuchEntity"},
	{"InvalidParameterException", "invalid_request", "MalformedPolicyDocument"},
	{"NotAuthorizedException", "invalid_client"},
	{"UsernameExistsException", "PasswordHistoryPolicyViolationException", "LimitExceededException", "LimitExceeded", "RefreshTokenReuseException", "ExpiredCodeException"},
	{"UserLambdaValidationException"},
}

func sampled(codes []string) []string {
	if isLongRun() {
		return codes
	}
	var sample []string
	for _, class := range errorClasses {
		i := slices.IndexFunc(class, func(code string) bool { return slices.Contains(codes, code) })
		if i >= 0 {
			sample = append(sample, class[i])
		}
	}
	return sample
}

// isLongRun says that every documented error is wanted, and not one of a class.
func isLongRun() bool { return os.Getenv("RELIABILITY") == "long" }
