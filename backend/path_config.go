// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
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

// configEntry is how the engine reaches AWS, as it is stored. The older plugin
// stored the first four fields under the same names.
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
	// RotatedByVault is set when Vault's rotation manager has the schedule.
	RotatedByVault bool `json:"rotated_by_vault,omitempty"`
	// LastVaultRotation is when the engine made the access key; zero when it did not.
	LastVaultRotation time.Time `json:"last_vault_rotation,omitzero"`
	NextVaultRotation time.Time `json:"next_vault_rotation,omitzero"`

	pluginidentityutil.PluginIdentityTokenParams

	// MaxRetries is nil in what the older plugin stored.
	MaxRetries     *int          `json:"max_retries,omitempty"`
	RequestTimeout time.Duration `json:"request_timeout,omitempty"`

	RateLimits map[string]float64 `json:"rate_limits,omitempty"`
}

func pathConfig(b *backend) []*framework.Path {
	fields := configFields()
	return []*framework.Path{{
		Pattern: "config$",
		DisplayAttrs: &framework.DisplayAttributes{
			OperationPrefix: operationPrefix,
		},
		Fields: fields,
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.ReadOperation: &framework.PathOperation{
				Callback:     b.pathConfigRead,
				Summary:      "Read the config, but for its secrets.",
				Responses:    responds(shownConfigFields(fields)),
				DisplayAttrs: &framework.DisplayAttributes{OperationVerb: "read", OperationSuffix: "configuration"},
			},
			logical.CreateOperation: b.configWrite("write", "Write the config: change the fields that are given."),
			logical.UpdateOperation: b.configWrite("write", "Write the config: change the fields that are given."),
			logical.PatchOperation:  b.configWrite("patch", "Change fields of a config that is there."),
			logical.DeleteOperation: &framework.PathOperation{
				Callback:                    b.pathConfigDelete,
				Summary:                     "Forget the config: the AWS SDK's default chain applies again.",
				ForwardPerformanceStandby:   true,
				ForwardPerformanceSecondary: true,
				Responses:                   respondsNothing(),
				DisplayAttrs:                &framework.DisplayAttributes{OperationVerb: "delete", OperationSuffix: "configuration"},
			},
		},
		ExistenceCheck:  b.configExists,
		HelpSynopsis:    configHelpSynopsis,
		HelpDescription: strings.TrimSpace(configHelpDescription),
	}}
}

func (b *backend) configWrite(verb, summary string) *framework.PathOperation {
	return &framework.PathOperation{
		Callback:                    b.pathConfigWrite,
		Summary:                     summary,
		ForwardPerformanceStandby:   true,
		ForwardPerformanceSecondary: true,
		Responses:                   respondsNothing(),
		DisplayAttrs:                &framework.DisplayAttributes{OperationVerb: verb, OperationSuffix: "configuration"},
	}
}

func configFields() map[string]*framework.FieldSchema {
	fields := identityConfigFields()
	maps.Copy(fields, serviceConfigFields())
	maps.Copy(fields, rotationConfigFields())
	return showingDefaults(fields)
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

// shownConfigFields are those of a read.
func shownConfigFields(fields map[string]*framework.FieldSchema) map[string]*framework.FieldSchema {
	shown := without(fields, "aws_secret_access_key", "aws_session_token", "verify_connection")
	shown["last_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the engine last made the access key, RFC 3339.",
	}
	shown["next_vault_rotation"] = &framework.FieldSchema{
		Type: framework.TypeString, Description: "When the access key is due to be rotated, RFC 3339.",
	}
	return shown
}

func (b *backend) configExists(ctx context.Context, req *logical.Request, _ *framework.FieldData) (bool, error) {
	entry, err := req.Storage.Get(ctx, configStoragePath)
	if err != nil {
		return false, fmt.Errorf("reading the config: %w", err)
	}
	return entry != nil, nil
}

func (b *backend) pathConfigRead(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	exists, err := b.configExists(ctx, req, data)
	if err != nil || !exists {
		return nil, err
	}
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	return &logical.Response{Data: config.shown()}, nil
}

func (b *backend) pathConfigWrite(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	if err := b.mustExistToPatch(ctx, req, data); err != nil {
		return nil, err
	}
	before, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	config := *before
	if err := config.update(newInput(req, data)); err != nil {
		return answer(err)
	}
	if err := b.tryOut(ctx, req, &config, data.Get("verify_connection").(bool)); err != nil {
		return answer(err)
	}
	config.planAfter(before, b.now())
	if err := b.registerRotation(ctx, req, &config); err != nil {
		return nil, err
	}
	// Dropped even after a failure: the storage may have taken the config all the same.
	defer b.disconnect()
	if err := putJSON(ctx, req.Storage, configStoragePath, &config); err != nil {
		return nil, err
	}
	return written(req, data), nil
}

// tryOut lets everything that a config asks for happen once before it is
// stored, and with verify AWS answer to it.
func (b *backend) tryOut(ctx context.Context, req *logical.Request, config *configEntry, verify bool) error {
	if err := b.tryConfig(ctx, req.MountPoint, config); err != nil {
		return err
	}
	if err := b.tryIdentityToken(ctx, config); err != nil {
		return err
	}
	if !verify {
		return nil
	}
	_, err := b.awsOf(req, config).Identity(ctx, cognito.Target{Region: config.Region})
	return err
}

func (b *backend) mustExistToPatch(ctx context.Context, req *logical.Request, data *framework.FieldData) error {
	if req.Operation != logical.PatchOperation {
		return nil
	}
	exists, err := b.configExists(ctx, req, data)
	if err == nil && !exists {
		err = notFound("entry", configStoragePath)
	}
	return err
}

func (b *backend) pathConfigDelete(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		// A damaged config can be deleted all the same.
		config = &configEntry{}
	}
	if err := b.deregisterRotation(ctx, req, config); err != nil {
		return nil, err
	}
	defer b.disconnect()
	if err := req.Storage.Delete(ctx, configStoragePath); err != nil {
		return nil, fmt.Errorf("deleting the config: %w", err)
	}
	return b.warnOfStaticRoles(ctx, req)
}

// warnOfStaticRoles tells what goes on without a config: static roles rotate
// with whatever credentials the SDK finds.
func (b *backend) warnOfStaticRoles(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	names, err := req.Storage.List(ctx, staticRoleStoragePrefix)
	if err != nil || len(names) == 0 {
		return nil, nil //nolint:nilerr // the config is deleted, and this is but a warning
	}
	response := &logical.Response{}
	response.AddWarning(fmt.Sprintf("%d static roles are left, which from now on rotate with the credentials that the AWS SDK finds by itself, if it finds any", len(names)))
	return response, nil
}

// getConfig reads the config. There is always one: without an entry it is the
// defaults and the SDK's own credentials.
func getConfig(ctx context.Context, s logical.Storage) (*configEntry, error) {
	config := &configEntry{}
	if _, err := getJSON(ctx, s, configStoragePath, config); err != nil {
		return nil, err
	}
	return config, nil
}

// update takes over what the request names and checks the whole.
func (c *configEntry) update(in input) error {
	if err := in.bounded(); err != nil {
		return err
	}
	before := *c
	takeText(in, "aws_access_key_id", &c.AccessKeyID)
	takeText(in, "aws_secret_access_key", &c.SecretAccessKey)
	takeText(in, "aws_session_token", &c.SessionToken)
	takeText(in, "aws_assume_role_arn", &c.AssumeRoleARN)
	takeText(in, "aws_external_id", &c.ExternalID)
	takeText(in, "aws_role_session_name", &c.RoleSessionName)
	takeText(in, "region", &c.Region)
	takeText(in, "cognito_endpoint", &c.CognitoEndpoint)
	takeText(in, "sts_endpoint", &c.STSEndpoint)
	takeText(in, "iam_endpoint", &c.IAMEndpoint)
	takeText(in, "username_template", &c.UsernameTemplate)
	takeText(in, "password_policy", &c.PasswordPolicy)
	if in.names("max_retries") {
		retries := in.value("max_retries").(int)
		c.MaxRetries = &retries
	}
	takeDuration(in, "request_timeout", &c.RequestTimeout)
	if err := takeRateLimits(in, &c.RateLimits); err != nil {
		return err
	}
	takeText(in, "identity_token_audience", &c.IdentityTokenAudience)
	takeDuration(in, "identity_token_ttl", &c.IdentityTokenTTL)
	takeDuration(in, "rotation_period", &c.RotationPeriod)
	takeText(in, "rotation_schedule", &c.RotationSchedule)
	takeDuration(in, "rotation_window", &c.RotationWindow)
	take(in, "disable_automated_rotation", &c.DisableAutomatedRotation)
	if err := c.replaceKeys(in, before); err != nil {
		return err
	}
	return c.validate(in)
}

// replaceKeys sees to it that a key, its secret and its token change together:
// what is left of the ones before would only fail at AWS.
func (c *configEntry) replaceKeys(in input, before configEntry) error {
	if c.AccessKeyID == before.AccessKeyID {
		return nil
	}
	if c.AccessKeyID != "" && !in.names("aws_secret_access_key") {
		return badRequest("aws_secret_access_key is missing: the stored one belongs to another aws_access_key_id")
	}
	if !in.names("aws_secret_access_key") {
		c.SecretAccessKey = ""
	}
	if !in.names("aws_session_token") {
		c.SessionToken = ""
	}
	return nil
}

func (c *configEntry) validate(in input) error {
	if err := c.validateKeys(); err != nil {
		return err
	}
	switch {
	case in.names("max_retries") && (*c.MaxRetries < 0 || *c.MaxRetries > maxRetriesMax):
		return badRequest("max_retries %d is not allowed: it must be 0 to %d", *c.MaxRetries, maxRetriesMax)
	case in.names("request_timeout") && (c.RequestTimeout < time.Second || c.RequestTimeout > requestTimeoutMax):
		return badRequest("request_timeout %q is not allowed: it must be 1s to %s", c.RequestTimeout, requestTimeoutMax)
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
		return badRequest("aws_secret_access_key is missing: aws_access_key_id is of no use without it")
	case c.AccessKeyID == "" && c.SecretAccessKey != "":
		return badRequest("aws_access_key_id is missing: aws_secret_access_key is of no use without it")
	case c.AccessKeyID == "" && c.SessionToken != "":
		return badRequest("aws_access_key_id is missing: aws_session_token is of no use without it")
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

// validateReach checks the fields that config and roles have in common.
func validateReach(region, assumeRoleARN, externalID string) error {
	switch {
	case region != "" && !regionPattern.MatchString(region):
		return badRequest("region %q is not allowed: it must be the name of an AWS region, such as eu-west-1", region)
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

// shown is what a read tells: all but the secrets.
func (c *configEntry) shown() map[string]any {
	shown := map[string]any{
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
		"rate_limits":           shownRateLimits(c.RateLimits),

		"identity_token_audience":    c.IdentityTokenAudience,
		"identity_token_ttl":         seconds(c.identityTokenTTL()),
		"rotation_period":            seconds(c.RotationPeriod),
		"rotation_schedule":          c.RotationSchedule,
		"rotation_window":            seconds(c.RotationWindow),
		"disable_automated_rotation": c.DisableAutomatedRotation,
	}
	showTime(shown, "last_vault_rotation", c.LastVaultRotation)
	showTime(shown, "next_vault_rotation", c.NextVaultRotation)
	return shown
}

// showTime adds a time unless there is none.
func showTime(shown map[string]any, field string, at time.Time) {
	if !at.IsZero() {
		shown[field] = at.UTC().Format(time.RFC3339)
	}
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

const configHelpSynopsis = `Configure how the engine reaches AWS.`

const configHelpDescription = `
Without static keys the engine uses the AWS SDK's default chain of credentials.
With or without them it can assume an IAM role, mount-wide here or for each role
of the engine. The secret key and the session token are never shown.

A write changes only the fields it names. Leases keep working across a change as
long as the new credentials may delete users in the same pools.
`
