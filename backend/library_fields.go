// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"maps"

	"github.com/hashicorp/vault/sdk/framework"
)

func libraryNameField() *framework.FieldSchema {
	return &framework.FieldSchema{
		Type:        framework.TypeLowerCaseString,
		Description: "Name of the library set.",
		Required:    true,
	}
}

func libraryFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"name": libraryNameField(),
		"role": {
			Type:        framework.TypeLowerCaseString,
			Description: "Role of credential_type user that says what the users are like: their user pool, app client, groups, attributes, password policy, second factor, tokens and ttls. Its templates must not depend on the caller.",
		},
		"size": {
			Type:        framework.TypeInt,
			Description: "How many users the engine creates and keeps for the set. They are deleted when they are no longer wanted. Either size or usernames is required.",
		},
		"usernames": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Existing users that the set takes over: from then on their passwords are known to the engine only. They are not deleted when they are no longer wanted.",
		},
		"disable_check_in_enforcement": {
			Type:        framework.TypeBool,
			Description: "If true, everyone who may use check-in can return what another caller checked out. If false, only the entity or token that checked a user out can.",
		},
	}
}

func libraryStatusFields() map[string]*framework.FieldSchema {
	number := func(description string) *framework.FieldSchema {
		return &framework.FieldSchema{Type: framework.TypeInt, Description: description, Required: true}
	}
	return map[string]*framework.FieldSchema{
		"users": {
			Type:        framework.TypeMap,
			Description: "For each user, by its username: available, state (creating, resetting, available, lent or retiring), borrower_entity_id, checked_out_at, due_at, and last_error, why it is not free.",
			Required:    true,
		},
		"available":   number("How many users are free."),
		"checked_out": number("How many users are lent."),
		"broken":      number("How many users are neither, because an attempt to prepare them failed."),
	}
}

func checkOutFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"name": libraryNameField(),
		"ttl": {
			Type:        framework.TypeDurationSecond,
			Description: "Duration of the lease, if shorter than the role's.",
		},
		"wait": {
			Type:        framework.TypeDurationSecond,
			Description: "How long to wait for a user if none is free, at most 30s. Requests are served in the order in which they came. Default: 0.",
		},
	}
}

// checkOutResponseFields are those of creds/ for a user, and the set.
func checkOutResponseFields() map[string]*framework.FieldSchema {
	fields := map[string]*framework.FieldSchema{}
	of := credsResponseFields()
	for _, name := range []string{
		"username", "password", "email", "sub", "user_pool_id", "region", "app_client_id", "totp_secret", "totp_url",
		"id_token", "refresh_token", "access_token", "token_type", "expires_in",
	} {
		fields[name] = of[name]
	}
	maps.Copy(fields, map[string]*framework.FieldSchema{
		"library": {Type: framework.TypeString, Description: "Name of the library set."},
	})
	return fields
}

func checkInFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"name": libraryNameField(),
		"usernames": {
			Type:        framework.TypeCommaStringSlice,
			Description: "Users to return. A caller that has checked out a single user need not name it. A user that is back already is no error.",
		},
	}
}
