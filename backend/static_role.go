// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	staticRoleStoragePrefix = "static-roles/"

	staticTypePassword = "user_password"
	staticTypeSecret   = "app_client_secret"
)

// staticFieldsOfType has the fields that only one type has.
var staticFieldsOfType = map[string][]string{
	staticTypePassword: {"username", "password", "password_policy", "issue_tokens", "sign_out_on_rotation", "self_managed"},
	staticTypeSecret:   {"cognito_pool_domain", "scopes"},
}

// staticState is a state of the state machine in static_rotation.go.
type staticState string

const (
	// staticIdle means that no rotation is under way and the value is in force.
	staticIdle staticState = "idle"
	// staticSetting means that a new value is stored and Cognito may have it.
	staticSetting staticState = "setting"
	// staticProving means that Cognito has the new value and the proof is not complete.
	staticProving staticState = "proving"
	// staticRejected means that Cognito accepts no value that Vault knows.
	staticRejected staticState = "rejected"
)

// staticRole is the stored form of a static role: a password or an app client secret that Vault
// owns.
type staticRole struct {
	CredentialType string `json:"credential_type"`
	UserPoolID     string `json:"user_pool_id"`
	Region         string `json:"region,omitempty"`
	AssumeRoleARN  string `json:"aws_assume_role_arn,omitempty"`
	ExternalID     string `json:"aws_external_id,omitempty"`
	AppClientID    string `json:"app_client_id,omitempty"`

	// Username is the username of the request. AppClientSecret is the secret of the app client that
	// the user signs in through.
	Username          string `json:"username,omitempty"`
	AppClientSecret   string `json:"app_client_secret,omitempty"`
	PasswordPolicy    string `json:"password_policy,omitempty"`
	IssueTokens       bool   `json:"issue_tokens,omitempty"`
	SignOutOnRotation bool   `json:"sign_out_on_rotation,omitempty"`
	SelfManaged       bool   `json:"self_managed,omitempty"`
	// CognitoUsername and Sub identify the user. They come from Cognito; without IAM permissions,
	// from the first sign-in.
	CognitoUsername string `json:"cognito_username,omitempty"`
	Sub             string `json:"sub,omitempty"`
	// WrittenDigest is the digest of the last password that a write contained, by which a repeated
	// write is recognized.
	WrittenDigest string `json:"written_digest,omitempty"`

	CognitoPoolDomain string   `json:"cognito_pool_domain,omitempty"`
	Scopes            []string `json:"scopes,omitempty"`
	// SecretID is the id of the app client secret that is returned. PreviousID is the id of the
	// previous secret, which is valid until the next rotation.
	SecretID   string `json:"secret_id,omitempty"`
	PreviousID string `json:"previous_id,omitempty"`

	RotationPeriod   time.Duration `json:"rotation_period,omitempty"`
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration `json:"rotation_window,omitempty"`

	State staticState `json:"state,omitempty"`
	// Value is the password or secret that static-creds returns.
	Value        string    `json:"value"`
	LastRotation time.Time `json:"last_vault_rotation,omitzero"`
	NextRotation time.Time `json:"next_vault_rotation,omitzero"`
	// Missed is the time of the first scheduled rotation since LastRotation whose window passed
	// without it.
	Missed time.Time `json:"missed_rotation,omitzero"`
	// Pending is the new value in the state setting, and for a secret also in the state proving. It
	// is part of the role's entry, so that one write begins a rotation and one write ends it.
	Pending *pendingValue `json:"pending,omitempty"`
	// ProofDue and SignOutDue are the remaining steps of a password in the state proving.
	ProofDue   bool `json:"proof_due,omitempty"`
	SignOutDue bool `json:"sign_out_due,omitempty"`

	LastError string    `json:"last_error,omitempty"`
	Failures  int       `json:"failures,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
}

// pendingValue is a value that Cognito may have.
type pendingValue struct {
	Value string `json:"value"`
	// Earlier is the pending value that this one replaced, because Cognito refuses it. It may be in
	// force until this one certainly is.
	Earlier string `json:"earlier,omitempty"`
	// Before has the ids of the app client's secrets when the rotation began. A secret that a lost
	// response added is not among them.
	Before []string `json:"before,omitempty"`
	// ID is the id of the app client secret, if the response of Cognito was received.
	ID string `json:"id,omitempty"`
}

// getStaticRole reads a static role from the storage. It returns nil if there is none. The caller
// may change the role.
func getStaticRole(ctx context.Context, s logical.Storage, name string) (*staticRole, error) {
	role := &staticRole{}
	found, err := getJSON(ctx, s, staticRoleStoragePrefix+name, role)
	if err != nil || !found {
		return nil, err
	}
	role.addState()
	return role, nil
}

// addState sets the state of a role if it is missing, as in roles of a release candidate, or
// contradicts the rest of the entry.
func (r *staticRole) addState() {
	switch {
	case r.Pending != nil && r.State == staticProving && r.isSecret():
	case r.Pending != nil:
		r.State = staticSetting
	case r.State == staticRejected, r.State == staticProving && !r.isSecret():
	default:
		r.State = staticIdle
	}
}

// putStaticRole stores a static role and updates the queue.
func (b *backend) putStaticRole(ctx context.Context, s logical.Storage, name string, role *staticRole) error {
	// The cached role is dropped after a failure, too: the storage may have the new one.
	defer b.staticRoles.Drop(name)
	if err := putJSON(ctx, s, staticRoleStoragePrefix+name, role); err != nil {
		return err
	}
	b.queue.set(name, role, b.now())
	return nil
}

// staticRole returns a static role from the cache or the storage, or nil. The caller must not
// change it.
func (b *backend) staticRole(ctx context.Context, s logical.Storage, name string) (*staticRole, error) {
	return b.staticRoles.Get(ctx, name, nil, func(ctx context.Context) (*staticRole, error) { return getStaticRole(ctx, s, name) })
}

// existingStaticRole is staticRole, but a missing role is an error.
func (b *backend) existingStaticRole(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	role, err := b.staticRole(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = noStaticRole(name)
	}
	return role, err
}

func noStaticRole(name string) error { return badRequest("there is no static role %q", name) }

func (r *staticRole) isSecret() bool { return r.CredentialType == staticTypeSecret }

// identities returns the identities of what the role owns, each of which can have only one owner:
// the app client, or the user by its sub and by every known name.
func (r *staticRole) identities() []string {
	names := []string{r.Sub, r.CognitoUsername, r.Username}
	if r.isSecret() {
		names = []string{r.AppClientID}
	}
	var identities []string
	for _, name := range names {
		if name != "" {
			identities = append(identities, identityOf(r.CredentialType, r.UserPoolID, name))
		}
	}
	return identities
}

// identityOf returns the identity of a user or app client in a user pool.
func identityOf(credentialType, userPoolID, name string) string {
	return fmt.Sprintf("%s %q %q", credentialType, userPoolID, name)
}

// user returns the username for calls to Cognito.
func (r *staticRole) user() string { return cmp.Or(r.CognitoUsername, r.Username) }

func (r *staticRole) target(defaultRegion string) cognito.Target {
	return r.access().target(defaultRegion)
}

func (r *staticRole) appClient() cognito.AppClient {
	return cognito.AppClient{ID: r.AppClientID, Secret: r.AppClientSecret}
}

// inDoubt reports whether Cognito may refuse the password that static-creds returns. A secret is
// never in doubt, because it stays valid while the next one is added.
func (r *staticRole) inDoubt() bool {
	return !r.isSecret() && (r.State == staticSetting || r.State == staticRejected)
}

// update sets the fields that the request contains.
func (r *staticRole) update(in input) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	setString(in, "credential_type", &r.CredentialType)
	if err := validateType(in, r.CredentialType, staticFieldsOfType); err != nil {
		return err
	}
	setString(in, "user_pool_id", &r.UserPoolID)
	setString(in, "region", &r.Region)
	setString(in, "aws_assume_role_arn", &r.AssumeRoleARN)
	setString(in, "aws_external_id", &r.ExternalID)
	setString(in, "app_client_id", &r.AppClientID)
	setString(in, "username", &r.Username)
	if !r.isSecret() {
		setString(in, "app_client_secret", &r.AppClientSecret)
	}
	setString(in, "password_policy", &r.PasswordPolicy)
	setField(in, "issue_tokens", &r.IssueTokens)
	setField(in, "sign_out_on_rotation", &r.SignOutOnRotation)
	setField(in, "self_managed", &r.SelfManaged)
	setString(in, "cognito_pool_domain", &r.CognitoPoolDomain)
	setField(in, "scopes", &r.Scopes)
	setDuration(in, "rotation_period", &r.RotationPeriod)
	setString(in, "rotation_schedule", &r.RotationSchedule)
	setDuration(in, "rotation_window", &r.RotationWindow)
	return nil
}

// refuseOtherOwned returns an error if a write changes what an existing role owns.
// staticWrite.refuseOtherUser compares usernames, because a user may have several.
func (r *staticRole) refuseOtherOwned(before *staticRole) error {
	if r.CredentialType != before.CredentialType || r.UserPoolID != before.UserPoolID || r.SelfManaged != before.SelfManaged ||
		r.isSecret() && r.AppClientID != before.AppClientID {
		return cannotChange()
	}
	return nil
}

func cannotChange() error {
	return badRequest("credential_type, user_pool_id, username, self_managed and app_client_id of a secret cannot change: delete the static role and write another")
}

// presentValueField returns the name of the field that holds the present value in a write.
func (r *staticRole) presentValueField() string {
	if r.isSecret() {
		return "app_client_secret"
	}
	return "password"
}

func (r *staticRole) access() poolAccess {
	return poolAccess{r.UserPoolID, r.Region, r.AssumeRoleARN, r.ExternalID, r.AppClientID}
}

func (r *staticRole) validate(defaultRegion string) error {
	if err := r.access().requirePool(defaultRegion); err != nil {
		return err
	}
	for _, validate := range []func() error{r.access().validate, r.validateType, r.validateSchedule} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *staticRole) validateType() error {
	if r.isSecret() {
		return r.validateSecret()
	}
	switch {
	case r.Username == "":
		return requiredField("username", "the user whose password Vault owns")
	case !isUsername(r.Username):
		return badRequest("username %q is not allowed: it must be 1 to 128 characters without spaces", r.Username)
	case r.SelfManaged && r.AppClientID == "":
		return requiredField("app_client_id", "the app client that the user signs in through, which self_managed needs")
	case r.IssueTokens && r.AppClientID == "":
		return requiredField("app_client_id", "the app client that the user signs in through, which issue_tokens needs")
	}
	return nil
}

func (r *staticRole) validateSecret() error {
	if r.AppClientID == "" {
		return requiredField("app_client_id", "the app client whose secret Vault owns")
	}
	if r.CognitoPoolDomain != "" {
		if err := validateDomain(r.CognitoPoolDomain); err != nil {
			return err
		}
	}
	return validateScopes(r.Scopes)
}

// responseData returns the fields of a read.
func (r *staticRole) responseData(now time.Time) map[string]any {
	data := map[string]any{
		"credential_type":     r.CredentialType,
		"user_pool_id":        r.UserPoolID,
		"region":              r.Region,
		"aws_assume_role_arn": r.AssumeRoleARN,
		"aws_external_id":     r.ExternalID,
		"app_client_id":       r.AppClientID,
		"rotation_period":     seconds(r.RotationPeriod),
		"rotation_schedule":   r.RotationSchedule,
		"rotation_window":     seconds(r.RotationWindow),
		"last_vault_rotation": timeText(r.LastRotation),
		"next_vault_rotation": timeText(r.NextRotation),
		"state":               string(r.State),
		"last_error":          r.LastError,
		"next_attempt":        timeText(latest(r.nextAttempt(now), now)),
	}
	if r.isSecret() {
		data["cognito_pool_domain"] = r.CognitoPoolDomain
		data["scopes"] = append([]string{}, r.Scopes...)
		return data
	}
	data["username"] = r.Username
	data["sub"] = r.Sub
	data["app_client_secret_set"] = r.AppClientSecret != ""
	data["password_policy"] = r.PasswordPolicy
	data["issue_tokens"] = r.IssueTokens
	data["sign_out_on_rotation"] = r.SignOutOnRotation
	data["self_managed"] = r.SelfManaged
	return data
}

// staticNameOf returns the name in the storage key of a static role.
func staticNameOf(key string) string { return strings.TrimPrefix(key, staticRoleStoragePrefix) }
