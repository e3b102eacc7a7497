// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// newKeys are the keys of an IAM user as seen with its own key.
func newKeys(t *testing.T, region string) (*emulatortest.Cognito, *cognito.Service) {
	t.Helper()
	aws := emulatortest.Start(t)
	aws.PlantKey("vault", "AKIAPLUGIN", "hush")
	return aws, cognito.New(context.Background(), cognito.Settings{
		AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", Region: region, MaxRetries: 3, RequestTimeout: 300 * time.Millisecond,
		// The keys of a user are never reached with a role.
		AssumeRoleARN: "arn:aws:iam::123456789012:role/vault", RoleSessionName: "test",
		CognitoEndpoint: aws.Seed.Domain, STSEndpoint: aws.Seed.Domain, IAMEndpoint: aws.Seed.Domain,
	})
}

// TestIAMRegion relies on the emulator, which takes signatures only for the
// one region of a partition.
func TestIAMRegion(t *testing.T) {
	for region, signed := range map[string]string{
		"": "us-east-1", "eu-west-1": "us-east-1", "cn-northwest-1": "cn-north-1", "us-gov-east-1": "us-gov-west-1",
	} {
		t.Run("from "+region, func(t *testing.T) {
			aws, service := newKeys(t, region)
			keys, err := service.AccessKeys(t.Context())
			require.NoError(t, err)
			require.Equal(t, "vault", keys.User())
			require.Equal(t, signed, aws.Calls().Of("GetUser")[0].Region)
			require.Empty(t, aws.Calls().Of("AssumeRole"))
		})
	}
}

// TestCreateAccessKeyOnce shows that a key whose answer was lost is not made
// twice, and that the caller learns of it.
func TestCreateAccessKeyOnce(t *testing.T) {
	for kind, outcome := range map[string]cognito.Outcome{
		control.FaultCutAfter: cognito.OutcomeUnknown, control.FaultHang: cognito.OutcomeUnknown,
		control.FaultCutBody: cognito.OutcomeUnknown, control.FaultError: cognito.OutcomeRefused,
	} {
		t.Run(kind, func(t *testing.T) {
			aws, service := newKeys(t, "")
			keys, err := service.AccessKeys(t.Context())
			require.NoError(t, err)
			aws.Fault(control.Fault{Operation: "CreateAccessKey", Kind: kind, Code: "LimitExceeded"})
			_, err = keys.Create(t.Context())
			require.Equal(t, outcome, cognito.OutcomeOf(err), err)
			require.Len(t, aws.Calls().Of("CreateAccessKey"), 1)
		})
	}
}

func TestDeleteAccessKeyTwice(t *testing.T) {
	_, service := newKeys(t, "")
	keys, err := service.AccessKeys(t.Context())
	require.NoError(t, err)
	key, err := keys.Create(t.Context())
	require.NoError(t, err)
	require.NoError(t, keys.Delete(t.Context(), key.ID))
	require.NoError(t, keys.Delete(t.Context(), key.ID))
	present, err := keys.List(t.Context())
	require.NoError(t, err)
	require.Len(t, present, 1)
	require.Empty(t, present[0].Secret)
}

func TestProveAccessKey(t *testing.T) {
	t.Run("STS and Cognito are called until each knows the key, in every region", func(t *testing.T) {
		aws, service := newKeys(t, "eu-west-1")
		aws.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "InvalidClientTokenId", Times: 2})
		aws.Fault(control.Fault{Operation: "DescribeUserPool", Kind: control.FaultError, Code: "UnrecognizedClientException", Times: 1})
		require.NoError(t, service.ProveAccessKey(t.Context(), "us-east-2"))
		require.Len(t, aws.Calls().Of("GetCallerIdentity"), 4)
		calls := aws.Calls().Of("DescribeUserPool")
		require.Len(t, calls, 3)
		require.Equal(t, "us-east-2", calls[2].Region)
		require.Empty(t, aws.Calls().Of("AssumeRole"))
	})

	t.Run("a call that IAM denies proves the key", func(t *testing.T) {
		aws, service := newKeys(t, "eu-west-1")
		aws.Deny("cognito-idp:DescribeUserPool")
		require.NoError(t, service.ProveAccessKey(t.Context()))
	})

	t.Run("another error is returned", func(t *testing.T) {
		aws, service := newKeys(t, "eu-west-1")
		aws.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "AccessDenied", Times: 1})
		require.Equal(t, cognito.KindDenied, cognito.KindOf(service.ProveAccessKey(t.Context())))
		aws.Fault(control.Fault{Operation: "DescribeUserPool", Kind: control.FaultError, Code: "InternalErrorException"})
		require.Equal(t, cognito.KindUnavailable, cognito.KindOf(service.ProveAccessKey(t.Context())))
	})
}

func TestReplaceAccessKey(t *testing.T) {
	aws, service := newKeys(t, "eu-west-1")
	target := cognito.Target{UserPoolID: aws.Seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::123456789012:role/vault"}
	before, err := service.Pool(t.Context(), target)
	require.NoError(t, err)
	_, err = before.Rules(t.Context())
	require.NoError(t, err)
	aws.PlantKey("vault", "AKIANEW", "hush-new")
	service.ReplaceAccessKey("AKIANEW", "hush-new")
	after, err := service.Pool(t.Context(), target)
	require.NoError(t, err)
	_, err = after.Rules(t.Context())
	require.NoError(t, err)
	assumed := aws.Calls().Of("AssumeRole")
	require.Len(t, assumed, 2)
	require.Equal(t, "AKIAPLUGIN", assumed[0].AccessKey)
	require.Equal(t, "AKIANEW", assumed[1].AccessKey)
	_, err = before.Rules(t.Context())
	require.NoError(t, err, "a request in flight goes on with its credentials")
}

// TestIAMAnswersWithoutContent is about a proxy or an outage that answers 200
// and no more.
func TestIAMAnswersWithoutContent(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":        "",
		"an empty user":  `<GetUserResponse><GetUserResult><User/></GetUserResult></GetUserResponse>`,
		"no user at all": `<GetUserResponse><GetUserResult/></GetUserResponse>`,
	} {
		t.Run("GetUser, "+name, func(t *testing.T) {
			aws, service := newKeys(t, "")
			aws.Fault(control.Fault{Operation: "GetUser", Kind: control.FaultRaw, ContentType: "text/xml", Body: body})
			_, err := service.AccessKeys(t.Context())
			require.Error(t, err)
			require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
		})
	}
	for name, body := range map[string]string{
		"nothing":       "",
		"an empty key":  `<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey/></CreateAccessKeyResult></CreateAccessKeyResponse>`,
		"no key at all": `<CreateAccessKeyResponse><CreateAccessKeyResult/></CreateAccessKeyResponse>`,
	} {
		t.Run("CreateAccessKey, "+name, func(t *testing.T) {
			aws, service := newKeys(t, "")
			keys, err := service.AccessKeys(t.Context())
			require.NoError(t, err)
			aws.Fault(control.Fault{Operation: "CreateAccessKey", Kind: control.FaultRaw, ContentType: "text/xml", Body: body})
			_, err = keys.Create(t.Context())
			var failure *cognito.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, cognito.KindUnavailable, failure.Kind)
			require.Equal(t, cognito.OutcomeUnknown, failure.Outcome, "there may be a key")
		})
	}
}
