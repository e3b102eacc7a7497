// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestCreateClientRefusals(t *testing.T) {
	type input = cognitoidentityprovider.CreateUserPoolClientInput
	tests := map[string]struct {
		change func(*input)
		code   string
	}{
		"a client without flows gets the default flows":       {change: func(in *input) { in.ExplicitAuthFlows = nil }},
		"a client without a name is refused":                  {change: func(in *input) { in.ClientName = aws.String("") }, code: "InvalidParameterException"},
		"legacy flows mixed with ALLOW flows are refused":     {change: withFlows("ADMIN_NO_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"), code: "InvalidParameterException"},
		"an unknown flow is refused":                          {change: withFlows("ALLOW_ANYTHING"), code: "InvalidParameterException"},
		"an access token lifetime below 5 minutes is refused": {change: func(in *input) { in.AccessTokenValidity = aws.Int32(4); in.TokenValidityUnits = minutes() }, code: "InvalidParameterException"},
		"an access token lifetime above 1 day is refused":     {change: func(in *input) { in.AccessTokenValidity = aws.Int32(25) }, code: "InvalidParameterException"},
		"an ID token lifetime above 1 day is refused":         {change: func(in *input) { in.IdTokenValidity = aws.Int32(25) }, code: "InvalidParameterException"},
		"a refresh token lifetime below 1 hour is refused":    {change: func(in *input) { in.RefreshTokenValidity = 59; in.TokenValidityUnits = minutes() }, code: "InvalidParameterException"},
		"a refresh token lifetime above 10 years is refused":  {change: func(in *input) { in.RefreshTokenValidity = 3651 }, code: "InvalidParameterException"},
		"a refresh token lifetime below that of access tokens is refused": {change: func(in *input) {
			in.RefreshTokenValidity = 1
			in.TokenValidityUnits = &types.TokenValidityUnitsType{RefreshToken: "hours"}
			in.AccessTokenValidity = aws.Int32(2)
		}, code: "InvalidParameterException"},
		"an auth session below 3 minutes is refused":      {change: func(in *input) { in.AuthSessionValidity = aws.Int32(2) }, code: "InvalidParameterException"},
		"an auth session above 15 minutes is refused":     {change: func(in *input) { in.AuthSessionValidity = aws.Int32(16) }, code: "InvalidParameterException"},
		"rotation without refresh token auth is accepted": {change: withRotation(60)},
		"rotation with refresh token auth is refused": {change: func(in *input) {
			withRotation(0)(in)
			in.ExplicitAuthFlows = append(in.ExplicitAuthFlows, "ALLOW_REFRESH_TOKEN_AUTH")
		}, code: "InvalidParameterException"},
		"a grace period above 60 seconds is refused":      {change: withRotation(61), code: "InvalidParameterException"},
		"client credentials without a secret are refused": {change: func(in *input) { machineClient("api/read")(in); in.GenerateSecret = false }, code: "InvalidOAuthFlowException"},
		"client credentials with another OAuth flow are refused": {change: func(in *input) {
			machineClient("api/read")(in)
			in.AllowedOAuthFlows = append(in.AllowedOAuthFlows, "code")
		}, code: "InvalidOAuthFlowException"},
		"OAuth without scopes is refused":                    {change: machineClient(), code: "InvalidOAuthFlowException"},
		"an unknown scope is refused":                        {change: machineClient("api/delete"), code: "ScopeDoesNotExistException"},
		"a scope of an unknown resource server is refused":   {change: machineClient("other/read"), code: "ScopeDoesNotExistException"},
		"a standard scope for client credentials is refused": {change: machineClient("openid"), code: "ScopeDoesNotExistException"},
		"ALLOW_CLIENT_TOKEN_AUTH alone is accepted":          {change: clientTokenClient},
		"ALLOW_CLIENT_TOKEN_AUTH with another flow is refused": {change: func(in *input) {
			clientTokenClient(in)
			in.ExplicitAuthFlows = append(in.ExplicitAuthFlows, "ALLOW_REFRESH_TOKEN_AUTH")
		}, code: "InvalidParameterException"},
		"ALLOW_CLIENT_TOKEN_AUTH without a secret is refused": {change: func(in *input) { clientTokenClient(in); in.GenerateSecret = false }, code: "InvalidParameterException"},
	}
	b := newEnv(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			in := &input{UserPoolId: &b.seed.UserPoolID, ClientName: aws.String("client")}
			test.change(in)
			_, err := b.cognito.CreateUserPoolClient(t.Context(), in)
			requireOutcome(t, err, test.code)
		})
	}
}

func minutes() *types.TokenValidityUnitsType {
	return &types.TokenValidityUnitsType{AccessToken: "minutes", IdToken: "minutes", RefreshToken: "minutes"}
}

func TestLiteTierRefusesRefreshTokenRotation(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) { in.UserPoolTier = types.UserPoolTierTypeLite })
	in := &cognitoidentityprovider.CreateUserPoolClientInput{UserPoolId: &pool, ClientName: aws.String("client")}
	withRotation(0)(in)
	_, err := b.cognito.CreateUserPoolClient(b.ctx, in)
	requireCode(t, err, "FeatureUnavailableInTierException")
}

func TestDescribeClientShowsWhatWasCreated(t *testing.T) {
	b := newEnv(t)
	created := b.createClient(b.seed.UserPoolID, withSecret)
	require.NotEmpty(t, *created.ClientSecret)
	got, err := b.describeClient(*created.ClientId)
	require.NoError(t, err)
	require.Equal(t, created, got)
}

func (b *env) describeClient(id string) (*types.UserPoolClientType, error) {
	out, err := b.cognito.DescribeUserPoolClient(b.ctx, &cognitoidentityprovider.DescribeUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientId: &id})
	if err != nil {
		return nil, err
	}
	return out.UserPoolClient, nil
}

func TestDefaultsOfClients(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, withFlows())
	require.ElementsMatch(t, []types.ExplicitAuthFlowsType{
		"ALLOW_CUSTOM_AUTH", "ALLOW_REFRESH_TOKEN_AUTH", "ALLOW_USER_SRP_AUTH",
	}, client.ExplicitAuthFlows)
	require.True(t, *client.EnableTokenRevocation)
	require.Equal(t, int32(30), client.RefreshTokenValidity)
	require.Equal(t, int32(3), *client.AuthSessionValidity)
	require.Nil(t, client.ClientSecret)
}

func TestUpdateClientResetsSettingsThatAreNotSent(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.GenerateSecret = true
		in.AccessTokenValidity = aws.Int32(2)
		in.PreventUserExistenceErrors = types.PreventUserExistenceErrorTypesEnabled
	})
	b.clock.Advance(time.Minute)
	_, err := b.cognito.UpdateUserPoolClient(b.ctx, &cognitoidentityprovider.UpdateUserPoolClientInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: client.ClientId, IdTokenValidity: aws.Int32(3),
	})
	require.NoError(t, err)
	got, err := b.describeClient(*client.ClientId)
	require.NoError(t, err)
	require.Equal(t, int32(3), *got.IdTokenValidity)
	require.Nil(t, got.AccessTokenValidity)
	require.Empty(t, got.PreventUserExistenceErrors)
	require.NotContains(t, got.ExplicitAuthFlows, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
	require.Equal(t, client.ClientName, got.ClientName)
	require.Equal(t, client.ClientSecret, got.ClientSecret)
	require.True(t, got.LastModifiedDate.After(*got.CreationDate))
}

func TestDeletedClientIsNotFound(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, nil)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	_, err := b.cognito.DeleteUserPoolClient(b.ctx, &cognitoidentityprovider.DeleteUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientId: client.ClientId})
	require.NoError(t, err)
	_, err = b.describeClient(*client.ClientId)
	requireCode(t, err, "ResourceNotFoundException", *client.ClientId)
	_, err = b.signIn(client, "ann", goodPassword)
	requireCode(t, err, "ResourceNotFoundException")
	_, err = b.refresh(client, *tokens.RefreshToken)
	requireCode(t, err, "ResourceNotFoundException")
}

// secretEnv is a machine client whose secrets are added and deleted.
type secretEnv struct {
	*env
}

func (b secretEnv) add(secret *string) (*types.ClientSecretDescriptorType, error) {
	out, err := b.cognito.AddUserPoolClientSecret(b.ctx, &cognitoidentityprovider.AddUserPoolClientSecretInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.M2MClientID, ClientSecret: secret,
	})
	if err != nil {
		return nil, err
	}
	return out.ClientSecretDescriptor, nil
}

func (b secretEnv) remove(id string) error {
	_, err := b.cognito.DeleteUserPoolClientSecret(b.ctx, &cognitoidentityprovider.DeleteUserPoolClientSecretInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.M2MClientID, ClientSecretId: &id,
	})
	return err
}

func (b secretEnv) list() []types.ClientSecretDescriptorType {
	b.t.Helper()
	out, err := b.cognito.ListUserPoolClientSecrets(b.ctx, &cognitoidentityprovider.ListUserPoolClientSecretsInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.M2MClientID,
	})
	require.NoError(b.t, err)
	return out.ClientSecrets
}

func (b secretEnv) works(secret string) bool {
	b.t.Helper()
	return b.askToken(clientCredentials(), b.seed.M2MClientID, secret).status == 200
}

func TestBothSecretsOfAClientWork(t *testing.T) {
	b := secretEnv{newEnv(t)}
	own := "MyOwnSecret_0123456789+abc"
	added, err := b.add(&own)
	require.NoError(t, err)
	require.Nil(t, added.ClientSecretValue, "a chosen secret is not returned")
	require.Regexp(t, "^"+b.seed.M2MClientID+`--\d+$`, *added.ClientSecretId)
	require.True(t, b.works(own))
	require.True(t, b.works(b.seed.M2MClientSecret))

	_, err = b.add(nil)
	requireCode(t, err, "LimitExceededException")
	for _, descriptor := range b.list() {
		require.Nil(t, descriptor.ClientSecretValue)
	}
}

func TestGeneratedSecretIsShownOnce(t *testing.T) {
	b := secretEnv{newEnv(t)}
	added, err := b.add(nil)
	require.NoError(t, err)
	require.True(t, b.works(*added.ClientSecretValue))
	require.Nil(t, b.list()[1].ClientSecretValue)
	require.Equal(t, added.ClientSecretId, b.list()[1].ClientSecretId)
}

func TestDeletedSecretStopsWorking(t *testing.T) {
	b := secretEnv{newEnv(t)}
	original := *b.list()[0].ClientSecretId
	added, err := b.add(nil)
	require.NoError(t, err)
	require.NoError(t, b.remove(original))
	require.False(t, b.works(b.seed.M2MClientSecret))
	require.True(t, b.works(*added.ClientSecretValue))

	got, err := b.describeClient(b.seed.M2MClientID)
	require.NoError(t, err)
	require.Nil(t, got.ClientSecret, "no other secret replaces the original one")
	requireCode(t, b.remove(*added.ClientSecretId), "InvalidParameterException")
	requireCode(t, b.remove(original), "ResourceNotFoundException")
}

func TestDescribeKeepsShowingTheOriginalSecret(t *testing.T) {
	b := secretEnv{newEnv(t)}
	_, err := b.add(nil)
	require.NoError(t, err)
	got, err := b.describeClient(b.seed.M2MClientID)
	require.NoError(t, err)
	require.Equal(t, b.seed.M2MClientSecret, *got.ClientSecret)
}

func TestChosenClientSecrets(t *testing.T) {
	tests := map[string]struct {
		secret string
		code   string
	}{
		"a secret of 24 characters is accepted":         {secret: strings.Repeat("a", 24)},
		"a secret of 23 characters is refused":          {secret: strings.Repeat("a", 23), code: "InvalidParameterException"},
		"a secret of 64 characters is accepted":         {secret: strings.Repeat("a", 64)},
		"a secret of 65 characters is refused":          {secret: strings.Repeat("a", 65), code: "InvalidParameterException"},
		"a secret with plus and underscore is accepted": {secret: "+_" + strings.Repeat("a", 24)},
		"a secret with a minus is refused":              {secret: "-" + strings.Repeat("a", 24), code: "InvalidParameterException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := secretEnv{newEnv(t)}
			_, err := b.add(&test.secret)
			requireOutcome(t, err, test.code)
		})
	}
}

func TestPublicClientGetsNoSecret(t *testing.T) {
	b := newEnv(t)
	_, err := b.cognito.AddUserPoolClientSecret(b.ctx, &cognitoidentityprovider.AddUserPoolClientSecretInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID,
	})
	requireCode(t, err, "InvalidParameterException")
}

func TestSecretHashMayUseEitherSecret(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	out, err := b.cognito.AddUserPoolClientSecret(b.ctx, &cognitoidentityprovider.AddUserPoolClientSecretInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: client.ClientId,
	})
	require.NoError(t, err)
	b.mustSignIn(client, "ann")
	client.ClientSecret = out.ClientSecretDescriptor.ClientSecretValue
	b.mustSignIn(client, "ann")
}

func TestResetEndsTokenValidityOverride(t *testing.T) {
	b := newEnv(t)
	require.NoError(t, b.control.SetTokenValidity(b.ctx, control.TokenValidity{ClientID: b.seed.M2MClientID, AccessSeconds: 5}))
	answer := b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret)
	require.InEpsilon(t, 5, answer.body["expires_in"], 0)
	require.NoError(t, b.control.Reset(b.ctx))
	answer = b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret)
	require.InEpsilon(t, 3600, answer.body["expires_in"], 0)
}

func TestListUserPoolClientsPages(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	var want []string
	for range 5 {
		want = append(want, *b.createClient(pool, nil).ClientId)
	}
	var got []string
	pages := cognitoidentityprovider.NewListUserPoolClientsPaginator(b.cognito, &cognitoidentityprovider.ListUserPoolClientsInput{
		UserPoolId: &pool, MaxResults: aws.Int32(2),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.ctx)
		require.NoError(t, err)
		for _, client := range page.UserPoolClients {
			require.Equal(t, "client", *client.ClientName)
			require.Equal(t, pool, *client.UserPoolId)
			got = append(got, *client.ClientId)
		}
	}
	require.ElementsMatch(t, want, got)
	_, err := b.cognito.ListUserPoolClients(b.ctx, &cognitoidentityprovider.ListUserPoolClientsInput{UserPoolId: &pool, MaxResults: aws.Int32(61)})
	requireCode(t, err, "InvalidParameterException")
}

func TestFullPoolRefusesAppClients(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	var last *types.UserPoolClientType
	for range 1000 {
		last = b.createClient(pool, nil)
	}
	create := func() error {
		_, err := b.cognito.CreateUserPoolClient(b.ctx, &cognitoidentityprovider.CreateUserPoolClientInput{UserPoolId: &pool, ClientName: aws.String("one more")})
		return err
	}
	requireCode(t, create(), "LimitExceededException", "1000")
	_, err := b.cognito.DeleteUserPoolClient(b.ctx, &cognitoidentityprovider.DeleteUserPoolClientInput{UserPoolId: &pool, ClientId: last.ClientId})
	require.NoError(t, err)
	require.NoError(t, create())
}

func TestCreateClientWithChosenSecret(t *testing.T) {
	secret := strings.Repeat("s", 30)
	for name, test := range map[string]struct {
		change func(*cognitoidentityprovider.CreateUserPoolClientInput)
		code   string
	}{
		"a chosen secret is accepted": {change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) { in.ClientSecret = &secret }},
		"a chosen secret that is too short is refused": {code: "InvalidParameterException", change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
			in.ClientSecret = aws.String("short")
		}},
		"a chosen and a generated secret are refused": {code: "InvalidParameterException", change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
			in.ClientSecret, in.GenerateSecret = &secret, true
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			in := &cognitoidentityprovider.CreateUserPoolClientInput{UserPoolId: &b.seed.UserPoolID}
			machineClient("api/read")(in)
			in.GenerateSecret, in.ClientName = false, aws.String("client")
			test.change(in)
			out, err := b.cognito.CreateUserPoolClient(b.ctx, in)
			requireOutcome(t, err, test.code)
			if test.code == "" {
				require.Equal(t, secret, *out.UserPoolClient.ClientSecret)
				require.Equal(t, 200, b.askToken(clientCredentials(), *out.UserPoolClient.ClientId, secret).status)
			}
		})
	}
}

func TestClientNames(t *testing.T) {
	for clientName, code := range map[string]string{
		"vault-role_1 +=,.@x":    "",
		strings.Repeat("n", 128): "",
		strings.Repeat("n", 129): "InvalidParameterException",
		"name/with/slash":        "InvalidParameterException",
	} {
		b := newEnv(t)
		_, err := b.cognito.CreateUserPoolClient(b.ctx, &cognitoidentityprovider.CreateUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientName: &clientName})
		requireOutcome(t, err, code)
	}
}
