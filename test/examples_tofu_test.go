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

// What `tofu plan -detailed-exitcode` ends with.
const (
	nothingToDo = 0
	thingsToDo  = 2
)

// tofu is OpenTofu in a directory. It has the provider that was built beside it, and no way to get another: it is told of
// no registry, and a proxy that is not there stands between it and the world.
type tofu struct {
	*testing.T
	dir string
	env []string
	// said is all that it wrote so far.
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

// tofuBinary is what make test-e2e builds.
func tofuBinary() string { return os.Getenv("TOFU_BIN") }

func needsTofu(t *testing.T) {
	t.Helper()
	if tofuBinary() == "" {
		counters.Skip(t, "it needs OpenTofu, and TOFU_BIN names none; make test-e2e builds one")
	}
}

// try runs a command of OpenTofu and returns its standard output and how it ended.
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

// run is try for what must succeed.
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

// plans demands that a plan ends with a status.
func (tf *tofu) plans(want int) {
	tf.Helper()
	plan, status := tf.try("", "plan", "-detailed-exitcode", "-input=false", "-no-color")
	require.Equal(tf, want, status, plan)
}

// applyVault applies the Vault module to w's Vault, from a copy of the examples.
func applyVault(w *world, variables map[string]cty.Value) *tofu {
	w.Helper()
	examples := w.TempDir()
	require.NoError(w, os.CopyFS(examples, os.DirFS("../examples")))
	module := filepath.Join(examples, "terraform", "vault")
	values := map[string]ctyjson.SimpleJSONValue{}
	for name, value := range variables {
		values[name] = ctyjson.SimpleJSONValue{Value: value}
	}
	text, err := json.Marshal(values)
	require.NoError(w, err)
	require.NoError(w, os.WriteFile(filepath.Join(module, "terraform.tfvars.json"), text, 0o600))
	tf := newTofu(w.T, module, "VAULT_ADDR="+w.vault.Addr, "VAULT_TOKEN="+w.vault.Token)
	tf.apply()
	require.NotContains(w, tf.said, "undeclared variable", "an output of the AWS module that the Vault module does not know")
	return tf
}

// state is what OpenTofu remembers, as its file has it.
func (tf *tofu) state() string {
	tf.Helper()
	text, err := os.ReadFile(filepath.Join(tf.dir, "terraform.tfstate"))
	require.NoError(tf, err)
	return string(text)
}

// endpoints are the paths that the module writes, and what it writes there.
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

// TestTerraformExampleOfVault is about what Terraform itself says; TestTerraformExamples uses what it set up.
func TestTerraformExampleOfVault(t *testing.T) {
	t.Parallel()
	w := newExampleWorld(t)
	user := w.read("creds/ci-user")

	t.Run("it is valid, without a warning", func(t *testing.T) {
		var found struct {
			Valid       bool
			Diagnostics []struct{ Summary string }
		}
		require.NoError(t, json.Unmarshal([]byte(w.tofu.run("validate", "-json")), &found))
		require.True(t, found.Valid)
		require.Len(t, found.Diagnostics, 1)
		require.Equal(t, "Provider development overrides are in effect", found.Diagnostics[0].Summary)
	})

	t.Run("a second plan has nothing to do", func(*testing.T) { w.tofu.plans(nothingToDo) })

	// The provider asks for none of these, so that a plan does not miss them.
	t.Run("the engine has every field that is written", func(t *testing.T) {
		for path, written := range w.tofu.endpoints() {
			secret, err := w.client.Logical().ReadWithContext(t.Context(), path)
			require.NoError(t, err)
			for field := range written {
				require.Contains(t, secret.Data, field, path)
			}
		}
	})

	t.Run("what somebody else changed is put back", func(*testing.T) {
		w.write("roles/ci-user", map[string]any{"ttl": "1m"})
		w.write("roles/machine", map[string]any{"scopes": "api/read"})
		w.write("static-roles/batch", map[string]any{"rotation_period": "12h"})
		w.write("config", map[string]any{"aws_assume_role_arn": ""})
		w.tofu.plans(thingsToDo)
		w.tofu.apply()
		w.tofu.plans(nothingToDo)
	})

	t.Run("its state and its output hold no secret", func(*testing.T) {
		w.read("creds/machine")
		w.showsNoSecret(w.tofu.state()+w.tofu.said, w.vault.Token)
	})

	t.Run("destroy leaves nothing, not even users", func(t *testing.T) {
		w.has(user.Data["username"].(string))
		w.tofu.run("destroy", "-auto-approve", "-input=false", "-no-color")
		w.awaitNobody()
		mounts, err := w.client.Sys().ListMountsWithContext(t.Context())
		require.NoError(t, err)
		require.NotContains(t, mounts, "cognito/")
		logins, err := w.client.Sys().ListAuthWithContext(t.Context())
		require.NoError(t, err)
		require.Len(t, logins, 1, "that with a token")
		policies, err := w.client.Sys().ListPoliciesWithContext(t.Context())
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"default", "root"}, policies)
	})
}

func (w *exampleWorld) has(username string) {
	w.Helper()
	testers := w.testers()
	require.Len(w, testers, 1)
	require.Equal(w, username, testers[0].Username)
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
