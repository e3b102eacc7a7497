// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// TestHints relies on no text from AWS: the message is empty.
func TestHints(t *testing.T) {
	signIn := func(f *fixture) error {
		_, err := f.pool().IssueUser(t.Context(), f.request())
		return err
	}
	for name, test := range map[string]struct {
		operation, code string
		call            func(*fixture) error
		kind            cognito.Kind
		hint            string
	}{
		"a blocked request names AWS WAF": {"AdminInitiateAuth", "ForbiddenException", signIn, cognito.KindInvalid, "AWS WAF"},
		"a one-time code that is not accepted names the clock": {
			"AdminInitiateAuth", "EnableSoftwareTokenMFAException", signIn, cognito.KindInvalid, "clock",
		},
		"a replica names the primary region": {
			"AdminInitiateAuth", "OperationNotEnabledException", signIn, cognito.KindInvalid, "primary region",
		},
		"an invalid parameter at a sign-in names the flow": {
			"AdminInitiateAuth", "InvalidParameterException", signIn, cognito.KindInvalid, "ALLOW_ADMIN_USER_PASSWORD_AUTH",
		},
		"a limit of attempts passes with time": {
			"ListUserPoolClientSecrets", "LimitExceededException", func(f *fixture) error {
				_, err := f.pool().ClientSecretIDs(t.Context(), f.Seed.M2MClientID)
				return err
			}, cognito.KindThrottled, "try again later",
		},
		"a limit of secrets does not pass": {
			"AddUserPoolClientSecret", "LimitExceededException", func(f *fixture) error {
				_, err := f.pool().AddClientSecret(t.Context(), f.Seed.M2MClientID, "secretOf24CharactersAtLeast")
				return err
			}, cognito.KindInvalid, "the engine deletes none that it did not add",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, 0)
			f.Fault(control.Fault{Operation: test.operation, Kind: control.FaultError, Code: test.code})
			err := test.call(f)
			require.ErrorContains(t, err, test.hint)
			require.Equal(t, test.kind, cognito.KindOf(err))
		})
	}
}

func TestConflictingChange(t *testing.T) {
	conflict := control.Fault{Operation: "AdminAddUserToGroup", Kind: control.FaultError, Code: "ConcurrentModificationException"}

	t.Run("it is retried", func(t *testing.T) {
		f := newFixture(t, 1)
		conflict := conflict
		conflict.Times = 1
		f.Fault(conflict)
		_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
		require.NoError(t, err)
	})

	t.Run("after all retries it is no fault of the role", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(conflict)
		_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
		require.ErrorContains(t, err, "try again")
		require.Equal(t, cognito.KindThrottled, cognito.KindOf(err))
	})
}

func TestSecretThatCognitoDoesNotShow(t *testing.T) {
	hide := func(f *fixture) {
		_, err := f.pool().AddClientSecret(t.Context(), f.Seed.M2MClientID, "secretOf24CharactersAtLeast")
		require.NoError(t, err)
		listed, err := f.Admin.ListUserPoolClientSecrets(t.Context(), &cip.ListUserPoolClientSecretsInput{
			UserPoolId: &f.Seed.UserPoolID, ClientId: &f.Seed.M2MClientID,
		})
		require.NoError(t, err)
		_, err = f.Admin.DeleteUserPoolClientSecret(t.Context(), &cip.DeleteUserPoolClientSecretInput{
			UserPoolId: &f.Seed.UserPoolID, ClientId: &f.Seed.M2MClientID, ClientSecretId: listed.ClientSecrets[0].ClientSecretId,
		})
		require.NoError(t, err)
	}
	lookUp := func(f *fixture) error {
		request := f.machineRequest()
		request.AppClient.Secret = ""
		request.Target = cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: f.Seed.Region}
		_, err := f.service.MachineToken(t.Context(), request)
		return err
	}

	t.Run("it is told from an app client without a secret", func(t *testing.T) {
		f := newFixture(t, 0)
		hide(f)
		err := lookUp(f)
		require.True(t, cognito.IsSecretHidden(err), "%v", err)
		require.ErrorContains(t, err, "app_client_secret")
		require.ErrorContains(t, err, "static_role")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
	})

	t.Run("a missing permission to list is named", func(t *testing.T) {
		f := newFixture(t, 0)
		hide(f)
		f.Deny("cognito-idp:ListUserPoolClientSecrets")
		err := lookUp(f)
		require.False(t, cognito.IsSecretHidden(err))
		require.ErrorContains(t, err, "cognito-idp:ListUserPoolClientSecrets")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})
}

func TestUserOfAccessKey(t *testing.T) {
	t.Run("without iam:GetUser it is that of the caller's ARN", func(t *testing.T) {
		aws, service := newKeys(t, "")
		aws.Deny("iam:GetUser")
		keys, err := service.AccessKeys(t.Context())
		require.NoError(t, err)
		require.Equal(t, "vault", keys.User())
	})

	t.Run("an error other than a denial is returned", func(t *testing.T) {
		aws, service := newKeys(t, "")
		aws.Fault(control.Fault{Operation: "GetUser", Kind: control.FaultError, Code: "NoSuchEntity"})
		_, err := service.AccessKeys(t.Context())
		require.ErrorContains(t, err, "NoSuchEntity")
		require.Empty(t, aws.Calls().Of("GetCallerIdentity"))
	})

	t.Run("a caller that is no user leaves the denial", func(t *testing.T) {
		for _, arn := range []string{
			"arn:aws:iam::123456789012:root", "arn:aws:sts::123456789012:assumed-role/reader/session", "vault", "",
		} {
			require.Empty(t, cognito.UserOfARN(arn), arn)
		}
		require.Equal(t, "vault", cognito.UserOfARN("arn:aws-cn:iam::123456789012:user/team/vault"))
	})
}
