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

// staticFieldsOfType are the fields that only one type has.
var staticFieldsOfType = map[string][]string{
	staticTypePassword: {"username", "password", "password_policy", "issue_tokens", "sign_out_on_rotation", "self_managed"},
	staticTypeSecret:   {"cognito_pool_domain", "scopes"},
}

// staticRole is a user's password or an app client's secret that Vault owns,
// as it is stored.
type staticRole struct {
	CredentialType string `json:"credential_type"`
	UserPoolID     string `json:"user_pool_id"`
	Region         string `json:"region,omitempty"`
	AssumeRoleARN  string `json:"aws_assume_role_arn,omitempty"`
	ExternalID     string `json:"aws_external_id,omitempty"`
	AppClientID    string `json:"app_client_id,omitempty"`

	// Of a password. AppClientSecret is that of the client which proves it.
	Username          string `json:"username,omitempty"`
	AppClientSecret   string `json:"app_client_secret,omitempty"`
	PasswordPolicy    string `json:"password_policy,omitempty"`
	IssueTokens       bool   `json:"issue_tokens,omitempty"`
	SignOutOnRotation bool   `json:"sign_out_on_rotation,omitempty"`
	SelfManaged       bool   `json:"self_managed,omitempty"`

	// Of an app client's secret.
	CognitoPoolDomain string   `json:"cognito_pool_domain,omitempty"`
	Scopes            []string `json:"scopes,omitempty"`
	// SecretID is the newest secret's, PreviousID that of the one before, which
	// lives until the next rotation.
	SecretID   string `json:"secret_id,omitempty"`
	PreviousID string `json:"previous_id,omitempty"`

	RotationPeriod   time.Duration `json:"rotation_period,omitempty"`
	RotationSchedule string        `json:"rotation_schedule,omitempty"`
	RotationWindow   time.Duration `json:"rotation_window,omitempty"`

	// Value is the password or secret that is handed out.
	Value        string    `json:"value"`
	LastRotation time.Time `json:"last_vault_rotation,omitzero"`
	NextRotation time.Time `json:"next_vault_rotation,omitzero"`

	// Pending is the value of a rotation that has begun. It stands in the role's
	// own entry and not in the write-ahead log, so that one write begins a
	// rotation, one write ends it, and nothing is ever in two places.
	Pending *pendingValue `json:"pending,omitempty"`

	LastError string    `json:"last_error,omitempty"`
	Failures  int       `json:"failures,omitempty"`
	RetryAt   time.Time `json:"retry_at,omitzero"`
}

// pendingValue may or may not be in force at Cognito.
type pendingValue struct {
	Value string `json:"value"`
	// Before are the ids of the app client's secrets when the rotation began: a
	// lost answer added one that is not among them.
	Before []string `json:"before,omitempty"`
	// ID is that of an app client's secret which Cognito is known to have.
	ID string `json:"id,omitempty"`

	// Touched says that Cognito may have taken the value already.
	Touched bool `json:"touched,omitempty"`
}

// note remembers what a call that sets the value came to. An answer that got
// lost may have been a yes.
func (p *pendingValue) note(err error) {
	p.Touched = p.Touched || err == nil || cognito.KindOf(err) == cognito.KindUnavailable
}

// getStaticRole reads a static role to change it, or nil.
func getStaticRole(ctx context.Context, s logical.Storage, name string) (*staticRole, error) {
	role := &staticRole{}
	found, err := getJSON(ctx, s, staticRoleStoragePrefix+name, role)
	if err != nil || !found {
		return nil, err
	}
	return role, nil
}

// putStaticRole stores a static role and tells the queue when it is due.
func (b *backend) putStaticRole(ctx context.Context, s logical.Storage, name string, role *staticRole) error {
	// Dropped even after a failure: the storage may have taken it all the same.
	defer b.staticRoles.Drop(name)
	if err := putJSON(ctx, s, staticRoleStoragePrefix+name, role); err != nil {
		return err
	}
	b.queue.set(name, role)
	return nil
}

// staticRole gives a static role for use, from memory where it can, or nil. It
// must not be changed.
func (b *backend) staticRole(ctx context.Context, s logical.Storage, name string) (*staticRole, error) {
	return b.staticRoles.Get(ctx, name, nil, func(ctx context.Context) (*staticRole, error) { return getStaticRole(ctx, s, name) })
}

// identity tells what a static role owns: nobody else may own it too.
func (r *staticRole) identity() string {
	return fmt.Sprintf("%s %q %q", r.CredentialType, r.UserPoolID, cmp.Or(r.Username, r.AppClientID))
}

func (r *staticRole) target(defaultRegion string) cognito.Target {
	return cognito.Target{
		UserPoolID: r.UserPoolID, Region: cmp.Or(r.Region, defaultRegion), AssumeRoleARN: r.AssumeRoleARN, ExternalID: r.ExternalID,
	}
}

func (r *staticRole) appClient() cognito.AppClient {
	return cognito.AppClient{ID: r.AppClientID, Secret: r.AppClientSecret}
}

// update takes over what the request names. The second of two writes cannot
// change what the role owns.
func (r *staticRole) update(in input, isNew bool) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	owned := r.identity()
	setString(in, "credential_type", &r.CredentialType)
	if err := r.refuseOtherType(in); err != nil {
		return err
	}
	setString(in, "user_pool_id", &r.UserPoolID)
	setString(in, "region", &r.Region)
	setString(in, "aws_assume_role_arn", &r.AssumeRoleARN)
	setString(in, "aws_external_id", &r.ExternalID)
	setString(in, "app_client_id", &r.AppClientID)
	setString(in, "username", &r.Username)
	if r.CredentialType == staticTypePassword {
		setString(in, "app_client_secret", &r.AppClientSecret)
	}
	setString(in, "password_policy", &r.PasswordPolicy)
	setField(in, "issue_tokens", &r.IssueTokens)
	setField(in, "sign_out_on_rotation", &r.SignOutOnRotation)
	setString(in, "cognito_pool_domain", &r.CognitoPoolDomain)
	setField(in, "scopes", &r.Scopes)
	setDuration(in, "rotation_period", &r.RotationPeriod)
	setString(in, "rotation_schedule", &r.RotationSchedule)
	setDuration(in, "rotation_window", &r.RotationWindow)
	wasSelfManaged := r.SelfManaged
	setField(in, "self_managed", &r.SelfManaged)
	if !isNew && (r.identity() != owned || r.SelfManaged != wasSelfManaged) {
		return badRequest("credential_type, user_pool_id, username, self_managed and app_client_id of a secret cannot change: delete the static role and write another")
	}
	return nil
}

// ignoredLater are the fields of a later write that have a meaning in the first
// one only. They are not refused, because tools write all that they know.
func (r *staticRole) ignoredLater(in input) []string {
	var warnings []string
	for _, field := range []string{r.presentValueField(), "skip_import_rotation"} {
		if in.has(field) {
			warnings = append(warnings, field+" is ignored: Vault owns the value since the static role was first written")
		}
	}
	return warnings
}

// presentValueField is the field that gives the value that is in force before
// Vault owns it.
func (r *staticRole) presentValueField() string {
	if r.CredentialType == staticTypeSecret {
		return "app_client_secret"
	}
	return "password"
}

func (r *staticRole) refuseOtherType(in input) error {
	if _, known := staticFieldsOfType[r.CredentialType]; !known {
		return badRequest("credential_type %q is not allowed: it must be %q or %q", r.CredentialType, staticTypePassword, staticTypeSecret)
	}
	for other, fields := range staticFieldsOfType {
		for _, field := range fields {
			if other != r.CredentialType && in.has(field) {
				return badRequest("%s is not allowed for credential_type %q: it belongs to %q", field, r.CredentialType, other)
			}
		}
	}
	return nil
}

func (r *staticRole) validate(defaultRegion string) error {
	switch {
	case r.UserPoolID == "":
		return requiredField("user_pool_id", "the id of the user pool, such as eu-west-1_AbCdEfGhI")
	case !userPoolIDPattern.MatchString(r.UserPoolID):
		return badRequest("user_pool_id %q is not allowed: it must be the id of a user pool, such as eu-west-1_AbCdEfGhI", r.UserPoolID)
	case r.Region == "" && defaultRegion == "":
		return requiredField("region", "the AWS region of the user pool, here or in the mount's config")
	case r.AppClientID != "" && !appClientIDPattern.MatchString(r.AppClientID):
		return badRequest("app_client_id %q is not allowed: it must be up to 128 letters, digits, _ or +", r.AppClientID)
	}
	for _, validate := range []func() error{
		func() error { return validateReach(r.Region, r.AssumeRoleARN, r.ExternalID) }, r.validateType, r.validateSchedule,
	} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *staticRole) validateType() error {
	if r.CredentialType == staticTypeSecret {
		return r.validateSecret()
	}
	switch {
	case r.Username == "":
		return requiredField("username", "the user whose password Vault owns")
	case !usernamePattern.MatchString(r.Username):
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
		if _, err := cognito.ParseDomain(r.CognitoPoolDomain); err != nil {
			return badRequest("cognito_pool_domain %q is not allowed: %s", r.CognitoPoolDomain, err)
		}
	}
	return validateScopes(r.Scopes)
}

func (r *staticRole) timetable() timetable {
	return timetable{r.RotationPeriod, r.RotationSchedule, r.RotationWindow}
}

func (r *staticRole) validateSchedule() error {
	if r.RotationPeriod == 0 && r.RotationSchedule == "" {
		return requiredField("rotation_period", "how often to rotate, 60s at least; or give a rotation_schedule")
	}
	return r.timetable().validate()
}

// reschedule counts from now.
func (r *staticRole) reschedule(now time.Time) error {
	next, err := r.timetable().next(now)
	r.NextRotation = next
	return err
}

// due reports whether to rotate now: at or after the time, inside the window
// if there is one, and not sooner than a failure allows. A rotation that has
// begun is finished without regard to the window.
func (r *staticRole) due(now time.Time) bool {
	switch {
	case now.Before(r.RetryAt):
		return false
	case r.Pending != nil:
		return true
	default:
		return !now.Before(r.NextRotation) && !r.missed(now)
	}
}

// missed reports that the window for the rotation is over.
func (r *staticRole) missed(now time.Time) bool {
	return r.Pending == nil && r.timetable().missed(r.NextRotation, now)
}

// wake is when the role needs attention next.
func (r *staticRole) wake() time.Time {
	if r.Pending != nil {
		return r.RetryAt
	}
	if r.RetryAt.After(r.NextRotation) {
		return r.RetryAt
	}
	return r.NextRotation
}

// ttl is how long the value at hand is the newest: nothing while a rotation is
// due, under way or failing.
func (r *staticRole) ttl(now time.Time) time.Duration {
	if r.Pending != nil || r.LastError != "" {
		return 0
	}
	return max(0, r.NextRotation.Sub(now))
}

// period is the time from one rotation to the next, also of a schedule.
func (r *staticRole) period() time.Duration {
	if r.RotationSchedule == "" {
		return r.RotationPeriod
	}
	after, err := r.timetable().next(r.NextRotation)
	if err != nil {
		return 0
	}
	return after.Sub(r.NextRotation)
}

// shown is what a read of the role tells: no secret.
func (r *staticRole) responseData() map[string]any {
	shown := map[string]any{
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
		"last_error":          r.LastError,
	}
	if r.CredentialType == staticTypePassword {
		shown["username"] = r.Username
		shown["app_client_secret_set"] = r.AppClientSecret != ""
		shown["password_policy"] = r.PasswordPolicy
		shown["issue_tokens"] = r.IssueTokens
		shown["sign_out_on_rotation"] = r.SignOutOnRotation
		shown["self_managed"] = r.SelfManaged
	} else {
		shown["cognito_pool_domain"] = r.CognitoPoolDomain
		shown["scopes"] = append([]string{}, r.Scopes...)
	}
	return shown
}

func (b *backend) existingStaticRole(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	role, err := b.staticRole(ctx, req.Storage, name)
	if err == nil && role == nil {
		err = badRequest("there is no static role %q", name)
	}
	return role, err
}

// staticNameOf is the name in a storage key of a static role.
func staticNameOf(key string) string { return strings.TrimPrefix(key, staticRoleStoragePrefix) }
