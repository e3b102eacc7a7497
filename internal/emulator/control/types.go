// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package control

import "time"

// What a Fault does to the calls it catches.
const (
	// FaultError answers with Code, Status and Message; the call has no effect.
	FaultError = "error"
	// FaultHang holds the request open without effect, until the client goes away or the faults are cleared.
	FaultHang = "hang"
	// FaultHangAfter carries the call out, then holds the request open like FaultHang.
	FaultHangAfter = "hang_after"
	// FaultCutBefore closes the TCP connection without effect and without an answer.
	FaultCutBefore = "cut_before"
	// FaultCutAfter carries the call out, then closes the TCP connection without an answer.
	FaultCutAfter = "cut_after"
	// FaultRaw answers exactly Status, ContentType and Body; the call has no effect.
	FaultRaw = "raw"
	// FaultCutBody carries the call out, announces the whole answer, sends half of it and closes the connection.
	FaultCutBody = "cut_body"
)

// Names of operations that are not names of an AWS operation.
const (
	// OperationAny matches every operation in a Fault.
	OperationAny = "*"
	// OperationToken is POST /oauth2/token.
	OperationToken = "Token"
	// OperationJWKS is the reading of a key set.
	OperationJWKS = "JWKS"
)

// Fault makes calls of one operation go wrong.
type Fault struct {
	// Operation is an AWS operation name, OperationToken or OperationAny.
	Operation string `json:"operation"`
	// Kind is one of the Fault constants.
	Kind string `json:"kind"`
	// Code is the exception of a FaultError, or the OAuth2 error for OperationToken.
	Code string `json:"code,omitempty"`
	// Status is the HTTP status of a FaultError or FaultRaw; 0 is that of the code (400 for most), or 200 for raw.
	Status int `json:"status,omitempty"`
	// Message goes with Code.
	Message string `json:"message,omitempty"`
	// ContentType and Body are the answer of a FaultRaw.
	ContentType string `json:"content_type,omitempty"`
	Body        string `json:"body,omitempty"`
	// Times is how many calls it catches; 0 is all of them until the faults are cleared.
	Times int `json:"times"`
	// Skip lets that many matching calls through first.
	Skip int `json:"skip,omitempty"`
}

// SigningKey is the RSA key that signs tokens from now on; those before it stay in the key set.
type SigningKey struct {
	// Bits are Cognito's own 2048 at first. Fewer, 1024 at least, take less of the processor.
	Bits int `json:"bits"`
}

// Latency is how long every call takes, in milliseconds: it is carried out after half of it, and answered after all.
type Latency struct {
	DefaultMS  int            `json:"default_ms"`
	Operations map[string]int `json:"operations,omitempty"`
}

// Quotas are requests a second by quota category, such as "UserCreation"; a category that is absent is not limited.
type Quotas map[string]float64

// IAM is what the principals that sign requests may do.
type IAM struct {
	// DeniedActions, such as "cognito-idp:AdminCreateUser", are answered with AccessDeniedException.
	DeniedActions []string `json:"denied_actions"`
	// AllowedActions, unless nil, are the only ones that are not denied.
	AllowedActions []string `json:"allowed_actions"`
	// RejectedKeys are access key ids that AWS does not know.
	RejectedKeys []string `json:"rejected_keys"`
	// Roles sets conditions on sts:AssumeRole by role ARN; a role that is absent can be assumed by anyone.
	Roles map[string]Role `json:"roles,omitempty"`
}

// Role is the trust policy of an IAM role.
type Role struct {
	// ExternalID, unless empty, has to be sent with AssumeRole.
	ExternalID string `json:"external_id,omitempty"`
	// Denied refuses everybody.
	Denied bool `json:"denied,omitempty"`
}

// AccessKey is an access key of an IAM user. The user is made with its first key. Only the keys of users made so are
// enforced: a deleted one is refused, and there are two at most.
type AccessKey struct {
	// User and ID are both empty in a request that only sets the delay.
	User   string `json:"user"`
	ID     string `json:"access_key"`
	Secret string `json:"secret"`
	// DelayMS is how long keys that are created from now on are not yet taken, in milliseconds.
	DelayMS int `json:"delay_ms"`
}

// AccessKeyList holds the access keys that the planted users have.
type AccessKeyList struct {
	Keys []AccessKey `json:"keys"`
}

// TokenValidity overrides the lifetimes of one app client's tokens, in seconds; 0 leaves what the app client says.
// It may go below the five minutes that Cognito allows.
type TokenValidity struct {
	ClientID       string `json:"client_id"`
	AccessSeconds  int    `json:"access_seconds,omitempty"`
	IDSeconds      int    `json:"id_seconds,omitempty"`
	RefreshSeconds int    `json:"refresh_seconds,omitempty"`
}

// CallLog is what the emulator was asked since it started or since the last ResetCalls.
type CallLog struct {
	// Connections is how many TCP connections carried at least one call.
	Connections int    `json:"connections"`
	Calls       []Call `json:"calls"`
}

// Call is one request. Begin and End are positions in one count of events, so that two calls overlapped exactly when
// their intervals do; End is 0 while the call is open.
type Call struct {
	Operation string `json:"operation"`
	Begin     int64  `json:"begin"`
	End       int64  `json:"end"`
	// Status is 0 when the connection was closed without an answer.
	Status int `json:"status"`
	// Code is the exception or OAuth2 error that was answered.
	Code      string `json:"code"`
	AccessKey string `json:"access_key"`
	Region    string `json:"region"`
	// Resource is the group name or else the username in the request.
	Resource string `json:"resource"`
	// ClientID is the app client in the request.
	ClientID       string            `json:"client_id,omitempty"`
	ClientMetadata map[string]string `json:"client_metadata,omitempty"`
	// The last three are of AssumeRole.
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

// User is a user as it is in a pool, without its password.
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
	// Sessions is how many sign-ins have refresh tokens that still work.
	Sessions int `json:"sessions"`
	// WrongSignIns are the times of all attempts with a wrong password, oldest first. A later sign-in
	// that succeeds does not delete them.
	WrongSignIns []time.Time `json:"wrong_sign_ins"`
	// LockedUntil is when the lock-out after too many attempts ends; it is zero without one.
	LockedUntil time.Time `json:"locked_until"`
}

// AppClient is an app client as it is in a pool, with its secrets.
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

// LateUsers is for how long a new user stays invisible, in milliseconds.
type LateUsers struct {
	Milliseconds int `json:"milliseconds"`
}

// Secret is a value that nobody but Cognito and its caller may see, with the name of the field that it was in.
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
