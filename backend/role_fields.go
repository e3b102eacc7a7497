// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"maps"
	"slices"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// fieldsOfType holds the role fields that not every credential type has.
var fieldsOfType = map[string][]string{
	credentialTypeUser:              append(existingClientFields(), slices.Sorted(maps.Keys(userRoleFields()))...),
	credentialTypeClientCredentials: append(existingClientFields(), slices.Sorted(maps.Keys(machineRoleFields()))...),
	credentialTypeAppClient: append([]string{"scopes", "cognito_pool_domain", "ttl", "max_ttl", "max_issued"},
		slices.Sorted(maps.Keys(appClientRoleFields()))...),
}

// existingClientFields are those of roles that use an app client which exists.
func existingClientFields() []string {
	return []string{"app_client_id", "app_client_secret", "app_client_secret_set", "client_metadata"}
}

func roleFields() map[string]*framework.FieldSchema {
	fields := commonRoleFields()
	maps.Copy(fields, userRoleFields())
	maps.Copy(fields, machineRoleFields())
	maps.Copy(fields, appClientRoleFields())
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
			AllowedValues: []any{credentialTypeUser, credentialTypeClientCredentials, credentialTypeAppClient},
			Description:   `Type of credential that the role issues: "user", a new user for the duration of a lease, "client_credentials_grant", an access token of an app client, or "app_client", a new app client for the duration of a lease.`,
		},
		"app_client_id": {
			Type:        framework.TypeString,
			Description: "ID of the app client that users sign in through, or whose tokens are issued. Types user and client_credentials_grant only.",
		},
		"app_client_secret": {
			Type:         framework.TypeString,
			Description:  "Secret of the app client, if it has one. Never returned. Types user and client_credentials_grant only. Required again when a field changes that says where it is sent. If a client_credentials_grant role has none, the secret is looked up in user_pool_id and cached in memory only.",
			DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
		},
		"app_client_secret_set": {
			Type:        framework.TypeBool,
			Description: "Returned by a read. A write ignores it, and warns if the role has no secret.",
		},
		"region": {
			Type:        framework.TypeString,
			Description: "AWS region of the user pool, such as eu-west-1. Defaults to the region of the config, and without one to the region in user_pool_id.",
		},
		"user_pool_id": {
			Type:        framework.TypeString,
			Description: "ID of the user pool, such as eu-west-1_AbCdEfGhI. Required for types user and app_client.",
		},
		"aws_assume_role_arn": {
			Type:        framework.TypeString,
			Description: "ARN of an IAM role to assume instead of the one in the config, to reach a pool of another account or to narrow permissions.",
		},
		"aws_external_id": {
			Type:        framework.TypeString,
			Description: "External ID to send when assuming aws_assume_role_arn.",
		},
		"client_metadata": {
			Type:        framework.TypeKVPairs,
			Description: "Keys and values to pass to the Lambda triggers of the user pool. Types user and client_credentials_grant only.",
		},
	}
}

func userRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"groups": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Groups of the user pool that each user joins. Type user only.",
		},
		"group": {
			Type:        framework.TypeString,
			Description: "Older spelling of groups, for a single group. Type user only.",
		},
		"dummy_email_domain": {
			Type:        framework.TypeString,
			Description: "Domain of the e-mail addresses that users get as usernames and as verified email attributes. The engine sends no e-mail. Type user only.",
		},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Template for usernames. It can use .RoleName, .DisplayName, .EntityName, .MountPoint and .UserPoolID, identity templates, the functions of Vault's username templates, and random_digits. Defaults to the template of the config, and without one to vault-, the role name and a random part, in lower case. Values of the caller are reduced to 40 letters, digits, _ and -. Type user only.",
		},
		"user_attributes": {
			Type:        framework.TypeKVPairs,
			Description: "Attributes of each user: standard attributes, and custom ones with the prefix custom:. Values are templates that can also use .Username. An e-mail address is marked as verified by default only under dummy_email_domain. Type user only.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Vault password policy that generates the passwords. Defaults to the policy of the config, and without one to 32 characters of all classes. Type user only.",
		},
		"mfa": {
			Type:          framework.TypeString,
			Default:       mfaNone,
			AllowedValues: []any{mfaNone, mfaTOTP},
			Description:   `Second factor of users: "none", or "totp" for an authenticator whose secret is returned. Type user only.`,
		},
		"revocation": {
			Type:          framework.TypeString,
			Default:       revocationDelete,
			AllowedValues: []any{revocationDelete, revocationDisable},
			Description:   `What happens to a user when its lease ends: "delete", or "disable" to keep the account and end its sessions. Type user only.`,
		},
		"max_issued": {
			Type:        framework.TypeInt,
			Description: "How many users or app clients of the role may exist at a time. A read beyond that is refused with status 429. 0 is no bound. Types user and app_client only.",
		},
		"tokens_for": {
			Type:          framework.TypeString,
			Default:       tokensForIssued,
			AllowedValues: []any{tokensForIssued, tokensForAny},
			Description:   `Users that get tokens from tokens/: "issued", those that this role issued and that still exist, or "any", every user of the user pool, for applications that sign in their users through Vault. Type user only.`,
		},
		"issue_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "If true, a read signs the user in and returns its tokens. If false, no app client is needed. Type user only.",
		},
		"ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Default lifetime of a user or an app client. Defaults to the mount's value. Types user and app_client only.",
		},
		"max_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Maximum lifetime of a user or an app client, renewals included. Defaults to the mount's value. Types user and app_client only.",
		},
	}
}

func machineRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"token_source": {
			Type:          framework.TypeString,
			Default:       string(cognito.SourceEndpoint),
			AllowedValues: []any{string(cognito.SourceEndpoint), string(cognito.SourceAPI)},
			Description:   `Where tokens come from: "endpoint", the token endpoint of cognito_pool_domain, or "api", GetClientToken of the Cognito API, which needs no domain. Type client_credentials_grant only.`,
		},
		"cognito_pool_domain": {
			Type:        framework.TypeString,
			Description: "Domain of the user pool, as a host or https URL. Not needed with token_source=api. Required for type app_client, which returns its token endpoint. Types client_credentials_grant and app_client only.",
		},
		"static_role": {
			Type:        framework.TypeLowerCaseString,
			Description: "Static role of type app_client_secret whose app client and current secret are used, instead of app_client_id and app_client_secret. Type client_credentials_grant only.",
		},
		"cache_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "If true, reads share a cached token. If false, every read requests a new, billable token. Type client_credentials_grant only.",
		},
		"min_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Default:     durationText(defaultMinTokenTTL),
			Description: "Minimum remaining lifetime of a returned token. Keep it below a quarter of the lifetime of the tokens. Type client_credentials_grant only.",
		},
		"scopes": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Scopes that a read may request and gets by default, such as api/read. Defaults to all scopes of the app client. For type app_client, the scopes that each app client is allowed, one at least. Types client_credentials_grant and app_client only.",
		},
	}
}

func appClientRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Lifetime of the access tokens of each app client, from 5 minutes to a day. Defaults to an hour. Tokens outlive the app client until they expire. Type app_client only.",
		},
		"client_name_template": {
			Type:        framework.TypeString,
			Description: "Template for the names of app clients, with the values and functions of username_template. At least 7 characters must be random. Defaults to vault-, the role name and a random part. Type app_client only.",
		},
	}
}

func roleResponseFields() map[string]*framework.FieldSchema {
	fields := responseFields(roleFields(), "name", "app_client_secret")
	fields["app_client_secret_set"].Description = "Whether the role stores a secret of the app client."
	return fields
}
