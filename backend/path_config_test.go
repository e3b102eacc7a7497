// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"encoding/json"
	"testing"

	"vault-plugin-secrets-cognito/backend/backendtest"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

func TestConfig(t *testing.T) {
	t.Run("a read without a config returns nothing", func(t *testing.T) {
		require.Nil(t, backendtest.New(t).Read("config"))
	})

	t.Run("a read returns everything except the secrets", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{
			"aws_access_key_id":     "AKIAEXAMPLE",
			"aws_secret_access_key": "hush-secret",
			"aws_session_token":     "hush-token",
			"aws_assume_role_arn":   "arn:aws:iam::123456789012:role/vault",
			"aws_external_id":       "abc",
			"aws_role_session_name": "me",
			"region":                "eu-west-1",
			"cognito_endpoint":      "http://127.0.0.1:1",
			"sts_endpoint":          "https://sts.example.com",
			"iam_endpoint":          "https://iam.example.com",
			"max_retries":           3,
			"request_timeout":       "5s",
		})
		require.Equal(t, map[string]any{
			"aws_access_key_id":     "AKIAEXAMPLE",
			"aws_assume_role_arn":   "arn:aws:iam::123456789012:role/vault",
			"aws_external_id":       "abc",
			"aws_role_session_name": "me",
			"region":                "eu-west-1",
			"cognito_endpoint":      "http://127.0.0.1:1",
			"sts_endpoint":          "https://sts.example.com",
			"iam_endpoint":          "https://iam.example.com",
			"username_template":     "",
			"password_policy":       "",
			"max_retries":           3,
			"request_timeout":       int64(5),
			"rate_limits":           m.Read("config")["rate_limits"], // see TestRateLimits

			"identity_token_audience":    "",
			"identity_token_ttl":         int64(3600),
			"rotation_period":            int64(0),
			"rotation_schedule":          "",
			"rotation_window":            int64(0),
			"disable_automated_rotation": false,
		}, m.Read("config"))
	})

	t.Run("fields that are not written have their defaults", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"region": "eu-west-1"})
		config := m.Read("config")
		require.Equal(t, 8, config["max_retries"])
		require.Equal(t, int64(10), config["request_timeout"])
	})

	t.Run("a write changes only the fields that it names", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"region": "eu-west-1", "max_retries": 0, "aws_access_key_id": "A", "aws_secret_access_key": "s"})
		before := m.Read("config")
		m.WriteOK("config", nil)
		require.Equal(t, before, m.Read("config"))
		m.WriteOK("config", map[string]any{"region": "us-gov-west-1"})
		before["region"] = "us-gov-west-1"
		require.Equal(t, before, m.Read("config"))
	})

	t.Run("a null in a patch restores the default", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"region": "eu-west-1", "max_retries": 1, "request_timeout": 3})
		m.OK(logical.PatchOperation, "config", map[string]any{"region": nil, "max_retries": nil})
		config := m.Read("config")
		require.Equal(t, "", config["region"])
		require.Equal(t, 8, config["max_retries"])
		require.Equal(t, int64(3), config["request_timeout"])
	})

	t.Run("a patch without a config is a 404", func(t *testing.T) {
		_, err := backendtest.New(t).Request(t.Context(), logical.PatchOperation, "config", map[string]any{"region": "eu-west-1"})
		requireStatus(t, 404, err)
	})

	t.Run("a deleted config no longer exists", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"region": "eu-west-1"})
		m.OK(logical.DeleteOperation, "config", nil)
		require.Nil(t, m.Read("config"))
	})

	t.Run("new keys drop the session token of the former ones", func(t *testing.T) {
		m := backendtest.New(t)
		m.WriteOK("config", map[string]any{"aws_access_key_id": "A", "aws_secret_access_key": "s", "aws_session_token": "t"})
		m.WriteOK("config", map[string]any{"aws_access_key_id": "B", "aws_secret_access_key": "u"})
		require.Equal(t, "", storedConfig(t, m)["aws_session_token"])
		m.WriteOK("config", map[string]any{"aws_access_key_id": ""})
		require.Equal(t, "", storedConfig(t, m)["aws_secret_access_key"])
	})

	t.Run("a config that the 2021 plugin stored loads", func(t *testing.T) {
		m := backendtest.New(t)
		require.NoError(t, m.Storage.Put(t.Context(), &logical.StorageEntry{Key: "config", Value: []byte(
			`{"aws_access_key_id":"OLD","aws_assume_role_arn":"","aws_secret_access_key":"s","aws_session_token":""}`)}))
		require.Equal(t, "OLD", m.Read("config")["aws_access_key_id"])
	})
}

func TestConfigRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		data map[string]any
		says string
	}{
		"a key without its secret":      {map[string]any{"aws_access_key_id": "A"}, "aws_secret_access_key is required"},
		"a secret without its key":      {map[string]any{"aws_secret_access_key": "s"}, "aws_access_key_id is required"},
		"a token without its key":       {map[string]any{"aws_session_token": "s"}, "aws_access_key_id is required"},
		"a region that is none":         {map[string]any{"region": "Ireland"}, `region "Ireland"`},
		"an ARN that is no role's":      {map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:user/x"}, "aws_assume_role_arn"},
		"an external id with spaces":    {map[string]any{"aws_external_id": "a b"}, "aws_external_id"},
		"a session name with a slash":   {map[string]any{"aws_role_session_name": "a/b"}, "aws_role_session_name"},
		"a negative number of retries":  {map[string]any{"max_retries": -1}, "max_retries -1"},
		"too many retries":              {map[string]any{"max_retries": 21}, "max_retries 21"},
		"a request time-out of nothing": {map[string]any{"request_timeout": 0}, "request_timeout"},
		"a request time-out of an hour": {map[string]any{"request_timeout": "1h"}, "request_timeout"},
		"an endpoint without scheme":    {map[string]any{"cognito_endpoint": "example.com"}, `cognito_endpoint "example.com"`},
		"an endpoint in the clear":      {map[string]any{"sts_endpoint": "http://example.com"}, "sts_endpoint"},
		"an endpoint with a password":   {map[string]any{"iam_endpoint": "https://a:b@example.com"}, "iam_endpoint"},
		"a duration that is a word":     {map[string]any{"request_timeout": "soon"}, "request_timeout"},
		"retries that are not a number": {map[string]any{"max_retries": "many"}, "max_retries"},
		"a rotation without a key":      {map[string]any{"rotation_period": "24h", "aws_access_key_id": "", "aws_secret_access_key": ""}, "aws_access_key_id is not set"},
		"a period and a schedule":       {map[string]any{"rotation_period": "24h", "rotation_schedule": "0 3 * * *"}, "mutually exclusive"},
		"a period of seconds":           {map[string]any{"rotation_period": "30s"}, `rotation_period "30s"`},
		"a schedule that is a word":     {map[string]any{"rotation_schedule": "nightly"}, `rotation_schedule "nightly"`},
		"a schedule with seconds":       {map[string]any{"rotation_schedule": "0 0 3 * * *"}, "rotation_schedule"},
		"a schedule that never comes":   {map[string]any{"rotation_schedule": "0 0 31 2 *"}, "rotation_schedule"},
		"a window without a schedule":   {map[string]any{"rotation_window": "2h"}, `rotation_window "2h"`},
		"a window of minutes":           {map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": "5m"}, "1h or more"},
		"a federation without a role":   {map[string]any{"identity_token_audience": "aws", "aws_access_key_id": "", "aws_secret_access_key": ""}, "aws_assume_role_arn is required"},
		"a federation with an external id": {map[string]any{"identity_token_audience": "aws", "aws_access_key_id": "", "aws_secret_access_key": "",
			"aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault", "aws_external_id": "abc"}, "aws_external_id"},
		"a federation on a community Vault": {map[string]any{"identity_token_audience": "aws", "aws_access_key_id": "", "aws_secret_access_key": "",
			"aws_assume_role_arn": "arn:aws:iam::123456789012:role/vault"}, "Vault Enterprise"},
		"another key without its secret": {map[string]any{"aws_access_key_id": "OTHER"}, "aws_secret_access_key is required"},
	} {
		t.Run(name, func(t *testing.T) {
			m := backendtest.New(t)
			require.Contains(t, m.WriteRefused("config", c.data), c.says)
			require.Nil(t, m.Read("config"), "a refused write must not make an entry")

			m.WriteOK("config", map[string]any{"aws_access_key_id": "KEY", "aws_secret_access_key": "hush"})
			before := storedConfig(t, m)
			if _, clears := c.data["aws_secret_access_key"]; clears || c.data["aws_session_token"] != nil {
				return // fine once there is a key
			}
			m.WriteRefused("config", c.data)
			require.Equal(t, before, storedConfig(t, m), "a refused write must change nothing")
		})
	}
}

func storedConfig(t *testing.T, m *backendtest.Mount) map[string]any {
	t.Helper()
	entry, err := m.Storage.Get(t.Context(), "config")
	require.NoError(t, err)
	var stored map[string]any
	require.NoError(t, json.Unmarshal(entry.Value, &stored))
	return stored
}

func requireStatus(t *testing.T, status int, err error) {
	t.Helper()
	var coded logical.HTTPCodedError
	require.ErrorAs(t, err, &coded)
	require.Equal(t, status, coded.Code(), err.Error())
}
