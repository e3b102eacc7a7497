// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import "vault-plugin-secrets-cognito/internal/cognito"

// validatePool checks the fields by which a role or a static role names a user
// pool, an app client and how they are reached. Each of them may be empty.
func validatePool(userPoolID, appClientID, region, assumeRoleARN, externalID string) error {
	switch {
	case userPoolID != "" && !userPoolIDPattern.MatchString(userPoolID):
		return badRequest("user_pool_id %q is not allowed: it must be the id of a user pool, such as eu-west-1_AbCdEfGhI", userPoolID)
	case appClientID != "" && !appClientIDPattern.MatchString(appClientID):
		return badRequest("app_client_id %q is not allowed: it must be up to 128 letters, digits, _ or +", appClientID)
	}
	return validateReach(region, assumeRoleARN, externalID)
}

// validateDomain checks the domain of a user pool.
func validateDomain(domain string) error {
	if _, err := cognito.ParseDomain(domain); err != nil {
		return badRequest("cognito_pool_domain %q is not allowed: %s", domain, err)
	}
	return nil
}
