// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/check"
	"vault-plugin-secrets-cognito/internal/cognito"
)

const scopesMax = 50 // of one app client, see CreateUserPoolClient

var (
	userPoolIDPattern  = regexp.MustCompile(`^[\w-]{1,40}_[0-9a-zA-Z]{1,40}$`)
	appClientIDPattern = regexp.MustCompile(`^[\w+]{1,128}$`)
	scopePattern       = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]{1,256}$`)
)

// poolAccess holds the fields by which roles and static roles reach a user pool and an app client.
type poolAccess struct {
	userPoolID, region, assumeRoleARN, externalID, appClientID string
}

// target returns where the pool is. The region is the role's own, else the mount's, else the one in
// the user pool ID.
func (a poolAccess) target(defaultRegion string) cognito.Target {
	return cognito.Target{
		UserPoolID:    a.userPoolID,
		Region:        cmp.Or(a.region, defaultRegion, regionOfPool(a.userPoolID)),
		AssumeRoleARN: a.assumeRoleARN,
		ExternalID:    a.externalID,
	}
}

// regionOfPool returns the region that a user pool ID begins with, or "" if it begins with none.
func regionOfPool(userPoolID string) string {
	region, _, _ := strings.Cut(userPoolID, "_")
	if !regionPattern.MatchString(region) {
		return ""
	}
	return region
}

// validate validates the fields that are set. Which of them are required depends on the type of
// role.
func (a poolAccess) validate() error {
	switch {
	case a.userPoolID != "" && !userPoolIDPattern.MatchString(a.userPoolID):
		return badRequest("user_pool_id %q is not allowed: it must be the ID of a user pool, such as eu-west-1_AbCdEfGhI", a.userPoolID)
	case a.appClientID != "" && !appClientIDPattern.MatchString(a.appClientID):
		return badRequest("app_client_id %q is not allowed: it must be up to 128 letters, digits, _ or +", a.appClientID)
	}
	return validateReach(a.region, a.assumeRoleARN, a.externalID)
}

// requirePool returns an error unless the pool and its region are known.
func (a poolAccess) requirePool(defaultRegion string) error {
	switch {
	case a.userPoolID == "":
		return requiredField("user_pool_id", "the ID of the user pool, such as eu-west-1_AbCdEfGhI")
	case a.target(defaultRegion).Region == "":
		return requiredField("region", "the AWS region of the user pool, in the role or in the config")
	}
	return nil
}

// warnings returns a warning if the region is not the one in the user pool ID. The pool ID of a
// replica holds the primary region, so both may be right.
func (a poolAccess) warnings(defaultRegion string) []string {
	of := regionOfPool(a.userPoolID)
	if own := cmp.Or(a.region, defaultRegion); of != "" && own != "" && of != own {
		return []string{fmt.Sprintf("user_pool_id %q looks like a pool of region %q, but region is %q: if that is a replica in a secondary region, "+
			"it signs users in and issues tokens, and refuses to create or change users, passwords, groups and app clients", a.userPoolID, of, own)}
	}
	return nil
}

// checkRegion returns a finding about what warnings warns of, or none.
func (a poolAccess) checkRegion(defaultRegion string) []check.Finding {
	var findings []check.Finding
	for _, warning := range a.warnings(defaultRegion) {
		findings = append(findings, check.Warned("region", warning+".", "Correct region or user_pool_id, unless the role is for the replica."))
	}
	return findings
}

func validateDomain(domain string) error {
	if _, err := cognito.ParseDomain(domain); err != nil {
		return badRequest("cognito_pool_domain %q is not allowed: %s", domain, err)
	}
	return nil
}

func validateScopes(scopes []string) error {
	if len(scopes) > scopesMax {
		return badRequest("scopes has %d names: Cognito allows an app client %d", len(scopes), scopesMax)
	}
	for _, scope := range scopes {
		if !scopePattern.MatchString(scope) {
			return badRequest("scopes holds %q: a scope must be printable ASCII without spaces, quotes or backslashes, such as api/read", scope)
		}
	}
	return nil
}

// likelyType returns which of the types a request means that names none: the one that has most of
// its fields, and user among equals.
func likelyType(in input, types []string, fieldsOfType map[string][]string) string {
	given := func(credentialType string) int {
		return len(slices.DeleteFunc(in.fields(), func(field string) bool { return !slices.Contains(fieldsOfType[credentialType], field) }))
	}
	likely := types[0]
	for _, t := range types {
		if given(t) > given(likely) || (given(t) == given(likely) && t == credentialTypeUser) {
			likely = t
		}
	}
	return likely
}

// validateType requires that credential_type is one of the types, and that the request names no
// field that belongs to other types only.
func validateType(in input, credentialType string, fieldsOfType map[string][]string) error {
	types := slices.Sorted(maps.Keys(fieldsOfType))
	if _, known := fieldsOfType[credentialType]; !known {
		return badRequest("credential_type %q is not allowed: it must be one of %s", credentialType, strings.Join(types, ", "))
	}
	for _, field := range in.fields() {
		owners := slices.DeleteFunc(slices.Clone(types), func(t string) bool { return !slices.Contains(fieldsOfType[t], field) })
		if len(owners) == 0 || slices.Contains(owners, credentialType) {
			continue
		}
		hint := ""
		if !in.has("credential_type") {
			hint = "; did you mean credential_type=" + likelyType(in, owners, fieldsOfType) + "?"
		}
		return badRequest("%s is not allowed for credential_type %q: it is a field of %s%s", field, credentialType, strings.Join(owners, ", "), hint)
	}
	return nil
}
