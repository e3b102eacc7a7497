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

// post sends a call of Cognito's API by hand, with any Authorization header.
func (b *bench) post(operation, authorization, body string) (int, map[string]string, http.Header) {
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
	_ = json.NewDecoder(resp.Body).Decode(&answer) // answers that are no errors have other values than strings
	return resp.StatusCode, answer, resp.Header
}

func TestErrorsOnTheWire(t *testing.T) {
	signature := "AWS4-HMAC-SHA256 Credential=AKIA/20260301/eu-west-1/cognito-idp/aws4_request, SignedHeaders=host, Signature=00"
	tests := map[string]struct {
		operation     string
		authorization string
		body          string
		code          string
		words         string
	}{
		"a call that has to be signed": {operation: "ListUsers", body: `{}`, code: "MissingAuthenticationTokenException"},
		"a signature for another service": {
			operation: "ListUsers", authorization: strings.Replace(signature, "cognito-idp", "s3", 1), body: `{}`,
			code: "InvalidSignatureException",
		},
		"another kind of authorization":  {operation: "ListUsers", authorization: "Bearer token", body: `{}`, code: "MissingAuthenticationTokenException"},
		"a signed call without its pool": {operation: "ListUsers", authorization: signature, body: `{}`, code: "InvalidParameterException", words: "userPoolId"},
		"a body that is no JSON":         {operation: "ListUsers", authorization: signature, body: `{`, code: "SerializationException"},
		"an unknown operation":           {operation: "MakeCoffee", authorization: signature, body: `{}`, code: "UnknownOperationException", words: "MakeCoffee"},
		"an unsigned call needs no key":  {operation: "GetUser", body: `{"AccessToken":"x"}`, code: "NotAuthorizedException"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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

func TestPoolIsFoundInItsOwnRegionOnly(t *testing.T) {
	b := newBench(t)
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
		"nothing is forbidden at first":   {},
		"a denied action is refused":      {iam: control.IAM{DeniedActions: []string{"cognito-idp:DescribeUserPool"}}, code: "AccessDeniedException"},
		"another denied action is no bar": {iam: control.IAM{DeniedActions: []string{"cognito-idp:ListUsers"}}},
		"a list without it refuses":       {iam: control.IAM{AllowedActions: []string{"cognito-idp:ListUsers"}}, code: "AccessDeniedException"},
		"a list with it allows":           {iam: control.IAM{AllowedActions: []string{"cognito-idp:DescribeUserPool"}}},
		"an empty list refuses":           {iam: control.IAM{AllowedActions: []string{}}, code: "AccessDeniedException"},
		"a denied action beats the list":  {iam: control.IAM{AllowedActions: []string{"cognito-idp:DescribeUserPool"}, DeniedActions: []string{"cognito-idp:DescribeUserPool"}}, code: "AccessDeniedException"},
		"a rejected key is nobody's":      {iam: control.IAM{RejectedKeys: []string{testAccessKey}}, code: "UnrecognizedClientException"},
		"another rejected key is no bar":  {iam: control.IAM{RejectedKeys: []string{"AKIAANOTHER"}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			require.NoError(t, b.control.SetIAM(b.ctx, test.iam))
			_, err := b.describePool(b.seed.UserPoolID)
			requireOutcome(t, err, test.code)
		})
	}
}

func TestAccessDeniedSaysWhoAndWhat(t *testing.T) {
	b := newBench(t)
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{DeniedActions: []string{"cognito-idp:AdminDeleteUser"}}))
	requireCode(t, b.deleteUser(b.seed.UserPoolID, "ann"), "AccessDeniedException",
		"User: arn:aws:iam::123456789012:user/",
		"is not authorized to perform: cognito-idp:AdminDeleteUser on resource: arn:aws:cognito-idp:eu-west-1:123456789012:userpool/"+b.seed.UserPoolID,
		"because no identity-based policy allows the cognito-idp:AdminDeleteUser action")
}

func TestUnsignedCallsKnowNoPermissions(t *testing.T) {
	b := newBench(t)
	client := b.createClient(b.seed.UserPoolID, nil)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{AllowedActions: []string{}}))
	_, err := b.cognito.InitiateAuth(b.ctx, &cognitoidentityprovider.InitiateAuthInput{
		ClientId: client.ClientId, AuthFlow: "USER_PASSWORD_AUTH", AuthParameters: map[string]string{"USERNAME": "ann", "PASSWORD": goodPassword},
	})
	require.NoError(t, err)
}

func TestGetCallerIdentity(t *testing.T) {
	b := newBench(t)
	out, err := b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "123456789012", *out.Account)
	require.Contains(t, *out.Arn, "arn:aws:iam::123456789012:user/")
	require.NotEmpty(t, *out.UserId)

	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{AllowedActions: []string{}}))
	_, err = b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err, "everyone may ask who they are")

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
		"anyone may assume a role":           {},
		"an external id that is asked for":   {iam: roleNeeds("tenant-1"), external: aws.String("tenant-1")},
		"an external id that is wrong":       {iam: roleNeeds("tenant-1"), external: aws.String("tenant-2"), code: "AccessDenied"},
		"an external id that is missing":     {iam: roleNeeds("tenant-1"), code: "AccessDenied"},
		"a role that nobody may assume":      {iam: control.IAM{Roles: map[string]control.Role{testRole: {Denied: true}}}, code: "AccessDenied"},
		"an action that is denied":           {iam: control.IAM{DeniedActions: []string{"sts:AssumeRole"}}, code: "AccessDenied"},
		"a duration of a quarter of an hour": {seconds: aws.Int32(900)},
		"a duration that is too short":       {seconds: aws.Int32(899), code: "ValidationError"},
		"something that is no role":          {role: "arn:aws:iam::123456789012:user/ann", code: "ValidationError"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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
	b := newBench(t)
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
	b := newBench(t)
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
	b := newBench(t)
	_, err := b.sts.GetSessionToken(b.ctx, &sts.GetSessionTokenInput{})
	requireCode(t, err, "InvalidAction", "GetSessionToken")
}

func TestUnknownRequest(t *testing.T) {
	b := newBench(t)
	resp, err := http.Get(b.url + "/somewhere")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}
