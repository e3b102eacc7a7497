// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// checked holds the status of a check and the statuses of its findings.
type checked struct {
	status   string
	findings map[string]string
}

func (e *env) check(role string) checked {
	e.Helper()
	data := e.read("check/" + role).Data
	c := checked{status: data["status"].(string), findings: map[string]string{}}
	for name, status := range data["findings"].(map[string]any) {
		c.findings[name] = status.(string)
	}
	return c
}

func TestCheck(t *testing.T) {
	t.Parallel()
	e := newEnv(t)

	t.Run("the check of a working role is ok and leaves no user", func(t *testing.T) {
		e.writeRole("good", map[string]any{"ttl": "2h", "max_ttl": "2h"})
		c := e.check("good")
		require.Equal(t, "ok", c.status, c)
		require.Equal(t, "ok", c.findings["aws_identity"])
		require.Equal(t, "ok", e.check("machine").status)
		require.Empty(t, e.Users())
	})

	t.Run("the check warns about tokens that outlive the lease", func(t *testing.T) {
		c := e.check("ci")
		require.Equal(t, "warn", c.status)
		require.Equal(t, "warn", c.findings["token_life"])
	})

	t.Run("the check of a role with a missing group fails only for the group", func(t *testing.T) {
		e.writeRole("nobodies", map[string]any{"groups": "nobodies"})
		out, err := e.vault.CLI(t.Context(), "read", "-format=json", e.mount+"/check/nobodies")
		require.NoError(t, err)
		var answer struct {
			Data struct {
				Status   string
				Findings map[string]string
			}
		}
		require.NoError(t, json.Unmarshal([]byte(out), &answer))
		require.Equal(t, "fail", answer.Data.Status)
		require.NotContains(t, out, e.Seed.AppClientSecret)
		for name, status := range answer.Data.Findings {
			require.Equal(t, name == "groups", status == "fail", name)
		}
	})

	t.Run("a terminal shows a row for each field, and the statuses in one of them", func(t *testing.T) {
		out, err := e.vault.CLI(t.Context(), "read", e.mount+"/check/nobodies")
		require.NoError(t, err)
		require.Regexp(t, `(?s)^Key +Value\n[^\n]+\nfindings +map\[app_client:ok [^\n]* groups:fail [^\n]*\]\nproblems +\[groups \(fail\): [^\n]+\nstatus +fail\n?$`, out)
	})

	t.Run("the check fails for a password policy that the pool rejects", func(t *testing.T) {
		_, err := e.client.Logical().WriteWithContext(t.Context(), "sys/policies/password/"+e.mount, map[string]any{
			"policy": `length = 12  rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }`,
		})
		require.NoError(t, err)
		e.writeRole("weak", map[string]any{"password_policy": e.mount})
		require.Equal(t, "fail", e.check("weak").findings["password"])
	})

	t.Run("the check of a missing role is a 400", func(t *testing.T) {
		_, err := e.tryRead("check/nobody")
		status, text := e.refusal(err)
		require.Equal(t, 400, status)
		require.Contains(t, text, `there is no role "nobody"`)
	})
}
