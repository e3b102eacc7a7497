// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func configFields() map[string]*framework.FieldSchema {
	fields := identityConfigFields()
	maps.Copy(fields, serviceConfigFields())
	maps.Copy(fields, rotationConfigFields())
	return describeDefaults(fields)
}

// identityConfigFields are about who the engine is to AWS.
func identityConfigFields() map[string]*framework.FieldSchema {
	secret := &framework.DisplayAttributes{Sensitive: true}
	return map[string]*framework.FieldSchema{
		"aws_access_key_id": {
			Type:        framework.TypeString,
			Description: "Access key of the IAM user that the engine acts as. Without one the AWS SDK's default chain is used: environment, profile, web identity, pod identity, instance role.",
		},
		"aws_secret_access_key": {
			Type:         framework.TypeString,
			Description:  "Secret of aws_access_key_id. Never shown again.",
			DisplayAttrs: secret,
		},
		"aws_session_token": {
			Type:         framework.TypeString,
			Description:  "Session token, when the access key is a temporary one. Never shown again.",
			DisplayAttrs: secret,
		},
		"aws_assume_role_arn": {
			Type:        framework.TypeString,
			Description: "ARN of an IAM role to assume with these credentials. A role of the engine may name another.",
		},
		"aws_external_id": {
			Type:        framework.TypeString,
			Description: "External id for aws_assume_role_arn, where its trust policy asks for one.",
		},
		"aws_role_session_name": {
			Type:        framework.TypeString,
			Description: "Session name for aws_assume_role_arn, as CloudTrail shows it. Default: vault- and the mount's path.",
		},
		"identity_token_audience": {
			Type:        framework.TypeString,
			Description: "Audience of the identity tokens with which aws_assume_role_arn is assumed, in the place of static keys: workload identity federation. Vault Enterprise only.",
		},
		"identity_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Default:     int(identityTokenTTLDefault / time.Second),
			Description: "How long an identity token is valid.",
		},
		"verify_connection": {
			Type:        framework.TypeBool,
			Default:     false,
			Description: "Ask STS with the new settings who the engine is, and refuse the write unless it answers. Not stored.",
		},
	}
}

// serviceConfigFields are about where AWS is and how it is treated, and defaults of roles.
func serviceConfigFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"region": {
			Type:        framework.TypeString,
			Description: "AWS region of the user pools of roles that name none, such as eu-west-1.",
		},
		"cognito_endpoint": {
			Type:        framework.TypeString,
			Description: "URL to reach Cognito's API at, in place of AWS's own: a VPC endpoint or an emulator.",
		},
		"sts_endpoint": {
			Type:        framework.TypeString,
			Description: "URL to reach STS at, in place of AWS's own.",
		},
		"iam_endpoint": {
			Type:        framework.TypeString,
			Description: "URL to reach IAM at, in place of AWS's own.",
		},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Template of usernames for roles that have none, by the rules of a role's own.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Vault password policy for roles that name none.",
		},
		"max_retries": {
			Type:        framework.TypeInt,
			Default:     cognito.DefaultMaxRetries,
			Description: fmt.Sprintf("How often a call to AWS is repeated when it is throttled or fails on the way, 0 to %d.", maxRetriesMax),
		},
		"rate_limits": {
			Type:        framework.TypeKVPairs,
			Description: "What this mount may take of Cognito's quotas: requests a second by quota category, such as UserCreation=25, for each account and region. Half of AWS's default for a category that is not named.",
		},
		"request_timeout": {
			Type:        framework.TypeDurationSecond,
			Default:     int(cognito.DefaultRequestTimeout / time.Second),
			Description: fmt.Sprintf("How long one attempt of one call to AWS may take, 1s to %s.", requestTimeoutMax),
		},
	}
}

// rotationConfigFields are about aws_access_key_id's successors.
func rotationConfigFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"rotation_period": {
			Type:        framework.TypeDurationSecond,
			Description: "How often aws_access_key_id is rotated, a minute or more. 0 is never. Excludes rotation_schedule.",
		},
		"rotation_schedule": {
			Type:        framework.TypeString,
			Description: "When aws_access_key_id is rotated, as a cron expression of five fields in UTC. Excludes rotation_period.",
		},
		"rotation_window": {
			Type:        framework.TypeDurationSecond,
			Description: "How long after a time of rotation_schedule the rotation may still begin, an hour or more. 0 is always.",
		},
		"disable_automated_rotation": {
			Type:        framework.TypeBool,
			Default:     false,
			Description: "Rotate aws_access_key_id only on request, whatever the period or schedule.",
		},
	}
}

// configResponseFields are those of a read.
func configResponseFields(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	shown := responseFields(fields, "aws_secret_access_key", "aws_session_token", "verify_connection")
	shown["last_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the engine last made the access key, RFC 3339.",
	}
	shown["next_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the access key is due to be rotated, RFC 3339.",
	}
	return shown
}
