// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"vault-plugin-secrets-cognito/internal/counters"
)

// The exit codes of `tofu plan -detailed-exitcode`.
const (
	nothingToDo = 0
	thingsToDo  = 2
)

// tofu is OpenTofu in a directory. It uses the provider that was built beside it and cannot
// download another: it has no registry, and its proxy does not exist.
type tofu struct {
	*testing.T
	dir string
	env []string
	// said holds everything that it wrote so far.
	said string
}

func newTofu(t *testing.T, dir string, env ...string) *tofu {
	t.Helper()
	needsTofu(t)
	home := t.TempDir()
	rc := filepath.Join(home, "tofu.rc")
	overrides := "provider_installation {\n  dev_overrides {\n    \"hashicorp/vault\" = " + strconv.Quote(filepath.Dir(tofuBinary())) + "\n  }\n}\n"
	require.NoError(t, os.WriteFile(rc, []byte(overrides), 0o600))
	return &tofu{T: t, dir: dir, env: append(env, "HOME="+home, "TF_CLI_CONFIG_FILE="+rc, "HTTPS_PROXY=http://127.0.0.1:1")}
}

// tofuBinary returns the path that make test-terraform sets.
func tofuBinary() string { return os.Getenv("TOFU_BIN") }

func needsTofu(t *testing.T) {
	t.Helper()
	if tofuBinary() == "" {
		counters.Skip(t, "TOFU_BIN is not set: `make test-terraform` builds OpenTofu and sets it")
	}
}

// try runs an OpenTofu command and returns its standard output and exit code.
func (tf *tofu) try(input string, arguments ...string) (output string, status int) {
	tf.Helper()
	command := exec.CommandContext(tf.Context(), tofuBinary(), arguments...)
	command.Dir, command.Env, command.Stdin = tf.dir, tf.env, strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	tf.said += stdout.String() + stderr.String()
	if ended := (*exec.ExitError)(nil); !errors.As(err, &ended) {
		require.NoError(tf, err)
	}
	return stdout.String(), command.ProcessState.ExitCode()
}

// run is like try for a command that must succeed.
func (tf *tofu) run(arguments ...string) string {
	tf.Helper()
	before := len(tf.said)
	output, status := tf.try("", arguments...)
	require.Zero(tf, status, "tofu %s: %s", arguments[0], tf.said[before:])
	return output
}

func (tf *tofu) apply() {
	tf.Helper()
	tf.run("apply", "-auto-approve", "-input=false", "-no-color")
}

// plans checks the exit code of a plan.
func (tf *tofu) plans(want int) {
	tf.Helper()
	plan, status := tf.try("", "plan", "-detailed-exitcode", "-input=false", "-no-color")
	require.Equal(tf, want, status, plan)
}

// applyVault applies a copy of the Vault module to the env's server.
func applyVault(e *env, variables map[string]cty.Value) *tofu {
	e.Helper()
	examples := e.TempDir()
	require.NoError(e, os.CopyFS(examples, os.DirFS("../examples")))
	module := filepath.Join(examples, "terraform", "vault")
	values := map[string]ctyjson.SimpleJSONValue{}
	for name, value := range variables {
		values[name] = ctyjson.SimpleJSONValue{Value: value}
	}
	text, err := json.Marshal(values)
	require.NoError(e, err)
	require.NoError(e, os.WriteFile(filepath.Join(module, "terraform.tfvars.json"), text, 0o600))
	tf := newTofu(e.T, module, "VAULT_ADDR="+e.vault.Addr, "VAULT_TOKEN="+e.vault.Token)
	tf.apply()
	require.NotContains(e, tf.said, "undeclared variable", "the Vault module lacks a variable for an output of the AWS module")
	return tf
}

// state returns the content of OpenTofu's state file.
func (tf *tofu) state() string {
	tf.Helper()
	text, err := os.ReadFile(filepath.Join(tf.dir, "terraform.tfstate"))
	require.NoError(tf, err)
	return string(text)
}

// endpoints returns the paths that the module writes, and the data that it writes there.
func (tf *tofu) endpoints() map[string]map[string]any {
	tf.Helper()
	var state struct {
		Values struct {
			Root struct {
				Resources []struct {
					Type   string
					Values struct {
						Path string
						Data string `json:"data_json"`
					}
				}
			} `json:"root_module"`
		}
	}
	require.NoError(tf, json.Unmarshal([]byte(tf.run("show", "-json")), &state))
	all := map[string]map[string]any{}
	for _, r := range state.Values.Root.Resources {
		if r.Type == "vault_generic_endpoint" {
			var data map[string]any
			require.NoError(tf, json.Unmarshal([]byte(r.Values.Data), &data))
			all[r.Values.Path] = data
		}
	}
	require.NotEmpty(tf, all)
	return all
}

// TestTerraformExampleOfVault checks OpenTofu's own results. TestTerraformExamples uses what it set
// up.
func TestTerraformExampleOfVault(t *testing.T) {
	t.Parallel()
	e := newExampleEnv(t)
	user := e.read("creds/ci-user")

	t.Run("the example is valid, without a warning", func(t *testing.T) {
		var found struct {
			Valid       bool
			Diagnostics []struct{ Summary string }
		}
		require.NoError(t, json.Unmarshal([]byte(e.tofu.run("validate", "-json")), &found))
		require.True(t, found.Valid)
		require.Len(t, found.Diagnostics, 1)
		require.Equal(t, "Provider development overrides are in effect", found.Diagnostics[0].Summary)
	})

	t.Run("a second plan has no changes", func(*testing.T) { e.tofu.plans(nothingToDo) })

	// The provider reads none of these, so a plan would not notice a missing one.
	t.Run("the engine returns every field that the example writes", func(t *testing.T) {
		for path, written := range e.tofu.endpoints() {
			secret, err := e.client.Logical().ReadWithContext(t.Context(), path)
			require.NoError(t, err)
			for field := range written {
				require.Contains(t, secret.Data, field, path)
			}
		}
	})

	t.Run("an apply reverts other changes", func(*testing.T) {
		e.write("roles/ci-user", map[string]any{"ttl": "1m"})
		e.write("roles/machine", map[string]any{"scopes": "api/read"})
		e.write("static-roles/batch", map[string]any{"rotation_period": "12h"})
		e.write("config", map[string]any{"aws_assume_role_arn": ""})
		e.tofu.plans(thingsToDo)
		e.tofu.apply()
		e.tofu.plans(nothingToDo)
	})

	t.Run("state and output hold no secret", func(*testing.T) {
		e.read("creds/machine")
		e.requireNoSecretIn(e.tofu.state()+e.tofu.said, e.vault.Token)
	})

	t.Run("a destroy removes everything, with the users", func(t *testing.T) {
		e.has(user.Data["username"].(string))
		e.tofu.run("destroy", "-auto-approve", "-input=false", "-no-color")
		e.awaitNoUsers()
		mounts, err := e.client.Sys().ListMountsWithContext(t.Context())
		require.NoError(t, err)
		require.NotContains(t, mounts, "cognito/")
		logins, err := e.client.Sys().ListAuthWithContext(t.Context())
		require.NoError(t, err)
		require.Len(t, logins, 1, "that with a token")
		policies, err := e.client.Sys().ListPoliciesWithContext(t.Context())
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"default", "root"}, policies)
	})
}

func (e *exampleEnv) has(username string) {
	e.Helper()
	testers := e.testers()
	require.Len(e, testers, 1)
	require.Equal(e, username, testers[0].Username)
}

func TestExamplesAreFormatted(t *testing.T) {
	t.Parallel()
	tf := newTofu(t, ".")
	for _, pattern := range []string{"*/*.hcl", "*/*/*.tf"} {
		paths, err := filepath.Glob("../examples/" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			formatted, status := tf.try(string(source), "fmt", "-")
			require.Zero(t, status, tf.said)
			require.Equal(t, formatted, string(source), "%s is not as `tofu fmt` leaves it", path)
		}
	}
}
