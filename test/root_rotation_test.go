// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const firstKey = "AKIAPLUGIN"

// plantRootKey makes the key in the config that of an IAM user.
func (e *env) plantRootKey(more map[string]any) {
	e.Helper()
	e.PlantKey("vault", firstKey, secretKey)
	config := map[string]any{"iam_endpoint": e.Seed.Domain}
	for field, value := range more {
		config[field] = value
	}
	e.configure(config)
}

// askAs calls STS with a key.
func (e *env) askAs(id, secret string) error {
	client := sts.New(sts.Options{
		Region: emulatortest.Region, BaseEndpoint: &e.Seed.Domain, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
	})
	_, err := client.GetCallerIdentity(e.Context(), &sts.GetCallerIdentityInput{})
	return err
}

// onlyKey checks that the user has exactly one key and that the engine uses it, and returns it.
func (e *env) onlyKey() control.AccessKey {
	e.Helper()
	keys := e.Keys()
	require.Len(e, keys, 1)
	require.Equal(e, keys[0].ID, e.read("config").Data["aws_access_key_id"])
	secret := e.read("creds/ci")
	calls := e.Calls().Of("AdminCreateUser")
	require.Equal(e, keys[0].ID, calls[len(calls)-1].AccessKey)
	e.revoke(secret.LeaseID)
	return keys[0]
}

func TestRootRotation(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.plantRootKey(nil)
	lease := e.read("creds/ci")
	answer := e.write("config/rotate-root", nil)

	keys := e.Keys()
	require.Len(t, keys, 2, "requests in flight use the old key")
	key := keys[slices.IndexFunc(keys, func(key control.AccessKey) bool { return key.ID != firstKey })]
	require.Equal(t, map[string]any{"aws_access_key_id": key.ID}, answer.Data)
	require.NoError(t, e.askAs(key.ID, key.Secret))

	t.Run("an older lease is revoked with the new key", func(t *testing.T) {
		e.revoke(lease.LeaseID)
		require.Empty(t, e.Users())
	})
	t.Run("neither config nor log shows the secret", func(t *testing.T) {
		config := e.read("config").Data
		require.NotEmpty(t, config["last_vault_rotation"])
		require.NotContains(t, fmt.Sprint(config), key.Secret)
		require.NotContains(t, e.vault.LogText(), key.Secret)
	})
	t.Run("another rotation is refused while the old key exists", func(t *testing.T) {
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config/rotate-root", nil)
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "cannot be rotated yet")
	})
	t.Run("a second key of the IAM user is never deleted", func(t *testing.T) {
		e := newEnv(t)
		e.plantRootKey(nil)
		e.PlantKey("vault", "AKIASECOND", "s")
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config/rotate-root", nil)
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "AKIASECOND")
		require.Len(t, e.Keys(), 2)
	})
	t.Run("the error names a denied action", func(t *testing.T) {
		e := newEnv(t)
		e.plantRootKey(nil)
		e.Deny("iam:CreateAccessKey")
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config/rotate-root", nil)
		status, text := e.refusal(err)
		require.Equal(t, 403, status)
		require.Contains(t, text, "iam:CreateAccessKey")
	})
}

// TestRootConfig tests what depends on a real server.
func TestRootConfig(t *testing.T) {
	t.Parallel()
	e := newEnv(t)

	t.Run("the engine rotates on schedule by itself", func(t *testing.T) {
		for _, schedule := range []map[string]any{
			{"rotation_period": "24h"},
			{"rotation_period": 0, "rotation_schedule": "0 3 * * SAT", "rotation_window": "2h"},
		} {
			e.write("config", schedule)
			next, err := time.Parse(time.RFC3339, e.read("config").Data["next_vault_rotation"].(string))
			require.NoError(t, err)
			require.True(t, next.After(time.Now()))
		}
		e.write("config", map[string]any{"disable_automated_rotation": true})
		require.NotContains(t, e.read("config").Data, "next_vault_rotation")
	})
	t.Run("identity_token_audience is rejected without workload identity", func(t *testing.T) {
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config", map[string]any{
			"aws_access_key_id": "", "disable_automated_rotation": true,
			"identity_token_audience": "aws", "aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault",
		})
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "Vault Enterprise")
		require.Equal(t, firstKey, e.read("config").Data["aws_access_key_id"])
	})
	t.Run("verify_connection rejects a config that does not connect", func(t *testing.T) {
		e.configure(map[string]any{"verify_connection": true})
		_, err := e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config", map[string]any{
			"sts_endpoint": "http://127.0.0.1:1", "verify_connection": true,
		})
		status, text := e.refusal(err)
		require.Equal(t, 502, status)
		require.Contains(t, text, "connection refused")
		require.Equal(t, e.Seed.Domain, e.read("config").Data["sts_endpoint"])
	})
}

// deleteOldKeyLimit bounds how long a rotation may leave the old key: a few roll-backs.
const deleteOldKeyLimit = 5 * time.Minute

// TestRootRotationDies kills the plugin in the middle of a rotation. The roll-back leaves one key
// that works.
func TestRootRotationDies(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"CreateAccessKey", "GetCallerIdentity", "DescribeUserPool", "DeleteAccessKey"} {
		t.Run("one key that works is left if the plugin is killed in "+operation, func(t *testing.T) {
			t.Parallel()
			e := newIsolatedEnv(t)
			e.plantRootKey(map[string]any{"request_timeout": "20s"})
			key := e.read("config").Data["aws_access_key_id"]
			e.Fault(control.Fault{Operation: operation, Kind: control.FaultHangAfter, Times: 1})
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = e.client.Logical().WriteWithContext(t.Context(), e.mount+"/config/rotate-root", nil)
			}()
			called := func() bool { return len(e.Calls().Of(operation)) > 0 }
			require.Eventually(t, called, deleteOldKeyLimit, 5*time.Millisecond, "no call of %s", operation)
			e.killPlugin()
			<-done
			require.NoError(t, awaitPlugin(t.Context(), e.client, e.mount))
			e.revoke(e.read("creds/ci").LeaseID)
			require.Eventually(t, func() bool { return len(e.Keys()) == 1 }, deleteOldKeyLimit, 200*time.Millisecond)
			if e.onlyKey().ID == key {
				return
			}
			var refusal smithy.APIError
			require.ErrorAs(t, e.askAs(firstKey, secretKey), &refusal)
			require.Equal(t, "InvalidClientTokenId", refusal.ErrorCode())
		})
	}
}
