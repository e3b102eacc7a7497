// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

const (
	// acceptancePrefix begins the name of everything that the acceptance tests create.
	acceptancePrefix = "vault-acceptance-"
	// leftoverAge is the age from which something with that prefix belongs to no running test.
	leftoverAge = time.Hour
	// propagation is how long AWS may take until a change is effective everywhere.
	propagation = 3 * time.Minute
)

// need is a feature of Cognito or IAM that a case requires.
type need string

const (
	needOwnEnd       need = "the end of a deleted user's refresh token"
	needRefresh      need = "GetTokensFromRefreshToken"
	needMachine      need = "the token endpoint"
	needClientToken  need = "GetClientToken"
	needSecrets      need = "operations on client secrets"
	needMFA          need = "enforced second factors"
	needSecretHash   need = "enforced secret hashes"
	needRole         need = "a role to assume"
	needAccounts     need = "a second account"
	needRootKey      need = "an IAM user"
	needEnforcedKeys need = "enforced access keys"
	needQuotas       need = "GetProvisionedLimit"
	needDevices      need = "AdminListDevices"
	needPromptIAM    need = "an IAM whose changes arrive at once"
)

// provider is a Cognito, with STS and IAM, that the acceptance table runs on.
type provider struct {
	name string
	// config reaches it as the owner of the account.
	config aws.Config
	// lacks maps the needs that it does not meet to the reason.
	lacks map[need]string
	// lasts is set if what the tests create outlives them and has to be deleted.
	lasts bool
	// tokenHost returns the base URL of the token endpoint of a pool's domain.
	tokenHost func(domain string) string
	// role is an IAM role with all permissions on pools, for needRole.
	role struct{ arn, externalID string }
	// rootKey returns an access key that may rotate itself, for needRootKey.
	rootKey func(t *testing.T, p *provider) (user string, key aws.Credentials)
}

// local returns a provider on this machine, which accepts any credentials as those of the owner.
func local(name, endpoint string) *provider {
	return &provider{
		name:      name,
		config:    aws.Config{Region: "eu-west-1", BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIAOWNER", secretKey, "")},
		tokenHost: func(string) string { return endpoint },
	}
}

func (p *provider) endpoint() string { return aws.ToString(p.config.BaseEndpoint) }

func (p *provider) cognito() *cip.Client { return cip.NewFromConfig(p.config) }

// iam returns a client with the one region for which IAM accepts signatures. The SDK knows that
// region for AWS's own endpoints only.
func (p *provider) iam() *iam.Client {
	return iam.NewFromConfig(p.config, func(o *iam.Options) {
		if o.BaseEndpoint != nil {
			o.Region = "us-east-1"
		}
	})
}

// as returns the same provider with other credentials.
func (p *provider) as(keys aws.CredentialsProvider) *provider {
	other := *p
	other.config.Credentials = keys
	return &other
}

// roleName returns the name of the role to assume.
func (p *provider) roleName() string {
	return p.role.arn[strings.LastIndex(p.role.arn, "/")+1:]
}

// issuer returns the URL below which a service finds the keys of a pool's tokens.
func (p *provider) issuer(poolID string) string {
	if base := p.endpoint(); base != "" {
		return base + "/" + poolID
	}
	return "https://cognito-idp." + p.config.Region + ".amazonaws.com/" + poolID
}

// assumed returns the same provider with the credentials of its role.
func (p *provider) assumed() *provider {
	return p.as(aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(p.config), p.role.arn,
		func(o *stscreds.AssumeRoleOptions) {
			if p.role.externalID != "" {
				o.ExternalID = &p.role.externalID
			}
		})))
}

// app is an app client.
type app struct{ id, secret string }

// fixture is what the tests have at a provider. All of it is in user pools and is deleted with
// them.
type fixture struct {
	*provider
	pool string
	// confidential and public sign users in. self lets users sign themselves in.
	confidential, public, self app
	// machine gets tokens from the domain, api by GetClientToken.
	machine, api app
	domain       string
}

// builder creates a fixture. Any failure ends the test.
type builder struct {
	*testing.T
	*provider
	pool string
}

func makeFixture(t *testing.T, p *provider) *fixture {
	t.Helper()
	b := &builder{T: t, provider: p}
	b.pool = b.makePool(&cip.CreateUserPoolInput{
		Schema: []types.SchemaAttributeType{{Name: aws.String("made_by"), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true)}},
	})
	e := &fixture{provider: p, pool: b.pool}
	e.confidential = b.userClient(true, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth)
	e.public = b.userClient(false, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth)
	e.self = b.userClient(false, types.ExplicitAuthFlowsTypeAllowUserPasswordAuth)
	e.domain = b.makeDomain()
	b.makeScope()
	e.machine, e.api = b.machineClient(), b.machineClient("ALLOW_CLIENT_TOKEN_AUTH")
	return e
}

// makePool creates a pool with the groups testers and admins.
func (b *builder) makePool(input *cip.CreateUserPoolInput) (poolID string) {
	b.Helper()
	input.PoolName = aws.String(acceptancePrefix + strings.ToLower(rand.Text()))
	out, err := b.cognito().CreateUserPool(b.Context(), input)
	require.NoError(b, err)
	poolID = *out.UserPool.Id
	if b.lasts {
		b.Cleanup(func() { require.NoError(b, b.deletePool(context.Background(), poolID)) })
	}
	for _, group := range []string{"testers", "admins"} {
		_, err := b.cognito().CreateGroup(b.Context(), &cip.CreateGroupInput{UserPoolId: &poolID, GroupName: &group})
		require.NoError(b, err)
	}
	return poolID
}

func (b *builder) userClient(confidential bool, flows ...types.ExplicitAuthFlowsType) app {
	b.Helper()
	return b.makeClient(&cip.CreateUserPoolClientInput{
		ClientName: aws.String("users"), GenerateSecret: confidential, ExplicitAuthFlows: flows,
	})
}

func (b *builder) makeClient(input *cip.CreateUserPoolClientInput) app {
	b.Helper()
	input.UserPoolId = &b.pool
	out, err := b.cognito().CreateUserPoolClient(b.Context(), input)
	require.NoError(b, err)
	return app{*out.UserPoolClient.ClientId, aws.ToString(out.UserPoolClient.ClientSecret)}
}

// makeDomain gives the pool a domain, and returns its URL when it answers.
func (b *builder) makeDomain() string {
	b.Helper()
	domain := acceptancePrefix + strings.ToLower(rand.Text()[:16])
	_, err := b.cognito().CreateUserPoolDomain(b.Context(), &cip.CreateUserPoolDomainInput{Domain: &domain, UserPoolId: &b.pool})
	require.NoError(b, err)
	host := b.tokenHost(domain)
	require.Eventually(b, func() bool {
		resp, err := http.Get(host + "/oauth2/token")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return true
	}, propagation, 200*time.Millisecond, "the domain does not answer")
	return host
}

// makeScope creates the scope api/read.
func (b *builder) makeScope() {
	b.Helper()
	_, err := b.cognito().CreateResourceServer(b.Context(), &cip.CreateResourceServerInput{
		UserPoolId: &b.pool, Identifier: aws.String("api"), Name: aws.String("api"),
		Scopes: []types.ResourceServerScopeType{{ScopeName: aws.String("read"), ScopeDescription: aws.String("read")}},
	})
	require.NoError(b, err)
}

// machineClient creates a client for machine tokens. Cognito allows GetClientToken only to clients
// without another flow.
func (b *builder) machineClient(flows ...types.ExplicitAuthFlowsType) app {
	b.Helper()
	return b.makeClient(&cip.CreateUserPoolClientInput{
		ClientName: aws.String("machine"), GenerateSecret: true, AllowedOAuthFlowsUserPoolClient: true, ExplicitAuthFlows: flows,
		AllowedOAuthFlows: []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}, AllowedOAuthScopes: []string{"api/read"},
	})
}

// deletePool deletes a pool with everything in it, if it exists. Its domain has to be deleted
// first.
func (p *provider) deletePool(ctx context.Context, poolID string) error {
	out, err := p.cognito().DescribeUserPool(ctx, &cip.DescribeUserPoolInput{UserPoolId: &poolID})
	if codeOf(err) == "ResourceNotFoundException" {
		return nil
	}
	if err != nil {
		return err
	}
	if out.UserPool.Domain != nil {
		if _, err := p.cognito().DeleteUserPoolDomain(ctx, &cip.DeleteUserPoolDomainInput{Domain: out.UserPool.Domain, UserPoolId: &poolID}); err != nil {
			return err
		}
	}
	_, err = p.cognito().DeleteUserPool(ctx, &cip.DeleteUserPoolInput{UserPoolId: &poolID})
	return err
}

// sweep deletes the pools and IAM users of acceptance tests that are older than age: their runs
// were interrupted.
func (p *provider) sweep(ctx context.Context, age time.Duration) error {
	var failures []error
	pools := cip.NewListUserPoolsPaginator(p.cognito(), &cip.ListUserPoolsInput{MaxResults: aws.Int32(60)})
	for pools.HasMorePages() {
		page, err := pools.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, pool := range page.UserPools {
			if strings.HasPrefix(*pool.Name, acceptancePrefix) && time.Since(*pool.CreationDate) >= age {
				failures = append(failures, p.deletePool(ctx, *pool.Id))
			}
		}
	}
	return errors.Join(append(failures, p.sweepUsers(ctx, age))...)
}

func (p *provider) sweepUsers(ctx context.Context, age time.Duration) error {
	if p.lacks[needRootKey] != "" {
		return nil
	}
	var failures []error
	users := iam.NewListUsersPaginator(p.iam(), &iam.ListUsersInput{PathPrefix: aws.String(rootUserPath)})
	for users.HasMorePages() {
		page, err := users.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, user := range page.Users {
			if time.Since(*user.CreateDate) >= age {
				failures = append(failures, p.deleteRootUser(ctx, *user.UserName))
			}
		}
	}
	return errors.Join(failures...)
}

const (
	rootUserPath   = "/" + acceptancePrefix + "root/"
	rootUserPolicy = "rotate-own-key"
)

// makeRootKey creates an IAM user with the permissions of docs/iam.md and an access key, and waits
// until AWS accepts both.
func makeRootKey(t *testing.T, p *provider) (user string, key aws.Credentials) {
	t.Helper()
	client := p.iam()
	user = acceptancePrefix + strings.ToLower(rand.Text())
	made, err := client.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &user, Path: aws.String(rootUserPath)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.deleteRootUser(context.Background(), user)) })
	_, err = client.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
		UserName: &user, PolicyName: aws.String(rootUserPolicy), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{
			"Effect":"Allow","Action":["iam:GetUser","iam:ListAccessKeys","iam:CreateAccessKey","iam:DeleteAccessKey"],"Resource":"` + *made.User.Arn + `"}]}`),
	})
	require.NoError(t, err)
	out, err := client.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	require.NoError(t, err)
	key = aws.Credentials{AccessKeyID: *out.AccessKey.AccessKeyId, SecretAccessKey: *out.AccessKey.SecretAccessKey}
	own := p.as(credentials.StaticCredentialsProvider{Value: key}).iam()
	require.Eventually(t, func() bool {
		_, err := own.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{UserName: &user})
		return err == nil
	}, propagation, 100*time.Millisecond, "AWS does not take the new access key")
	return user, key
}

// deleteRootUser deletes an IAM user with all its keys and policies.
func (p *provider) deleteRootUser(ctx context.Context, user string) error {
	client := p.iam()
	keys, err := client.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &user})
	if err != nil {
		return err
	}
	for _, key := range keys.AccessKeyMetadata {
		if _, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: key.AccessKeyId}); err != nil {
			return err
		}
	}
	_, err = client.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &user, PolicyName: aws.String(rootUserPolicy)})
	if err != nil && codeOf(err) != "NoSuchEntity" {
		return err
	}
	_, err = client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &user})
	return err
}

// codeOf returns the AWS error code of err, "" for nil, or the Go type of another error.
func codeOf(err error) string {
	var named smithy.APIError
	if errors.As(err, &named) {
		return named.ErrorCode()
	}
	if err != nil {
		return "no answer from AWS: " + err.Error()
	}
	return ""
}
