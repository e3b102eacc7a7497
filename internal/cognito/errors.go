// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

// Kind classifies errors by who can remove their cause.
type Kind int

const (
	// KindInvalid is a request that Cognito refuses: the role or the pool must change.
	KindInvalid Kind = iota
	// KindNotFound is a missing pool, group, app client or user.
	KindNotFound
	// KindDenied is a missing IAM permission, or missing or invalid AWS credentials.
	KindDenied
	// KindThrottled is a refusal that passes with time: a quota, a limit of attempts or a conflict
	// with another change that persisted through all retries.
	KindThrottled
	// KindUnavailable is a missing or unusable response.
	KindUnavailable
)

// Error codes of Cognito, see its API reference.
const (
	codeUserNotFound     = "UserNotFoundException"
	codeUsernameExists   = "UsernameExistsException"
	codeResourceNotFound = "ResourceNotFoundException"
	codePasswordHistory  = "PasswordHistoryPolicyViolationException"

	// codeNotFromAWS is the SDK's code for an error without one, such as a page of a proxy.
	codeNotFromAWS = "UnknownError"
)

// Error is any failure of this package. Its text holds no secret.
type Error struct {
	// Step is what was being done, in words that name the user, pool or group.
	Step string
	// Kind says who can remove the cause.
	Kind Kind
	// Code is AWS's error code, or empty if there was no response.
	Code string
	// Detail is the rest of what is known.
	Detail string
	// Outcome is what became of the change that was asked for. It means nothing
	// for a call that changes nothing.
	Outcome Outcome

	// transient is set if a repetition may succeed.
	transient bool
	cause     error
}

func (e *Error) Error() string {
	parts := []string{e.Step, e.Code, e.Detail}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
}

// Unwrap returns the cause, so that errors.Is finds the end of a context. The
// cause may repeat the response, so its text must not be printed.
func (e *Error) Unwrap() error { return e.cause }

// MayBeSetUp reports whether the settings of a role, an app client, a user pool or IAM may be the
// cause.
func (e *Error) MayBeSetUp() bool {
	return e.Kind == KindInvalid || e.Kind == KindNotFound || e.Kind == KindDenied
}

// KindOf returns the kind of an error of this package, or KindUnavailable.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindUnavailable
}

// MayBeWrongName reports whether a refusal may be about what the call named, such as a pool or an
// app client. AWS's other refusals are about the caller, the region or the state of what was named.
func MayBeWrongName(err error) bool {
	var e *Error
	return !errors.As(err, &e) || e.Kind == KindNotFound || slices.Contains([]string{"", codeInvalidParameter}, e.Code)
}

// IsInternalError reports whether Cognito answered that it failed itself.
func IsInternalError(err error) bool {
	return hasCode(err, "InternalErrorException") || hasCode(err, "InternalServerException")
}

// IsUserGone reports whether the user does not exist in an existing pool.
func IsUserGone(err error) bool { return hasCode(err, codeUserNotFound) }

// IsPoolGone reports whether the pool does not exist in the account that was
// called. It is for calls that name no group and no app client. The pool may
// exist in another account, see Service.Account.
func IsPoolGone(err error) bool { return hasCode(err, codeResourceNotFound) }

// IsGone reports whether the user or the pool does not exist.
func IsGone(err error) bool { return IsUserGone(err) || IsPoolGone(err) }

// kinds lists the codes of each kind. A client error with any other code is KindInvalid.
var kinds = map[Kind][]string{
	KindNotFound: {codeUserNotFound, codeResourceNotFound},
	KindThrottled: {
		"TooManyRequestsException", "Throttling", "ThrottlingException", "ThrottledException",
		"RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown", codeConcurrentModification,
	},
	KindDenied: slices.Concat(deniedCodes, credentialCodes),
}

// deniedCodes are AWS's codes for an action that no IAM policy allows.
var deniedCodes = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}

// metadataService is the SDK's name for the metadata service of an EC2 instance.
const metadataService = "ec2imds"

// credentialCodes are AWS's codes for credentials that it rejects.
var credentialCodes = []string{
	"UnrecognizedClientException", "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException",
	"InvalidSignatureException", "SignatureDoesNotMatch", "MissingAuthenticationTokenException",
	"MissingAuthenticationToken", "IncompleteSignature", "AuthFailure",
}

// kindOfAnswer decides by the code first, because Cognito returns even a
// throttle with status 400.
func kindOfAnswer(api smithy.APIError, err error) Kind {
	for kind, codes := range kinds {
		if slices.Contains(codes, api.ErrorCode()) {
			return kind
		}
	}
	if isPassingLimit(api, err) {
		return KindThrottled
	}
	if status(err) >= http.StatusInternalServerError || errorCode(api) == codeNotFromAWS {
		return KindUnavailable
	}
	return KindInvalid
}

// status returns the HTTP status of the response that err came with, or 0.
func status(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// fail returns an *Error for a failed call to AWS. The secrets are those that
// the call carried; AWS's message is repeated without them.
func fail(step string, err error, secrets ...string) *Error {
	e := &Error{Step: step, cause: err, Kind: KindUnavailable, Outcome: outcomeOfCall(err)}
	var api smithy.APIError
	var credentials *credentialsError
	var limit *ratelimit.Error
	switch {
	case errors.As(err, &limit):
		e.Kind, e.Detail = KindThrottled, explainLimit(limit)
	case errors.As(err, &api):
		e.Kind, e.Code, e.Detail = kindOfAnswer(api, err), errorCode(api), explain(api, err, secrets)
	case errors.As(err, &credentials):
		e.Kind, e.Detail = KindDenied, "the engine has no AWS credentials: "+explainCredentials(credentials)
	default:
		e.Detail = explainSilence(err)
	}
	e.Detail = cut(e.Detail, detailMax)
	return e
}

// explainCredentials leaves out what the SDK says when the last source that it tries, the metadata
// service of an EC2 instance, gives none: outside EC2 that is normal.
func explainCredentials(err *credentialsError) string {
	const remedy = "set them in the mount's config or in the environment of Vault"
	var operation *smithy.OperationError
	if errors.As(err, &operation) && operation.ServiceID == metadataService {
		return remedy
	}
	return remedy + ": " + err.Error()
}

// explain adds to AWS's message what the operator has to do, if the message does not say it.
func explain(api smithy.APIError, err error, secrets []string) string {
	message := withoutSecrets(api.ErrorMessage(), secrets)
	switch {
	case slices.Contains(credentialCodes, api.ErrorCode()):
		return "AWS rejects the engine's credentials, see the mount's config: " + message
	case kindOfAnswer(api, err) == KindDenied:
		return fmt.Sprintf("IAM does not allow the action %s: %s", action(err), message)
	default:
		return withHint(message, hintFor(operationOf(err), api.ErrorCode(), kindOfAnswer(api, err)))
	}
}

// action returns the IAM action of the call that failed: the innermost one, because
// a call to Cognito may fail in the AssumeRole before it.
func action(err error) string {
	name := "unknown"
	var op *smithy.OperationError
	for errors.As(err, &op) {
		name = iamPrefix(op.ServiceID) + ":" + op.OperationName
		err = op.Err
	}
	return name
}

func iamPrefix(serviceID string) string {
	switch serviceID {
	case sts.ServiceID:
		return "sts"
	case iam.ServiceID:
		return "iam"
	default:
		return "cognito-idp"
	}
}

// explainSilence describes an error without a response of AWS. It uses the innermost
// cause, because the layers above repeat whole URLs.
func explainSilence(err error) string {
	var timeout net.Error
	var transport *url.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "given up: the caller went away"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, errPage):
		return errPage.Error()
	case isGarbled(err):
		return "the answer was cut short or is not Cognito's"
	case errors.As(err, &transport):
		return "no answer: " + transport.Err.Error()
	default:
		return "no answer: " + err.Error()
	}
}

// detailMax bounds what an error repeats of a response, in bytes.
const detailMax = 1000

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// apiCodePattern is what AWS's error codes look like. What does not match is
// not repeated, because it may be an echo of the request.
var apiCodePattern = regexp.MustCompile(`^[A-Z][A-Za-z]{2,79}(\.[A-Z][A-Za-z]{2,79})?$`)

func errorCode(api smithy.APIError) string {
	if code := api.ErrorCode(); apiCodePattern.MatchString(code) {
		return code
	}
	return codeNotFromAWS
}

const (
	// shortSecret is the length up to which a secret is too common a text to be
	// replaced inside a message.
	shortSecret = 8
	// withheld stands for a message that may repeat a short secret.
	withheld = "(AWS's message is withheld, because it may repeat a secret)"
)

// withoutSecrets returns a message from AWS without the given secrets. One that
// contains a short secret is withheld as a whole: replacing the secret would
// garble the message, and show where the secret is in it.
func withoutSecrets(message string, secrets []string) string {
	for _, secret := range secrets {
		switch {
		case secret == "" || !strings.Contains(message, secret):
		case len(secret) < shortSecret:
			return withheld
		default:
			message = strings.ReplaceAll(message, secret, "[redacted]")
		}
	}
	return message
}

func hasCode(err error, code string) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Code == code
	}
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

// isGarbled reports whether a response could not be read to its end.
func isGarbled(err error) bool {
	var unreadable *smithy.DeserializationError
	return errors.As(err, &unreadable)
}
