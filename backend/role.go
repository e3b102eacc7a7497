// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	roleStoragePrefix = "roles/"

	credentialTypeUser              = "user"
	credentialTypeClientCredentials = "client_credentials_grant"
	credentialTypeAppClient         = "app_client"
	credentialTypeGroupMembership   = "group_membership"

	mfaNone = "none"
	mfaTOTP = "totp"

	revocationDelete  = "delete"
	revocationDisable = "disable"

	groupsMax     = 100 // of one user, see Cognito's quotas
	attributesMax = 100 // more than the standard attributes and 50 custom ones

	// defaultMinTokenTTL leaves the reader of a token time to use it.
	defaultMinTokenTTL = 30 * time.Second
	// minTokenTTLMax is the longest validity of an access token.
	minTokenTTLMax = 24 * time.Hour
)

var (
	attributePattern   = regexp.MustCompile(`^(custom:)?[\pL\pM\pS\pN\pP]{1,32}$`)
	groupPattern       = regexp.MustCompile(`^[\pL\pM\pS\pN\pP]{1,128}$`)
	emailDomainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$`)
)

// roleEntry is a role as it is stored. The 2021 plugin stored the fields without omitempty, under
// the same names, with durations in nanoseconds.
type roleEntry struct {
	CredentialType    string        `json:"credential_type"`
	AppClientID       string        `json:"app_client_id"`
	AppClientSecret   string        `json:"app_client_secret"`
	Region            string        `json:"region"`
	UserPoolID        string        `json:"user_pool_id"`
	DummyEmailDomain  string        `json:"dummy_email_domain"`
	CognitoPoolDomain string        `json:"cognito_pool_domain"`
	TTL               time.Duration `json:"ttl"`
	MaxTTL            time.Duration `json:"max_ttl"`
	// Group is the first of Groups, so that the 2021 plugin can read the entry again.
	Group string `json:"group"`

	AssumeRoleARN  string            `json:"aws_assume_role_arn,omitempty"`
	ExternalID     string            `json:"aws_external_id,omitempty"`
	ClientMetadata map[string]string `json:"client_metadata,omitempty"`
	Groups         []string          `json:"groups,omitempty"`
	// NoTokens negates issue_tokens, whose default is true.
	NoTokens bool                `json:"no_tokens,omitempty"`
	Scopes   []string            `json:"scopes,omitempty"`
	Source   cognito.TokenSource `json:"token_source,omitempty"`
	// NoCache negates cache_tokens, whose default is true.
	NoCache bool `json:"no_cache,omitempty"`
	// MinTokenTTL is nil for the default.
	MinTokenTTL *time.Duration `json:"min_token_ttl,omitempty"`

	// StaticRole names a static role whose app client and secret are used.
	StaticRole string `json:"static_role,omitempty"`

	// FormerMaxTTL is the longest max_ttl that the role had, if it was lowered since: a lease may
	// have been renewed while it was in force. unboundedTTL stands for none.
	FormerMaxTTL time.Duration `json:"former_max_ttl,omitempty"`
	// FormerPools are the pools that the role created users in before it changed: a lease of the
	// 2021 plugin names only the role.
	FormerPools []formerPool `json:"former_pools,omitempty"`

	UsernameTemplate string            `json:"username_template,omitempty"`
	UserAttributes   map[string]string `json:"user_attributes,omitempty"`
	PasswordPolicy   string            `json:"password_policy,omitempty"`
	MFA              string            `json:"mfa,omitempty"`
	Revocation       string            `json:"revocation,omitempty"`
	// TokensFor is empty for the default, tokensForIssued.
	TokensFor string `json:"tokens_for,omitempty"`
	// AccessTokenTTL is the life of the tokens of issued app clients; 0 is Cognito's default.
	AccessTokenTTL     time.Duration `json:"access_token_ttl,omitempty"`
	ClientNameTemplate string        `json:"client_name_template,omitempty"`
	// Username is that of the user who is put into groups, or a template of it.
	Username string `json:"username,omitempty"`
	// SignOut is sign_out_on_revoke.
	SignOut bool `json:"sign_out_on_revoke,omitempty"`
	// MaxIssued bounds how many objects of the role exist at a time; 0 is no bound.
	MaxIssued int `json:"max_issued,omitempty"`
}

// formerPoolsMax bounds how many former pools a role stores.
const formerPoolsMax = 5

// formerPool is a pool that a role created users in before.
type formerPool struct {
	UserPoolID    string `json:"user_pool_id"`
	Region        string `json:"region"`
	AssumeRoleARN string `json:"aws_assume_role_arn,omitempty"`
	ExternalID    string `json:"aws_external_id,omitempty"`
}

func (p formerPool) target() cognito.Target {
	return cognito.Target{UserPoolID: p.UserPoolID, Region: p.Region, AssumeRoleARN: p.AssumeRoleARN, ExternalID: p.ExternalID}
}

// addFormerPool stores the pool that the role created users in until now.
func (r *roleEntry) addFormerPool(before, now cognito.Target) {
	pool := formerPool{before.UserPoolID, before.Region, before.AssumeRoleARN, before.ExternalID}
	if before.UserPoolID == "" || before == now || slices.Contains(r.FormerPools, pool) {
		return
	}
	r.FormerPools = append([]formerPool{pool}, r.FormerPools...)
	r.FormerPools = r.FormerPools[:min(len(r.FormerPools), formerPoolsMax)]
}

// unboundedTTL is longer than any max_ttl.
const unboundedTTL = time.Duration(math.MaxInt64)

// longestTTL returns the longest max_ttl that the role has or had, or unboundedTTL.
func (r *roleEntry) longestTTL() time.Duration {
	return max(cmp.Or(r.MaxTTL, unboundedTTL), r.FormerMaxTTL)
}

// rememberMaxTTL remembers a longestTTL of before that is longer than max_ttl.
func (r *roleEntry) rememberMaxTTL(before time.Duration) {
	if before > cmp.Or(r.MaxTTL, unboundedTTL) {
		r.FormerMaxTTL = before
	}
}

// getRole reads a role from storage. It returns nil if there is none.
func getRole(ctx context.Context, s logical.Storage, name string) (*roleEntry, error) {
	role := &roleEntry{}
	found, err := getJSON(ctx, s, roleStoragePrefix+name, role)
	if err != nil || !found {
		return nil, err
	}
	if len(role.Groups) == 0 && role.Group != "" {
		role.Groups = []string{role.Group}
	}
	return role, nil
}

func putRole(ctx context.Context, s logical.Storage, name string, role *roleEntry) error {
	role.Group = ""
	if len(role.Groups) > 0 {
		role.Group = role.Groups[0]
	}
	return putJSON(ctx, s, roleStoragePrefix+name, role)
}

// update sets the fields that the request names.
func (r *roleEntry) update(in input) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	before := *r
	if err := r.setType(in); err != nil {
		return err
	}
	setString(in, "app_client_id", &r.AppClientID)
	setString(in, "app_client_secret", &r.AppClientSecret)
	setString(in, "region", &r.Region)
	setString(in, "user_pool_id", &r.UserPoolID)
	setString(in, "aws_assume_role_arn", &r.AssumeRoleARN)
	setString(in, "aws_external_id", &r.ExternalID)
	setField(in, "client_metadata", &r.ClientMetadata)
	setString(in, "dummy_email_domain", &r.DummyEmailDomain)
	setString(in, "username_template", &r.UsernameTemplate)
	setField(in, "user_attributes", &r.UserAttributes)
	setString(in, "password_policy", &r.PasswordPolicy)
	setString(in, "mfa", &r.MFA)
	setString(in, "revocation", &r.Revocation)
	setString(in, "tokens_for", &r.TokensFor)
	setString(in, "cognito_pool_domain", &r.CognitoPoolDomain)
	setString(in, "static_role", &r.StaticRole)
	setField(in, "scopes", &r.Scopes)
	setDuration(in, "ttl", &r.TTL)
	setDuration(in, "max_ttl", &r.MaxTTL)
	setField(in, "max_issued", &r.MaxIssued)
	setDuration(in, "access_token_ttl", &r.AccessTokenTTL)
	setString(in, "client_name_template", &r.ClientNameTemplate)
	setString(in, "username", &r.Username)
	setField(in, "sign_out_on_revoke", &r.SignOut)
	setNegated(in, "issue_tokens", &r.NoTokens)
	setNegated(in, "cache_tokens", &r.NoCache)
	setString(in, "token_source", (*string)(&r.Source))
	if in.has("min_token_ttl") {
		r.MinTokenTTL = new(time.Duration)
		setDuration(in, "min_token_ttl", r.MinTokenTTL)
	}
	r.Scopes = slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
	if err := r.setGroups(in); err != nil {
		return err
	}
	return keepSecret(in, before.secretUse(), r.secretUse())
}

// setType drops the fields of the other type from a role that changes its type.
func (r *roleEntry) setType(in input) error {
	before := r.CredentialType
	setField(in, "credential_type", &r.CredentialType)
	if err := validateType(in, r.CredentialType, fieldsOfType); err != nil {
		return err
	}
	if before != r.CredentialType {
		*r = r.common()
	}
	if !slices.Contains(fieldsOfType[r.CredentialType], "app_client_id") {
		r.AppClientID, r.AppClientSecret, r.ClientMetadata = "", "", nil
	}
	return nil
}

// common returns the fields that all types have.
func (r *roleEntry) common() roleEntry {
	return roleEntry{
		CredentialType:  r.CredentialType,
		AppClientID:     r.AppClientID,
		AppClientSecret: r.AppClientSecret,
		Region:          r.Region,
		UserPoolID:      r.UserPoolID,
		AssumeRoleARN:   r.AssumeRoleARN,
		ExternalID:      r.ExternalID,
		ClientMetadata:  r.ClientMetadata,
		FormerPools:     r.FormerPools,
		FormerMaxTTL:    r.FormerMaxTTL,
	}
}

// setGroups sets groups, or the 2021 plugin's group.
func (r *roleEntry) setGroups(in input) error {
	setField(in, "groups", &r.Groups)
	if in.has("group") {
		single := strings.Fields(in.value("group").(string))
		if in.has("groups") && !slices.Equal(single, r.Groups) {
			return badRequest("group and groups are two spellings of one field and differ: write groups only")
		}
		r.Groups = single
	}
	r.Groups = slices.Compact(slices.Sorted(slices.Values(r.Groups)))
	return nil
}

// warnings returns what is allowed but probably not intended.
func (r *roleEntry) warnings(in input, defaultRegion string) []string {
	warnings := r.access().warnings(defaultRegion)
	var setBefore bool
	setField(in, "app_client_secret_set", &setBefore)
	if setBefore && r.AppClientSecret == "" {
		warnings = append(warnings, "app_client_secret_set is true, but this role stores no app_client_secret: a read of another role does not return its secret")
	}
	return warnings
}

// validate returns why a role cannot be used, given the region of the config.
func (r *roleEntry) validate(defaultRegion string) error {
	if err := r.access().validate(); err != nil {
		return err
	}
	switch r.CredentialType {
	case credentialTypeUser:
		return r.validateUser(defaultRegion)
	case credentialTypeAppClient:
		return r.validateAppClient(defaultRegion)
	case credentialTypeGroupMembership:
		return r.validateGroupMembership(defaultRegion)
	}
	// The 2021 plugin stored any type, and issued machine tokens for all except "user".
	return r.validateClientCredentials(defaultRegion)
}

func (r *roleEntry) validateUser(defaultRegion string) error {
	if err := r.access().requirePool(defaultRegion); err != nil {
		return err
	}
	switch {
	case r.AppClientID == "" && !r.NoTokens:
		return requiredField("app_client_id", "the app client that users sign in through; or set issue_tokens to false")
	case r.DummyEmailDomain != "" && !validEmailDomain(r.DummyEmailDomain):
		return badRequest("dummy_email_domain %q is not allowed: it must be a domain of at most %d characters, such as example.com",
			r.DummyEmailDomain, emailDomainMax)
	}
	for _, validate := range []func() error{r.validateLease, r.validateChoices, r.validateAttributes, r.validateGroups} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *roleEntry) validateLease() error {
	switch {
	case r.MaxTTL != 0 && r.TTL > r.MaxTTL:
		return badRequest("ttl %q is not allowed: it must not be longer than max_ttl %s", cognito.DurationText(r.TTL), cognito.DurationText(r.MaxTTL))
	case r.MaxIssued < 0:
		return badRequest("max_issued %d is not allowed: it must be 0, for no bound, or a number of objects", r.MaxIssued)
	}
	return nil
}

func (r *roleEntry) validateChoices() error {
	switch {
	case r.mfa() != mfaNone && r.mfa() != mfaTOTP:
		return badRequest("mfa %q is not allowed: it must be %q or %q", r.MFA, mfaNone, mfaTOTP)
	case r.mfa() == mfaTOTP && r.AppClientID == "":
		return requiredField("app_client_id", "the app client that users sign in through, which mfa=totp needs")
	case r.revocation() != revocationDelete && r.revocation() != revocationDisable:
		return badRequest("revocation %q is not allowed: it must be %q or %q", r.Revocation, revocationDelete, revocationDisable)
	case r.tokensFor() != tokensForIssued && r.tokensFor() != tokensForAny:
		return badRequest("tokens_for %q is not allowed: it must be %q or %q", r.TokensFor, tokensForIssued, tokensForAny)
	}
	return nil
}

// validateAttributes validates names, and the values that are not templates.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AttributeType.html
func (r *roleEntry) validateAttributes() error {
	if len(r.UserAttributes) > attributesMax {
		return badRequest("user_attributes has %d names: no user pool has more than %d", len(r.UserAttributes), attributesMax)
	}
	for _, name := range slices.Sorted(maps.Keys(r.UserAttributes)) {
		value := r.UserAttributes[name]
		switch {
		case !attributePattern.MatchString(name) || name == "sub":
			return badRequest("user_attributes holds %q: it must be a standard attribute, or a custom one with the prefix custom:", name)
		case strings.HasSuffix(name, "_verified") && value != "true" && value != "false":
			return badRequest("user_attributes holds %s=%q: it must be true or false", name, value)
		}
	}
	return nil
}

func (r *roleEntry) mfa() string { return cmp.Or(r.MFA, mfaNone) }

func (r *roleEntry) revocation() string { return cmp.Or(r.Revocation, revocationDelete) }

func (r *roleEntry) tokensFor() string { return cmp.Or(r.TokensFor, tokensForIssued) }

func (r *roleEntry) validateGroups() error {
	if len(r.Groups) > groupsMax {
		return badRequest("groups has %d names: Cognito allows a user %d", len(r.Groups), groupsMax)
	}
	for _, group := range r.Groups {
		if !groupPattern.MatchString(group) {
			return badRequest("groups holds %q: the name of a group must be 1 to 128 characters without spaces", group)
		}
	}
	return nil
}

func (r *roleEntry) validateClientCredentials(defaultRegion string) error {
	switch {
	case r.StaticRole != "" && r.AppClientSecret != "":
		return badRequest("static_role and app_client_secret are mutually exclusive: the secret is the one of the static role")
	case r.StaticRole == "" && r.AppClientID == "":
		return requiredField("app_client_id", "the app client whose tokens are issued")
	case r.StaticRole == "" && r.AppClientSecret == "" && r.access().requirePool(defaultRegion) != nil:
		return requiredField("app_client_secret", "the secret of the app client; or set user_pool_id and region to have it looked up")
	case r.minTokenTTL() > minTokenTTLMax:
		return badRequest("min_token_ttl %q is not allowed: it must be %s or less, the longest validity of a token",
			cognito.DurationText(r.minTokenTTL()), cognito.DurationText(minTokenTTLMax))
	}
	if err := r.validateSource(r.target(defaultRegion).Region); err != nil {
		return err
	}
	return validateScopes(r.Scopes)
}

func (r *roleEntry) validateSource(region string) error {
	switch r.source() {
	case cognito.SourceEndpoint:
		if r.CognitoPoolDomain == "" {
			return requiredField("cognito_pool_domain", "the domain of the user pool, such as example.auth.eu-west-1.amazoncognito.com; "+
				"or did you mean credential_type=user?")
		}
		return validateDomain(r.CognitoPoolDomain)
	case cognito.SourceAPI:
		if region == "" {
			return requiredField("region", "the AWS region of the app client, in the role or in the config")
		}
		return nil
	default:
		return badRequest("token_source %q is not allowed: it must be %q or %q", r.Source, cognito.SourceEndpoint, cognito.SourceAPI)
	}
}

func (r *roleEntry) source() cognito.TokenSource { return cmp.Or(r.Source, cognito.SourceEndpoint) }

func (r *roleEntry) minTokenTTL() time.Duration {
	if r.MinTokenTTL == nil {
		return defaultMinTokenTTL
	}
	return *r.MinTokenTTL
}

func validEmailDomain(domain string) bool {
	return len(domain) <= emailDomainMax && emailDomainPattern.MatchString(strings.ToLower(domain))
}

// responseData returns the role as a read shows it, without its secret.
func (r *roleEntry) responseData() map[string]any {
	data := map[string]any{
		"credential_type":     r.CredentialType,
		"region":              r.Region,
		"user_pool_id":        r.UserPoolID,
		"aws_assume_role_arn": r.AssumeRoleARN,
		"aws_external_id":     r.ExternalID,
	}
	switch r.CredentialType {
	case credentialTypeAppClient:
		maps.Copy(data, r.appClientData())
		return data
	case credentialTypeGroupMembership:
		maps.Copy(data, r.membershipData())
		return data
	}
	data["app_client_id"] = r.AppClientID
	data["app_client_secret_set"] = r.AppClientSecret != ""
	data["client_metadata"] = orEmpty(r.ClientMetadata)
	if r.CredentialType == credentialTypeUser {
		maps.Copy(data, r.userData())
	} else {
		maps.Copy(data, r.machineData())
	}
	return data
}

func (r *roleEntry) userData() map[string]any {
	data := map[string]any{
		"groups":             append([]string{}, r.Groups...),
		"dummy_email_domain": r.DummyEmailDomain,
		"username_template":  r.UsernameTemplate,
		"user_attributes":    orEmpty(r.UserAttributes),
		"password_policy":    r.PasswordPolicy,
		"issue_tokens":       !r.NoTokens,
		"mfa":                r.mfa(),
		"revocation":         r.revocation(),
		"tokens_for":         r.tokensFor(),
		"ttl":                seconds(r.TTL),
		"max_ttl":            seconds(r.MaxTTL),
		"max_issued":         r.MaxIssued,
	}
	if len(r.Groups) <= 1 {
		data["group"] = strings.Join(r.Groups, "")
	}
	return data
}

func (r *roleEntry) machineData() map[string]any {
	return map[string]any{
		"token_source":        string(r.source()),
		"static_role":         r.StaticRole,
		"cognito_pool_domain": r.CognitoPoolDomain,
		"scopes":              append([]string{}, r.Scopes...),
		"cache_tokens":        !r.NoCache,
		"min_token_ttl":       seconds(r.minTokenTTL()),
	}
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (r *roleEntry) appClient() cognito.AppClient {
	return cognito.AppClient{ID: r.AppClientID, Secret: r.AppClientSecret}
}

func (r *roleEntry) access() poolAccess {
	return poolAccess{r.UserPoolID, r.Region, r.AssumeRoleARN, r.ExternalID, r.AppClientID}
}

func (r *roleEntry) target(defaultRegion string) cognito.Target {
	return r.access().target(defaultRegion)
}
