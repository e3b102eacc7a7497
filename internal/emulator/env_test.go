// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const (
	testRegion    = "eu-west-1"
	testAccessKey = "AKIAEMULATORTEST0000"

	goodPassword  = "Correct-Horse-1"
	otherPassword = "Battery-Staple-2"
)

// sharedKey returns a key that all tests share, because generating one is slow.
var sharedKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, emulator.SigningKeyBits)
	if err != nil {
		panic(err)
	}
	return key
})

// clock stands still until Advance moves it.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// env is a seeded emulator with its own clock, and clients of all its APIs.
type env struct {
	t       *testing.T
	ctx     context.Context
	clock   *clock
	running *emulator.Running
	url     string
	seed    emulator.Seed
	cognito *cognitoidentityprovider.Client
	sts     *sts.Client
	control *control.Client
}

func newEnv(t *testing.T) *env {
	t.Helper()
	clock := newClock()
	contract := &emulatortest.Contract{}
	contract.AllowInvalidRequests()
	running, err := emulator.Start(emulator.Options{Now: clock.Now, SigningKey: sharedKey(), Observe: contract.Observe})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = running.Close() // a test may have closed it
		contract.Verify(t)
	})
	seed, err := running.Seed(testRegion)
	require.NoError(t, err)
	b := &env{t: t, ctx: t.Context(), clock: clock, running: running, url: running.URL, seed: seed, control: control.New(running.URL)}
	b.cognito = b.cognitoAs(testRegion, credentials.NewStaticCredentialsProvider(testAccessKey, "secret", ""))
	b.sts = b.stsAs(credentials.NewStaticCredentialsProvider(testAccessKey, "secret", ""))
	return b
}

func (b *env) cognitoAs(region string, who aws.CredentialsProvider) *cognitoidentityprovider.Client {
	return cognitoidentityprovider.New(cognitoidentityprovider.Options{
		Region:       region,
		BaseEndpoint: &b.url,
		Credentials:  who,
		Retryer:      aws.NopRetryer{},
	})
}

func (b *env) stsAs(who aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{Region: testRegion, BaseEndpoint: &b.url, Credentials: who, Retryer: aws.NopRetryer{}})
}

// requireCode requires an AWS error with the code and the words in its message.
func requireCode(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	var api smithy.APIError
	require.Error(t, err)
	require.ErrorAs(t, err, &api)
	require.Equal(t, code, api.ErrorCode(), "message: %s", api.ErrorMessage())
	for _, word := range words {
		require.Contains(t, api.ErrorMessage(), word)
	}
}

// requireOutcome requires success if the code is empty, and an error with the code otherwise.
func requireOutcome(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	if code == "" {
		require.NoError(t, err)
		return
	}
	requireCode(t, err, code, words...)
}

func (b *env) createPool(change func(*cognitoidentityprovider.CreateUserPoolInput)) string {
	b.t.Helper()
	in := &cognitoidentityprovider.CreateUserPoolInput{PoolName: aws.String("pool")}
	if change != nil {
		change(in)
	}
	out, err := b.cognito.CreateUserPool(b.ctx, in)
	require.NoError(b.t, err)
	return *out.UserPool.Id
}

func (b *env) createClient(pool string, change func(*cognitoidentityprovider.CreateUserPoolClientInput)) *types.UserPoolClientType {
	b.t.Helper()
	in := &cognitoidentityprovider.CreateUserPoolClientInput{
		UserPoolId: &pool,
		ClientName: aws.String("client"),
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{
			types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth,
			types.ExplicitAuthFlowsTypeAllowUserPasswordAuth,
			types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth,
		},
	}
	if change != nil {
		change(in)
	}
	out, err := b.cognito.CreateUserPoolClient(b.ctx, in)
	require.NoError(b.t, err)
	return out.UserPoolClient
}

// createUser creates a user with a temporary password and without an invitation.
func (b *env) createUser(pool, username string, attributes ...string) types.UserType {
	b.t.Helper()
	out, err := b.cognito.AdminCreateUser(b.ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId:        &pool,
		Username:          &username,
		TemporaryPassword: aws.String(goodPassword),
		MessageAction:     types.MessageActionTypeSuppress,
		UserAttributes:    attributesOf(attributes...),
	})
	require.NoError(b.t, err)
	return *out.User
}

// createConfirmedUser creates a user that can sign in with goodPassword.
func (b *env) createConfirmedUser(pool, username string, attributes ...string) types.UserType {
	b.t.Helper()
	user := b.createUser(pool, username, attributes...)
	require.NoError(b.t, b.setPassword(pool, *user.Username, goodPassword))
	return user
}

func (b *env) setPassword(pool, username, password string) error {
	_, err := b.cognito.AdminSetUserPassword(b.ctx, &cognitoidentityprovider.AdminSetUserPasswordInput{
		UserPoolId: &pool, Username: &username, Password: &password, Permanent: true,
	})
	return err
}

func (b *env) addToGroup(pool, username, group string) error {
	_, err := b.cognito.AdminAddUserToGroup(b.ctx, &cognitoidentityprovider.AdminAddUserToGroupInput{
		UserPoolId: &pool, Username: &username, GroupName: &group,
	})
	return err
}

func (b *env) getUser(pool, username string) (*cognitoidentityprovider.AdminGetUserOutput, error) {
	return b.cognito.AdminGetUser(b.ctx, &cognitoidentityprovider.AdminGetUserInput{UserPoolId: &pool, Username: &username})
}

func (b *env) deleteUser(pool, username string) error {
	_, err := b.cognito.AdminDeleteUser(b.ctx, &cognitoidentityprovider.AdminDeleteUserInput{UserPoolId: &pool, Username: &username})
	return err
}

func (b *env) disableUser(pool, username string) error {
	_, err := b.cognito.AdminDisableUser(b.ctx, &cognitoidentityprovider.AdminDisableUserInput{UserPoolId: &pool, Username: &username})
	return err
}

func (b *env) signOut(pool, username string) error {
	_, err := b.cognito.AdminUserGlobalSignOut(b.ctx, &cognitoidentityprovider.AdminUserGlobalSignOutInput{
		UserPoolId: &pool, Username: &username,
	})
	return err
}

// signIn signs in with ADMIN_USER_PASSWORD_AUTH, with a secret hash if the client has a secret.
func (b *env) signIn(client *types.UserPoolClientType, username, password string) (*cognitoidentityprovider.AdminInitiateAuthOutput, error) {
	parameters := map[string]string{"USERNAME": username, "PASSWORD": password}
	if client.ClientSecret != nil {
		parameters["SECRET_HASH"] = secretHash(client, username)
	}
	return b.adminAuth(client, types.AuthFlowTypeAdminUserPasswordAuth, parameters)
}

func (b *env) adminAuth(client *types.UserPoolClientType, flow types.AuthFlowType, parameters map[string]string) (*cognitoidentityprovider.AdminInitiateAuthOutput, error) {
	return b.cognito.AdminInitiateAuth(b.ctx, &cognitoidentityprovider.AdminInitiateAuthInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, AuthFlow: flow, AuthParameters: parameters,
	})
}

// mustSignIn returns the tokens of a user that can sign in with goodPassword.
func (b *env) mustSignIn(client *types.UserPoolClientType, username string) *types.AuthenticationResultType {
	b.t.Helper()
	out, err := b.signIn(client, username, goodPassword)
	require.NoError(b.t, err)
	require.NotNil(b.t, out.AuthenticationResult, "met the challenge %s", out.ChallengeName)
	return out.AuthenticationResult
}

func (b *env) refresh(client *types.UserPoolClientType, refreshToken string) (*types.AuthenticationResultType, error) {
	out, err := b.cognito.GetTokensFromRefreshToken(b.ctx, &cognitoidentityprovider.GetTokensFromRefreshTokenInput{
		ClientId: client.ClientId, ClientSecret: client.ClientSecret, RefreshToken: &refreshToken,
	})
	if err != nil {
		return nil, err
	}
	return out.AuthenticationResult, nil
}

func (b *env) whoAmI(accessToken string) error {
	_, err := b.cognito.GetUser(b.ctx, &cognitoidentityprovider.GetUserInput{AccessToken: &accessToken})
	return err
}

// user returns the user as the control API shows it.
func (b *env) user(pool, username string) control.User {
	b.t.Helper()
	users, err := b.control.Users(b.ctx, pool)
	require.NoError(b.t, err)
	for _, user := range users {
		if user.Username == username {
			return user
		}
	}
	require.Fail(b.t, "user not found", username)
	return control.User{}
}

func (b *env) calls() *control.CallLog {
	b.t.Helper()
	log, err := b.control.Calls(b.ctx)
	require.NoError(b.t, err)
	return log
}

// seededClient returns the seed's confidential client for users.
func (b *env) seededClient() *types.UserPoolClientType {
	return &types.UserPoolClientType{UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.AppClientID, ClientSecret: &b.seed.AppClientSecret}
}

// attributesOf converts alternating names and values.
func attributesOf(pairs ...string) []types.AttributeType {
	var attributes []types.AttributeType
	for i := 0; i < len(pairs); i += 2 {
		attributes = append(attributes, types.AttributeType{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return attributes
}

func secretHash(client *types.UserPoolClientType, username string) string {
	return secretHashWith(*client.ClientSecret, *client.ClientId, username)
}

func secretHashWith(secret, clientID, username string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(username + clientID))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// claimsOf returns the claims of a JWT without verifying it.
func claimsOf(t *testing.T, token *string) map[string]any {
	t.Helper()
	require.NotNil(t, token)
	parts := strings.Split(*token, ".")
	require.Len(t, parts, 3)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	claims := map[string]any{}
	require.NoError(t, json.Unmarshal(payload, &claims))
	return claims
}

func attributeMap(attributes []types.AttributeType) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		all[*a.Name] = *a.Value
	}
	return all
}
