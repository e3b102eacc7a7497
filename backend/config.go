// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/hashicorp/vault/sdk/helper/automatedrotationutil"
	"github.com/hashicorp/vault/sdk/helper/pluginidentityutil"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	configStoragePath = "config"

	maxRetriesMax     = 20
	requestTimeoutMax = time.Minute
	externalIDMax     = 1224 // see STS's AssumeRole
)

var (
	accessKeyPattern    = regexp.MustCompile(`^\w{1,128}$`)
	sessionTokenPattern = regexp.MustCompile(`^[\x21-\x7E]+$`)
	regionPattern       = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{1,20}){1,3}-[0-9]{1,2}$`)
	roleARNPattern      = regexp.MustCompile(`^arn:aws[a-z-]{0,16}:iam::[0-9]{12}:role/[\w+=,.@/-]{1,576}$`)
	sessionNamePattern  = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalIDPattern   = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

// configEntry is how the engine reaches AWS, as it is stored. The 2021 plugin stored the first four
// fields under the same names.
type configEntry struct {
	AccessKeyID     string `json:"aws_access_key_id"`
	SecretAccessKey string `json:"aws_secret_access_key"`
	SessionToken    string `json:"aws_session_token"`
	AssumeRoleARN   string `json:"aws_assume_role_arn"`

	ExternalID      string `json:"aws_external_id,omitempty"`
	RoleSessionName string `json:"aws_role_session_name,omitempty"`
	Region          string `json:"region,omitempty"`

	CognitoEndpoint string `json:"cognito_endpoint,omitempty"`
	STSEndpoint     string `json:"sts_endpoint,omitempty"`
	IAMEndpoint     string `json:"iam_endpoint,omitempty"`

	UsernameTemplate string `json:"username_template,omitempty"`
	PasswordPolicy   string `json:"password_policy,omitempty"`

	automatedrotationutil.AutomatedRotationParams
	// RotatedByVault is set if Vault's rotation manager holds the schedule.
	RotatedByVault bool `json:"rotated_by_vault,omitempty"`
	// LastVaultRotation is when the engine created the access key, or zero if it did not.
	LastVaultRotation time.Time `json:"last_vault_rotation,omitzero"`
	NextVaultRotation time.Time `json:"next_vault_rotation,omitzero"`
	// MissedRotation is the time of the first scheduled rotation since LastVaultRotation whose
	// window passed without it.
	MissedRotation time.Time `json:"missed_rotation,omitzero"`

	pluginidentityutil.PluginIdentityTokenParams

	// MaxRetries is nil for the default; the 2021 plugin did not store it.
	MaxRetries     *int          `json:"max_retries,omitempty"`
	RequestTimeout time.Duration `json:"request_timeout,omitempty"`

	RateLimits map[string]float64 `json:"rate_limits,omitempty"`
}

// dryRun tries the templates, the password policy and identity tokens of a config before it is
// stored, and with verify also its AWS credentials.
func (b *backend) dryRun(ctx context.Context, req *logical.Request, config *configEntry, verify bool) error {
	if err := b.dryRunConfig(ctx, req.MountPoint, config); err != nil {
		return err
	}
	if err := b.dryRunIdentityToken(ctx, config); err != nil {
		return err
	}
	if !verify {
		return nil
	}
	_, err := b.newService(req, config).Identity(ctx, cognito.Target{Region: config.Region})
	return err
}

// warnOfStaticRoles returns a warning that static roles keep rotating without a config, with
// whatever credentials the SDK finds.
func (b *backend) warnOfStaticRoles(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, staticRoleStoragePrefix)
	if err != nil || len(names) == 0 {
		return nil, nil //nolint:nilerr // the config is deleted already, and the list only serves a warning
	}
	response := &logical.Response{}
	response.AddWarning(fmt.Sprintf("%d static roles are left: without a config they rotate with the credentials of the AWS SDK's default chain, if it finds any", len(names)))
	return response, nil
}

// putConfig stores the config, and shows the times of its rotation in the metrics.
func (b *backend) putConfig(ctx context.Context, s logical.Storage, config *configEntry) error {
	if err := putJSON(ctx, s, configStoragePath, config); err != nil {
		return err
	}
	b.rootTimes.Store(config.rotationTimes())
	return nil
}

// getConfig reads the config. Without an entry it returns the defaults, which use the SDK's default
// credential chain.
func getConfig(ctx context.Context, s logical.Storage) (*configEntry, error) {
	config := &configEntry{}
	if _, err := getJSON(ctx, s, configStoragePath, config); err != nil {
		return nil, err
	}
	return config, nil
}

// update sets the fields that the request names and validates the result.
func (c *configEntry) update(in input) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	before := *c
	setString(in, "aws_access_key_id", &c.AccessKeyID)
	setString(in, "aws_secret_access_key", &c.SecretAccessKey)
	setString(in, "aws_session_token", &c.SessionToken)
	setString(in, "aws_assume_role_arn", &c.AssumeRoleARN)
	setString(in, "aws_external_id", &c.ExternalID)
	setString(in, "aws_role_session_name", &c.RoleSessionName)
	setString(in, "region", &c.Region)
	setString(in, "cognito_endpoint", &c.CognitoEndpoint)
	setString(in, "sts_endpoint", &c.STSEndpoint)
	setString(in, "iam_endpoint", &c.IAMEndpoint)
	setString(in, "username_template", &c.UsernameTemplate)
	setString(in, "password_policy", &c.PasswordPolicy)
	if in.has("max_retries") {
		retries := in.value("max_retries").(int)
		c.MaxRetries = &retries
	}
	setDuration(in, "request_timeout", &c.RequestTimeout)
	if err := setRateLimits(in, &c.RateLimits); err != nil {
		return err
	}
	setString(in, "identity_token_audience", &c.IdentityTokenAudience)
	setDuration(in, "identity_token_ttl", &c.IdentityTokenTTL)
	setDuration(in, "rotation_period", &c.RotationPeriod)
	setString(in, "rotation_schedule", &c.RotationSchedule)
	setDuration(in, "rotation_window", &c.RotationWindow)
	setField(in, "disable_automated_rotation", &c.DisableAutomatedRotation)
	if err := c.replaceKeys(in, before); err != nil {
		return err
	}
	return c.validate(in)
}

// replaceKeys requires that a new access key comes with its secret, and drops the secret and token
// of the old one: they would only fail at AWS.
func (c *configEntry) replaceKeys(in input, before configEntry) error {
	if c.AccessKeyID == before.AccessKeyID {
		return nil
	}
	if c.AccessKeyID != "" && !in.has("aws_secret_access_key") {
		return badRequest("aws_secret_access_key is required: the stored one belongs to another aws_access_key_id")
	}
	if !in.has("aws_secret_access_key") {
		c.SecretAccessKey = ""
	}
	if !in.has("aws_session_token") {
		c.SessionToken = ""
	}
	return nil
}

func (c *configEntry) validate(in input) error {
	if err := c.validateKeys(); err != nil {
		return err
	}
	switch {
	case in.has("max_retries") && (*c.MaxRetries < 0 || *c.MaxRetries > maxRetriesMax):
		return badRequest("max_retries %d is not allowed: it must be 0 to %d", *c.MaxRetries, maxRetriesMax)
	case in.has("request_timeout") && (c.RequestTimeout < time.Second || c.RequestTimeout > requestTimeoutMax):
		return badRequest("request_timeout %q is not allowed: it must be 1s to %s", cognito.DurationText(c.RequestTimeout), cognito.DurationText(requestTimeoutMax))
	case c.RoleSessionName != "" && !sessionNamePattern.MatchString(c.RoleSessionName):
		return badRequest("aws_role_session_name %q is not allowed: it must be 2 to 64 letters, digits or any of _+=,.@-", c.RoleSessionName)
	}
	if err := validateReach(c.Region, c.AssumeRoleARN, c.ExternalID); err != nil {
		return err
	}
	if err := c.validateFederation(); err != nil {
		return err
	}
	if err := c.validateRotation(); err != nil {
		return err
	}
	return c.validateEndpoints()
}

func (c *configEntry) validateKeys() error {
	switch {
	case c.AccessKeyID != "" && c.SecretAccessKey == "":
		return badRequest("aws_secret_access_key is required: aws_access_key_id %q cannot be used without it", c.AccessKeyID)
	case c.AccessKeyID == "" && c.SecretAccessKey != "":
		return badRequest("aws_access_key_id is required: aws_secret_access_key cannot be used without it")
	case c.AccessKeyID == "" && c.SessionToken != "":
		return badRequest("aws_access_key_id is required: aws_session_token cannot be used without it")
	case c.AccessKeyID != "" && !accessKeyPattern.MatchString(c.AccessKeyID):
		return badRequest("aws_access_key_id %q is not allowed: it must be up to 128 letters, digits or _", c.AccessKeyID)
	case c.SessionToken != "" && !sessionTokenPattern.MatchString(c.SessionToken):
		return badRequest("aws_session_token is not allowed: it must be printable ASCII without spaces")
	}
	return nil
}

func (c *configEntry) validateEndpoints() error {
	endpoints := []struct{ field, value string }{
		{"cognito_endpoint", c.CognitoEndpoint}, {"sts_endpoint", c.STSEndpoint}, {"iam_endpoint", c.IAMEndpoint},
	}
	for _, endpoint := range endpoints {
		if endpoint.value == "" {
			continue
		}
		if _, err := cognito.ParseEndpoint(endpoint.value); err != nil {
			return badRequest("%s %q is not allowed: %s", endpoint.field, endpoint.value, err)
		}
	}
	return nil
}

// validateReach validates the fields that the config, roles and static roles share.
func validateReach(region, assumeRoleARN, externalID string) error {
	switch {
	case region != "" && !regionPattern.MatchString(region):
		return badRequest("region %q is not allowed: it must be an AWS region, such as eu-west-1", region)
	case assumeRoleARN != "" && !roleARNPattern.MatchString(assumeRoleARN):
		return badRequest("aws_assume_role_arn %q is not allowed: it must be the ARN of an IAM role, such as arn:aws:iam::123456789012:role/vault", assumeRoleARN)
	case externalID != "" && !validExternalID(externalID):
		return badRequest("aws_external_id %q is not allowed: it must be 2 to %d letters, digits or any of _+=,.@:/-", externalID, externalIDMax)
	}
	return nil
}

func validExternalID(id string) bool {
	return len(id) >= 2 && len(id) <= externalIDMax && externalIDPattern.MatchString(id)
}

// responseData returns the config as a read shows it, without its secrets.
func (c *configEntry) responseData() map[string]any {
	data := map[string]any{
		"aws_access_key_id":     c.AccessKeyID,
		"aws_assume_role_arn":   c.AssumeRoleARN,
		"aws_external_id":       c.ExternalID,
		"aws_role_session_name": c.RoleSessionName,
		"region":                c.Region,
		"cognito_endpoint":      c.CognitoEndpoint,
		"sts_endpoint":          c.STSEndpoint,
		"iam_endpoint":          c.IAMEndpoint,
		"username_template":     c.UsernameTemplate,
		"password_policy":       c.PasswordPolicy,
		"max_retries":           c.maxRetries(),
		"request_timeout":       seconds(c.requestTimeout()),
		"rate_limits":           rateLimitsText(c.RateLimits),

		"identity_token_audience":    c.IdentityTokenAudience,
		"identity_token_ttl":         seconds(c.identityTokenTTL()),
		"rotation_period":            seconds(c.RotationPeriod),
		"rotation_schedule":          c.RotationSchedule,
		"rotation_window":            seconds(c.RotationWindow),
		"disable_automated_rotation": c.DisableAutomatedRotation,
	}
	setTime(data, "last_vault_rotation", c.LastVaultRotation)
	setTime(data, "next_vault_rotation", c.NextVaultRotation)
	return data
}

func (c *configEntry) maxRetries() int {
	if c.MaxRetries == nil {
		return cognito.DefaultMaxRetries
	}
	return *c.MaxRetries
}

func (c *configEntry) requestTimeout() time.Duration {
	return cmp.Or(c.RequestTimeout, cognito.DefaultRequestTimeout)
}

func (c *configEntry) settings(mountPoint string) cognito.Settings {
	return cognito.Settings{
		AccessKeyID:     c.AccessKeyID,
		SecretAccessKey: c.SecretAccessKey,
		SessionToken:    c.SessionToken,
		AssumeRoleARN:   c.AssumeRoleARN,
		ExternalID:      c.ExternalID,
		RoleSessionName: cmp.Or(c.RoleSessionName, sessionName(mountPoint)),
		CognitoEndpoint: c.CognitoEndpoint,
		STSEndpoint:     c.STSEndpoint,
		IAMEndpoint:     c.IAMEndpoint,
		Region:          c.Region,
		MaxRetries:      c.maxRetries(),
		RequestTimeout:  c.requestTimeout(),
		RateLimits:      c.RateLimits,
	}
}
