// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package control

import "time"

// Kinds of Fault.
const (
	// FaultError answers with Code, Status and Message; the call has no effect.
	FaultError = "error"
	// FaultErrorAfter performs the call, then answers as FaultError does, as a Lambda trigger that
	// fails afterwards makes Cognito do.
	FaultErrorAfter = "error_after"
	// FaultHang holds the request without effect until the client disconnects or the faults are
	// cleared.
	FaultHang = "hang"
	// FaultHangAfter performs the call, then holds the request as FaultHang does.
	FaultHangAfter = "hang_after"
	// FaultCutBefore closes the connection without effect and without an answer.
	FaultCutBefore = "cut_before"
	// FaultCutAfter performs the call, then closes the connection without an answer.
	FaultCutAfter = "cut_after"
	// FaultRaw answers with exactly Status, ContentType and Body; the call has no effect.
	FaultRaw = "raw"
	// FaultCutBody performs the call, announces the whole answer, sends half of it and closes the
	// connection.
	FaultCutBody = "cut_body"
)

// Operations that are not AWS operations.
const (
	// OperationAny matches every operation in a Fault.
	OperationAny = "*"
	// OperationToken is POST /oauth2/token.
	OperationToken = "Token"
	// OperationJWKS is GET of a key set.
	OperationJWKS = "JWKS"
	// OperationDiscovery is GET of an OpenID configuration.
	OperationDiscovery = "OpenIDConfiguration"
)

// Fault changes the outcome of calls of one operation.
type Fault struct {
	// Operation is an AWS operation name, OperationToken or OperationAny.
	Operation string `json:"operation"`
	// Username, GroupName, ClientID and ClientName restrict the fault to calls with these values in
	// the request; empty ones match all calls. A call with an access token has the token's
	// username.
	Username   string `json:"username,omitempty"`
	GroupName  string `json:"group_name,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
	ClientName string `json:"client_name,omitempty"`
	// Kind is one of the Fault constants.
	Kind string `json:"kind"`
	// Code is the exception of a FaultError or FaultErrorAfter, or the OAuth2 error for
	// OperationToken.
	Code string `json:"code,omitempty"`
	// Status is the HTTP status of the answer; 0 means the status that belongs to the code (400 for
	// most), or 200 for FaultRaw.
	Status int `json:"status,omitempty"`
	// Message is the text that the exception carries.
	Message string `json:"message,omitempty"`
	// ContentType and Body are the answer of a FaultRaw.
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body,omitempty"`
	// Times is how many calls the fault applies to; 0 means all calls until the faults are cleared.
	Times int `json:"times"`
	// Skip is how many matching calls pass before the fault applies.
	Skip int `json:"skip,omitempty"`
}

// SigningKey is the RSA key that signs tokens from now on; earlier keys stay in the key set.
type SigningKey struct {
	// Bits is the size of the key, at least 1024. Cognito uses 2048; a smaller key saves CPU time.
	Bits int `json:"bits"`
}

// Latency is how long every call takes, in milliseconds: the call is performed after half of it and
// answered after all of it.
type Latency struct {
	DefaultMS  int            `json:"default_ms"`
	Operations map[string]int `json:"operations,omitempty"`
}

// Quotas are requests per second by quota category, such as "UserCreation"; an absent category is
// unlimited.
type Quotas map[string]float64

// IAM is what the principals that sign requests may do.
type IAM struct {
	// DeniedActions, such as "cognito-idp:AdminCreateUser", are answered with
	// AccessDeniedException.
	DeniedActions []string `json:"denied_actions"`
	// AllowedActions are the only actions that are allowed, unless the list is nil.
	AllowedActions []string `json:"allowed_actions"`
	// RejectedKeys are access key ids that AWS does not know.
	RejectedKeys []string `json:"rejected_keys"`
	// Roles sets conditions on sts:AssumeRole by role ARN; any principal may assume an absent role.
	Roles map[string]Role `json:"roles,omitempty"`
}

// Role is the trust policy of an IAM role.
type Role struct {
	// ExternalID must be sent with AssumeRole unless it is empty.
	ExternalID string `json:"external_id,omitempty"`
	// Denied refuses every principal.
	Denied bool `json:"denied,omitempty"`
}

// AccessKey is an access key of an IAM user. The first key creates the user. Only the keys of such
// users are enforced: a deleted key is refused, and a user has at most two keys.
type AccessKey struct {
	// User and ID are both empty in a request that only sets the delay.
	User   string `json:"user"`
	ID     string `json:"access_key"`
	Secret string `json:"secret"`
	// DelayMS is after how many milliseconds a key that is created from now on becomes valid.
	DelayMS int `json:"delay_ms"`
}

// AccessKeyList is the answer of the access_keys path.
type AccessKeyList struct {
	Keys []AccessKey `json:"keys"`
}

// TokenValidity overrides the lifetimes of one app client's tokens, in seconds; 0 means the setting
// of the app client. Values may be below Cognito's minimum of five minutes.
type TokenValidity struct {
	ClientID       string `json:"client_id"`
	AccessSeconds  int    `json:"access_seconds,omitempty"`
	IDSeconds      int    `json:"id_seconds,omitempty"`
	RefreshSeconds int    `json:"refresh_seconds,omitempty"`
}

// CallLog holds the calls since the start or the last ResetCalls.
type CallLog struct {
	// Connections is how many TCP connections carried at least one call.
	Connections int    `json:"connections"`
	Calls       []Call `json:"calls"`
}

// Call is one request. Begin and End are positions in one sequence of events: two calls overlapped
// if and only if their intervals do. End is 0 while the call is open.
type Call struct {
	Operation string `json:"operation"`
	Begin     int64  `json:"begin"`
	End       int64  `json:"end"`
	// Status is 0 if the connection was closed without an answer.
	Status int `json:"status"`
	// Code is the exception or OAuth2 error in the answer.
	Code      string `json:"code"`
	AccessKey string `json:"access_key"`
	Region    string `json:"region"`
	// Resource is the group name of the request, or else the username.
	Resource string `json:"resource"`
	// Username, GroupName, ClientID and ClientName are those of the request. A call with an access
	// token has the token's username.
	Username       string            `json:"username,omitempty"`
	GroupName      string            `json:"group_name,omitempty"`
	ClientID       string            `json:"client_id,omitempty"`
	ClientName     string            `json:"client_name,omitempty"`
	ClientMetadata map[string]string `json:"client_metadata,omitempty"`
	// RoleARN, RoleSessionName and ExternalID are parameters of AssumeRole.
	RoleARN         string `json:"role_arn,omitempty"`
	RoleSessionName string `json:"role_session_name,omitempty"`
	ExternalID      string `json:"external_id,omitempty"`
}

// Of returns the calls of one operation.
func (l *CallLog) Of(operation string) []Call {
	var calls []Call
	for _, call := range l.Calls {
		if call.Operation == operation {
			calls = append(calls, call)
		}
	}
	return calls
}

// User is a user of a pool, without the password.
type User struct {
	UserPoolID string            `json:"user_pool_id"`
	Username   string            `json:"username"`
	Sub        string            `json:"sub"`
	Status     string            `json:"status"`
	Enabled    bool              `json:"enabled"`
	Groups     []string          `json:"groups"`
	Attributes map[string]string `json:"attributes"`
	// Invitations is how many messages AdminCreateUser has sent to the user.
	Invitations int       `json:"invitations"`
	Created     time.Time `json:"created"`
	// Sessions is how many sign-ins have a refresh token that still works.
	Sessions int `json:"sessions"`
	// WrongSignIns are the times of all sign-ins with a wrong password, oldest first. A successful
	// sign-in does not delete them.
	WrongSignIns []time.Time `json:"wrong_sign_ins"`
	// LockedUntil is when the lock-out after too many wrong passwords ends; it is zero without one.
	LockedUntil time.Time `json:"locked_until"`
	// MFA are the enabled second factors, such as "SOFTWARE_TOKEN_MFA".
	MFA          []string `json:"mfa"`
	PreferredMFA string   `json:"preferred_mfa"`
	// Devices are the keys of the confirmed devices, Passkeys the ids of the registered passkeys.
	Devices  []string `json:"devices"`
	Passkeys []string `json:"passkeys"`
	// ConfirmationCode is the code that ForgotPassword or AdminResetUserPassword last sent.
	ConfirmationCode string `json:"confirmation_code"`
}

// UserStatus sets the status of a user, for states that the emulator's operations do not lead to: a
// federated user (EXTERNAL_PROVIDER), one that has not confirmed its sign-up (UNCONFIRMED), or one
// that must reset its password (RESET_REQUIRED).
type UserStatus struct {
	UserPoolID string `json:"user_pool_id"`
	Username   string `json:"username"`
	Status     string `json:"status"`
}

// What a Lambda function can do.
const (
	LambdaSucceeds       = "succeed"
	LambdaThrows         = "throw"
	LambdaAnswersRubbish = "answer_rubbish"
	LambdaTimesOut       = "time_out"
)

// Lambda sets what the function with an ARN does when a trigger in the LambdaConfig of a pool
// invokes it. A function that was not set does not exist.
type Lambda struct {
	ARN     string `json:"arn"`
	Outcome string `json:"outcome"`
	// Message is that of the exception that a function throws.
	Message string `json:"message,omitempty"`
}

// AppClient is an app client of a pool, with its secrets.
type AppClient struct {
	UserPoolID string         `json:"user_pool_id"`
	ClientID   string         `json:"client_id"`
	Name       string         `json:"name"`
	Scopes     []string       `json:"scopes"`
	Secrets    []ClientSecret `json:"secrets"`
	Created    time.Time      `json:"created"`
}

// ClientSecret is an active secret of an app client.
type ClientSecret struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// AppClientList is the answer of the app_clients path.
type AppClientList struct {
	AppClients []AppClient `json:"app_clients"`
}

// MonthlyActiveUsers is how many users of a pool were active in a calendar month in UTC, such as
// "2026-03". Deleted users count.
type MonthlyActiveUsers struct {
	UserPoolID string `json:"user_pool_id"`
	Month      string `json:"month"`
	Users      int    `json:"users"`
}

// MonthlyActiveUsersList is the answer of the monthly_active_users path.
type MonthlyActiveUsersList struct {
	Counts []MonthlyActiveUsers `json:"counts"`
}

// LateUsers is how long a new user stays invisible, in milliseconds.
type LateUsers struct {
	Milliseconds int `json:"milliseconds"`
}

// Secret is a secret value, with the name of the field that held it.
type Secret struct {
	Field string `json:"field"`
	Value string `json:"value"`
}

// SecretList is the answer of the secrets path.
type SecretList struct {
	Secrets []Secret `json:"secrets"`
}

// UserList is the answer of the users path.
type UserList struct {
	Users []User `json:"users"`
}
