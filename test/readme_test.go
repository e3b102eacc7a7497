// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

var readmeBlock = regexp.MustCompile("(?s)\n## ([^\n]+)\n|```sh\n(.*?)```")

// readmeScript is the first block of commands under a heading of README.md, with other values for what the text says
// that its reader has to replace.
func readmeScript(t *testing.T, heading string, values map[string]string) string {
	t.Helper()
	return replaced(t, readmeScripts(t, heading)[0], values)
}

func readmeScripts(t *testing.T, heading string) (scripts []string) {
	t.Helper()
	page, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	under := ""
	for _, match := range readmeBlock.FindAllStringSubmatch(string(page), -1) {
		if match[1] != "" {
			under = match[1]
			continue
		}
		if under == heading {
			scripts = append(scripts, match[2])
		}
	}
	require.NotEmpty(t, scripts, "README.md has no commands under the heading %s", heading)
	return scripts
}

func replaced(t *testing.T, script string, values map[string]string) string {
	t.Helper()
	for old, value := range values {
		require.Contains(t, script, old, "README.md has another value in its place")
		script = strings.ReplaceAll(script, old, value)
	}
	return script
}

// shell runs a script as its reader would paste it, with vault on the path and input for what reads from the terminal.
func (w *exampleWorld) shell(dir, script, input string, environment ...string) string {
	w.Helper()
	command := exec.CommandContext(w.Context(), "bash", "-euxc", script)
	command.Dir, command.Stdin = dir, strings.NewReader(input)
	command.Env = w.environment(append(environment, "VAULT_ADDR="+w.vault.Addr, "VAULT_TOKEN="+w.vault.Token)...)
	output, err := command.CombinedOutput()
	require.NoError(w, err, "%s", output)
	return string(output)
}

// commands are those of a script one by one, less comments.
func commands(script string) (all []string) {
	script = strings.ReplaceAll(script, "\\\n", "")
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

func TestReadme(t *testing.T) {
	t.Parallel()
	needsCommands(t, "bash")
	w := newBareWorld(t)
	require.NoError(t, w.client.Sys().MountWithContext(t.Context(), w.mount, &api.MountInput{Type: pluginName}))
	w.plantRootKey(nil) // and so the config has the emulator's endpoints
	w.addUser("ann")

	t.Run("Configure", func(t *testing.T) {
		script := readmeScript(t, "Configure", map[string]string{
			"AKIAIOSFODNN7EXAMPLE": firstKey, "eu-west-1_AbCdEfGhI": w.Seed.UserPoolID,
			"1h57kf5cpq17m0eml12EXAMPLE": w.Seed.AppClientID, "3l79ab8def26n0fgh34EXAMPLE": w.Seed.M2MClientID,
			"example.auth.eu-west-1.amazoncognito.com": w.Seed.Domain,
		})
		for _, command := range commands(script) {
			input := w.Seed.AppClientSecret
			if strings.Contains(command, "aws_secret_access_key=-") {
				input = secretKey
			}
			w.shell(t.TempDir(), command, input)
		}
		require.NotEqual(t, firstKey, w.read("config").Data["aws_access_key_id"], "the key that somebody knew is in use")
		user := w.read("creds/ci-user")
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, user.Data["id_token"])["cognito:groups"])
		w.revoke(user.LeaseID)
		require.Equal(t, "api/read api/write", w.read("creds/machine").Data["scope"])
		require.True(t, w.passwordWorks("ann", w.read("static-creds/ann").Data["password"].(string)))
		require.NotEmpty(t, w.read("static-creds/api").Data["app_client_secret"])
	})

	t.Run("Five minutes", func(t *testing.T) {
		dir, lease := t.TempDir(), w.read("creds/ci-user").LeaseID
		w.shell(dir, readmeScript(t, "Five minutes", map[string]string{"<lease_id>": lease}), "")
		require.FileExists(t, filepath.Join(dir, "user.json"))
		w.awaitNobody()
	})
}

func TestReadmeInstall(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		counters.Skip(t, "the text is about Linux, where sha256sum and install have these options")
	}
	needsCommands(t, "bash", "sha256sum", "install")
	plugins, downloads := t.TempDir(), t.TempDir()
	vault, err := sandbox.StartServer(t.Context(), sandbox.ServerOptions{
		VaultOptions: sandbox.VaultOptions{Binary: binaries.vault, PluginDir: plugins}, DataDir: t.TempDir(),
	})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	w := &exampleWorld{world: &world{
		T: t, Cognito: emulatortest.Start(t), vault: watched(t, vault.Vault), client: vault.Client(), mount: "cognito",
	}}

	version := download(t, downloads)
	script := readmeScript(t, "Install", map[string]string{"/etc/vault/plugins": plugins})
	script = regexp.MustCompile(`\bVERSION=v\S+`).ReplaceAllString(script, "VERSION="+version)
	w.shell(downloads, script, "")
	w.configure(nil)
	w.writeRole("ci", nil)
	require.Equal(t, version, w.runningVersion())

	const next = "v1.0.1"
	user := w.read("creds/ci")
	register := fmt.Sprintf("vault plugin register -sha256=%s -version=%s -command=%s secret %s",
		sumOf(t, buildVersion(t, next, plugins)), next, pluginName+"_"+next, pluginName)
	w.shell(t.TempDir(), register, "")
	w.shell(t.TempDir(), replaced(t, readmeScripts(t, "Install")[1], map[string]string{next: next}), "", "PLUGIN="+pluginName)
	require.Equal(t, next, w.runningVersion())
	w.revoke(user.LeaseID)
	require.Empty(t, w.Users())
}

func (w *exampleWorld) runningVersion() string {
	w.Helper()
	mounts, err := w.client.Sys().ListMountsWithContext(w.Context())
	require.NoError(w, err)
	return mounts["cognito/"].RunningVersion
}

// buildVersion builds another version of the plugin into a plugin directory.
func buildVersion(t *testing.T, version, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, pluginName+"_"+version)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-X main.version="+version, "-o", path, "../cmd/"+pluginName)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// download puts the plugin into a directory as a release has it, and tells its version.
func download(t *testing.T, dir string) (version string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binaries.plugin, "-version").Output()
	require.NoError(t, err)
	version = regexp.MustCompile(`v\d\S*`).FindString(string(out))
	require.NotEmpty(t, version)
	binary, err := os.ReadFile(binaries.plugin)
	require.NoError(t, err)
	name := pluginName + "_" + version + "_linux_amd64"
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), binary, 0o600))
	sums := fmt.Sprintf("%x  %s\n%064x  %s\n", sha256.Sum256(binary), name, 0, pluginName+"_"+version+"_darwin_arm64")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums), 0o600))
	return version
}
