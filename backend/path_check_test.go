// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// checked is the answer of a check, with the findings by name.
type checked struct {
	status   string
	findings map[string]map[string]any
}

func (p *pool) check(role string) checked {
	p.T.Helper()
	data := p.OK(logical.ReadOperation, "check/"+role, map[string]any{"details": true}).Data
	c := checked{status: data["status"].(string), findings: map[string]map[string]any{}}
	for _, one := range data["details"].([]any) {
		finding := one.(map[string]any)
		require.NotEmpty(p.T, finding["detail"])
		c.findings[finding["name"].(string)] = finding
	}
	require.Equal(p.T, c.status != "ok", len(data["problems"].([]string)) > 0, data)
	for _, secret := range []string{p.Seed.AppClientSecret, p.Seed.M2MClientSecret, "eyJ"} {
		require.NotContains(p.T, fmt.Sprint(data), secret, "a check must not show a secret or token")
	}
	return c
}

// of returns the names of the findings that have a status, in no order.
func (c checked) of(status string) []string {
	var names []string
	for name, finding := range c.findings {
		if finding["status"] == status {
			names = append(names, name)
		}
	}
	return names
}

// says returns the text of one finding.
func (c checked) says(name string) string {
	return fmt.Sprint(c.findings[name]["detail"], " ", c.findings[name]["remedy"])
}

// makeAppClient creates an app client, by default in the seeded pool.
func (p *pool) makeAppClient(input cip.CreateUserPoolClientInput) *types.UserPoolClientType {
	p.T.Helper()
	if input.UserPoolId == nil {
		input.UserPoolId = &p.Seed.UserPoolID
	}
	input.ClientName = aws.String("checked")
	out, err := p.Admin.CreateUserPoolClient(p.T.Context(), &input)
	require.NoError(p.T, err)
	return out.UserPoolClient
}

// setMFA changes the MFA settings of the seeded pool.
func (p *pool) setMFA(mode types.UserPoolMfaType, softwareTokens bool) {
	p.T.Helper()
	_, err := p.Admin.SetUserPoolMfaConfig(p.T.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &p.Seed.UserPoolID, MfaConfiguration: mode,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: softwareTokens},
	})
	require.NoError(p.T, err)
}

// usePool creates a pool with an app client and points the role "ci" at them.
func (p *pool) usePool(input *cip.CreateUserPoolInput, more map[string]any) {
	p.T.Helper()
	id := p.MakePool(input)
	client, secret := p.MakeClient(id)
	role := map[string]any{"user_pool_id": id, "app_client_id": client, "app_client_secret": secret}
	for name, value := range more {
		role[name] = value
	}
	p.WriteOK("roles/ci", role)
}

func newCheckedPool(t *testing.T) *pool {
	t.Helper()
	p := newPool(t)
	p.WriteOK("config", map[string]any{"sts_endpoint": p.Seed.Domain, "region": "eu-west-1"})
	return p
}

func TestCheckOfAWorkingRole(t *testing.T) {
	t.Run("a user role passes every check", func(t *testing.T) {
		p := newCheckedPool(t)
		c := p.check("ci")
		require.Equal(t, "ok", c.status, c)
		require.Len(t, c.of("ok"), len(c.findings))
		require.Contains(t, c.says("aws_identity"), "arn:aws:iam::")
		require.Empty(t, p.Users(), "a check creates no user")
		for _, call := range p.Calls().Calls {
			require.Contains(t, []string{"GetCallerIdentity", "DescribeUserPool", "DescribeUserPoolClient", "GetGroup"}, call.Operation)
		}
	})

	t.Run("a user role with TOTP passes every check", func(t *testing.T) {
		p := newCheckedPool(t)
		p.setMFA(types.UserPoolMfaTypeOn, true)
		p.WriteOK("roles/ci", map[string]any{"mfa": "totp"})
		require.Equal(t, "ok", p.check("ci").status)
	})

	t.Run("a user role of an e-mail pool passes every check", func(t *testing.T) {
		p := newCheckedPool(t)
		p.usePool(&cip.CreateUserPoolInput{
			UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail},
			Schema:             []types.SchemaAttributeType{{Name: aws.String("email"), Required: aws.Bool(true), AttributeDataType: types.AttributeDataTypeString}},
		}, map[string]any{"dummy_email_domain": "example.com"})
		c := p.check("ci")
		require.Equal(t, "ok", c.status, c)
	})

	t.Run("a machine role passes every check with one token for all reads", func(t *testing.T) {
		p := newCheckedPool(t)
		p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID})
		for range 2 {
			c := p.check("machine")
			require.Equal(t, "ok", c.status, c)
			require.Len(t, c.findings, 9)
		}
		p.Read("creds/machine")
		require.Equal(t, 1, p.tokenRequests())
	})

	t.Run("a machine role without a pool is checked without AWS credentials", func(t *testing.T) {
		p := newCheckedPool(t)
		p.writeMachine(nil)
		c := p.check("machine")
		require.Equal(t, "ok", c.status, c)
		require.ElementsMatch(t, []string{"role", "domain", "scopes", "token"}, c.of("ok"))
		for _, call := range p.Calls().Calls {
			require.Equal(t, control.OperationToken, call.Operation)
		}
	})

	t.Run("a machine role with token_source=api passes every check", func(t *testing.T) {
		p := newCheckedPool(t)
		client := p.makeAppClient(cip.CreateUserPoolClientInput{
			GenerateSecret: true, ExplicitAuthFlows: []types.ExplicitAuthFlowsType{"ALLOW_CLIENT_TOKEN_AUTH"}, AllowedOAuthScopes: []string{"api/read"},
		})
		p.WriteOK("roles/machine", map[string]any{
			"token_source": "api", "user_pool_id": p.Seed.UserPoolID, "app_client_id": *client.ClientId, "scopes": "api/read",
		})
		c := p.check("machine")
		require.Equal(t, "ok", c.status, c)
	})
}

// TestCheckFindsFaultsOfUsers breaks one thing at a time. The check must find exactly that.
func TestCheckFindsFaultsOfUsers(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt func(t *testing.T, p *pool)
		finding string
		says    string
	}{
		"AWS rejects the access key": {func(t *testing.T, p *pool) {
			require.NoError(t, p.Control.SetIAM(t.Context(), control.IAM{RejectedKeys: []string{"AKIAPLUGIN"}}))
		}, "aws_identity", "the engine's credentials"},
		"the IAM role must not be assumed": {func(t *testing.T, p *pool) {
			const arn = "arn:aws:iam::123456789012:role/vault"
			p.WriteOK("roles/ci", map[string]any{"aws_assume_role_arn": arn})
			require.NoError(t, p.Control.SetIAM(t.Context(), control.IAM{Roles: map[string]control.Role{arn: {Denied: true}}}))
		}, "aws_identity", "sts:AssumeRole"},
		"the pool does not exist": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"user_pool_id": "eu-west-1_AbCdEfGhI", "app_client_secret": "hush"})
		}, "user_pool", "eu-west-1_AbCdEfGhI"},
		"Cognito does not answer": {func(_ *testing.T, p *pool) {
			for _, operation := range []string{"DescribeUserPool", "DescribeUserPoolClient", "GetGroup"} {
				p.Fault(control.Fault{Operation: operation, Kind: control.FaultCutBefore})
			}
		}, "user_pool", "no answer"},
		"the app client does not exist": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"app_client_id": "nobody", "app_client_secret": "hush"})
		}, "app_client", "nobody"},
		"the app client does not allow the flow": {func(_ *testing.T, p *pool) {
			client := p.makeAppClient(cip.CreateUserPoolClientInput{})
			p.WriteOK("roles/ci", map[string]any{"app_client_id": *client.ClientId, "app_client_secret": ""})
		}, "auth_flows", "ALLOW_ADMIN_USER_PASSWORD_AUTH"},
		"the role lacks the client secret": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"app_client_secret": ""})
		}, "client_secret", "app_client_secret is not set"},
		"the role has a secret and the app client none": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"app_client_id": p.Seed.PublicClientID, "app_client_secret": "hush"})
		}, "client_secret", "the app client has none"},
		"the role has another secret than the app client": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"app_client_secret": "hush"})
		}, "client_secret", "not the app client's secret"},
		"a group does not exist": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"groups": "testers,nobodies"})
		}, "groups", `no group "nobodies"`},
		"an e-mail pool does not accept plain usernames": {func(_ *testing.T, p *pool) {
			p.usePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}}, nil)
		}, "username", "dummy_email_domain"},
		"an alias pool does not accept addresses as usernames": {func(_ *testing.T, p *pool) {
			p.usePool(&cip.CreateUserPoolInput{AliasAttributes: []types.AliasAttributeType{types.AliasAttributeTypeEmail}}, map[string]any{"dummy_email_domain": "example.com"})
		}, "username", "username_template"},
		"the username template no longer renders": {func(t *testing.T, p *pool) {
			p.storeInRole(t, "username_template", "{{.Nothing}}")
		}, "username", "username_template"},
		"the template of an attribute no longer renders": {func(t *testing.T, p *pool) {
			p.storeInRole(t, "user_attributes", map[string]any{"name": "{{.Nothing}}"})
		}, "attributes", "user_attributes"},
		"the role does not set a required attribute": {func(_ *testing.T, p *pool) {
			p.usePool(&cip.CreateUserPoolInput{Schema: []types.SchemaAttributeType{
				{Name: aws.String("family_name"), Required: aws.Bool(true), AttributeDataType: types.AttributeDataTypeString},
			}}, nil)
		}, "required_attributes", `"family_name"`},
		"the pool does not have an attribute of the role": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"user_attributes": map[string]any{"custom:team": "qa"}})
		}, "attributes", `"custom:team"`},
		"passwords are too short for the pool": {func(_ *testing.T, p *pool) {
			p.usePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(40)}}}, nil)
		}, "password", "32 characters and the pool requires 40"},
		"the password policy is too weak for the pool": {func(_ *testing.T, p *pool) {
			n := 0
			p.System.SetPasswordPolicy("weak", func() (string, error) { n++; return fmt.Sprintf("longenough%d", n), nil })
			p.WriteOK("roles/ci", map[string]any{"password_policy": "weak"})
		}, "password", "no uppercase letter"},
		"the password policy no longer exists": {func(t *testing.T, p *pool) {
			p.storeInRole(t, "password_policy", "gone")
		}, "password", `"gone"`},
		"the pool requires MFA and the role has none": {func(_ *testing.T, p *pool) {
			p.setMFA(types.UserPoolMfaTypeOn, true)
		}, "mfa", "mfa=totp"},
		"the role has TOTP and the pool has MFA off": {func(_ *testing.T, p *pool) {
			p.WriteOK("roles/ci", map[string]any{"mfa": "totp"})
		}, "mfa", "MFA off"},
		"the role has TOTP and the pool allows SMS only": {func(_ *testing.T, p *pool) {
			p.setMFA(types.UserPoolMfaTypeOptional, false)
			p.WriteOK("roles/ci", map[string]any{"mfa": "totp"})
		}, "mfa", "does not allow authenticator apps"},
		"an older version stored an invalid field": {func(t *testing.T, p *pool) {
			p.storeInRole(t, "user_pool_id", "nonsense")
		}, "role", `user_pool_id "nonsense"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := newCheckedPool(t)
			c.breakIt(t, p)
			result := p.check("ci")
			require.Equal(t, "fail", result.status)
			require.Equal(t, []string{c.finding}, result.of("fail"), result)
			require.Contains(t, result.says(c.finding), c.says)
			require.NotEmpty(t, result.findings[c.finding]["remedy"])
			require.Empty(t, p.Users())
		})
	}
}

// storeInRole changes the stored role, as an older version or another node may.
func (p *pool) storeInRole(t *testing.T, field string, value any) {
	t.Helper()
	entry, err := p.storage.Get(t.Context(), "roles/ci")
	require.NoError(t, err)
	stored := map[string]any{}
	require.NoError(t, entry.DecodeJSON(&stored))
	stored[field] = value
	entry, err = logical.StorageEntryJSON("roles/ci", stored)
	require.NoError(t, err)
	require.NoError(t, p.storage.Put(t.Context(), entry))
	p.Backend.InvalidateKey(t.Context(), "roles/ci")
}

func TestCheckWarns(t *testing.T) {
	for name, c := range map[string]struct {
		client  cip.CreateUserPoolClientInput
		role    map[string]any
		finding string
	}{
		"tokens outlive the lease": {cip.CreateUserPoolClientInput{
			ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth}, AccessTokenValidity: aws.Int32(10),
			TokenValidityUnits: &types.TokenValidityUnitsType{AccessToken: types.TimeUnitsTypeMinutes},
		}, map[string]any{"ttl": "5m"}, "token_life"},
		"the app client uses the older name of the flow": {cip.CreateUserPoolClientInput{
			ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAdminNoSrpAuth},
		}, nil, "auth_flows"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newCheckedPool(t)
			p.WriteOK("roles/ci", map[string]any{"app_client_id": *p.makeAppClient(c.client).ClientId, "app_client_secret": ""})
			p.WriteOK("roles/ci", c.role)
			result := p.check("ci")
			require.Equal(t, "warn", result.status)
			require.Equal(t, []string{c.finding}, result.of("warn"), result)
		})
	}
}

func TestCheckFindsFaultsOfMachines(t *testing.T) {
	for name, c := range map[string]struct {
		breakIt func(t *testing.T, p *pool)
		finding string
		says    string
	}{
		"the app client does not allow client_credentials": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret, "scopes": ""})
		}, "auth_flows", "client_credentials"},
		"token_source=api needs a flow that the app client does not allow": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "token_source": "api", "cognito_pool_domain": ""})
		}, "auth_flows", "ALLOW_CLIENT_TOKEN_AUTH"},
		"the role has another secret than the app client": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "app_client_secret": "wrong"})
		}, "client_secret", "not the app client's secret"},
		"the role has another secret and names no pool": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"app_client_secret": "wrong"})
		}, "token", "invalid_client"},
		"the app client does not exist": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "app_client_id": "nobody", "app_client_secret": "hush"})
		}, "app_client", "nobody"},
		"the app client is not allowed a scope": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "scopes": "api/read,api/admin"})
		}, "scopes", `"api/admin"`},
		"no pool has the domain": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "cognito_pool_domain": "none.auth.eu-west-1.amazoncognito.com"})
		}, "domain", "No user pool"},
		"the domain belongs to another pool": {func(t *testing.T, p *pool) {
			other := p.MakePool(&cip.CreateUserPoolInput{})
			_, err := p.Admin.CreateUserPoolDomain(t.Context(), &cip.CreateUserPoolDomainInput{Domain: aws.String("taken"), UserPoolId: &other})
			require.NoError(t, err)
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "cognito_pool_domain": "taken.auth.eu-west-1.amazoncognito.com"})
		}, "domain", "belongs to user pool"},
		"the domain does not answer": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "cognito_pool_domain": "http://127.0.0.1:1"})
		}, "token", "no answer"},
		"the pool to look the secret up in does not exist": {func(_ *testing.T, p *pool) {
			p.writeMachine(map[string]any{"user_pool_id": "eu-west-1_AbCdEfGhI", "app_client_secret": ""})
		}, "user_pool", "eu-west-1_AbCdEfGhI"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newCheckedPool(t)
			c.breakIt(t, p)
			result := p.check("machine")
			require.Equal(t, "fail", result.status)
			require.Equal(t, []string{c.finding}, result.of("fail"), result)
			require.Contains(t, result.says(c.finding), c.says)
			if c.finding != "token" {
				require.Zero(t, p.tokenRequests(), "a check that failed before must not request a token")
			}
		})
	}
}

func TestCheckOfMachineTokens(t *testing.T) {
	t.Run("a role that stores its secret works without AWS credentials", func(t *testing.T) {
		p := newCheckedPool(t)
		p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID})
		require.NoError(t, p.Control.SetIAM(t.Context(), control.IAM{RejectedKeys: []string{"AKIAPLUGIN"}}))
		c := p.check("machine")
		require.Empty(t, c.of("fail"), c)
		require.Equal(t, []string{"aws_identity"}, c.of("warn"))
		require.Contains(t, c.of("ok"), "token")
	})

	t.Run("a token proves a second secret that Cognito does not show", func(t *testing.T) {
		p := newCheckedPool(t)
		const second = "aSecondSecretOf24CharactersOrMore"
		_, err := p.Admin.AddUserPoolClientSecret(t.Context(), &cip.AddUserPoolClientSecretInput{
			UserPoolId: &p.Seed.UserPoolID, ClientId: &p.Seed.M2MClientID, ClientSecret: aws.String(second),
		})
		require.NoError(t, err)
		p.writeMachine(map[string]any{"user_pool_id": p.Seed.UserPoolID, "app_client_secret": second})
		c := p.check("machine")
		require.Equal(t, "ok", c.status, c)

		p.Deny("cognito-idp:ListUserPoolClientSecrets")
		c = p.check("machine")
		require.Equal(t, []string{"client_secret"}, c.of("unknown"), c)
		require.Contains(t, c.says("client_secret"), "cognito-idp:ListUserPoolClientSecrets")
	})

	t.Run("a role with static_role uses the static role's app client and secret", func(t *testing.T) {
		p := newCheckedPool(t)
		p.WriteOK("static-roles/api", map[string]any{
			"credential_type": "app_client_secret", "user_pool_id": p.Seed.UserPoolID, "app_client_id": p.Seed.M2MClientID, "rotation_period": "1h",
		})
		p.WriteOK("roles/machine", map[string]any{"static_role": "api", "cognito_pool_domain": p.Seed.Domain, "user_pool_id": p.Seed.UserPoolID})
		c := p.check("machine")
		require.Equal(t, "ok", c.status, c)
		p.OK(logical.DeleteOperation, "static-roles/api", nil)
		c = p.check("machine")
		require.Equal(t, []string{"role"}, c.of("fail"), c)
		require.Contains(t, c.says("role"), `there is no static role "api"`)
	})
}

func TestCheckOfDomainsThatAreNotActive(t *testing.T) {
	for status, finding := range map[string]string{"FAILED": "fail", "CREATING": "fail", "UPDATING": "warn", "ACTIVE": "ok"} {
		t.Run(status, func(t *testing.T) {
			p := newCheckedPool(t)
			p.writeMachine(map[string]any{
				"user_pool_id": p.Seed.UserPoolID, "cognito_pool_domain": strings.Replace(p.Seed.Domain, "127.0.0.1", "localhost", 1),
			})
			p.Fault(control.Fault{
				Operation: "DescribeUserPoolDomain", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
				Body: fmt.Sprintf(`{"DomainDescription": {"UserPoolId": %q, "Status": %q}}`, p.Seed.UserPoolID, status),
			})
			require.Equal(t, finding, p.check("machine").findings["domain"]["status"])
		})
	}
}

func TestCheckWithoutPermissions(t *testing.T) {
	for _, c := range []struct{ action, finding string }{
		{"DescribeUserPool", "user_pool"},
		{"DescribeUserPoolClient", "app_client"},
		{"GetGroup", "groups"},
		{"GetUserPoolMfaConfig", "mfa"},
	} {
		t.Run(c.action, func(t *testing.T) {
			p := newCheckedPool(t)
			p.setMFA(types.UserPoolMfaTypeOptional, true)
			p.WriteOK("roles/ci", map[string]any{"mfa": "totp"})
			p.Deny("cognito-idp:" + c.action)
			result := p.check("ci")
			require.Equal(t, "unknown", result.status)
			require.Empty(t, result.of("fail"), result)
			require.Contains(t, result.of("unknown"), c.finding)
			require.Contains(t, result.says(c.finding), "cognito-idp:"+c.action)
		})
	}
}

func TestCheckOfAMissingRole(t *testing.T) {
	p := newCheckedPool(t)
	require.Contains(t, p.Refused(logical.ReadOperation, "check/nobody", nil), `there is no role "nobody"`)
	require.True(t, strings.HasPrefix(p.Refused(logical.ReadOperation, "check/NOBODY", nil), "there is no role"))
}
