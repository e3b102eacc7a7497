// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// roleFieldGroup are the role fields that the same credential types have.
type roleFieldGroup struct {
	types  []string
	fields map[string]*framework.FieldSchema
}

// allTypes are the credential types, in the order in which they are documented.
var allTypes = []string{credentialTypeUser, credentialTypeClientCredentials, credentialTypeAppClient, credentialTypeGroupMembership}

func roleFieldGroups() []roleFieldGroup {
	return []roleFieldGroup{
		{allTypes, commonRoleFields()},
		{[]string{credentialTypeUser, credentialTypeClientCredentials}, existingClientRoleFields()},
		{[]string{credentialTypeUser, credentialTypeAppClient, credentialTypeGroupMembership}, leaseRoleFields()},
		{[]string{credentialTypeUser, credentialTypeGroupMembership}, groupRoleFields()},
		{[]string{credentialTypeUser}, userRoleFields()},
		{[]string{credentialTypeClientCredentials, credentialTypeAppClient}, scopeRoleFields()},
		{[]string{credentialTypeClientCredentials}, machineRoleFields()},
		{[]string{credentialTypeAppClient}, appClientRoleFields()},
		{[]string{credentialTypeGroupMembership}, membershipRoleFields()},
	}
}

// fieldsOfType holds the role fields that not every credential type has.
var fieldsOfType = func() map[string][]string {
	fields := map[string][]string{}
	for _, group := range roleFieldGroups()[1:] {
		for _, of := range group.types {
			fields[of] = slices.Sorted(slices.Values(append(fields[of], slices.Collect(maps.Keys(group.fields))...)))
		}
	}
	return fields
}()

// roleFields returns the fields of all types. The description of each says which types have it.
func roleFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{}
	for _, group := range roleFieldGroups() {
		for name, schema := range group.fields {
			if len(group.types) < len(allTypes) {
				schema.Description += " " + onlyTypes(group.types)
			}
			fields[name] = schema
		}
	}
	return describeDefaults(fields)
}

// onlyTypes returns the sentence that ends the description of a field.
func onlyTypes(types []string) string {
	if len(types) == 1 {
		return fmt.Sprintf("Type %s only.", types[0])
	}
	last := len(types) - 1
	return fmt.Sprintf("Types %s and %s only.", strings.Join(types[:last], ", "), types[last])
}

// helpWidth is the longest line of a help text.
const helpWidth = 80

// roleFieldsHelp lists the fields of each type, because Vault's help has one alphabetical list of
// all.
func roleFieldsHelp() string {
	help := &strings.Builder{}
	help.WriteString("Fields of every type:\n")
	wrapWords(help, slices.Sorted(maps.Keys(commonRoleFields())))
	for _, of := range allTypes {
		fmt.Fprintf(help, "\nFurther fields of credential_type %q:\n", of)
		wrapWords(help, fieldsOfType[of])
	}
	return help.String()
}

// wrapWords writes words with commas between them, indented and in lines of helpWidth.
func wrapWords(to *strings.Builder, words []string) {
	const indent = "    "
	line := indent
	for i, word := range words {
		if i < len(words)-1 {
			word += ", "
		}
		if len(line)+len(strings.TrimSpace(word)) > helpWidth {
			to.WriteString(strings.TrimRight(line, " ") + "\n")
			line = indent
		}
		line += word
	}
	to.WriteString(line + "\n")
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
			AllowedValues: []any{credentialTypeUser, credentialTypeClientCredentials, credentialTypeAppClient, credentialTypeGroupMembership},
			Description:   `Type of credential that the role issues: "user", a new user for the duration of a lease, "client_credentials_grant", an access token of an app client, "app_client", a new app client for the duration of a lease, or "group_membership", more groups for an existing user for the duration of a lease.`,
		},
		"user_pool_id": {
			Type:        framework.TypeString,
			Description: "ID of the user pool, such as eu-west-1_AbCdEfGhI. Required for all types but client_credentials_grant.",
		},
		"region": {
			Type:        framework.TypeString,
			Description: "AWS region of the user pool, such as eu-west-1. Defaults to the region of the config, and without one to the region in user_pool_id.",
		},
		"aws_assume_role_arn": {
			Type:        framework.TypeString,
			Description: "ARN of an IAM role to assume instead of the one in the config, to reach a pool of another account or to narrow permissions.",
		},
		"aws_external_id": {
			Type:        framework.TypeString,
			Description: "External ID to send when assuming aws_assume_role_arn.",
		},
	}
}

// existingClientRoleFields are those of roles that use an app client which exists.
func existingClientRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"app_client_id": {
			Type:        framework.TypeString,
			Description: "ID of the app client that users sign in through, or whose tokens are issued.",
		},
		"app_client_secret": {
			Type:         framework.TypeString,
			Description:  "Secret of the app client, if it has one. Never returned. Required again when a field changes that says where it is sent. If a client_credentials_grant role has none, the secret is looked up in user_pool_id and cached in memory only.",
			DisplayAttrs: &framework.DisplayAttributes{Sensitive: true},
		},
		"app_client_secret_set": {
			Type:        framework.TypeBool,
			Description: "Returned by a read. A write ignores it, and warns if the role has no secret.",
		},
		"client_metadata": {
			Type:        framework.TypeKVPairs,
			Description: "Keys and values to pass to the Lambda triggers of the user pool.",
		},
	}
}

// leaseRoleFields are those of roles whose credentials have a lease.
func leaseRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Default lifetime of a user, an app client or memberships. Defaults to the mount's value.",
		},
		"max_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Maximum lifetime of a user, an app client or memberships, renewals included. Defaults to the mount's value.",
		},
		"max_issued": {
			Type:        framework.TypeInt,
			Description: "How many users, app clients or leases with memberships of the role may exist at a time. A read beyond that is refused with status 429. 0 is no bound.",
		},
	}
}

// scopeRoleFields are those of roles whose app client gets machine tokens.
func scopeRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"cognito_pool_domain": {
			Type:        framework.TypeString,
			Description: "Domain of the user pool, as a host or https URL. Not needed with token_source=api. Required for type app_client, which returns its token endpoint.",
		},
		"scopes": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Scopes that a read may request and gets by default, such as api/read. Defaults to all scopes of the app client. For type app_client, the scopes that each app client is allowed, one at least.",
		},
	}
}

// groupRoleFields are those of roles that put users into groups.
func groupRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"groups": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Groups of the user pool that each new user joins, or that an existing user is put into. Type group_membership needs one at least.",
		},
	}
}

func userRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"group": {
			Type:        framework.TypeString,
			Description: "Older spelling of groups, for a single group.",
		},
		"dummy_email_domain": {
			Type:        framework.TypeString,
			Description: "Domain of the e-mail addresses that users get as usernames and as verified email attributes. The engine sends no e-mail.",
		},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Template for usernames. It can use .RoleName, .DisplayName, .EntityName, .MountPoint and .UserPoolID, identity templates, the functions of Vault's username templates, and random_digits. Defaults to the template of the config, and without one to vault-, the role name and a random part, in lower case. Values of the caller are reduced to 40 letters, digits, _ and -.",
		},
		"user_attributes": {
			Type:        framework.TypeKVPairs,
			Description: "Attributes of each user: standard attributes, and custom ones with the prefix custom:. Values are templates that can also use .Username. An e-mail address is marked as verified by default only under dummy_email_domain.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Vault password policy that generates the passwords. Defaults to the policy of the config, and without one to 32 characters of all classes.",
		},
		"mfa": {
			Type:          framework.TypeString,
			Default:       mfaNone,
			AllowedValues: []any{mfaNone, mfaTOTP},
			Description:   `Second factor of users: "none", or "totp" for an authenticator whose secret is returned.`,
		},
		"revocation": {
			Type:          framework.TypeString,
			Default:       revocationDelete,
			AllowedValues: []any{revocationDelete, revocationDisable},
			Description:   `What happens to a user when its lease ends: "delete", or "disable" to keep the account and end its sessions.`,
		},
		"tokens_for": {
			Type:          framework.TypeString,
			Default:       tokensForIssued,
			AllowedValues: []any{tokensForIssued, tokensForAny},
			Description:   `Users that get tokens from tokens/: "issued", those that this role issued and that still exist, or "any", every user of the user pool, for applications that sign in their users through Vault.`,
		},
		"issue_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "If true, a read signs the user in and returns its tokens. If false, no app client is needed.",
		},
	}
}

func machineRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"token_source": {
			Type:          framework.TypeString,
			Default:       string(cognito.SourceEndpoint),
			AllowedValues: []any{string(cognito.SourceEndpoint), string(cognito.SourceAPI)},
			Description:   `Where tokens come from: "endpoint", the token endpoint of cognito_pool_domain, or "api", GetClientToken of the Cognito API, which needs no domain.`,
		},
		"static_role": {
			Type:        framework.TypeLowerCaseString,
			Description: "Static role of type app_client_secret whose app client and current secret are used, instead of app_client_id and app_client_secret.",
		},
		"cache_tokens": {
			Type:        framework.TypeBool,
			Default:     true,
			Description: "If true, reads share a cached token. If false, every read requests a new, billable token.",
		},
		"min_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Default:     cognito.DurationText(defaultMinTokenTTL),
			Description: "Minimum remaining lifetime of a returned token. Keep it below a quarter of the lifetime of the tokens.",
		},
	}
}

func appClientRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"access_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Lifetime of the access tokens of each app client, from 5 minutes to a day. Defaults to an hour. Tokens outlive the app client until they expire.",
		},
		"client_name_template": {
			Type:        framework.TypeString,
			Description: "Template for the names of app clients, with the values and functions of username_template. At least 7 characters must be random. Defaults to vault-, the role name and a random part.",
		},
	}
}

func membershipRoleFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"username": {
			Type:        framework.TypeString,
			Description: "User who is put into the groups: a username or sub, or text with identity templates, such as {{identity.entity.metadata.cognito_username}}, with which callers can raise only themselves. Whoever can change what the template reads chooses the user.",
		},
		"sign_out_on_revoke": {
			Type:        framework.TypeBool,
			Description: "If true, all sessions of the user end when memberships of a lease are removed. Without it the user stays signed in, and gets no more tokens with the groups.",
		},
	}
}

func roleResponseFields() map[string]*framework.FieldSchema {
	fields := responseFields(roleFields(), "name", "app_client_secret")
	fields["app_client_secret_set"].Description = "Whether the role stores a secret of the app client."
	return fields
}
