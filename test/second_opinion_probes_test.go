// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"
)

const goodPassword, otherPassword, weakPassword = "hush-First-1", "hush-Second-2", "hush"

// probes lists the questions to both.
var probes = []probe{
	{asks: "AdminCreateUser", answer: func(b *prober) string { return outcome(b.create(&cip.AdminCreateUserInput{})) }},
	{asks: "AdminCreateUser with a name that is taken", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{Username: aws.String(b.user())}))
	}},
	{asks: "AdminCreateUser with a name that has a space", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{Username: aws.String("two words")}))
	}},
	{asks: "AdminCreateUser with a password that the pool forbids", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{TemporaryPassword: aws.String(weakPassword)}))
	}},
	{asks: "AdminCreateUser with an attribute that the pool does not know", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{UserAttributes: attributes("custom:nothing", "x")}))
	}},
	{asks: "AdminCreateUser in a pool that is not there", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{UserPoolId: aws.String(b.nowhere())}))
	}},
	{asks: "AdminCreateUser with a plain name in a pool of e-mail addresses", answer: func(b *prober) string {
		return outcome(b.create(&cip.AdminCreateUserInput{UserPoolId: aws.String(b.mailPool())}))
	}},
	{asks: "AdminCreateUser in a pool of e-mail addresses: whose name is answered", answer: func(b *prober) string {
		out, err := b.cognito().AdminCreateUser(b.Context(), &cip.AdminCreateUserInput{
			UserPoolId: aws.String(b.mailPool()), Username: aws.String("x@example.com"), MessageAction: types.MessageActionTypeSuppress,
		})
		require.NoError(b, err)
		return whether(*out.User.Username == valueOf(out.User.Attributes, "sub"), "the sub", *out.User.Username)
	}},
	{asks: "AdminCreateUser with an e-mail address that is another user's verified alias", answer: func(b *prober) string {
		pool := b.makePool(&cip.CreateUserPoolInput{AliasAttributes: []types.AliasAttributeType{types.AliasAttributeTypeEmail}})
		var err error
		for range 2 {
			err = b.create(&cip.AdminCreateUserInput{UserPoolId: &pool, UserAttributes: attributes("email", "x@example.com", "email_verified", "true")})
		}
		return outcome(err)
	}},
	{asks: "AdminGetUser: the status before AdminSetUserPassword, and after", answer: func(b *prober) string {
		username := b.newUser()
		before := b.status(username)
		require.NoError(b, b.set(username, goodPassword))
		return before + ", " + b.status(username)
	}},
	{asks: "AdminGetUser of a missing user", answer: func(b *prober) string {
		_, err := b.cognito().AdminGetUser(b.Context(), &cip.AdminGetUserInput{UserPoolId: &b.pool, Username: aws.String("nobody")})
		return outcome(err)
	}},
	{asks: "AdminSetUserPassword with a password that the pool forbids", answer: func(b *prober) string { return outcome(b.set(b.newUser(), weakPassword)) }},
	{asks: "AdminSetUserPassword with the password of before, in a pool that remembers passwords", answer: func(b *prober) string {
		pool := b.makePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{
			MinimumLength: aws.Int32(8), PasswordHistorySize: aws.Int32(2),
		}}})
		username := b.name()
		require.NoError(b, b.create(&cip.AdminCreateUserInput{UserPoolId: &pool, Username: &username}))
		var err error
		for range 2 {
			_, err = b.cognito().AdminSetUserPassword(b.Context(), &cip.AdminSetUserPasswordInput{
				UserPoolId: &pool, Username: &username, Password: aws.String(otherPassword), Permanent: true,
			})
		}
		return outcome(err)
	}},
	{asks: "AdminSetUserPassword of a missing user", answer: func(b *prober) string { return outcome(b.set("nobody", goodPassword)) }},
	{asks: "AdminAddUserToGroup, twice", answer: func(b *prober) string {
		username := b.user()
		return outcome(b.join(username, "testers")) + ", " + outcome(b.join(username, "testers"))
	}},
	{asks: "AdminAddUserToGroup with a group that is not there", answer: func(b *prober) string { return outcome(b.join(b.user(), "nobodies")) }},
	{asks: "AdminAddUserToGroup of a missing user", answer: func(b *prober) string { return outcome(b.join("nobody", "testers")) }},
	{asks: "AdminListGroupsForUser of a member, and after AdminRemoveUserFromGroup", answer: func(b *prober) string {
		username := b.user()
		require.NoError(b, b.join(username, "testers"))
		before := b.groups(username)
		require.NoError(b, b.leave(username, "testers"))
		return before + ", then " + b.groups(username)
	}},
	{asks: "AdminListGroupsForUser of a missing user", answer: func(b *prober) string { return b.groups("nobody") }},
	{asks: "AdminRemoveUserFromGroup of a user who is no member", answer: func(b *prober) string { return outcome(b.leave(b.user(), "testers")) }},
	{asks: "AdminRemoveUserFromGroup with a group that is not there", answer: func(b *prober) string { return outcome(b.leave(b.user(), "nobodies")) }},
	{asks: "AdminRemoveUserFromGroup of a missing user", answer: func(b *prober) string { return outcome(b.leave("nobody", "testers")) }},
	{asks: "AdminRemoveUserFromGroup in a pool that is not there", answer: func(b *prober) string { return outcome(b.in(b.nowhere()).leave("nobody", "testers")) }},
	{asks: "CreateGroup with a name that is taken", answer: func(b *prober) string {
		_, err := b.cognito().CreateGroup(b.Context(), &cip.CreateGroupInput{UserPoolId: &b.pool, GroupName: aws.String("testers")})
		return outcome(err)
	}},
	{asks: "GetGroup of a group that is not there", answer: func(b *prober) string {
		_, err := b.cognito().GetGroup(b.Context(), &cip.GetGroupInput{UserPoolId: &b.pool, GroupName: aws.String("nobodies")})
		return outcome(err)
	}},
	{asks: "ListUsers by the beginning of a name", answer: func(b *prober) string {
		username := b.user()
		return whether(slices.Contains(b.has.usersNamed(b.T, username[:len(username)-2]), username), "found", "not found")
	}},
	{asks: "AdminDeleteUser, and once more", answer: func(b *prober) string {
		username := b.user()
		return outcome(b.remove(username)) + ", " + outcome(b.remove(username))
	}},
	{asks: "AdminInitiateAuth", answer: func(b *prober) string { return b.signsIn(b.has.public, b.user(), goodPassword) }},
	{asks: "AdminInitiateAuth with a wrong password", answer: func(b *prober) string { return b.signsIn(b.has.public, b.user(), otherPassword) }},
	{asks: "AdminInitiateAuth of a missing user", answer: func(b *prober) string { return b.signsIn(b.has.public, "nobody", goodPassword) }},
	{asks: "AdminInitiateAuth of a disabled user", answer: func(b *prober) string {
		username := b.user()
		b.disable(username)
		return b.signsIn(b.has.public, username, goodPassword)
	}},
	{asks: "AdminInitiateAuth with a temporary password", answer: func(b *prober) string { return b.signsIn(b.has.public, b.newUser(), goodPassword) }},
	{asks: "AdminRespondToAuthChallenge with a new password", answer: func(b *prober) string {
		username := b.newUser()
		out, err := b.signIn(b.has.public, username, goodPassword)
		require.NoError(b, err)
		_, err = b.cognito().AdminRespondToAuthChallenge(b.Context(), &cip.AdminRespondToAuthChallengeInput{
			UserPoolId: &b.pool, ClientId: &b.has.public.id, ChallengeName: out.ChallengeName, Session: out.Session,
			ChallengeResponses: map[string]string{"USERNAME": username, "NEW_PASSWORD": otherPassword},
		})
		return outcome(err) + ", then " + b.signsIn(b.has.public, username, otherPassword)
	}},
	{asks: "AdminInitiateAuth through an app client that does not allow the flow", answer: func(b *prober) string {
		return b.signsIn(b.has.self, b.user(), goodPassword)
	}},
	{asks: "AdminInitiateAuth by USER_PASSWORD_AUTH", answer: func(b *prober) string {
		_, err := b.cognito().AdminInitiateAuth(b.Context(), &cip.AdminInitiateAuthInput{
			UserPoolId: &b.pool, ClientId: &b.has.self.id, AuthFlow: types.AuthFlowTypeUserPasswordAuth,
			AuthParameters: map[string]string{"USERNAME": b.user(), "PASSWORD": goodPassword},
		})
		return outcome(err)
	}},
	{asks: "AdminInitiateAuth through a confidential app client without SECRET_HASH", answer: func(b *prober) string {
		return b.signsIn(app{id: b.has.confidential.id}, b.user(), goodPassword)
	}},
	{asks: "AdminInitiateAuth with a wrong SECRET_HASH", answer: func(b *prober) string {
		return b.signsIn(app{id: b.has.confidential.id, secret: "wrong"}, b.user(), goodPassword)
	}},
	{asks: "AdminInitiateAuth in a pool that demands a second factor, before there is one", answer: func(b *prober) string {
		other := b.in(b.makePool(&cip.CreateUserPoolInput{}))
		_, err := b.cognito().SetUserPoolMfaConfig(b.Context(), &cip.SetUserPoolMfaConfigInput{
			UserPoolId: &other.pool, MfaConfiguration: types.UserPoolMfaTypeOn, SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: true},
		})
		require.NoError(b, err)
		return other.signsIn(other.userClient(false, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth), other.user(), goodPassword)
	}},
	{asks: "UpdateUserPool with a Lambda trigger, in a pool with a tag", answer: func(b *prober) string {
		other := b.in(b.makePool(&cip.CreateUserPoolInput{UserPoolTags: map[string]string{"team": "mine"}}))
		trigger := "arn:aws:lambda:" + b.config.Region + ":123456789012:function:trigger"
		_, err := b.cognito().UpdateUserPool(b.Context(), &cip.UpdateUserPoolInput{
			UserPoolId: &other.pool, LambdaConfig: &types.LambdaConfigType{PreSignUp: &trigger},
		})
		if err != nil {
			return outcome(err)
		}
		out, err := b.cognito().DescribeUserPool(b.Context(), &cip.DescribeUserPoolInput{UserPoolId: &other.pool})
		require.NoError(b, err)
		shown := out.UserPool.LambdaConfig != nil && aws.ToString(out.UserPool.LambdaConfig.PreSignUp) == trigger
		return outcome(nil) + whether(shown, ", the trigger is set", ", no trigger") + whether(len(out.UserPool.UserPoolTags) > 0, ", the tag stays", ", the tag is gone")
	}},
	{asks: "the life of an access token of an app client that says 10 minutes, in seconds", answer: func(b *prober) string {
		client := b.makeClient(&cip.CreateUserPoolClientInput{
			ClientName: aws.String("short"), ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
			AccessTokenValidity: aws.Int32(10), TokenValidityUnits: &types.TokenValidityUnitsType{AccessToken: types.TimeUnitsTypeMinutes},
		})
		out, err := b.signIn(client, b.user(), goodPassword)
		require.NoError(b, err)
		return fmt.Sprint(out.AuthenticationResult.ExpiresIn)
	}},
	{asks: "REFRESH_TOKEN_AUTH", answer: func(b *prober) string {
		return b.refreshes(b.tokens(b.user()).RefreshToken)
	}},
	{asks: "REFRESH_TOKEN_AUTH with something that is no refresh token", answer: func(b *prober) string {
		return b.refreshes(aws.String("nothing"))
	}},
	{asks: "REFRESH_TOKEN_AUTH after AdminUserGlobalSignOut", answer: func(b *prober) string {
		username := b.user()
		token := b.tokens(username).RefreshToken
		b.signOut(username)
		return b.refreshes(token)
	}},
	{asks: "REFRESH_TOKEN_AUTH after AdminDisableUser", answer: func(b *prober) string {
		username := b.user()
		token := b.tokens(username).RefreshToken
		b.disable(username)
		return b.refreshes(token)
	}},
	{asks: "REFRESH_TOKEN_AUTH after AdminDeleteUser", answer: func(b *prober) string {
		username := b.user()
		token := b.tokens(username).RefreshToken
		require.NoError(b, b.remove(username))
		return b.refreshes(token)
	}},
	{asks: "REFRESH_TOKEN_AUTH after AdminSetUserPassword", answer: func(b *prober) string {
		username := b.user()
		token := b.tokens(username).RefreshToken
		require.NoError(b, b.set(username, otherPassword))
		return b.refreshes(token)
	}},
	{asks: "GetTokensFromRefreshToken", answer: func(b *prober) string {
		_, err := b.cognito().GetTokensFromRefreshToken(b.Context(), &cip.GetTokensFromRefreshTokenInput{
			ClientId: &b.has.public.id, RefreshToken: b.tokens(b.user()).RefreshToken,
		})
		return outcome(err)
	}},
	{asks: "RevokeToken", answer: func(b *prober) string {
		_, err := b.cognito().RevokeToken(b.Context(), &cip.RevokeTokenInput{ClientId: &b.has.public.id, Token: b.tokens(b.user()).RefreshToken})
		return outcome(err)
	}},
	{asks: "GetUser with an access token", answer: func(b *prober) string {
		return b.knows(b.tokens(b.user()).AccessToken)
	}},
	{asks: "GetUser with an access token, after AdminUserGlobalSignOut", answer: func(b *prober) string {
		username := b.user()
		token := b.tokens(username).AccessToken
		b.signOut(username)
		return b.knows(token)
	}},
	{asks: "ChangePassword", answer: func(b *prober) string { return b.changes(goodPassword) }},
	{asks: "ChangePassword with a wrong password", answer: func(b *prober) string { return b.changes(otherPassword) }},
	{asks: "DescribeUserPoolClient of an app client that is not there", answer: func(b *prober) string {
		_, err := b.cognito().DescribeUserPoolClient(b.Context(), &cip.DescribeUserPoolClientInput{UserPoolId: &b.pool, ClientId: aws.String("1example23456789")})
		return outcome(err)
	}},
	{asks: "CreateUserPoolClient with a secret for client_credentials", answer: func(b *prober) string {
		client, err := b.createClient(b.name())
		return outcome(err) + whether(err == nil && aws.ToString(client.ClientSecret) != "", " with a secret", "")
	}},
	{asks: "CreateUserPoolClient, twice with one name", answer: func(b *prober) string {
		name := b.name()
		_, first := b.createClient(name)
		_, second := b.createClient(name)
		return outcome(first) + ", " + outcome(second) + ", " + fmt.Sprint(len(b.clientsNamed(name)), " listed")
	}},
	{asks: "CreateUserPoolClient with a scope that is not there", answer: func(b *prober) string {
		_, err := b.createClient(b.name(), "nobody/reads")
		return outcome(err)
	}},
	{asks: "CreateUserPoolClient in a pool that is not there", answer: func(b *prober) string {
		_, err := b.in(b.nowhere()).createClient(b.name())
		return outcome(err)
	}},
	{asks: "DeleteUserPoolClient, and once more", answer: func(b *prober) string {
		name := b.name()
		client, err := b.createClient(name)
		require.NoError(b, err)
		deleted := outcome(b.deleteClient(client.ClientId)) + ", " + outcome(b.deleteClient(client.ClientId))
		return deleted + ", " + fmt.Sprint(len(b.clientsNamed(name)), " listed")
	}},
	{asks: "DeleteUserPoolClient in a pool that is not there", answer: func(b *prober) string {
		return outcome(b.in(b.nowhere()).deleteClient(aws.String("1example23456789")))
	}},
	{asks: "ListUserPoolClients of a pool that is not there", answer: func(b *prober) string {
		pool := b.nowhere()
		_, err := b.cognito().ListUserPoolClients(b.Context(), &cip.ListUserPoolClientsInput{UserPoolId: &pool})
		return outcome(err)
	}},
	{asks: "ListUserPoolClientSecrets", answer: func(b *prober) string {
		_, err := b.cognito().ListUserPoolClientSecrets(b.Context(), &cip.ListUserPoolClientSecretsInput{UserPoolId: &b.pool, ClientId: &b.has.confidential.id})
		return outcome(err)
	}},
	{asks: "AddUserPoolClientSecret, until there are three", answer: func(b *prober) string {
		client := b.userClient(true, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
		return outcome(b.addSecret(client)) + ", " + outcome(b.addSecret(client))
	}},
	{asks: "GetClientToken", answer: func(b *prober) string {
		_, err := b.cognito().GetClientToken(b.Context(), &cip.GetClientTokenInput{ClientId: aws.String("1example23456789"), Secret: aws.String("wrong"), Scopes: []string{"api/read"}})
		return outcome(err)
	}},
	{asks: "POST /oauth2/token with a wrong secret", answer: func(b *prober) string {
		resp, err := http.PostForm(b.has.domain+"/oauth2/token", url.Values{
			"grant_type": {"client_credentials"}, "client_id": {"1example23456789"}, "client_secret": {"wrong"},
		})
		require.NoError(b, err)
		defer resp.Body.Close()
		return "HTTP " + fmt.Sprint(resp.StatusCode)
	}},
	{asks: "AdminGetUser after DeleteUserPool", answer: func(b *prober) string {
		pool := b.makePool(&cip.CreateUserPoolInput{})
		_, err := b.cognito().DeleteUserPool(b.Context(), &cip.DeleteUserPoolInput{UserPoolId: &pool})
		require.NoError(b, err)
		_, err = b.cognito().AdminGetUser(b.Context(), &cip.AdminGetUserInput{UserPoolId: &pool, Username: aws.String("nobody")})
		return outcome(err)
	}},
	{asks: "AssumeRole: who one is then", needs: needRole, answer: func(b *prober) string {
		out, err := sts.NewFromConfig(b.assumed().config).GetCallerIdentity(b.Context(), &sts.GetCallerIdentityInput{})
		require.NoError(b, err)
		return whether(strings.Contains(*out.Arn, ":assumed-role/"+b.roleName()+"/"), "the role", *out.Arn)
	}},
	{asks: "GetUser of IAM without a name", needs: needRootKey, answer: func(b *prober) string {
		user, key := b.rootKey(b.T, b.provider)
		out, err := b.as(credentials.StaticCredentialsProvider{Value: key}).iam().GetUser(b.Context(), &iam.GetUserInput{})
		require.NoError(b, err)
		return whether(*out.User.UserName == user, "the owner of the key", *out.User.UserName)
	}},
	{asks: "CreateAccessKey, until there are three", needs: needRootKey, answer: func(b *prober) string {
		user, _ := b.rootKey(b.T, b.provider)
		return outcome(b.addKey(user)) + ", " + outcome(b.addKey(user))
	}},
	{asks: "DeleteAccessKey of a key that is not there", needs: needRootKey, answer: func(b *prober) string {
		user, _ := b.rootKey(b.T, b.provider)
		_, err := b.iam().DeleteAccessKey(b.Context(), &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")})
		return outcome(err)
	}},
	{asks: "GetCallerIdentity with an access key that was deleted", needs: needPromptIAM, answer: func(b *prober) string {
		user, key := b.rootKey(b.T, b.provider)
		_, err := b.iam().DeleteAccessKey(b.Context(), &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: &key.AccessKeyID})
		require.NoError(b, err)
		_, err = sts.NewFromConfig(b.as(credentials.StaticCredentialsProvider{Value: key}).config).GetCallerIdentity(b.Context(), &sts.GetCallerIdentityInput{})
		return outcome(err)
	}},
}

// in returns the prober for another pool.
func (b *prober) in(pool string) *prober {
	return &prober{builder: &builder{T: b.T, provider: b.provider, pool: pool}, has: b.has}
}

func (b *prober) name() string { return "asked-" + strings.ToLower(rand.Text()) }

func (b *prober) nowhere() string { return b.config.Region + "_Nowhere00" }

func (b *prober) mailPool() string {
	b.Helper()
	return b.makePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
}

// create creates a user in the prober's pool unless the input names another.
func (b *prober) create(input *cip.AdminCreateUserInput) error {
	input.MessageAction = types.MessageActionTypeSuppress
	if input.UserPoolId == nil {
		input.UserPoolId = &b.pool
	}
	if input.Username == nil {
		input.Username = aws.String(b.name())
	}
	if input.TemporaryPassword == nil {
		input.TemporaryPassword = aws.String(goodPassword)
	}
	_, err := b.cognito().AdminCreateUser(b.Context(), input)
	return err
}

// newUser creates a user with a temporary password.
func (b *prober) newUser() string {
	b.Helper()
	username := b.name()
	require.NoError(b, b.create(&cip.AdminCreateUserInput{Username: &username}))
	return username
}

// user creates a user with a permanent password.
func (b *prober) user() string {
	b.Helper()
	username := b.newUser()
	require.NoError(b, b.set(username, goodPassword))
	return username
}

func (b *prober) status(username string) string {
	b.Helper()
	out, err := b.cognito().AdminGetUser(b.Context(), &cip.AdminGetUserInput{UserPoolId: &b.pool, Username: &username})
	require.NoError(b, err)
	return string(out.UserStatus)
}

func (b *prober) set(username, password string) error {
	_, err := b.cognito().AdminSetUserPassword(b.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &b.pool, Username: &username, Password: &password, Permanent: true,
	})
	return err
}

func (b *prober) join(username, group string) error {
	_, err := b.cognito().AdminAddUserToGroup(b.Context(), &cip.AdminAddUserToGroupInput{UserPoolId: &b.pool, Username: &username, GroupName: &group})
	return err
}

func (b *prober) leave(username, group string) error {
	_, err := b.cognito().AdminRemoveUserFromGroup(b.Context(), &cip.AdminRemoveUserFromGroupInput{UserPoolId: &b.pool, Username: &username, GroupName: &group})
	return err
}

// groups returns the groups of a user, or the name of an error.
func (b *prober) groups(username string) string {
	out, err := b.cognito().AdminListGroupsForUser(b.Context(), &cip.AdminListGroupsForUserInput{UserPoolId: &b.pool, Username: &username})
	if err != nil {
		return outcome(err)
	}
	names := []string{}
	for _, group := range out.Groups {
		names = append(names, *group.GroupName)
	}
	return fmt.Sprint(names)
}

// createClient creates an app client as the engine does. Without scopes it has the fixture's.
func (b *prober) createClient(name string, scopes ...string) (*types.UserPoolClientType, error) {
	if len(scopes) == 0 {
		scopes = []string{"api/read"}
	}
	out, err := b.cognito().CreateUserPoolClient(b.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &b.pool, ClientName: &name, GenerateSecret: true, AllowedOAuthFlowsUserPoolClient: true, AllowedOAuthScopes: scopes,
		AllowedOAuthFlows: []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials},
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth},
	})
	if err != nil {
		return nil, err
	}
	return out.UserPoolClient, nil
}

func (b *prober) deleteClient(id *string) error {
	_, err := b.cognito().DeleteUserPoolClient(b.Context(), &cip.DeleteUserPoolClientInput{UserPoolId: &b.pool, ClientId: id})
	return err
}

// clientsNamed returns the ids of the app clients with a name.
func (b *prober) clientsNamed(name string) (ids []string) {
	b.Helper()
	pages := cip.NewListUserPoolClientsPaginator(b.cognito(), &cip.ListUserPoolClientsInput{UserPoolId: &b.pool, MaxResults: aws.Int32(60)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(b.Context())
		require.NoError(b, err)
		for _, client := range page.UserPoolClients {
			if *client.ClientName == name {
				ids = append(ids, *client.ClientId)
			}
		}
	}
	return ids
}

func (b *prober) remove(username string) error {
	_, err := b.cognito().AdminDeleteUser(b.Context(), &cip.AdminDeleteUserInput{UserPoolId: &b.pool, Username: &username})
	return err
}

func (b *prober) disable(username string) {
	b.Helper()
	_, err := b.cognito().AdminDisableUser(b.Context(), &cip.AdminDisableUserInput{UserPoolId: &b.pool, Username: &username})
	require.NoError(b, err)
}

func (b *prober) signOut(username string) {
	b.Helper()
	_, err := b.cognito().AdminUserGlobalSignOut(b.Context(), &cip.AdminUserGlobalSignOutInput{UserPoolId: &b.pool, Username: &username})
	require.NoError(b, err)
}

func (b *prober) signIn(client app, username, password string) (*cip.AdminInitiateAuthOutput, error) {
	parameters := map[string]string{"USERNAME": username, "PASSWORD": password}
	if client.secret != "" {
		mac := hmac.New(sha256.New, []byte(client.secret))
		mac.Write([]byte(username + client.id))
		parameters["SECRET_HASH"] = base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return b.cognito().AdminInitiateAuth(b.Context(), &cip.AdminInitiateAuthInput{
		UserPoolId: &b.pool, ClientId: &client.id, AuthFlow: types.AuthFlowTypeAdminUserPasswordAuth, AuthParameters: parameters,
	})
}

// signsIn returns "tokens", the name of a challenge, or the name of an error.
func (b *prober) signsIn(client app, username, password string) string {
	out, err := b.signIn(client, username, password)
	switch {
	case err != nil:
		return outcome(err)
	case out.ChallengeName != "":
		return string(out.ChallengeName)
	default:
		return whether(out.AuthenticationResult != nil, "tokens", "neither tokens nor a challenge")
	}
}

func (b *prober) tokens(username string) *types.AuthenticationResultType {
	b.Helper()
	out, err := b.signIn(b.has.public, username, goodPassword)
	require.NoError(b, err)
	require.NotNil(b, out.AuthenticationResult)
	return out.AuthenticationResult
}

func (b *prober) refreshes(token *string) string {
	_, err := b.cognito().InitiateAuth(b.Context(), &cip.InitiateAuthInput{
		ClientId: &b.has.public.id, AuthFlow: types.AuthFlowTypeRefreshTokenAuth, AuthParameters: map[string]string{"REFRESH_TOKEN": *token},
	})
	return outcome(err)
}

func (b *prober) knows(accessToken *string) string {
	_, err := b.cognito().GetUser(b.Context(), &cip.GetUserInput{AccessToken: accessToken})
	return outcome(err)
}

func (b *prober) changes(from string) string {
	b.Helper()
	_, err := b.cognito().ChangePassword(b.Context(), &cip.ChangePasswordInput{
		AccessToken: b.tokens(b.user()).AccessToken, PreviousPassword: &from, ProposedPassword: aws.String("hush-Third-3"),
	})
	return outcome(err)
}

func (b *prober) addSecret(client app) error {
	_, err := b.cognito().AddUserPoolClientSecret(b.Context(), &cip.AddUserPoolClientSecretInput{UserPoolId: &b.pool, ClientId: &client.id})
	return err
}

func (b *prober) addKey(user string) error {
	_, err := b.iam().CreateAccessKey(b.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	return err
}

func whether(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

// attributes returns attributes from alternating names and values.
func attributes(namesAndValues ...string) []types.AttributeType {
	var list []types.AttributeType
	for pair := range slices.Chunk(namesAndValues, 2) {
		list = append(list, types.AttributeType{Name: &pair[0], Value: &pair[1]})
	}
	return list
}

func valueOf(list []types.AttributeType, name string) string {
	for _, attribute := range list {
		if *attribute.Name == name {
			return *attribute.Value
		}
	}
	return ""
}
