// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"github.com/hashicorp/vault/sdk/framework"
)

func staticRoleFields() map[string]*framework.FieldSchema {
	sensitive := &framework.DisplayAttributes{Sensitive: true}
	return describeDefaults(map[string]*framework.FieldSchema{
		"name":                 {Type: framework.TypeLowerCaseString, Description: "Name of the static role.", Required: true},
		"credential_type":      {Type: framework.TypeString, Default: staticTypePassword, AllowedValues: []any{staticTypePassword, staticTypeSecret}, Description: `What Vault owns: "user_password" or "app_client_secret".`},
		"user_pool_id":         {Type: framework.TypeString, Description: "Id of the user pool, such as eu-west-1_AbCdEfGhI."},
		"region":               {Type: framework.TypeString, Description: "AWS region of the user pool, such as eu-west-1. Default: the region of the mount's config."},
		"aws_assume_role_arn":  {Type: framework.TypeString, Description: "ARN of an IAM role to assume for this static role in place of the mount's."},
		"aws_external_id":      {Type: framework.TypeString, Description: "External id for aws_assume_role_arn, where its trust policy asks for one."},
		"app_client_id":        {Type: framework.TypeString, Description: "App client whose secret Vault owns, or that the user signs in through to prove a new password."},
		"app_client_secret":    {Type: framework.TypeString, Description: "Type user_password: secret of that app client. Type app_client_secret: its present value, for skip_import_rotation. Never shown again.", DisplayAttrs: sensitive},
		"username":             {Type: framework.TypeString, Description: "User whose password Vault owns. Type user_password only."},
		"password":             {Type: framework.TypeString, Description: "Present password of the user, for self_managed or skip_import_rotation. Never shown again. Type user_password only.", DisplayAttrs: sensitive},
		"password_policy":      {Type: framework.TypeString, Description: "Vault password policy that makes the passwords. Default: the mount's, or else 32 characters of every class. Type user_password only."},
		"issue_tokens":         {Type: framework.TypeBool, Description: "Whether static-creds also signs the user in and returns its tokens. Type user_password only."},
		"sign_out_on_rotation": {Type: framework.TypeBool, Description: "Whether a rotation ends the sessions that the old password opened. Type user_password only."},
		"self_managed":         {Type: framework.TypeBool, Description: "Whether the user changes its own password, which takes no right of IAM's. It cannot change later. Type user_password only."},
		"cognito_pool_domain":  {Type: framework.TypeString, Description: "Domain of the user pool, where a token proves a new secret. Type app_client_secret only."},
		"scopes":               {Type: framework.TypeCommaStringSlice, Description: "Scopes of the token that proves a new secret. Type app_client_secret only."},
		"rotation_period":      {Type: framework.TypeDurationSecond, Description: "How often to rotate, 60s at least."},
		"rotation_schedule":    {Type: framework.TypeString, Description: "When to rotate: five fields of cron, in UTC. In place of rotation_period."},
		"rotation_window":      {Type: framework.TypeDurationSecond, Description: "How long after the scheduled time a rotation may still begin, 1h at least. None: any time."},
		"skip_import_rotation": {Type: framework.TypeBool, Description: "Whether to leave the present value in force until the first scheduled rotation. It has to be given, as password or app_client_secret."},
	})
}

func staticRoleResponseFields() map[string]*framework.FieldSchema {
	fields := responseFields(staticRoleFields(), "name", "app_client_secret", "password", "skip_import_rotation")
	fields["app_client_secret_set"] = &framework.FieldSchema{Type: framework.TypeBool, Description: "Whether the static role holds the app client's secret."}
	fields["last_vault_rotation"] = &framework.FieldSchema{Type: framework.TypeString, Description: "When the value was rotated last, in RFC 3339."}
	fields["next_vault_rotation"] = &framework.FieldSchema{Type: framework.TypeString, Description: "When it is to be rotated next, in RFC 3339."}
	fields["sub"] = &framework.FieldSchema{Type: framework.TypeString, Description: "Sub of the user, which identifies it, once it is known. Type user_password only."}
	fields["state"] = &framework.FieldSchema{Type: framework.TypeString, AllowedValues: []any{string(staticIdle), string(staticSetting), string(staticProving), string(staticRejected)}, Description: `"idle"; "setting": a new value is stored and Cognito may have it; "proving": Cognito has the new value, which has to be proven; "rejected": Cognito accepts no value that Vault has.`}
	fields["next_attempt"] = &framework.FieldSchema{Type: framework.TypeString, Description: "When the engine works on the role next, in RFC 3339."}
	fields["last_error"] = &framework.FieldSchema{Type: framework.TypeString, Description: "Why the last rotation failed, until one succeeds."}
	return fields
}
