// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

// apiReference and guide are folders of AWS's documentation.
const (
	apiReference = "cognito-user-identity-pools/latest/APIReference/API_"
	guide        = "cognito/latest/developerguide/"
)

// differences lists all differences by the question.
var differences = map[string]difference{
	"AdminCreateUser with a name that has a space": {
		"InvalidParameterException", "ok", apiReference + "AdminCreateUser.html",
		"a username is made of letters, marks, symbols, numbers and punctuation",
	},
	"AdminCreateUser with a password that the pool forbids": {
		"InvalidPasswordException", "ok", apiReference + "AdminCreateUser.html",
		"the temporary password must conform to the pool's policy",
	},
	"AdminCreateUser with an attribute that the pool does not know": {
		"InvalidParameterException", "ok", guide + "user-pool-settings-attributes.html",
		"a custom attribute has to be in the pool's schema before it can have a value",
	},
	"AdminCreateUser with an e-mail address that is another user's verified alias": {
		"AliasExistsException", "ok", apiReference + "AdminCreateUser.html",
		"without ForceAliasCreation an alias stays whose it is",
	},
	"AdminSetUserPassword with the password of before, in a pool that remembers passwords": {
		"PasswordHistoryPolicyViolationException", "ok", apiReference + "AdminSetUserPassword.html",
		"a password of the history is refused by this error",
	},
	"AdminInitiateAuth through an app client that does not allow the flow": {
		"InvalidParameterException", "tokens", apiReference + "CreateUserPoolClient.html",
		"ExplicitAuthFlows are the flows that the app client supports",
	},
	"AdminInitiateAuth through a confidential app client without SECRET_HASH": {
		"NotAuthorizedException", "tokens", guide + "signing-up-users-in-your-app.html",
		"an app client with a secret needs a secret hash in every such request",
	},
	"AdminInitiateAuth with a wrong SECRET_HASH": {
		"NotAuthorizedException", "tokens", guide + "signing-up-users-in-your-app.html",
		"Cognito computes the hash too and compares",
	},
	"AdminInitiateAuth in a pool that demands a second factor, before there is one": {
		"MFA_SETUP", "tokens", apiReference + "AdminInitiateAuth.html",
		"a user of a pool that requires MFA, without a factor, is challenged to set one up",
	},
	"the life of an access token of an app client that says 10 minutes, in seconds": {
		"600", "3600", apiReference + "CreateUserPoolClient.html",
		"AccessTokenValidity and its unit set the life",
	},
	"REFRESH_TOKEN_AUTH after AdminDisableUser": {
		"NotAuthorizedException", "ok", apiReference + "AdminDisableUser.html",
		"the user cannot sign in any more, and its access tokens are revoked",
	},
	"REFRESH_TOKEN_AUTH after AdminDeleteUser": {
		"NotAuthorizedException", "HTTP 500", apiReference + "InitiateAuth.html",
		"a request that is not authorized is a 400; a 500 is AWS's own fault",
	},
	"GetTokensFromRefreshToken": {
		"ok", "HTTP 500", apiReference + "GetTokensFromRefreshToken.html", "the operation is there",
	},
	"RevokeToken": {
		"ok", "HTTP 500", apiReference + "RevokeToken.html", "the operation is there",
	},
	"CreateUserPoolClient with a scope that is not there": {
		"ScopeDoesNotExistException", "ok", apiReference + "CreateUserPoolClient.html",
		"this error is returned when a scope does not exist",
	},
	"ListUserPoolClientSecrets": {
		"ok", "HTTP 500", apiReference + "ListUserPoolClientSecrets.html", "the operation is there",
	},
	"AddUserPoolClientSecret, until there are three": {
		"ok, LimitExceededException", "HTTP 500, HTTP 500", apiReference + "AddUserPoolClientSecret.html",
		"an app client has two secrets at most",
	},
	"GetClientToken": {
		"ResourceNotFoundException", "HTTP 500", apiReference + "GetClientToken.html", "the operation is there",
	},
	"POST /oauth2/token with a wrong secret": {
		"HTTP 400", "HTTP 500", guide + "token-endpoint.html", "a 400 with the error invalid_client",
	},
	"GetCallerIdentity with an access key that was deleted": {
		"InvalidClientTokenId", "ok", "STS/latest/APIReference/CommonErrors.html",
		"a key that is not in AWS's records is refused by this error",
	},
}

// openPoint is a question that AWS's documentation leaves open or answers twice. The emulator had
// to choose.
type openPoint struct {
	probe
	chosen string
}

var openPoints = []openPoint{
	{chosen: "HTTP 400", probe: probe{
		asks: "a token with a scope that the app client may not have",
		answer: func(b *prober) string {
			return fmt.Sprint("HTTP ", b.grant(b.has.machine, b.has.machine.secret, "api/write"))
		},
	}},
	{chosen: "tokens", probe: probe{
		asks: "a SECRET_HASH of the second secret",
		answer: func(b *prober) string {
			client := b.userClient(true, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
			_, added := b.secondSecret(client)
			return b.signsIn(app{client.id, added}, b.user(), goodPassword)
		},
	}},
	{chosen: "none", probe: probe{
		asks: "the secret that DescribeUserPoolClient shows when the first secret is deleted and a second is there",
		answer: func(b *prober) string {
			client := b.userClient(true, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
			first, added := b.secondSecret(client)
			require.NoError(b, b.deleteSecret(client, first))
			out, err := b.cognito().DescribeUserPoolClient(b.Context(), &cip.DescribeUserPoolClientInput{UserPoolId: &b.pool, ClientId: &client.id})
			require.NoError(b, err)
			return map[string]string{client.secret: "the first", added: "the second", "": "none"}[aws.ToString(out.UserPoolClient.ClientSecret)]
		},
	}},
	{chosen: "InvalidParameterException", probe: probe{
		asks: "DeleteUserPoolClientSecret of the only secret",
		answer: func(b *prober) string {
			client := b.userClient(true, types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth)
			return outcome(b.deleteSecret(client, b.secretIDs(client)[0]))
		},
	}},
	{chosen: "NotAuthorizedException", probe: probe{
		asks: "GetUser with an access token, after AdminDeleteUser",
		answer: func(b *prober) string {
			username := b.user()
			token := b.tokens(username).AccessToken
			require.NoError(b, b.remove(username))
			return b.knows(token)
		},
	}},
	{chosen: "NotAuthorizedException", probe: probe{
		asks: "GetUser with an access token, after AdminUserGlobalSignOut and AdminDeleteUser",
		answer: func(b *prober) string {
			username := b.user()
			token := b.tokens(username).AccessToken
			b.signOut(username)
			require.NoError(b, b.remove(username))
			return b.knows(token)
		},
	}},
}

// grant requests a token from the token endpoint and returns the HTTP status.
func (b *prober) grant(client app, secret, scope string) int {
	b.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client.id}, "client_secret": {secret}, "scope": {scope}}
	resp, err := http.Post(b.has.domain+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	require.NoError(b, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// secondSecret adds a secret to an app client, and returns the id of the first and the value of the
// second.
func (b *prober) secondSecret(client app) (firstID, second string) {
	b.Helper()
	firstID = b.secretIDs(client)[0]
	out, err := b.cognito().AddUserPoolClientSecret(b.Context(), &cip.AddUserPoolClientSecretInput{UserPoolId: &b.pool, ClientId: &client.id})
	require.NoError(b, err)
	return firstID, *out.ClientSecretDescriptor.ClientSecretValue
}

func (b *prober) secretIDs(client app) []string {
	b.Helper()
	out, err := b.cognito().ListUserPoolClientSecrets(b.Context(), &cip.ListUserPoolClientSecretsInput{UserPoolId: &b.pool, ClientId: &client.id})
	require.NoError(b, err)
	var ids []string
	for _, secret := range out.ClientSecrets {
		ids = append(ids, *secret.ClientSecretId)
	}
	return ids
}

func (b *prober) deleteSecret(client app, id string) error {
	_, err := b.cognito().DeleteUserPoolClientSecret(b.Context(), &cip.DeleteUserPoolClientSecretInput{UserPoolId: &b.pool, ClientId: &client.id, ClientSecretId: &id})
	return err
}
