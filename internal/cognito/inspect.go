// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// defaultTokenLife is the life of JWTs of an app client that sets none.
const defaultTokenLife = time.Hour

// PoolRules are what a user pool demands of its users.
type PoolRules struct {
	Password PasswordRules
	// UsernameAttributes are email or phone_number if a username must be one,
	// AliasAttributes if it must not look like one.
	UsernameAttributes, AliasAttributes []string
	// Attributes are all attributes of the pool, custom ones with the prefix
	// "custom:". Required are those that a user must have, without the sub.
	Attributes, Required []string
	// MFA is OFF, OPTIONAL or ON.
	MFA string
	// Passkeys is set if users may sign in with a passkey.
	Passkeys bool
	// Recovery is how users may recover their account by themselves, such as verified_email. It is
	// empty if only an administrator can.
	Recovery []string
}

// PasswordRules are the password policy of a user pool.
type PasswordRules struct {
	MinimumLength                  int
	Upper, Lower, Numbers, Symbols bool
}

// ClientRules are what an app client allows.
type ClientRules struct {
	// AuthFlows are ExplicitAuthFlows of Cognito's API.
	AuthFlows []string
	// ClientCredentials is set if the client_credentials grant is allowed.
	ClientCredentials bool
	Scopes            []string
	// HasSecret is set if Cognito shows a secret.
	HasSecret bool
	// RotatesRefreshTokens is set if a refresh token can be used once only.
	RotatesRefreshTokens bool
	// JWTLife is the life of access or ID tokens, whichever is longer.
	JWTLife time.Duration

	secret string
}

// HasThisSecret reports whether the secret is the one that Cognito shows, with
// which the app client was created. There may be another one.
func (c ClientRules) HasThisSecret(secret string) bool {
	return subtle.ConstantTimeCompare([]byte(c.secret), []byte(secret)) == 1
}

// DomainState is the state of a domain of a user pool.
type DomainState struct {
	// UserPoolID is empty if no pool of the account and region has the domain.
	UserPoolID string
	// Status is a DomainStatusType of Cognito's API, such as ACTIVE.
	Status string
}

// DeniedAction returns the IAM action, such as cognito-idp:GetGroup, that was
// denied, or "" for every other error.
func DeniedAction(err error) string {
	for _, code := range deniedCodes {
		if hasCode(err, code) {
			return action(err)
		}
	}
	return ""
}

// Identity returns the ARN of the identity that makes the calls for a target. It
// needs no IAM permission.
func (s *Service) Identity(ctx context.Context, target Target) (string, error) {
	const step = "asking STS for the engine's identity"
	client, err := s.stsClient(ctx, target)
	if err != nil {
		return "", err
	}
	out, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fail(step, err)
	}
	return aws.ToString(out.Arn), nil
}

// stsClient uses the credentials of Cognito's client for the target, so that a
// role is not assumed twice.
func (s *Service) stsClient(ctx context.Context, target Target) (*sts.Client, error) {
	api, err := s.client(ctx, target)
	if err != nil {
		return nil, err
	}
	cfg, err := s.awsConfig(ctx, s.keyOf(target))
	if err != nil {
		return nil, failSetup("preparing the AWS client", err)
	}
	cfg.Credentials = api.Options().Credentials
	return s.stsFrom(cfg), nil
}

// Rules reads what the pool demands of its users.
func (p *Pool) Rules(ctx context.Context) (PoolRules, error) {
	step := fmt.Sprintf("reading user pool %q", p.target.UserPoolID)
	out, err := p.api.DescribeUserPool(ctx, &cip.DescribeUserPoolInput{UserPoolId: &p.target.UserPoolID})
	switch {
	case err != nil:
		return PoolRules{}, fail(step, err)
	case out.UserPool == nil:
		return PoolRules{}, &Error{Step: step, Kind: KindUnavailable, Detail: "the answer describes no user pool"}
	}
	return poolRules(out.UserPool), nil
}

func poolRules(pool *types.UserPoolType) PoolRules {
	rules := PoolRules{
		UsernameAttributes: texts(pool.UsernameAttributes),
		AliasAttributes:    texts(pool.AliasAttributes),
		MFA:                cmp.Or(string(pool.MfaConfiguration), string(types.UserPoolMfaTypeOff)),
	}
	if pool.Policies != nil && pool.Policies.PasswordPolicy != nil {
		rules.Password = passwordRules(pool.Policies.PasswordPolicy)
	}
	if pool.Policies != nil && pool.Policies.SignInPolicy != nil {
		rules.Passkeys = slices.Contains(pool.Policies.SignInPolicy.AllowedFirstAuthFactors, types.AuthFactorTypeWebAuthn)
	}
	rules.Recovery = recovery(pool.AccountRecoverySetting)
	for _, attribute := range pool.SchemaAttributes {
		name := aws.ToString(attribute.Name)
		rules.Attributes = append(rules.Attributes, name)
		// The pool itself sets the sub.
		if aws.ToBool(attribute.Required) && name != "sub" {
			rules.Required = append(rules.Required, name)
		}
	}
	return rules
}

// recovery returns how users may recover their account. A pool without the setting lets them.
func recovery(setting *types.AccountRecoverySettingType) []string {
	if setting == nil {
		return []string{string(types.RecoveryOptionNameTypeVerifiedPhoneNumber), string(types.RecoveryOptionNameTypeVerifiedEmail)}
	}
	var names []string
	for _, option := range setting.RecoveryMechanisms {
		if option.Name != types.RecoveryOptionNameTypeAdminOnly {
			names = append(names, string(option.Name))
		}
	}
	return names
}

func passwordRules(policy *types.PasswordPolicyType) PasswordRules {
	return PasswordRules{
		MinimumLength: int(aws.ToInt32(policy.MinimumLength)),
		Upper:         policy.RequireUppercase,
		Lower:         policy.RequireLowercase,
		Numbers:       policy.RequireNumbers,
		Symbols:       policy.RequireSymbols,
	}
}

// AllowsSoftwareTokens reads whether users of the pool may have an authenticator.
func (p *Pool) AllowsSoftwareTokens(ctx context.Context) (bool, error) {
	out, err := p.api.GetUserPoolMfaConfig(ctx, &cip.GetUserPoolMfaConfigInput{UserPoolId: &p.target.UserPoolID})
	if err != nil {
		return false, fail(fmt.Sprintf("reading the MFA settings of user pool %q", p.target.UserPoolID), err)
	}
	return out.SoftwareTokenMfaConfiguration != nil && out.SoftwareTokenMfaConfiguration.Enabled, nil
}

// Client reads what an app client of the pool allows.
func (p *Pool) Client(ctx context.Context, id string) (ClientRules, error) {
	step := fmt.Sprintf("reading app client %q of user pool %q", id, p.target.UserPoolID)
	out, err := p.api.DescribeUserPoolClient(ctx, &cip.DescribeUserPoolClientInput{UserPoolId: &p.target.UserPoolID, ClientId: &id})
	switch {
	case err != nil:
		return ClientRules{}, fail(step, err)
	case out.UserPoolClient == nil:
		return ClientRules{}, &Error{Step: step, Kind: KindUnavailable, Detail: "the answer describes no app client"}
	}
	return clientRules(out.UserPoolClient), nil
}

func clientRules(client *types.UserPoolClientType) ClientRules {
	units := client.TokenValidityUnits
	if units == nil {
		units = &types.TokenValidityUnitsType{}
	}
	return ClientRules{
		AuthFlows: texts(client.ExplicitAuthFlows),
		ClientCredentials: aws.ToBool(client.AllowedOAuthFlowsUserPoolClient) &&
			slices.Contains(client.AllowedOAuthFlows, types.OAuthFlowTypeClientCredentials),
		Scopes:               client.AllowedOAuthScopes,
		HasSecret:            aws.ToString(client.ClientSecret) != "",
		RotatesRefreshTokens: client.RefreshTokenRotation != nil && client.RefreshTokenRotation.Feature == types.FeatureTypeEnabled,
		JWTLife: max(
			tokenLife(client.AccessTokenValidity, units.AccessToken),
			tokenLife(client.IdTokenValidity, units.IdToken)),
		secret: aws.ToString(client.ClientSecret),
	}
}

// tokenLife returns a validity, whose default unit is hours.
func tokenLife(validity *int32, unit types.TimeUnitsType) time.Duration {
	count := time.Duration(aws.ToInt32(validity))
	switch {
	case count == 0:
		return defaultTokenLife
	case unit == types.TimeUnitsTypeSeconds:
		return count * time.Second
	case unit == types.TimeUnitsTypeMinutes:
		return count * time.Minute
	case unit == types.TimeUnitsTypeDays:
		return count * 24 * time.Hour
	default:
		return count * time.Hour
	}
}

// SecretCount returns the number of secrets of an app client, shown or not.
func (p *Pool) SecretCount(ctx context.Context, clientID string) (int, error) {
	out, err := p.api.ListUserPoolClientSecrets(ctx, &cip.ListUserPoolClientSecretsInput{UserPoolId: &p.target.UserPoolID, ClientId: &clientID})
	if err != nil {
		return 0, fail(fmt.Sprintf("counting the secrets of app client %q", clientID), err)
	}
	return len(out.ClientSecrets), nil
}

// FindGroup returns an error of KindNotFound if the pool has no such group.
func (p *Pool) FindGroup(ctx context.Context, name string) error {
	_, err := p.api.GetGroup(ctx, &cip.GetGroupInput{UserPoolId: &p.target.UserPoolID, GroupName: &name})
	if err != nil {
		return fail(fmt.Sprintf("looking for group %q in user pool %q", name, p.target.UserPoolID), err)
	}
	return nil
}

// ScopesOf returns the scopes of a resource server, such as "api/read" of server "api".
func (p *Pool) ScopesOf(ctx context.Context, identifier string) ([]string, error) {
	out, err := p.api.DescribeResourceServer(ctx, &cip.DescribeResourceServerInput{UserPoolId: &p.target.UserPoolID, Identifier: &identifier})
	if err != nil {
		return nil, fail(fmt.Sprintf("reading resource server %q of user pool %q", identifier, p.target.UserPoolID), err)
	}
	var scopes []string
	if out.ResourceServer != nil {
		for _, scope := range out.ResourceServer.Scopes {
			scopes = append(scopes, identifier+"/"+aws.ToString(scope.ScopeName))
		}
	}
	return scopes, nil
}

// CountAppClients counts the app clients of the pool, and ends with the first page that has more
// than most.
func (p *Pool) CountAppClients(ctx context.Context, most int) (count int, err error) {
	pages := cip.NewListUserPoolClientsPaginator(p.api, &cip.ListUserPoolClientsInput{
		UserPoolId: &p.target.UserPoolID, MaxResults: aws.Int32(pageSize),
	})
	for pages.HasMorePages() && count <= most {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return 0, fail(fmt.Sprintf("listing the app clients of user pool %q", p.target.UserPoolID), err)
		}
		count += len(page.UserPoolClients)
	}
	return count, nil
}

// Domain reads the state of a domain, which is a host as ParseDomain returns it.
func (p *Pool) Domain(ctx context.Context, host string) (DomainState, error) {
	out, err := p.api.DescribeUserPoolDomain(ctx, &cip.DescribeUserPoolDomainInput{Domain: aws.String(domainName(host))})
	if err != nil {
		return DomainState{}, fail(fmt.Sprintf("reading the domain %q", host), err)
	}
	if out.DomainDescription == nil {
		return DomainState{}, nil
	}
	return DomainState{aws.ToString(out.DomainDescription.UserPoolId), string(out.DomainDescription.Status)}, nil
}

// IsDescribable reports whether a host can be the domain of a pool: an address cannot.
func IsDescribable(host string) bool { return net.ParseIP(host) == nil }

// domainName returns the name of a domain in Cognito's API: the prefix of a domain
// of AWS, or else the whole host.
func domainName(host string) string {
	if prefix, _, found := cutOwnDomain(host); found {
		return prefix
	}
	return host
}

// ownDomain matches a domain that AWS provides: a prefix and the region.
var ownDomain = regexp.MustCompile(`^([a-z0-9-]+)\.auth(?:-fips)?\.([a-z0-9-]+)\.amazoncognito\.com$`)

func cutOwnDomain(host string) (prefix, region string, found bool) {
	parts := ownDomain.FindStringSubmatch(strings.ToLower(host))
	if parts == nil {
		return "", "", false
	}
	return parts[1], parts[2], true
}

func texts[T ~string](values []T) []string {
	list := make([]string, 0, len(values))
	for _, value := range values {
		list = append(list, string(value))
	}
	return list
}
