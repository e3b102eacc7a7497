// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const agentConfig = `
vault { address = %q }
auto_auth { method { type = "token_file" config = { token_file_path = %q } } }
template_config { static_secret_render_interval = "1h" }
template {
  contents    = %q
  destination = %q
}
`

// TestVaultAgent lets the server's own agent keep a token in a file. Only the fields of the answer
// make it read again: there is no lease, and its own interval is an hour.
func TestVaultAgent(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	require.NoError(t, e.Control.SetTokenValidity(t.Context(), control.TokenValidity{ClientID: e.Seed.M2MClientID, AccessSeconds: 30}))
	e.writeMachineRole("machine", map[string]any{"min_token_ttl": "1s"})
	rendered := runAgent(e, "creds/machine", "access_token")

	seen := map[string]bool{}
	check := func() bool {
		token, err := os.ReadFile(rendered)
		if err != nil {
			return false // not rendered yet
		}
		require.True(t, expiry(t, string(token)).After(time.Now()), "the file must never hold an expired token")
		seen[string(token)] = true
		return len(seen) == 3
	}
	require.Eventually(t, check, 2*time.Minute, 100*time.Millisecond, "only %d tokens were rendered", len(seen))
	require.LessOrEqual(t, len(e.Calls().Of(control.OperationToken)), 4, "only needed tokens are requested")
}

// runAgent starts an agent that renders one field of a path, and returns the rendered file.
func runAgent(e *env, path, field string) string {
	e.Helper()
	return e.render(fmt.Sprintf(`{{ with secret "%s/%s" }}{{ .Data.%s }}{{ end }}`, e.mount, path, field))
}

// render starts an agent that renders a template, and returns the rendered file.
func (e *env) render(template string) string {
	e.Helper()
	dir := e.TempDir()
	tokenFile, configFile, rendered := filepath.Join(dir, "token"), filepath.Join(dir, "agent.hcl"), filepath.Join(dir, "rendered")
	require.NoError(e, os.WriteFile(tokenFile, []byte(e.vault.Token), 0o600))
	require.NoError(e, os.WriteFile(configFile, fmt.Appendf(nil, agentConfig, e.vault.Addr, tokenFile, template, rendered), 0o600))

	ctx, stop := context.WithCancel(context.Background())
	agent := exec.CommandContext(ctx, binaries.vault, "agent", "-config="+configFile)
	agent.Env = []string{"HOME=" + dir}
	var output bytes.Buffer
	agent.Stdout, agent.Stderr = &output, &output
	require.NoError(e, agent.Start())
	e.Cleanup(func() {
		stop()
		_ = agent.Wait() // killed, which is an error
		if e.Failed() {
			e.Logf("the agent wrote:\n%s", output.String())
		}
	})
	return rendered
}

func expiry(t *testing.T, token string) time.Time {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	var claims jwt.Claims
	require.NoError(t, parsed.UnsafeClaimsWithoutVerification(&claims))
	return claims.Expiry.Time()
}
