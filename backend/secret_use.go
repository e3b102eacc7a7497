// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// secretUse is a stored app client secret and what decides where it is sent.
type secretUse struct {
	secret     string
	domain     string
	source     cognito.TokenSource
	staticRole string
	poolID     string
	clientID   string
}

func (r *roleEntry) secretUse() secretUse {
	return secretUse{r.AppClientSecret, r.CognitoPoolDomain, r.source(), r.StaticRole, r.UserPoolID, r.AppClientID}
}

// changedField returns the first field that differs in what decides where the secret is sent.
func (u secretUse) changedField(after secretUse) string {
	switch {
	case u.clientID != after.clientID:
		return "app_client_id"
	case u.poolID != after.poolID:
		return "user_pool_id"
	case u.domain != after.domain:
		return "cognito_pool_domain"
	case u.source != after.source:
		return "token_source"
	case u.staticRole != after.staticRole:
		return "static_role"
	default:
		return ""
	}
}

// keepSecret returns an error if a write would send the stored secret to another place. Otherwise
// whoever may change a role could read its secret by naming a server of their own.
func keepSecret(in input, before, after secretUse) error {
	if before.secret == "" || after.secret == "" || in.has("app_client_secret") {
		return nil
	}
	if field := before.changedField(after); field != "" {
		return badRequest("app_client_secret is required: the stored one must not be used after a change of %s; write it again, or write an empty one", field)
	}
	return nil
}

// secretPool returns the pool whose domains alone may get the static role's secret.
func (r *staticRole) secretPool(defaultRegion string) *cognito.Target {
	target := r.target(defaultRegion)
	return &target
}

// confirmDomain returns an error if the static role's secret must not be sent to its domain.
func (r *staticRole) confirmDomain(ctx context.Context, aws *connection) error {
	if r.CredentialType != staticTypeSecret || r.CognitoPoolDomain == "" {
		return nil
	}
	return aws.ConfirmDomain(ctx, r.target(aws.region), r.CognitoPoolDomain)
}
