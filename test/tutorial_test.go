// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"

	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	tutorialModule = "../examples/terraform/tutorial"
	tutorialUser   = "vault-tutorial"
)

// tutorialTerraform stands for Terraform, whose AWS provider cannot be downloaded here: it answers
// `output -raw NAME` from a file. The test itself has created what the module declares.
const tutorialTerraform = `#!/bin/sh
echo "$*" >>terraform.log
[ "$2" != output ] || cat "outputs/$4"
`

// TestTutorial pastes docs/tutorial.md, while IAM allows only what its Terraform module allows.
func TestTutorial(t *testing.T) {
	t.Parallel()
	p := openPage(t, "tutorial.md", 0)
	plugins := t.TempDir()
	server, err := tryStartServer(t, sandbox.VaultOptions{PluginDir: plugins})
	require.NoError(t, err)
	e := &env{T: t, Cognito: emulatortest.Start(t), vault: watchLeaks(t, server.Vault), client: server.Client(), mount: "cognito"}
	t.Cleanup(func() { learnSecrets(t, e.Control) })
	bash := newTerminal(e, p)
	bash.keepVariables()
	infra := &infrastructure{env: e}
	e.placeTutorial(bash.dir, infra.apply(tutorialModule, map[string]cty.Value{}))
	p.blocks["tutorial: register"] = replaced(t, p.blocks["tutorial: register"], map[string]string{"/etc/vault/plugins": plugins})

	bash.paste("tutorial: apply")
	require.Contains(t, terraformCalls(t, bash.dir), "apply -auto-approve")
	bash.paste("tutorial: register")
	e.write("config", map[string]any{
		"cognito_endpoint": e.Seed.Domain, "iam_endpoint": e.Seed.Domain, "sts_endpoint": e.Seed.Domain,
	})
	bash.paste("tutorial: config")
	require.NoFileExists(t, filepath.Join(bash.dir, "secret.txt"))
	require.NotEmpty(t, e.read("config").Data["last_vault_rotation"])

	for finding := range strings.Lines(bash.paste("tutorial: check")) {
		if strings.Contains(finding, "\t") {
			require.Regexp(t, "^ok\t", finding)
		}
	}
	require.Contains(t, bash.paste("tutorial: creds"), `"Username": "vault-ci-user-`)
	require.Len(t, e.Users(), 1)
	require.Equal(t, []string{"testers"}, e.Users()[0].Groups)
	require.Contains(t, bash.paste("tutorial: revoke"), "Cognito no longer knows the user")
	require.Empty(t, e.Users())

	bash.paste("tutorial: destroy")
	require.Contains(t, terraformCalls(t, bash.dir), "destroy -auto-approve")
	for _, key := range e.Keys() {
		require.Equal(t, tutorialUser, key.User, "terraform destroy deletes only keys of this user")
	}
	p.requireAllPasted(t)
}

// placeTutorial makes a directory a clone of the project with the plugin built and the module
// applied.
func (e *env) placeTutorial(dir string, outputs map[string]cty.Value) {
	e.Helper()
	built := filepath.Join(dir, "bin", "plugins")
	require.NoError(e, os.MkdirAll(built, 0o700))
	require.NoError(e, os.Symlink(binaries.plugin, filepath.Join(built, pluginName)))
	require.NoError(e, os.WriteFile(filepath.Join(dir, "terraform"), []byte(tutorialTerraform), 0o700))
	require.NoError(e, os.Mkdir(filepath.Join(dir, "outputs"), 0o700))
	for name, value := range outputs {
		require.NoError(e, os.WriteFile(filepath.Join(dir, "outputs", name), []byte(value.AsString()), 0o600))
	}
}

// terraformCalls returns the commands that Terraform got so far for the module.
func terraformCalls(t *testing.T, dir string) (calls []string) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(dir, "terraform.log"))
	require.NoError(t, err)
	for line := range strings.Lines(string(log)) {
		command, inModule := strings.CutPrefix(strings.TrimSpace(line), "-chdir="+strings.TrimPrefix(tutorialModule, "../")+" ")
		require.True(t, inModule, line)
		calls = append(calls, command)
	}
	return calls
}

// tutorialFeature is what the engine does in the tutorial.
var tutorialFeature = iamFeature{
	prepare: func(e *iamEnv) {
		iamFeatures["Rotating the root key"].prepare(e)
		e.writeRole("ci", map[string]any{"groups": "testers"})
	},
	drive: func(e *iamEnv) bool {
		knowsAll := func() bool { return !slices.Contains(slices.Collect(maps.Values(e.check("ci").findings)), "unknown") }
		return iamFeatures["Rotating the root key"].drive(e) && knowsAll() && iamFeatures["Users"].drive(e)
	},
}

func TestTutorialPolicy(t *testing.T) {
	t.Parallel()
	infra := &infrastructure{env: &env{T: t, Cognito: emulatortest.Start(t)}}
	infra.apply(tutorialModule, map[string]cty.Value{})
	allowed := infra.mayDo
	require.True(t, tutorialFeature.works(t, allowed), "the policy of the tutorial must be enough")
	for _, left := range allowed {
		t.Run(fmt.Sprintf("the tutorial does not work without %s", left), func(t *testing.T) {
			t.Parallel()
			others := slices.DeleteFunc(slices.Clone(allowed), func(action string) bool { return action == left })
			require.False(t, tutorialFeature.works(t, others))
		})
	}
}
