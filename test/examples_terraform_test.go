// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const awsModule = "../examples/terraform/aws"

// terraform evaluates a module and creates what it declares. It implements what the AWS example
// needs, because the AWS provider cannot be downloaded here. A resource is created after all that
// it refers to.
type terraform struct {
	*testing.T
	dir       string
	variables map[string]cty.Value
	// made maps the type and name of resources and data sources to their attributes.
	made, data map[string]map[string]cty.Value
	makers     map[string]maker
}

// maker creates one resource and returns the attributes that others may refer to.
type maker func(body hcl.Body, ctx *hcl.EvalContext) (map[string]cty.Value, hcl.Diagnostics)

// resource returns a maker that accepts the arguments of T only.
func resource[T any](create func(T) map[string]cty.Value) maker {
	return func(body hcl.Body, ctx *hcl.EvalContext) (map[string]cty.Value, hcl.Diagnostics) {
		var arguments T
		if diags := gohcl.DecodeBody(body, ctx, &arguments); diags.HasErrors() {
			return nil, diags
		}
		return create(arguments), nil
	}
}

// apply creates everything that the module declares and returns its outputs.
func (tf *terraform) apply() map[string]cty.Value {
	tf.Helper()
	tf.made, tf.data = map[string]map[string]cty.Value{}, map[string]map[string]cty.Value{}
	var declared, outputs hclsyntax.Blocks
	unknown := maps.Clone(tf.variables)
	for _, block := range tf.blocks() {
		switch block.Type {
		case "variable":
			tf.declare(block)
			delete(unknown, block.Labels[0])
		case "resource", "data":
			declared = append(declared, block)
		case "output":
			outputs = append(outputs, block)
		case "terraform", "provider":
		default:
			require.Fail(tf, "a block that nothing here knows", block.Type)
		}
	}
	require.Empty(tf, unknown, "%s has no such variables", tf.dir)
	tf.makeAll(declared)
	values := map[string]cty.Value{}
	for _, block := range outputs {
		value, diags := block.Body.Attributes["value"].Expr.Value(tf.context())
		require.False(tf, diags.HasErrors(), diags.Error())
		values[block.Labels[0]] = value
	}
	return values
}

func (tf *terraform) blocks() (blocks hclsyntax.Blocks) {
	tf.Helper()
	files, err := filepath.Glob(filepath.Join(tf.dir, "*.tf"))
	require.NoError(tf, err)
	require.NotEmpty(tf, files)
	for _, path := range files {
		source, err := os.ReadFile(path)
		require.NoError(tf, err)
		file, diags := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
		require.False(tf, diags.HasErrors(), diags.Error())
		blocks = append(blocks, file.Body.(*hclsyntax.Body).Blocks...)
	}
	return blocks
}

// declare checks that a variable has a value.
func (tf *terraform) declare(block *hclsyntax.Block) {
	tf.Helper()
	name := block.Labels[0]
	require.Contains(tf, block.Body.Attributes, "description", name)
	if _, given := tf.variables[name]; given {
		return
	}
	require.Contains(tf, block.Body.Attributes, "default", "variable %q of %s has no value", name, tf.dir)
	value, diags := block.Body.Attributes["default"].Expr.Value(nil)
	require.False(tf, diags.HasErrors(), diags.Error())
	tf.variables[name] = value
}

// makeAll creates blocks in an order in which each finds what it refers to.
func (tf *terraform) makeAll(blocks hclsyntax.Blocks) {
	tf.Helper()
	for len(blocks) > 0 {
		var waiting hclsyntax.Blocks
		var why hcl.Diagnostics
		for _, block := range blocks {
			if diags := tf.make(block); diags.HasErrors() {
				waiting, why = append(waiting, block), append(why, diags...)
			}
		}
		require.Less(tf, len(waiting), len(blocks), "these resources cannot be made: %s", why)
		blocks = waiting
	}
}

func (tf *terraform) make(block *hclsyntax.Block) hcl.Diagnostics {
	tf.Helper()
	kind, name := block.Labels[0], block.Labels[1]
	require.Contains(tf, tf.makers, kind)
	attributes, diags := tf.makers[kind](block.Body, tf.context())
	if diags.HasErrors() {
		return diags
	}
	into := tf.made
	if block.Type == "data" {
		into = tf.data
	}
	if into[kind] == nil {
		into[kind] = map[string]cty.Value{}
	}
	into[kind][name] = cty.ObjectVal(attributes)
	return nil
}

// context returns what expressions may refer to so far.
func (tf *terraform) context() *hcl.EvalContext {
	variables := map[string]cty.Value{
		"var":  cty.ObjectVal(tf.variables),
		"data": cty.ObjectVal(objects(tf.data)),
	}
	for kind, value := range objects(tf.made) {
		variables[kind] = value
	}
	return &hcl.EvalContext{Variables: variables, Functions: map[string]function.Function{"sort": stdlib.SortFunc}}
}

func objects(values map[string]map[string]cty.Value) map[string]cty.Value {
	all := map[string]cty.Value{}
	for kind, named := range values {
		all[kind] = cty.ObjectVal(named)
	}
	return all
}

func texts(values ...string) cty.Value {
	all := make([]cty.Value, len(values))
	for i, value := range values {
		all[i] = cty.StringVal(value)
	}
	return cty.ListVal(all)
}

// The arguments of resources, as documented for Terraform's AWS provider.
type (
	poolArguments struct {
		Name        string `hcl:"name"`
		AdminCreate struct {
			Only bool `hcl:"allow_admin_create_user_only"`
		} `hcl:"admin_create_user_config,block"`
		Passwords *struct {
			Length    int32 `hcl:"minimum_length"`
			Lowercase bool  `hcl:"require_lowercase"`
			Uppercase bool  `hcl:"require_uppercase"`
			Numbers   bool  `hcl:"require_numbers"`
			Symbols   bool  `hcl:"require_symbols"`
		} `hcl:"password_policy,block"`
	}
	groupArguments struct {
		Pool string `hcl:"user_pool_id"`
		Name string `hcl:"name"`
	}
	clientArguments struct {
		Pool       string   `hcl:"user_pool_id"`
		Name       string   `hcl:"name"`
		Secret     bool     `hcl:"generate_secret"`
		AuthFlows  []string `hcl:"explicit_auth_flows,optional"`
		OAuth      bool     `hcl:"allowed_oauth_flows_user_pool_client,optional"`
		OAuthFlows []string `hcl:"allowed_oauth_flows,optional"`
		Scopes     []string `hcl:"allowed_oauth_scopes,optional"`
		Access     *int32   `hcl:"access_token_validity,optional"`
		ID         *int32   `hcl:"id_token_validity,optional"`
		Refresh    int32    `hcl:"refresh_token_validity,optional"`
		Units      *struct {
			Access  string `hcl:"access_token"`
			ID      string `hcl:"id_token"`
			Refresh string `hcl:"refresh_token,optional"`
		} `hcl:"token_validity_units,block"`
	}
	serverArguments struct {
		Pool       string `hcl:"user_pool_id"`
		Identifier string `hcl:"identifier"`
		Name       string `hcl:"name"`
		Scopes     []struct {
			Name        string `hcl:"scope_name"`
			Description string `hcl:"scope_description"`
		} `hcl:"scope,block"`
	}
	domainArguments struct {
		Pool   string `hcl:"user_pool_id"`
		Domain string `hcl:"domain"`
	}
	userArguments struct {
		Pool          string `hcl:"user_pool_id"`
		Username      string `hcl:"username"`
		MessageAction string `hcl:"message_action"`
	}
	roleArguments struct {
		Name  string `hcl:"name"`
		Trust string `hcl:"assume_role_policy"`
	}
	rolePolicyArguments struct {
		Name   string `hcl:"name"`
		Role   string `hcl:"role"`
		Policy string `hcl:"policy"`
	}
	iamUserArguments struct {
		Name         string `hcl:"name"`
		ForceDestroy bool   `hcl:"force_destroy"`
	}
	iamUserPolicyArguments struct {
		Name   string `hcl:"name"`
		User   string `hcl:"user"`
		Policy string `hcl:"policy"`
	}
	documentArguments struct {
		Statements []struct {
			Sid        string   `hcl:"sid,optional"`
			Actions    []string `hcl:"actions"`
			Resources  []string `hcl:"resources,optional"`
			Principals *struct {
				Type        string   `hcl:"type"`
				Identifiers []string `hcl:"identifiers"`
			} `hcl:"principals,block"`
		} `hcl:"statement,block"`
	}
)

// infrastructure creates a module for AWS at an emulator.
type infrastructure struct {
	*env
	poolARN, iamUserARN string
	// mayAssume and mayDo hold the actions of a trust policy and of the engine's own policy.
	mayAssume, mayDo []string
}

// apply creates a module, allows exactly its IAM actions from then on, and returns its outputs.
func (i *infrastructure) apply(module string, variables map[string]cty.Value) map[string]cty.Value {
	i.Helper()
	tf := &terraform{
		T: i.T, dir: module, variables: variables, makers: map[string]maker{
			"aws_cognito_user_pool":        resource(i.makePool),
			"aws_cognito_user_group":       resource(i.makeGroup),
			"aws_cognito_user_pool_client": resource(i.makeAppClient),
			"aws_cognito_resource_server":  resource(i.makeServer),
			"aws_cognito_user_pool_domain": resource(i.makeDomain),
			"aws_cognito_user":             resource(i.makeUser),
			"aws_iam_policy_document":      resource(i.writeDocument),
			"aws_iam_role":                 resource(i.makeRole),
			"aws_iam_role_policy":          resource(i.makeRolePolicy),
			"aws_iam_user":                 resource(i.makeIAMUser),
			"aws_iam_user_policy":          resource(i.makeIAMUserPolicy),
		},
	}
	outputs := tf.apply()
	require.NoError(i, i.Control.SetIAM(i.Context(), control.IAM{AllowedActions: slices.Concat(i.mayAssume, i.mayDo)}))
	return outputs
}

// applyAWS creates the AWS module in the env's emulator. It returns the outputs, with the emulator
// as the domain, and points the env at the module's pool.
func applyAWS(i *infrastructure) map[string]cty.Value {
	i.Helper()
	e := i.env
	outputs := i.apply(awsModule, map[string]cty.Value{
		"domain_prefix": cty.StringVal("example"), "vault_principal_arn": cty.StringVal("arn:aws:iam::123456789012:role/vault"),
	})
	for _, name := range []string{"user_pool_id", "users_client_id", "machine_client_id", "cognito_pool_domain"} {
		require.Contains(e, outputs, name)
	}
	outputs["cognito_pool_domain"] = cty.StringVal(e.Seed.Domain)
	e.Seed.UserPoolID = outputs["user_pool_id"].AsString()
	e.Seed.PublicClientID, e.Seed.M2MClientID = outputs["users_client_id"].AsString(), outputs["machine_client_id"].AsString()
	return outputs
}

func (i *infrastructure) makePool(in poolArguments) map[string]cty.Value {
	i.Helper()
	input := &cip.CreateUserPoolInput{
		PoolName:              &in.Name,
		AdminCreateUserConfig: &types.AdminCreateUserConfigType{AllowAdminCreateUserOnly: in.AdminCreate.Only},
	}
	if p := in.Passwords; p != nil {
		input.Policies = &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{
			MinimumLength: &p.Length, RequireLowercase: p.Lowercase, RequireUppercase: p.Uppercase, RequireNumbers: p.Numbers, RequireSymbols: p.Symbols,
		}}
	}
	made, err := i.Admin.CreateUserPool(i.Context(), input)
	require.NoError(i, err)
	i.poolARN = *made.UserPool.Arn
	return map[string]cty.Value{"id": cty.StringVal(*made.UserPool.Id), "arn": cty.StringVal(i.poolARN)}
}

func (i *infrastructure) makeGroup(in groupArguments) map[string]cty.Value {
	i.Helper()
	_, err := i.Admin.CreateGroup(i.Context(), &cip.CreateGroupInput{UserPoolId: &in.Pool, GroupName: &in.Name})
	require.NoError(i, err)
	return nil
}

func (i *infrastructure) makeAppClient(in clientArguments) map[string]cty.Value {
	i.Helper()
	input := &cip.CreateUserPoolClientInput{
		UserPoolId: &in.Pool, ClientName: &in.Name, GenerateSecret: in.Secret, AllowedOAuthFlowsUserPoolClient: in.OAuth,
		AllowedOAuthScopes: in.Scopes, AccessTokenValidity: in.Access, IdTokenValidity: in.ID, RefreshTokenValidity: in.Refresh,
	}
	for _, flow := range in.AuthFlows {
		input.ExplicitAuthFlows = append(input.ExplicitAuthFlows, types.ExplicitAuthFlowsType(flow))
	}
	for _, flow := range in.OAuthFlows {
		input.AllowedOAuthFlows = append(input.AllowedOAuthFlows, types.OAuthFlowType(flow))
	}
	if u := in.Units; u != nil {
		input.TokenValidityUnits = &types.TokenValidityUnitsType{
			AccessToken: types.TimeUnitsType(u.Access), IdToken: types.TimeUnitsType(u.ID), RefreshToken: types.TimeUnitsType(u.Refresh),
		}
	}
	made, err := i.Admin.CreateUserPoolClient(i.Context(), input)
	require.NoError(i, err)
	return map[string]cty.Value{"id": cty.StringVal(*made.UserPoolClient.ClientId)}
}

func (i *infrastructure) makeServer(in serverArguments) map[string]cty.Value {
	i.Helper()
	input := &cip.CreateResourceServerInput{UserPoolId: &in.Pool, Identifier: &in.Identifier, Name: &in.Name}
	var identifiers []string
	for _, scope := range in.Scopes {
		input.Scopes = append(input.Scopes, types.ResourceServerScopeType{ScopeName: aws.String(scope.Name), ScopeDescription: aws.String(scope.Description)})
		identifiers = append(identifiers, in.Identifier+"/"+scope.Name)
	}
	_, err := i.Admin.CreateResourceServer(i.Context(), input)
	require.NoError(i, err)
	return map[string]cty.Value{"scope_identifiers": texts(identifiers...)}
}

func (i *infrastructure) makeDomain(in domainArguments) map[string]cty.Value {
	i.Helper()
	_, err := i.Admin.CreateUserPoolDomain(i.Context(), &cip.CreateUserPoolDomainInput{UserPoolId: &in.Pool, Domain: &in.Domain})
	require.NoError(i, err)
	return map[string]cty.Value{"domain": cty.StringVal(in.Domain)}
}

func (i *infrastructure) makeUser(in userArguments) map[string]cty.Value {
	i.Helper()
	_, err := i.Admin.AdminCreateUser(i.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &in.Pool, Username: &in.Username, MessageAction: types.MessageActionType(in.MessageAction),
	})
	require.NoError(i, err)
	return nil
}

// writeDocument stores the actions of a policy. A policy with a principal is the trust policy.
func (i *infrastructure) writeDocument(in documentArguments) map[string]cty.Value {
	i.Helper()
	for _, s := range in.Statements {
		if s.Principals != nil {
			i.mayAssume = append(i.mayAssume, s.Actions...)
			continue
		}
		for _, action := range s.Actions {
			require.Equal(i, []string{i.narrowestResource(action)}, s.Resources, "%s is allowed on more than it must be", action)
		}
		i.mayDo = append(i.mayDo, s.Actions...)
	}
	text, err := json.Marshal(in)
	require.NoError(i, err)
	return map[string]cty.Value{"json": cty.StringVal(string(text))}
}

// narrowestResource returns what an action of the engine can be restricted to.
func (i *infrastructure) narrowestResource(action string) string {
	switch {
	case slices.Contains(actionsWithoutPool, action):
		return "*"
	case strings.HasPrefix(action, "iam:"):
		return i.iamUserARN
	default:
		return i.poolARN
	}
}

// makeIAMUser creates a user without an access key. The emulator knows only users who had one.
func (i *infrastructure) makeIAMUser(in iamUserArguments) map[string]cty.Value {
	i.Helper()
	require.True(i, in.ForceDestroy, "IAM deletes no user who has an access key, and Terraform does not know the key of %s", in.Name)
	const first = "AKIAFIRST0000000000"
	i.PlantKey(in.Name, first, secretKey)
	client := iam.New(iam.Options{
		Region: "us-east-1", BaseEndpoint: &i.Seed.Domain, Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", secretKey, ""),
	})
	_, err := client.DeleteAccessKey(i.Context(), &iam.DeleteAccessKeyInput{UserName: &in.Name, AccessKeyId: aws.String(first)})
	require.NoError(i, err)
	i.iamUserARN = "arn:aws:iam::123456789012:user/" + in.Name
	return map[string]cty.Value{"name": cty.StringVal(in.Name), "arn": cty.StringVal(i.iamUserARN)}
}

func (*infrastructure) makeIAMUserPolicy(iamUserPolicyArguments) map[string]cty.Value { return nil }

func (*infrastructure) makeRole(in roleArguments) map[string]cty.Value {
	return map[string]cty.Value{"id": cty.StringVal(in.Name), "arn": cty.StringVal("arn:aws:iam::123456789012:role/" + in.Name)}
}

func (*infrastructure) makeRolePolicy(rolePolicyArguments) map[string]cty.Value { return nil }

// TestTerraformExamples sets up AWS and the server like the examples, and uses everything that they
// set up.
func TestTerraformExamples(t *testing.T) {
	t.Parallel()
	e := newExampleEnv(t)

	t.Run("the roles of the examples issue working credentials", func(t *testing.T) {
		user := e.read("creds/ci-user")
		claims := claimsOf(t, user.Data["access_token"])
		require.ElementsMatch(t, []any{"testers", "admins"}, claims["cognito:groups"])
		_, err := e.client.Sys().RenewWithContext(t.Context(), user.LeaseID, 0)
		require.NoError(t, err)
		e.revoke(user.LeaseID)
		require.Equal(t, "api/read api/write", claimsOf(t, e.read("creds/machine").Data["access_token"])["scope"])
		account := e.read("static-creds/batch").Data
		require.True(t, e.passwordWorks(account["username"].(string), account["password"].(string)))
	})

	t.Run("the checks of the examples' roles are ok", func(t *testing.T) {
		for role, kind := range map[string]string{"ci-user": "role", "machine": "role", "batch": "static"} {
			secret, err := e.client.Logical().ReadWithDataWithContext(t.Context(), e.mount+"/check/"+role, url.Values{"kind": {kind}})
			require.NoError(t, err)
			require.Equal(t, "ok", secret.Data["status"], secret.Data["findings"])
		}
	})

	t.Run("the engine assumes the IAM role of the AWS example", func(t *testing.T) {
		calls := e.Calls().Of("AssumeRole")
		require.NotEmpty(t, calls)
		require.Equal(t, "arn:aws:iam::123456789012:role/vault-cognito", calls[0].RoleARN)
	})

	t.Run("the IAM role allows exactly the actions in docs/iam.md", func(t *testing.T) {
		var documented []string
		for _, heading := range []string{"Users", "Machine tokens", "App clients", "Group memberships", "Library", "Static roles for passwords", "Quotas", "Tidy", "Checking a role"} {
			documented = append(documented, actionsUnder(t, heading)...)
		}
		slices.Sort(documented)
		require.ElementsMatch(t, slices.Compact(documented), e.infrastructure.mayDo)
		require.Equal(t, actionsUnder(t, "Assuming a role"), e.infrastructure.mayAssume)
	})
}
