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
	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// TestClientLibraries signs users of the engine in with the libraries that applications use, at the
// public client of the seed.
func TestClientLibraries(t *testing.T) {
	t.Parallel()
	tools := os.Getenv(testToolsVariable)
	if tools == "" {
		counters.Skip(t, testToolsVariable+" is not set: `make test-tools` installs the tools and sets it")
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("clients")))
	require.NoError(t, os.Symlink(filepath.Join(tools, nodeModules), filepath.Join(dir, nodeModules)))
	python := filepath.Join(tools, "venv", "bin", "python")
	asAWS, local := newEnv(t), newEnvWith(t, shared, emulatortest.StartWith(t, emulator.Options{Issuer: emulator.LocalIssuer}))
	for name, client := range map[string]struct {
		env     *env
		command []string
		more    []string
	}{
		"amazon-cognito-identity-js and aws-jwt-verify": {env: asAWS, command: []string{"node", "identity.mjs"}},
		"boto3":                         {env: asAWS, command: []string{python, "boto.py"}},
		"pycognito":                     {env: asAWS, command: []string{python, "srp.py"}},
		"pycognito with a local issuer": {env: local, command: []string{python, "srp.py"}, more: []string{"LOCAL_ISSUER=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := client.env
			e.Contract.AllowInvalidRequests()
			user := e.read("creds/ci")
			command := exec.CommandContext(t.Context(), client.command[0], client.command[1:]...)
			command.Dir = dir
			command.Env = append(
				client.more,
				"HOME="+dir, "PATH="+os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true",
				"ENDPOINT="+e.Seed.Domain, "POOL="+e.Seed.UserPoolID, "CLIENT="+e.Seed.PublicClientID,
				"USERNAME="+user.Data["username"].(string), "PASSWORD="+user.Data["password"].(string),
			)
			output, err := command.CombinedOutput()
			require.NoError(t, err, "%s", output)
		})
	}
}
