// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const plantedKey = "AKIAPLANTED000000000"

func (b *env) iamAs(region, accessKey string) *iam.Client {
	return iam.New(iam.Options{
		Region: region, BaseEndpoint: &b.url, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	})
}

func (b *env) whoIs(accessKey string) (string, error) {
	out, err := b.stsAs(credentials.NewStaticCredentialsProvider(accessKey, "secret", "")).GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

func newPlantedEnv(t *testing.T) (*env, *iam.Client) {
	t.Helper()
	b := newEnv(t)
	require.NoError(t, b.control.PlantAccessKey(b.ctx, control.AccessKey{User: "vault", ID: plantedKey, Secret: "secret", DelayMS: 1000}))
	return b, b.iamAs("us-east-1", plantedKey)
}

func TestAccessKeys(t *testing.T) {
	b, client := newPlantedEnv(t)

	user, err := client.GetUser(b.ctx, &iam.GetUserInput{})
	require.NoError(t, err)
	require.Equal(t, "vault", *user.User.UserName)
	arn, err := b.whoIs(plantedKey)
	require.NoError(t, err)
	require.Equal(t, *user.User.Arn, arn)

	created, err := client.CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{UserName: aws.String("vault")})
	require.NoError(t, err)
	key := created.AccessKey
	require.NotEmpty(t, *key.SecretAccessKey)
	require.Equal(t, b.clock.Now(), *key.CreateDate)

	_, err = b.whoIs(*key.AccessKeyId)
	requireCode(t, err, "InvalidClientTokenId")
	b.clock.Advance(time.Second)
	_, err = b.whoIs(*key.AccessKeyId)
	require.NoError(t, err, "the key is valid after the delay")

	_, err = client.CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{})
	requireCode(t, err, "LimitExceeded")

	list, err := client.ListAccessKeys(b.ctx, &iam.ListAccessKeysInput{})
	require.NoError(t, err)
	require.Len(t, list.AccessKeyMetadata, 2)
	require.Equal(t, plantedKey, *list.AccessKeyMetadata[0].AccessKeyId)

	_, err = client.DeleteAccessKey(b.ctx, &iam.DeleteAccessKeyInput{AccessKeyId: key.AccessKeyId})
	require.NoError(t, err)
	_, err = b.whoIs(*key.AccessKeyId)
	requireCode(t, err, "InvalidClientTokenId")
	keys, err := b.control.AccessKeys(b.ctx)
	require.NoError(t, err)
	require.Equal(t, []control.AccessKey{{User: "vault", ID: plantedKey, Secret: "secret"}}, keys)
	require.Len(t, b.calls().Of("CreateAccessKey"), 2)
}

func TestAccessKeysRefused(t *testing.T) {
	b, client := newPlantedEnv(t)

	_, err := client.DeleteAccessKey(b.ctx, &iam.DeleteAccessKeyInput{AccessKeyId: aws.String("AKIANOBODYS000000000")})
	requireCode(t, err, "NoSuchEntity")
	_, err = client.ListAccessKeys(b.ctx, &iam.ListAccessKeysInput{UserName: aws.String("nobody")})
	requireCode(t, err, "NoSuchEntity")
	_, err = client.ListUsers(b.ctx, &iam.ListUsersInput{})
	requireCode(t, err, "InvalidAction")
	_, err = b.iamAs("us-east-1", testAccessKey).GetUser(b.ctx, &iam.GetUserInput{})
	requireCode(t, err, "ValidationError")
	for region, code := range map[string]string{"us-east-1": "", "eu-west-1": "SignatureDoesNotMatch", "cn-north-1": "", "cn-northwest-1": "SignatureDoesNotMatch"} {
		_, err = b.iamAs(region, plantedKey).GetUser(b.ctx, &iam.GetUserInput{})
		requireOutcome(t, err, code)
	}

	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{DeniedActions: []string{"iam:GetUser"}}))
	_, err = client.GetUser(b.ctx, &iam.GetUserInput{})
	requireCode(t, err, "AccessDenied", "iam:GetUser", "user/vault")

	require.NoError(t, b.control.Fault(b.ctx, control.Fault{Operation: "ListAccessKeys", Kind: control.FaultError, Code: "ServiceUnavailable"}))
	_, err = client.ListAccessKeys(b.ctx, &iam.ListAccessKeysInput{})
	requireCode(t, err, "ServiceUnavailable")

	require.NoError(t, b.control.Reset(b.ctx))
	keys, err := b.control.AccessKeys(b.ctx)
	require.NoError(t, err)
	require.Empty(t, keys)
	require.Error(t, b.control.PlantAccessKey(b.ctx, control.AccessKey{User: "vault"}))
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	b := newEnv(t)
	anonymous := sts.New(sts.Options{Region: testRegion, BaseEndpoint: &b.url, Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{}})
	assume := func(token string) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return anonymous.AssumeRoleWithWebIdentity(b.ctx, &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String("arn:aws:iam::123456789012:role/vault"), RoleSessionName: aws.String("session"), WebIdentityToken: &token,
		})
	}
	out, err := assume("a.b.c")
	require.NoError(t, err)
	who := b.stsAs(credentials.NewStaticCredentialsProvider(*out.Credentials.AccessKeyId, "secret", *out.Credentials.SessionToken))
	identity, err := who.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:sts::123456789012:assumed-role/vault/session", *identity.Arn)
	_, err = assume("nothing like a token")
	requireCode(t, err, "InvalidIdentityToken")
}
