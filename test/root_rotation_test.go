// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
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
func (w *world) plantRootKey(more map[string]any) {
	w.Helper()
	w.PlantKey("vault", firstKey, secretKey)
	config := map[string]any{"iam_endpoint": w.Seed.Domain}
	for field, value := range more {
		config[field] = value
	}
	w.configure(config)
}

// askAs asks STS with a key who that is.
func (w *world) askAs(id, secret string) error {
	client := sts.New(sts.Options{
		Region: emulatortest.Region, BaseEndpoint: &w.Seed.Domain, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(id, secret, ""),
	})
	_, err := client.GetCallerIdentity(w.Context(), &sts.GetCallerIdentityInput{})
	return err
}

// onlyKey demands that the user has one key and that the engine works with it.
func (w *world) onlyKey() control.AccessKey {
	w.Helper()
	keys := w.Keys()
	require.Len(w, keys, 1)
	require.Equal(w, keys[0].ID, w.read("config").Data["aws_access_key_id"])
	secret := w.read("creds/ci")
	calls := w.Calls().Of("AdminCreateUser")
	require.Equal(w, keys[0].ID, calls[len(calls)-1].AccessKey)
	w.revoke(secret.LeaseID)
	return keys[0]
}

func TestRootRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plantRootKey(nil)
	lease := w.read("creds/ci")
	answer := w.write("config/rotate-root", nil)

	key := w.onlyKey()
	require.NotEqual(t, firstKey, key.ID)
	require.Equal(t, map[string]any{"aws_access_key_id": key.ID}, answer.Data)
	var refusal smithy.APIError
	require.ErrorAs(t, w.askAs(firstKey, secretKey), &refusal)
	require.Equal(t, "InvalidClientTokenId", refusal.ErrorCode())
	require.NoError(t, w.askAs(key.ID, key.Secret))

	t.Run("a lease from before is ended with the new key", func(t *testing.T) {
		w.revoke(lease.LeaseID)
		require.Empty(t, w.Users())
	})
	t.Run("nobody gets to see the secret", func(t *testing.T) {
		config := w.read("config").Data
		require.NotEmpty(t, config["last_vault_rotation"])
		require.NotContains(t, fmt.Sprint(config), key.Secret)
		require.NotContains(t, w.vault.LogText(), key.Secret)
	})
	t.Run("a second key of the user is left alone", func(t *testing.T) {
		w.PlantKey("vault", "AKIASECOND", "s")
		_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/config/rotate-root", nil)
		status, text := w.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "AKIASECOND")
		require.Len(t, w.Keys(), 2)
	})
	t.Run("a denied action is named", func(t *testing.T) {
		w.Deny("iam:GetUser")
		_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/config/rotate-root", nil)
		status, text := w.refusal(err)
		require.Equal(t, 403, status)
		require.Contains(t, text, "iam:GetUser")
	})
}

// TestRootConfig is about what only a real Vault can answer.
func TestRootConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	t.Run("a community Vault rotates on schedule too", func(t *testing.T) {
		for _, schedule := range []map[string]any{
			{"rotation_period": "24h"},
			{"rotation_period": 0, "rotation_schedule": "0 3 * * SAT", "rotation_window": "2h"},
		} {
			w.write("config", schedule)
			next, err := time.Parse(time.RFC3339, w.read("config").Data["next_vault_rotation"].(string))
			require.NoError(t, err)
			require.True(t, next.After(time.Now()))
		}
		w.write("config", map[string]any{"disable_automated_rotation": true})
		require.NotContains(t, w.read("config").Data, "next_vault_rotation")
	})
	t.Run("a community Vault has no identity tokens", func(t *testing.T) {
		_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/config", map[string]any{
			"aws_access_key_id": "", "disable_automated_rotation": true,
			"identity_token_audience": "aws", "aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault",
		})
		status, text := w.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, "Vault Enterprise")
		require.Equal(t, firstKey, w.read("config").Data["aws_access_key_id"])
	})
	t.Run("a connection that is asked for must be one", func(t *testing.T) {
		w.configure(map[string]any{"verify_connection": true})
		_, err := w.client.Logical().WriteWithContext(t.Context(), w.mount+"/config", map[string]any{
			"sts_endpoint": "http://127.0.0.1:1", "verify_connection": true,
		})
		status, text := w.refusal(err)
		require.Equal(t, 502, status)
		require.Contains(t, text, "connection refused")
		require.Equal(t, w.Seed.Domain, w.read("config").Data["sts_endpoint"])
	})
}

// TestRootRotationDies kills the plugin in the middle of a rotation. The
// write-ahead log leaves one key, and Vault is never locked out.
func TestRootRotationDies(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"CreateAccessKey", "GetCallerIdentity", "DeleteAccessKey"} {
		t.Run("in "+operation, func(t *testing.T) {
			t.Parallel()
			w := newWorldApart(t)
			w.plantRootKey(map[string]any{"request_timeout": "20s"})
			w.Fault(control.Fault{Operation: operation, Kind: control.FaultHangAfter, Times: 1})
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = w.client.Logical().WriteWithContext(t.Context(), w.mount+"/config/rotate-root", nil)
			}()
			w.awaitCall(operation)
			w.killPlugin()
			<-done
			require.NoError(t, awaitPlugin(t.Context(), w.client, w.mount))
			w.revoke(w.read("creds/ci").LeaseID)
			require.Eventually(t, func() bool { return len(w.Keys()) == 1 }, 150*time.Second, 200*time.Millisecond)
			w.onlyKey()
			w.write("config/rotate-root", nil)
			w.onlyKey()
		})
	}
}
