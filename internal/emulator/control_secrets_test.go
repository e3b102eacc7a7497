// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// secrets returns the secrets that the emulator recorded, by value.
func (b *env) secrets() map[string]string {
	b.t.Helper()
	list, err := b.control.Secrets(b.ctx)
	require.NoError(b.t, err)
	fields := map[string]string{}
	for _, secret := range list {
		fields[secret.Value] = secret.Field
	}
	return fields
}

func TestSecretsOfEveryProtocolAreRecorded(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(b.seededClient(), "ann")
	_, err := b.signIn(b.seededClient(), "ann", "a-wrong-password")
	require.Error(t, err)
	machine := b.askToken(url.Values{
		"grant_type": {"client_credentials"}, "client_id": {b.seed.M2MClientID}, "client_secret": {b.seed.M2MClientSecret},
	}, "", "")
	assumed, err := b.sts.AssumeRole(b.ctx, &sts.AssumeRoleInput{
		RoleArn: aws.String("arn:aws:iam::123456789012:role/vault"), RoleSessionName: aws.String("session"),
	})
	require.NoError(t, err)
	require.NoError(t, b.control.PlantAccessKey(b.ctx, control.AccessKey{User: "vault", ID: "AKIAPLANTED", Secret: "planted"}))
	key, err := b.iamAs("us-east-1", "AKIAPLANTED").CreateAccessKey(b.ctx, &iam.CreateAccessKeyInput{})
	require.NoError(t, err)

	secrets := b.secrets()
	for value, field := range map[string]string{
		goodPassword:                          "TemporaryPassword",
		"a-wrong-password":                    "PASSWORD",
		secretHash(b.seededClient(), "ann"):   "SECRET_HASH",
		*tokens.AccessToken:                   "AccessToken",
		*tokens.IdToken:                       "IdToken",
		*tokens.RefreshToken:                  "RefreshToken",
		b.seed.M2MClientSecret:                "client_secret",
		machine.body["access_token"].(string): "access_token",
		*assumed.Credentials.SecretAccessKey:  "SecretAccessKey",
		*assumed.Credentials.SessionToken:     "SessionToken",
		*key.AccessKey.SecretAccessKey:        "SecretAccessKey",
		"planted":                             "SecretAccessKey",
	} {
		require.Equal(t, field, secrets[value])
	}
	for value := range secrets {
		require.NotContains(t, []string{"ann", b.seed.UserPoolID, b.seed.M2MClientID, "AKIAPLANTED"}, value, "a value that is not a secret is not recorded")
	}
}

func TestSecretsOfDeletedUsersStayRecorded(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.deleteUser(b.seed.UserPoolID, "ann"))
	require.NoError(t, b.control.Reset(b.ctx))
	require.Contains(t, b.secrets(), goodPassword)
}

func TestSecretsOfLostAnswersAreRecorded(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	before := len(b.secrets())
	b.fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultCutAfter, Times: 1})
	_, err := b.signIn(b.seededClient(), "ann", goodPassword)
	require.Error(t, err)
	require.GreaterOrEqual(t, len(b.secrets()), before+3, "issued tokens count as secrets, delivered or not")
}
