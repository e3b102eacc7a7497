// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"fmt"
	"maps"

	"github.com/hashicorp/vault/sdk/framework"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func configFields() map[string]*framework.FieldSchema {
	fields := identityConfigFields()
	maps.Copy(fields, serviceConfigFields())
	maps.Copy(fields, rotationConfigFields())
	return describeDefaults(fields)
}

// identityConfigFields returns the fields that say which AWS identity the engine uses.
func identityConfigFields() map[string]*framework.FieldSchema {
	secret := &framework.DisplayAttributes{Sensitive: true}
	return map[string]*framework.FieldSchema{
		"aws_access_key_id": {
			Type:        framework.TypeString,
			Description: "Access key ID of the IAM user that the engine acts as. If not set, the engine uses the default credential chain of the AWS SDK: environment, profile, web identity, pod identity, instance role.",
		},
		"aws_secret_access_key": {
			Type:         framework.TypeString,
			Description:  "Secret access key for aws_access_key_id. Never returned.",
			DisplayAttrs: secret,
		},
		"aws_session_token": {
			Type:         framework.TypeString,
			Description:  "Session token, if the access key is temporary. Never returned.",
			DisplayAttrs: secret,
		},
		"aws_assume_role_arn": {
			Type:        framework.TypeString,
			Description: "ARN of an IAM role to assume with these credentials. A role of the engine can override it.",
		},
		"aws_external_id": {
			Type:        framework.TypeString,
			Description: "External ID to send when assuming aws_assume_role_arn. A role that sets its own aws_assume_role_arn does not inherit it.",
		},
		"aws_role_session_name": {
			Type:        framework.TypeString,
			Description: "Session name to use when assuming aws_assume_role_arn, as shown in CloudTrail. Defaults to vault- followed by the mount path.",
		},
		"identity_token_audience": {
			Type:        framework.TypeString,
			Description: "Audience of the identity tokens used to assume aws_assume_role_arn instead of an access key (workload identity federation). Requires Vault Enterprise.",
		},
		"identity_token_ttl": {
			Type:        framework.TypeDurationSecond,
			Default:     cognito.DurationText(identityTokenTTLDefault),
			Description: "Validity of an identity token.",
		},
		"verify_connection": {
			Type:        framework.TypeBool,
			Default:     false,
			Description: "If true, the write fails unless STS GetCallerIdentity succeeds with the new settings. Not stored.",
		},
	}
}

// serviceConfigFields returns the fields that say how AWS is reached, and the defaults of roles.
func serviceConfigFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"region": {
			Type:        framework.TypeString,
			Description: "AWS region of user pools, for roles that set none, such as eu-west-1. Where neither sets one, it is taken from the user pool ID.",
		},
		"cognito_endpoint": {
			Type:        framework.TypeString,
			Description: "URL of the Cognito API, to use a VPC endpoint, a FIPS endpoint or an emulator. Client secrets may also be sent to its host. Defaults to the endpoint of the region.",
		},
		"sts_endpoint": {
			Type:        framework.TypeString,
			Description: "URL of the STS API. Defaults to the endpoint of the region.",
		},
		"iam_endpoint": {
			Type:        framework.TypeString,
			Description: "URL of the IAM API. Defaults to the endpoint of the region.",
		},
		"username_template": {
			Type:        framework.TypeString,
			Description: "Default username_template of roles.",
		},
		"password_policy": {
			Type:        framework.TypeString,
			Description: "Default password_policy of roles.",
		},
		"max_retries": {
			Type:        framework.TypeInt,
			Default:     cognito.DefaultMaxRetries,
			Description: fmt.Sprintf("How often an AWS call is retried if it is throttled or gets no response, from 0 to %d.", maxRetriesMax),
		},
		"rate_limits": {
			Type:        framework.TypeKVPairs,
			Description: "Requests per second that this mount may use of each Cognito quota category, per account and region, as a map or as one text such as UserUpdate=20,UserCreation=25. A category that is not set defaults to half of the quota of the account where the engine may read it, and otherwise of the AWS default quota.",
		},
		"request_timeout": {
			Type:        framework.TypeDurationSecond,
			Default:     cognito.DurationText(cognito.DefaultRequestTimeout),
			Description: fmt.Sprintf("Timeout of a single attempt of an AWS call, from 1s to %s.", cognito.DurationText(requestTimeoutMax)),
		},
	}
}

// rotationConfigFields returns the fields that say when the access key is rotated.
func rotationConfigFields() map[string]*framework.FieldSchema {
	return map[string]*framework.FieldSchema{
		"rotation_period": {
			Type:        framework.TypeDurationSecond,
			Description: "How often aws_access_key_id is rotated, at least every 60s. 0 disables it. Mutually exclusive with rotation_schedule.",
		},
		"rotation_schedule": {
			Type:        framework.TypeString,
			Description: "Cron expression of five fields, in UTC, that says when aws_access_key_id is rotated. Mutually exclusive with rotation_period.",
		},
		"rotation_window": {
			Type:        framework.TypeDurationSecond,
			Description: "How long after a time of rotation_schedule a rotation may still start, at least 1h. 0 means no limit.",
		},
		"disable_automated_rotation": {
			Type:        framework.TypeBool,
			Default:     false,
			Description: "If true, aws_access_key_id is rotated only by a write to config/rotate-root.",
		},
	}
}

// configResponseFields returns the fields of a read.
func configResponseFields(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	read := responseFields(fields, "aws_secret_access_key", "aws_session_token", "verify_connection")
	read["rate_limits"].Type = framework.TypeString
	read["rate_limits"].Description = "Rate limits of the config and, for other categories, half of the AWS default quotas, as one text."
	read["last_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the engine created the access key (RFC 3339).",
	}
	read["next_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the access key is due to be rotated (RFC 3339).",
	}
	return read
}
