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
		STSEndpoint: aws.Seed.Domain, IAMEndpoint: aws.Seed.Domain,
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
	aws, service := newKeys(t, "")
	aws.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "InvalidClientTokenId", Times: 2})
	require.NoError(t, service.ProveAccessKey(t.Context()))
	require.Len(t, aws.Calls().Of("GetCallerIdentity"), 3)

	aws.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "AccessDenied"})
	require.Equal(t, cognito.KindDenied, cognito.KindOf(service.ProveAccessKey(t.Context())))
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
