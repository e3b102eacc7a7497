// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// fieldsOfType are the role fields that only one credential type has.
var fieldsOfType = map[string][]string{
	credentialTypeUser:              slices.Sorted(maps.Keys(userRoleFields())),
	credentialTypeClientCredentials: slices.Sorted(maps.Keys(machineRoleFields())),
}

func roleFields() map[string]*framework.FieldSchema {
	fields := commonRoleFields()
	maps.Copy(fields, userRoleFields())
	maps.Copy(fields, machineRoleFields())
	return describeDefaults(fields)
}

func commonRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"name": {
			Type:        framework.TypeLowerCaseString,
			Description: "Name of the role.",
			Required:    true,
		},
		"credential_type": {
			Type:          framework.TypeString,
			Default:       credentialTypeClientCredentials,
			AllowedValues: []any{credentialTypeUser, credentialTypeClientCredentials},
			Description:   `What the role issues: "user", a user for the time of a lease, or "client_credentials_grant", a token of an app client.`,
		},
		"app_client_id": {
			Type:        framework.TypeString,
			Description: "App client that users are signed in through, or whose token is issued.",
		},
		"app_client_secret": {
			Type:         framework.TypeString,
			Description:  "Secret of the app client, if it has one. Never shown again. Where there is none, type client_credentials_grant looks it up in user_pool_id and keeps it in memory only.",
			DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
		},
		"region": {
			Type:        framework.TypeString,
			Description: "AWS region of the user pool, such as eu-west-1. Default: the region of the mount's config.",
		},
		"user_pool_id": {
			Type:        framework.TypeString,
			Description: "Id of the user pool, such as eu-west-1_AbCdEfGhI. Type user needs it.",
		},
		"aws_assume_role_arn": {
			Type:        framework.TypeString,
			Description: "ARN of an IAM role to assume for this role in place of the mount's, for a pool of another account or for narrower rights.",
		},
		"aws_external_id": {
			Type:        framework.TypeString,
			Description: "External id for aws_assume_role_arn, where its trust policy asks for one.",
		},
		"client_metadata": {
			Type:        framework.TypeKVPairs,
			Description: "Keys and values that reach the Lambda triggers of the user pool.",
		},
	}
}

func userRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"groups": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Groups of the pool that every user joins. Type user only.",
		},
		"group": {
			Type:        framework.TypeString,
			Description: "The older spelling of groups with one name. Type user only.",
		},
		"dummy_email_domain": {
			Type:        framework.TypeString,
			Description: "Domain that makes usernames e-mail addresses, which are also the users' verified e-mail attribute. No e-mail is ever sent. Type user only.",
		},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Template of usernames. It sees .RoleName, .DisplayName, .MountPoint and .UserPoolID, and knows random_digits besides the functions of Vault's username templates. Default: the mount's, or else vault-, the role's name and a random part, in lower case. Type user only.",
		},
		"user_attributes": {
			Type:        framework.TypeKVPairs,
			Description: "Attributes of users: standard ones, and custom ones with custom: before their names. Values are templates like username_template, which also see .Username. Type user only.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Vault password policy that makes the passwords. Default: the mount's, or else 32 characters of every class. Type user only.",
		},
		"mfa": {
			Type:          framework.TypeString,
			Default:       mfaNone,
			AllowedValues: []any{mfaNone, mfaTOTP},
			Description:   `Second factor of users: "none", or "totp", an authenticator whose secret is returned. Type user only.`,
		},
		"revocation": {
			Type:          framework.TypeString,
			Default:       revocationDelete,
			AllowedValues: []any{revocationDelete, revocationDisable},
			Description:   `What happens to a user when its lease ends: "delete", or "disable", which keeps the account and ends its sessions. Type user only.`,
		},
		"issue_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "Whether users are signed in and their tokens returned. Without it no app client is needed. Type user only.",
		},
		"ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Default lease of a user. 0 or none: the mount's. Type user only.",
		},
		"max_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Longest life of a user, renewals included. 0 or none: the mount's. Type user only.",
		},
	}
}

func machineRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"token_source": {
			Type:          framework.TypeString,
			Default:       string(cognito.SourceEndpoint),
			AllowedValues: []any{string(cognito.SourceEndpoint), string(cognito.SourceAPI)},
			Description:   `Where tokens come from: "endpoint", the token endpoint on cognito_pool_domain, or "api", Cognito's GetClientToken, which needs no domain. Type client_credentials_grant only.`,
		},
		"cognito_pool_domain": {
			Type:        framework.TypeString,
			Description: "Domain of the user pool: a host, or its https URL. Not needed with token_source=api. Type client_credentials_grant only.",
		},
		"static_role": {
			Type:        framework.TypeLowerCaseString,
			Description: "Static role of credential_type app_client_secret whose app client and secret are used, through its rotations. In place of app_client_id and app_client_secret. Type client_credentials_grant only.",
		},
		"cache_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "Whether reads share a token while it is good. Without it every read buys one. Type client_credentials_grant only.",
		},
		"min_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Default:     int(defaultMinTokenTTL / time.Second),
			Description: "How long a token must still live to be handed out; best less than a quarter of its whole life. Type client_credentials_grant only.",
		},
		"scopes": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Scopes that may be asked for, such as api/read, and that a read gets without asking. None: all that the app client may have. Type client_credentials_grant only.",
		},
	}
}

func roleResponseFields() map[string]*framework.FieldSchema {
	fields := responseFields(roleFields(), "name", "app_client_secret")
	fields["app_client_secret_set"] = &framework.FieldSchema{
		Type:        framework.TypeBool,
		Description: "Whether the role holds the app client's secret.",
	}
	return fields
}
