// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

	mfaNone = "none"
	mfaTOTP = "totp"

	revocationDelete  = "delete"
	revocationDisable = "disable"

	groupsMax     = 100 // of one user, see Cognito's quotas
	attributesMax = 100 // the standard ones and 50 custom ones are fewer
	scopesMax     = 50  // of one app client, see CreateUserPoolClient

	// defaultMinTokenTTL leaves the reader of a token the time to use it.
	defaultMinTokenTTL = 30 * time.Second
	// minTokenTTLMax is the longest life that Cognito gives to an access token.
	minTokenTTLMax = 24 * time.Hour
)

var (
	userPoolIDPattern  = regexp.MustCompile(`^[\w-]{1,40}_[0-9a-zA-Z]{1,40}$`)
	appClientIDPattern = regexp.MustCompile(`^[\w+]{1,128}$`)
	attributePattern   = regexp.MustCompile(`^(custom:)?[\pL\pM\pS\pN\pP]{1,32}$`)
	groupPattern       = regexp.MustCompile(`^[\pL\pM\pS\pN\pP]{1,128}$`)
	scopePattern       = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,256}$`)
	emailDomainPattern = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$`)
)

// roleEntry is a role as it is stored. The older plugin stored the fields
// without omitempty, under the same names, durations in nanoseconds.
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
	// Group is the first of Groups, so that the older plugin can read the entry again.
	Group string `json:"group"`

	AssumeRoleARN  string            `json:"aws_assume_role_arn,omitempty"`
	ExternalID     string            `json:"aws_external_id,omitempty"`
	ClientMetadata map[string]string `json:"client_metadata,omitempty"`
	Groups         []string          `json:"groups,omitempty"`
	// NoTokens is the opposite of issue_tokens, whose default is true.
	NoTokens bool                `json:"no_tokens,omitempty"`
	Scopes   []string            `json:"scopes,omitempty"`
	Source   cognito.TokenSource `json:"token_source,omitempty"`
	// NoCache is the opposite of cache_tokens, whose default is true.
	NoCache bool `json:"no_cache,omitempty"`
	// MinTokenTTL is nil for the default.
	MinTokenTTL *time.Duration `json:"min_token_ttl,omitempty"`

	// StaticRole names a static role whose app client and secret are used.
	StaticRole string `json:"static_role,omitempty"`

	// FormerPools are where users were made before the role moved on: leases of
	// the older plugin name nothing but the role.
	FormerPools []formerPool `json:"former_pools,omitempty"`

	UsernameTemplate string            `json:"username_template,omitempty"`
	UserAttributes   map[string]string `json:"user_attributes,omitempty"`
	PasswordPolicy   string            `json:"password_policy,omitempty"`
	MFA              string            `json:"mfa,omitempty"`
	Revocation       string            `json:"revocation,omitempty"`
}

// formerPoolsMax bounds how many pools a role remembers.
const formerPoolsMax = 5

// formerPool is where a role made its users before.
type formerPool struct {
	UserPoolID    string `json:"user_pool_id"`
	Region        string `json:"region"`
	AssumeRoleARN string `json:"aws_assume_role_arn,omitempty"`
	ExternalID    string `json:"aws_external_id,omitempty"`
}

func (p formerPool) target() cognito.Target {
	return cognito.Target{UserPoolID: p.UserPoolID, Region: p.Region, AssumeRoleARN: p.AssumeRoleARN, ExternalID: p.ExternalID}
}

// remember keeps the pool that the role made its users in until now.
func (r *roleEntry) remember(before, now cognito.Target) {
	pool := formerPool{before.UserPoolID, before.Region, before.AssumeRoleARN, before.ExternalID}
	if before.UserPoolID == "" || before == now || slices.Contains(r.FormerPools, pool) {
		return
	}
	r.FormerPools = append([]formerPool{pool}, r.FormerPools...)
	r.FormerPools = r.FormerPools[:min(len(r.FormerPools), formerPoolsMax)]
}

// getRole reads a role, to be changed or for use, or nil when there is none of
// this name.
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

// update takes over what the request names.
func (r *roleEntry) update(in input) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	if err := r.setType(in); err != nil {
		return err
	}
	if err := r.setClient(in); err != nil {
		return err
	}
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
	setString(in, "cognito_pool_domain", &r.CognitoPoolDomain)
	setString(in, "static_role", &r.StaticRole)
	setField(in, "scopes", &r.Scopes)
	setDuration(in, "ttl", &r.TTL)
	setDuration(in, "max_ttl", &r.MaxTTL)
	setNegated(in, "issue_tokens", &r.NoTokens)
	setNegated(in, "cache_tokens", &r.NoCache)
	if in.has("token_source") {
		r.Source = cognito.TokenSource(in.value("token_source").(string))
	}
	if in.has("min_token_ttl") {
		ttl := time.Duration(in.value("min_token_ttl").(int)) * time.Second
		r.MinTokenTTL = &ttl
	}
	r.Scopes = slices.Compact(slices.Sorted(slices.Values(r.Scopes)))
	return r.takeGroups(in)
}

// setClient sees to it that an app client and its secret change together.
func (r *roleEntry) setClient(in input) error {
	before := r.AppClientID
	setString(in, "app_client_id", &r.AppClientID)
	setString(in, "app_client_secret", &r.AppClientSecret)
	if before != "" && before != r.AppClientID && r.AppClientSecret != "" && !in.has("app_client_secret") {
		return badRequest("app_client_secret is missing: the stored one belongs to another app_client_id; give an empty one for a client without")
	}
	return nil
}

// warnings are what a role may well be meant to say, but probably is not.
func (r *roleEntry) warnings(defaultRegion string) []string {
	region, _, _ := strings.Cut(r.UserPoolID, "_")
	if own := cmp.Or(r.Region, defaultRegion); r.UserPoolID != "" && own != "" && region != own {
		return []string{fmt.Sprintf("user_pool_id %q looks like a pool of region %q, and the role's region is %q", r.UserPoolID, region, own)}
	}
	return nil
}

// setType refuses fields of the other type, and forgets those that a role
// has when it changes its type.
func (r *roleEntry) setType(in input) error {
	before := r.CredentialType
	setField(in, "credential_type", &r.CredentialType)
	if _, known := fieldsOfType[r.CredentialType]; !known {
		return unknownType(r.CredentialType)
	}
	for other, fields := range fieldsOfType {
		for _, field := range fields {
			if other != r.CredentialType && in.has(field) {
				return badRequest("%s is not allowed for credential_type %q: it belongs to %q", field, r.CredentialType, other)
			}
		}
	}
	if before != r.CredentialType {
		*r = r.common()
	}
	return nil
}

func unknownType(credentialType string) error {
	return badRequest("credential_type %q is not allowed: it must be %q or %q", credentialType, credentialTypeUser, credentialTypeClientCredentials)
}

// common is the part of a role that both types have.
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
	}
}

// takeGroups reads both spellings: a list, or the older plugin's single one.
func (r *roleEntry) takeGroups(in input) error {
	setField(in, "groups", &r.Groups)
	if in.has("group") {
		single := strings.Fields(in.value("group").(string))
		if in.has("groups") && !slices.Equal(single, r.Groups) {
			return badRequest("group and groups are two spellings of one field and disagree: give groups only")
		}
		r.Groups = single
	}
	r.Groups = slices.Compact(slices.Sorted(slices.Values(r.Groups)))
	return nil
}

// validate says what keeps a role from being used, with the region that the
// mount gives to roles which name none.
func (r *roleEntry) validate(defaultRegion string) error {
	if err := r.validateCommon(); err != nil {
		return err
	}
	if r.CredentialType == credentialTypeUser {
		return r.validateUser(defaultRegion)
	}
	// The older plugin stored any type, and issued machine tokens for all but "user".
	return r.validateClientCredentials(defaultRegion)
}

func (r *roleEntry) validateCommon() error {
	switch {
	case r.UserPoolID != "" && !userPoolIDPattern.MatchString(r.UserPoolID):
		return badRequest("user_pool_id %q is not allowed: it must be the id of a user pool, such as eu-west-1_AbCdEfGhI", r.UserPoolID)
	case r.AppClientID != "" && !appClientIDPattern.MatchString(r.AppClientID):
		return badRequest("app_client_id %q is not allowed: it must be up to 128 letters, digits, _ or +", r.AppClientID)
	}
	return validateReach(r.Region, r.AssumeRoleARN, r.ExternalID)
}

func (r *roleEntry) validateUser(defaultRegion string) error {
	switch {
	case r.UserPoolID == "":
		return requiredField("user_pool_id", "the id of the user pool, such as eu-west-1_AbCdEfGhI")
	case r.Region == "" && defaultRegion == "":
		return requiredField("region", "the AWS region of the user pool, here or in the mount's config")
	case r.AppClientID == "" && !r.NoTokens:
		return requiredField("app_client_id", "the app client that signs users in; or set issue_tokens to false")
	case r.DummyEmailDomain != "" && !validEmailDomain(r.DummyEmailDomain):
		return badRequest("dummy_email_domain %q is not allowed: it must be a domain of at most %d characters, such as example.com",
			r.DummyEmailDomain, emailDomainMax)
	case r.MaxTTL != 0 && r.TTL > r.MaxTTL:
		return badRequest("ttl %s is not allowed: it must not be longer than max_ttl %s", r.TTL, r.MaxTTL)
	}
	for _, validate := range []func() error{r.validateChoices, r.validateAttributes, r.validateGroups} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

func (r *roleEntry) validateChoices() error {
	switch {
	case r.mfa() != mfaNone && r.mfa() != mfaTOTP:
		return badRequest("mfa %q is not allowed: it must be %q or %q", r.MFA, mfaNone, mfaTOTP)
	case r.mfa() == mfaTOTP && r.AppClientID == "":
		return requiredField("app_client_id", "the app client that signs users in, which mfa=totp needs")
	case r.revocation() != revocationDelete && r.revocation() != revocationDisable:
		return badRequest("revocation %q is not allowed: it must be %q or %q", r.Revocation, revocationDelete, revocationDisable)
	}
	return nil
}

// validateAttributes checks names, and the values that are no templates but
// words. https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_AttributeType.html
func (r *roleEntry) validateAttributes() error {
	if len(r.UserAttributes) > attributesMax {
		return badRequest("user_attributes has %d names: no user pool has more than %d", len(r.UserAttributes), attributesMax)
	}
	for _, name := range slices.Sorted(maps.Keys(r.UserAttributes)) {
		value := r.UserAttributes[name]
		switch {
		case !attributePattern.MatchString(name) || name == "sub":
			return badRequest("user_attributes holds %q: it must be a standard attribute, or a custom one with custom: before its name", name)
		case strings.HasSuffix(name, "_verified") && value != "true" && value != "false":
			return badRequest("user_attributes holds %s=%q: it must be true or false", name, value)
		}
	}
	return nil
}

func (r *roleEntry) mfa() string { return cmp.Or(r.MFA, mfaNone) }

func (r *roleEntry) revocation() string { return cmp.Or(r.Revocation, revocationDelete) }

func (r *roleEntry) validateGroups() error {
	if len(r.Groups) > groupsMax {
		return badRequest("groups has %d names: Cognito allows a user %d", len(r.Groups), groupsMax)
	}
	for _, group := range r.Groups {
		if !groupPattern.MatchString(group) {
			return badRequest("groups holds %q: the name of a group is 1 to 128 characters without spaces", group)
		}
	}
	return nil
}

func (r *roleEntry) validateClientCredentials(defaultRegion string) error {
	region := cmp.Or(r.Region, defaultRegion)
	switch {
	case r.StaticRole != "" && r.AppClientSecret != "":
		return badRequest("static_role and app_client_secret exclude each other: the secret is the static role's")
	case r.StaticRole == "" && r.AppClientID == "":
		return requiredField("app_client_id", "the app client whose token is issued")
	case r.StaticRole == "" && r.AppClientSecret == "" && (r.UserPoolID == "" || region == ""):
		return requiredField("app_client_secret", "the secret of the app client; or give user_pool_id and region to have it looked up")
	case r.minTokenTTL() > minTokenTTLMax:
		return badRequest("min_token_ttl %s is not allowed: no token lives longer than %s", r.minTokenTTL(), minTokenTTLMax)
	}
	if err := r.validateSource(region); err != nil {
		return err
	}
	return validateScopes(r.Scopes)
}

func (r *roleEntry) validateSource(region string) error {
	switch r.source() {
	case cognito.SourceEndpoint:
		return r.validateDomain()
	case cognito.SourceAPI:
		if region == "" {
			return requiredField("region", "the AWS region of the app client, here or in the mount's config")
		}
		return nil
	default:
		return badRequest("token_source %q is not allowed: it must be %q or %q", r.Source, cognito.SourceEndpoint, cognito.SourceAPI)
	}
}

func (r *roleEntry) validateDomain() error {
	if r.CognitoPoolDomain == "" {
		return requiredField("cognito_pool_domain", "the domain of the user pool, such as example.auth.eu-west-1.amazoncognito.com")
	}
	if _, err := cognito.ParseDomain(r.CognitoPoolDomain); err != nil {
		return badRequest("cognito_pool_domain %q is not allowed: %s", r.CognitoPoolDomain, err)
	}
	return nil
}

func validateScopes(scopes []string) error {
	if len(scopes) > scopesMax {
		return badRequest("scopes has %d names: Cognito allows an app client %d", len(scopes), scopesMax)
	}
	for _, scope := range scopes {
		if !scopePattern.MatchString(scope) {
			return badRequest("scopes holds %q: a scope is printable ASCII without spaces, quotes or backslashes, such as api/read", scope)
		}
	}
	return nil
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

// shown is what a read tells: all but the secret.
func (r *roleEntry) responseData() map[string]any {
	shown := map[string]any{
		"credential_type":       r.CredentialType,
		"app_client_id":         r.AppClientID,
		"app_client_secret_set": r.AppClientSecret != "",
		"region":                r.Region,
		"user_pool_id":          r.UserPoolID,
		"aws_assume_role_arn":   r.AssumeRoleARN,
		"aws_external_id":       r.ExternalID,
		"client_metadata":       orEmpty(r.ClientMetadata),
	}
	if r.CredentialType == credentialTypeUser {
		maps.Copy(shown, r.userData())
	} else {
		maps.Copy(shown, r.machineData())
	}
	return shown
}

func (r *roleEntry) userData() map[string]any {
	shown := map[string]any{
		"groups":             append([]string{}, r.Groups...),
		"dummy_email_domain": r.DummyEmailDomain,
		"username_template":  r.UsernameTemplate,
		"user_attributes":    orEmpty(r.UserAttributes),
		"password_policy":    r.PasswordPolicy,
		"issue_tokens":       !r.NoTokens,
		"mfa":                r.mfa(),
		"revocation":         r.revocation(),
		"ttl":                seconds(r.TTL),
		"max_ttl":            seconds(r.MaxTTL),
	}
	if len(r.Groups) <= 1 {
		shown["group"] = strings.Join(r.Groups, "")
	}
	return shown
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

func (r *roleEntry) target(defaultRegion string) cognito.Target {
	return cognito.Target{
		UserPoolID:    r.UserPoolID,
		Region:        cmp.Or(r.Region, defaultRegion),
		AssumeRoleARN: r.AssumeRoleARN,
		ExternalID:    r.ExternalID,
	}
}
