// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// TestClientLibraries signs users of the engine in with the libraries that applications use, at the
// public client of the seed.
func TestClientLibraries(t *testing.T) {
	t.Parallel()
	tools := os.Getenv(testToolsVariable)
	if tools == "" {
		counters.Skip(t, testToolsVariable+" is not set: `make test-tools` installs the tools and sets it")
	}
	e := newEnv(t)
	e.Contract.AllowInvalidRequests()
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("clients")))
	require.NoError(t, os.Symlink(filepath.Join(tools, nodeModules), filepath.Join(dir, nodeModules)))
	python := filepath.Join(tools, "venv", "bin", "python")
	for name, command := range map[string][]string{
		"amazon-cognito-identity-js and aws-jwt-verify": {"node", "identity.mjs"},
		"boto3":     {python, "boto.py"},
		"pycognito": {python, "srp.py"},
	} {
		t.Run(name, func(t *testing.T) {
			user := e.read("creds/ci")
			client := exec.CommandContext(t.Context(), command[0], command[1:]...)
			client.Dir = dir
			client.Env = []string{
				"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true",
				"ENDPOINT=" + e.Seed.Domain, "POOL=" + e.Seed.UserPoolID, "CLIENT=" + e.Seed.PublicClientID,
				"USERNAME=" + user.Data["username"].(string), "PASSWORD=" + user.Data["password"].(string),
			}
			output, err := client.CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}
