// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// signedOperations are the operations that name a pool and need AWS credentials.
func signedOperations() []string {
	return []string{
		"DescribeUserPool", "DeleteUserPool", "GetUserPoolMfaConfig", "SetUserPoolMfaConfig", "CreateUserPoolDomain", "CreateUserPoolReplica", "DeleteUserPoolDomain", "CreateResourceServer",
		"CreateUserPoolClient", "DescribeUserPoolClient", "UpdateUserPoolClient", "DeleteUserPoolClient", "ListUserPoolClients",
		"AddUserPoolClientSecret", "ListUserPoolClientSecrets", "DeleteUserPoolClientSecret",
		"CreateGroup", "GetGroup", "DeleteGroup", "ListGroups", "ListUsersInGroup", "AdminAddUserToGroup", "AdminRemoveUserFromGroup", "AdminListGroupsForUser",
		"AdminCreateUser", "AdminSetUserPassword", "AdminGetUser", "AdminDeleteUser", "AdminDisableUser", "AdminEnableUser",
		"AdminUserGlobalSignOut", "AdminUpdateUserAttributes", "AdminDeleteUserAttributes", "AdminSetUserMFAPreference", "ListUsers",
		"AdminResetUserPassword", "AdminListDevices", "AdminForgetDevice",
		"AdminInitiateAuth", "AdminRespondToAuthChallenge",
	}
}

func TestSignedOperations(t *testing.T) {
	const (
		signature = "AWS4-HMAC-SHA256 Credential=AKIA/20260301/eu-west-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=00"
		body      = `{"UserPoolId":"eu-west-1_nowhere","ClientId":"x","Username":"x","GroupName":"x","Domain":"x"}`
	)
	b := newEnv(t)
	for _, operation := range signedOperations() {
		t.Run(operation+" needs a signature and a pool", func(t *testing.T) {
			_, answer, _ := b.post(operation, "", body)
			require.Equal(t, "MissingAuthenticationTokenException", answer["__type"])
			_, answer, _ = b.post(operation, signature, body)
			require.Equal(t, "ResourceNotFoundException", answer["__type"])
			require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{DeniedActions: []string{"cognito-idp:" + operation}}))
			_, answer, _ = b.post(operation, signature, body)
			require.Equal(t, "AccessDeniedException", answer["__type"])
			require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{}))
		})
	}
}

func TestOperationsOnUnknownUsersAnswerUserNotFound(t *testing.T) {
	const signature = "AWS4-HMAC-SHA256 Credential=AKIA/20260301/eu-west-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=00"
	b := newEnv(t)
	body := `{"UserPoolId":"` + b.seed.UserPoolID + `","Username":"nobody","GroupName":"testers"}`
	for _, operation := range []string{
		"AdminAddUserToGroup", "AdminRemoveUserFromGroup", "AdminListGroupsForUser", "AdminSetUserPassword", "AdminGetUser",
		"AdminDeleteUser", "AdminDisableUser", "AdminEnableUser", "AdminUserGlobalSignOut", "AdminUpdateUserAttributes",
		"AdminSetUserMFAPreference", "AdminDeleteUserAttributes", "AdminResetUserPassword", "AdminListDevices", "AdminForgetDevice",
	} {
		_, answer, _ := b.post(operation, signature, body)
		require.Equal(t, "UserNotFoundException", answer["__type"], operation)
	}
}

func TestUnsignedOperations(t *testing.T) {
	tests := map[string]string{
		"InitiateAuth":                 "ResourceNotFoundException",
		"RespondToAuthChallenge":       "ResourceNotFoundException",
		"GetTokensFromRefreshToken":    "ResourceNotFoundException",
		"RevokeToken":                  "UnauthorizedException",
		"GetClientToken":               "ResourceNotFoundException",
		"GetUser":                      "NotAuthorizedException",
		"ChangePassword":               "NotAuthorizedException",
		"GlobalSignOut":                "NotAuthorizedException",
		"ForgotPassword":               "ResourceNotFoundException",
		"ConfirmForgotPassword":        "ResourceNotFoundException",
		"UpdateUserAttributes":         "NotAuthorizedException",
		"DeleteUserAttributes":         "NotAuthorizedException",
		"DeleteUser":                   "NotAuthorizedException",
		"SetUserMFAPreference":         "NotAuthorizedException",
		"ConfirmDevice":                "NotAuthorizedException",
		"UpdateDeviceStatus":           "NotAuthorizedException",
		"ForgetDevice":                 "NotAuthorizedException",
		"ListDevices":                  "NotAuthorizedException",
		"StartWebAuthnRegistration":    "NotAuthorizedException",
		"CompleteWebAuthnRegistration": "NotAuthorizedException",
		"DeleteWebAuthnCredential":     "NotAuthorizedException",
		"ListWebAuthnCredentials":      "NotAuthorizedException",
		"AssociateSoftwareToken":       "NotAuthorizedException",
		"VerifySoftwareToken":          "NotAuthorizedException",
	}
	b := newEnv(t)
	for operation, code := range tests {
		t.Run(operation+" needs no signature", func(t *testing.T) {
			_, answer, _ := b.post(operation, "", `{"ClientId":"nobody"}`)
			require.Equal(t, code, answer["__type"])
		})
	}
}

func TestResourceServers(t *testing.T) {
	scopes := func(names ...string) []types.ResourceServerScopeType {
		var list []types.ResourceServerScopeType
		for _, name := range names {
			list = append(list, types.ResourceServerScopeType{ScopeName: &name, ScopeDescription: &name})
		}
		return list
	}
	tests := map[string]struct {
		identifier string
		name       string
		scopes     []types.ResourceServerScopeType
		code       string
	}{
		"a URL as identifier is accepted":              {identifier: "https://api.example.com", name: "API", scopes: scopes("read")},
		"an identifier with a space is refused":        {identifier: "my api", name: "API", code: "InvalidParameterException"},
		"an identifier that exists is refused":         {identifier: "api", name: "API", code: "InvalidParameterException"},
		"a scope name with a slash is refused":         {identifier: "other", name: "API", scopes: scopes("read/write"), code: "InvalidParameterException"},
		"101 scopes are refused":                       {identifier: "other", name: "API", scopes: scopes(make([]string, 101)...), code: "InvalidParameterException"},
		"a resource server without scopes is accepted": {identifier: "other", name: "API"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			_, err := b.cognito.CreateResourceServer(b.ctx, &cognitoidentityprovider.CreateResourceServerInput{
				UserPoolId: &b.seed.UserPoolID, Identifier: &test.identifier, Name: &test.name, Scopes: test.scopes,
			})
			requireOutcome(t, err, test.code)
			if test.code == "" && len(test.scopes) > 0 {
				b.createClient(b.seed.UserPoolID, machineClient(test.identifier+"/read"))
			}
		})
	}
}

func TestDomainBelongsToOnePool(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	create := func(domain string) error {
		_, err := b.cognito.CreateUserPoolDomain(b.ctx, &cognitoidentityprovider.CreateUserPoolDomainInput{UserPoolId: &pool, Domain: &domain})
		return err
	}
	requireCode(t, create("UPPER"), "InvalidParameterException")
	require.NoError(t, create("first"))
	requireCode(t, create("second"), "InvalidParameterException")
}

func TestDeveloperOnlyAttributesHaveTheirOwnPrefix(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(func(in *cognitoidentityprovider.CreateUserPoolInput) {
		in.Schema = []types.SchemaAttributeType{{
			Name: aws.String("team"), AttributeDataType: types.AttributeDataTypeString, DeveloperOnlyAttribute: aws.Bool(true),
		}}
	})
	b.createUser(pool, "ann", "dev:custom:team", "red")
	require.Equal(t, "red", b.user(pool, "ann").Attributes["dev:custom:team"])
}
