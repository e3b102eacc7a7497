// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/sandbox"
)

const tutorialKey = "AKIATUTORIAL00000001"

// TestTutorial pastes docs/tutorial.md. The blocks that create and delete the IAM user have no name
// and are not run: the emulator has no such operations.
func TestTutorial(t *testing.T) {
	t.Parallel()
	p := openPage(t, "tutorial.md", 2)
	e := newBareEnvWith(t, sandbox.VaultOptions{}).env
	e.PlantKey("vault-tutorial", tutorialKey, "hush-tutorial-key")
	bash := newTerminal(e, p)
	bash.keepVariables()

	require.Contains(t, bash.paste("tutorial: pool"), "pool eu-west-1_")
	bash.paste("tutorial: key")
	_, err := bash.run("aws iam delete-access-key --user-name vault-tutorial --access-key-id " + tutorialKey)
	require.NoError(t, err) // an IAM user without a key exists at AWS, and not at the emulator
	bash.paste("tutorial: enable")
	e.write("config", map[string]any{
		"cognito_endpoint": e.Seed.Domain, "iam_endpoint": e.Seed.Domain, "sts_endpoint": e.Seed.Domain,
	})
	bash.paste("tutorial: config")

	findings := bash.paste("tutorial: role")
	require.Contains(t, findings, "ok\t")
	require.NotContains(t, findings, "fail\t")
	require.NotContains(t, findings, "warn\t")

	shown := bash.paste("tutorial: user")
	require.Contains(t, shown, "@example.com")
	require.Contains(t, shown, "\ntesters\n")
	require.True(t, strings.HasSuffix(bash.paste("tutorial: revoke"), "\n0\n"), "the pool still has a user")
	bash.paste("tutorial: end")
	p.requireAllPasted(t)
}
