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
		"region":               {Type: framework.TypeString, Description: "AWS region of the user pool, such as eu-west-1. Defaults to the region in the mount's config."},
		"aws_assume_role_arn":  {Type: framework.TypeString, Description: "ARN of an IAM role to assume for this static role instead of the mount's."},
		"aws_external_id":      {Type: framework.TypeString, Description: "External id for aws_assume_role_arn, if its trust policy requires one."},
		"app_client_id":        {Type: framework.TypeString, Description: "App client whose secret Vault owns, or that the user signs in through to prove a new password."},
		"app_client_secret":    {Type: framework.TypeString, Description: "Type user_password: secret of that app client. Type app_client_secret: its present value, for skip_import_rotation. Never returned.", DisplayAttrs: sensitive},
		"username":             {Type: framework.TypeString, Description: "User whose password Vault owns. Type user_password only."},
		"password":             {Type: framework.TypeString, Description: "Present password of the user: for self_managed and skip_import_rotation, and later if the password was changed by other means. Proven if app_client_id is set. Never returned. Type user_password only.", DisplayAttrs: sensitive},
		"password_policy":      {Type: framework.TypeString, Description: "Vault password policy that generates the passwords. Defaults to the mount's, or else to 32 characters of every class. Type user_password only."},
		"issue_tokens":         {Type: framework.TypeBool, Description: "Whether static-creds also signs the user in and returns its tokens. Type user_password only."},
		"sign_out_on_rotation": {Type: framework.TypeBool, Description: "Whether a rotation ends the sessions that the old password opened. Type user_password only."},
		"self_managed":         {Type: framework.TypeBool, Description: "Whether the user changes its own password, which requires no IAM permissions. It cannot be changed later. Type user_password only."},
		"cognito_pool_domain":  {Type: framework.TypeString, Description: "Domain of the user pool, where a token proves a new secret. Type app_client_secret only."},
		"scopes":               {Type: framework.TypeCommaStringSlice, Description: "Scopes of the token that proves a new secret. Type app_client_secret only."},
		"rotation_period":      {Type: framework.TypeDurationSecond, Description: "How often to rotate, 60s or more."},
		"rotation_schedule":    {Type: framework.TypeString, Description: "When to rotate, as a cron expression of five fields, in UTC. Excludes rotation_period."},
		"rotation_window":      {Type: framework.TypeDurationSecond, Description: "How long after the scheduled time a rotation may begin, 1h or more. Defaults to no limit."},
		"skip_import_rotation": {Type: framework.TypeBool, Description: "Whether the present value stays in force until the first scheduled rotation. Requires password or app_client_secret."},
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
