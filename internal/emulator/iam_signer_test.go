// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const testRole = "arn:aws:iam::210987654321:role/path/Tester"

// post sends a call of Cognito's API with any Authorization header.
func (b *env) post(operation, authorization, body string) (int, map[string]string, http.Header) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.url, strings.NewReader(body))
	require.NoError(b.t, err)
	req.Header.Set("X-Amz-Target", "AWSCognitoIdentityProviderService."+operation)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	answer := map[string]string{}
	_ = json.NewDecoder(resp.Body).Decode(&answer) // only errors consist of strings
	return resp.StatusCode, answer, resp.Header
}

func TestErrorsHaveCodeMessageAndRequestID(t *testing.T) {
	signature := "AWS4-HMAC-SHA256 Credential=AKIA/20260301/eu-west-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=00"
	tests := map[string]struct {
		operation     string
		authorization string
		body          string
		code          string
		words         string
	}{
		"an unsigned call is refused": {operation: "ListUsers", body: `{}`, code: "MissingAuthenticationTokenException"},
		"a signature for another service is refused": {
			operation: "ListUsers", authorization: strings.Replace(signature, "cognito-idp", "s3", 1), body: `{}`,
			code: "InvalidSignatureException",
		},
		"a bearer token is refused":                 {operation: "ListUsers", authorization: "Bearer token", body: `{}`, code: "MissingAuthenticationTokenException"},
		"a call without a pool id is refused":       {operation: "ListUsers", authorization: signature, body: `{}`, code: "InvalidParameterException", words: "userPoolId"},
		"a body that is not JSON is refused":        {operation: "ListUsers", authorization: signature, body: `{`, code: "SerializationException"},
		"an unknown operation is refused":           {operation: "MakeCoffee", authorization: signature, body: `{}`, code: "UnknownOperationException", words: "MakeCoffee"},
		"an operation for users needs no signature": {operation: "GetUser", body: `{"AccessToken":"x"}`, code: "NotAuthorizedException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			status, answer, header := b.post(test.operation, test.authorization, test.body)
			require.Equal(t, http.StatusBadRequest, status)
			require.Equal(t, test.code, answer["__type"])
			require.Contains(t, answer["message"], test.words)
			require.True(t, strings.HasPrefix(header.Get("x-amzn-ErrorType"), test.code))
			require.NotEmpty(t, header.Get("x-amzn-RequestId"))
			require.Equal(t, test.code, b.calls().Of(test.operation)[0].Code)
		})
	}
}

func TestPoolIsFoundOnlyInItsRegion(t *testing.T) {
	b := newEnv(t)
	elsewhere := b.cognitoAs("us-east-1", credentials.NewStaticCredentialsProvider(testAccessKey, "secret", ""))
	_, err := elsewhere.DescribeUserPool(b.ctx, &cognitoidentityprovider.DescribeUserPoolInput{UserPoolId: &b.seed.UserPoolID})
	requireCode(t, err, "ResourceNotFoundException", "User pool "+b.seed.UserPoolID+" does not exist.")

	out, err := elsewhere.CreateUserPool(b.ctx, &cognitoidentityprovider.CreateUserPoolInput{PoolName: aws.String("there")})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(*out.UserPool.Id, "us-east-1_"))
	_, err = b.describePool(*out.UserPool.Id)
	requireCode(t, err, "ResourceNotFoundException")
}

func TestPermissions(t *testing.T) {
	tests := map[string]struct {
		iam  control.IAM
		code string
	}{
		"every action is allowed by default":                    {},
		"a denied action is refused":                            {iam: control.IAM{DeniedActions: []string{"cognito-idp:DescribeUserPool"}}, code: "AccessDeniedException"},
		"a denial of another action has no effect":              {iam: control.IAM{DeniedActions: []string{"cognito-idp:ListUsers"}}},
		"an action outside the allowed ones is refused":         {iam: control.IAM{AllowedActions: []string{"cognito-idp:ListUsers"}}, code: "AccessDeniedException"},
		"an action among the allowed ones is accepted":          {iam: control.IAM{AllowedActions: []string{"cognito-idp:DescribeUserPool"}}},
		"an empty list of allowed actions refuses every action": {iam: control.IAM{AllowedActions: []string{}}, code: "AccessDeniedException"},
		"a denied action is refused even if it is allowed":      {iam: control.IAM{AllowedActions: []string{"cognito-idp:DescribeUserPool"}, DeniedActions: []string{"cognito-idp:DescribeUserPool"}}, code: "AccessDeniedException"},
		"a rejected access key is refused":                      {iam: control.IAM{RejectedKeys: []string{testAccessKey}}, code: "UnrecognizedClientException"},
		"a rejection of another access key has no effect":       {iam: control.IAM{RejectedKeys: []string{"AKIAANOTHER"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			require.NoError(t, b.control.SetIAM(b.ctx, test.iam))
			_, err := b.describePool(b.seed.UserPoolID)
			requireOutcome(t, err, test.code)
		})
	}
}

func TestAccessDeniedNamesPrincipalActionAndResource(t *testing.T) {
	b := newEnv(t)
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{DeniedActions: []string{"cognito-idp:AdminDeleteUser"}}))
	requireCode(t, b.deleteUser(b.seed.UserPoolID, "ann"), "AccessDeniedException",
		"User: arn:aws:iam::123456789012:user/",
		"is not authorized to perform: cognito-idp:AdminDeleteUser on resource: arn:aws:cognito-idp:eu-west-1:123456789012:userpool/"+b.seed.UserPoolID,
		"because no identity-based policy allows the cognito-idp:AdminDeleteUser action")
}

func TestPermissionsDoNotConcernUnsignedCalls(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, nil)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{AllowedActions: []string{}}))
	_, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: client.ClientId, AuthFlow: "USER_PASSWORD_AUTH", AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword},
	})
	require.NoError(t, err)
}

func TestGetCallerIdentity(t *testing.T) {
	b := newEnv(t)
	out, err := b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "123456789012", *out.Account)
	require.Contains(t, *out.Arn, "arn:aws:iam::123456789012:user/")
	require.NotEmpty(t, *out.UserId)

	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{AllowedActions: []string{}}))
	_, err = b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err, "GetCallerIdentity needs no permission")

	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{RejectedKeys: []string{testAccessKey}}))
	_, err = b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	requireCode(t, err, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

func TestAssumeRole(t *testing.T) {
	tests := map[string]struct {
		iam      control.IAM
		external *string
		seconds  *int32
		role     string
		code     string
	}{
		"a role without a trust policy can be assumed": {},
		"the required external id is accepted":         {iam: roleNeeds("tenant-1"), external: aws.String("tenant-1")},
		"a wrong external id is refused":               {iam: roleNeeds("tenant-1"), external: aws.String("tenant-2"), code: "AccessDenied"},
		"a missing external id is refused":             {iam: roleNeeds("tenant-1"), code: "AccessDenied"},
		"a role that denies everybody is refused":      {iam: control.IAM{Roles: map[string]control.Role{testRole: {Denied: true}}}, code: "AccessDenied"},
		"a denied sts:AssumeRole is refused":           {iam: control.IAM{DeniedActions: []string{"sts:AssumeRole"}}, code: "AccessDenied"},
		"a duration of 15 minutes is accepted":         {seconds: aws.Int32(900)},
		"a duration below 15 minutes is refused":       {seconds: aws.Int32(899), code: "ValidationError"},
		"an ARN of a user is refused":                  {role: "arn:aws:iam::123456789012:user/ann", code: "ValidationError"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			require.NoError(t, b.control.SetIAM(b.ctx, test.iam))
			role := testRole
			if test.role != "" {
				role = test.role
			}
			out, err := b.sts.AssumeRole(b.ctx, &sts.AssumeRoleInput{
				RoleArn: &role, RoleSessionName: aws.String("vault-cognito"), ExternalId: test.external, DurationSeconds: test.seconds,
			})
			requireOutcome(t, err, test.code)
			if test.code != "" {
				return
			}
			valid := time.Duration(aws.ToInt32(test.seconds)) * time.Second
			if valid == 0 {
				valid = time.Hour
			}
			require.Equal(t, b.clock.Now().Add(valid), *out.Credentials.Expiration)
			require.True(t, strings.HasPrefix(*out.Credentials.AccessKeyId, "ASIA"))
			require.Equal(t, "arn:aws:sts::210987654321:assumed-role/Tester/vault-cognito", *out.AssumedRoleUser.Arn)
		})
	}
}

func roleNeeds(externalID string) control.IAM {
	return control.IAM{Roles: map[string]control.Role{testRole: {ExternalID: externalID}}}
}

func TestAssumeRoleIsRecorded(t *testing.T) {
	b := newEnv(t)
	_, err := b.sts.AssumeRole(b.ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String(testRole), RoleSessionName: aws.String("vault-cognito"), ExternalId: aws.String("tenant-1"),
	})
	require.NoError(t, err)
	call := b.calls().Of("AssumeRole")[0]
	require.Equal(t, testRole, call.RoleARN)
	require.Equal(t, "vault-cognito", call.RoleSessionName)
	require.Equal(t, "tenant-1", call.ExternalID)
	require.Equal(t, testAccessKey, call.AccessKey)
}

func TestTemporaryKeys(t *testing.T) {
	b := newEnv(t)
	provider := stscreds.NewAssumeRoleProvider(b.sts, testRole, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "vault-cognito" })
	got, err := provider.Retrieve(b.ctx)
	require.NoError(t, err)
	describe := func(accessKey, sessionToken string) error {
		client := b.cognitoAs(testRegion, credentials.NewStaticCredentialsProvider(accessKey, got.SecretAccessKey, sessionToken))
		_, err := client.DescribeUserPool(b.ctx, &cognitoidentityprovider.DescribeUserPoolInput{UserPoolId: &b.seed.UserPoolID})
		return err
	}
	require.NoError(t, describe(got.AccessKeyID, got.SessionToken))
	require.Equal(t, got.AccessKeyID, b.calls().Of("DescribeUserPool")[0].AccessKey)
	requireCode(t, describe(got.AccessKeyID, "wrong"), "UnrecognizedClientException")
	requireCode(t, describe(got.AccessKeyID, ""), "UnrecognizedClientException")
	require.NoError(t, describe("ASIAFROMELSEWHERE", "any"))
	requireCode(t, describe("ASIAFROMELSEWHERE", ""), "UnrecognizedClientException")

	identity, err := b.stsAs(credentials.NewStaticCredentialsProvider(got.AccessKeyID, got.SecretAccessKey, got.SessionToken)).
		GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::210987654321:assumed-role/Tester/vault-cognito", *identity.Arn)

	b.clock.Advance(time.Hour)
	requireCode(t, describe(got.AccessKeyID, got.SessionToken), "ExpiredTokenException")
}

func TestUnknownSTSAction(t *testing.T) {
	b := newEnv(t)
	_, err := b.sts.GetSessionToken(b.ctx, &sts.GetSessionTokenInput{})
	requireCode(t, err, "InvalidAction", "GetSessionToken")
}

func TestUnknownRequest(t *testing.T) {
	b := newEnv(t)
	resp, err := http.Get(b.url + "/somewhere")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}
