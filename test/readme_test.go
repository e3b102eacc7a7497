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

// readmeScript returns the first block of commands under a heading of README.md, with the given
// values in place of the ones that the reader has to replace.
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
		require.Contains(t, script, old, "README.md has no such value")
		script = strings.ReplaceAll(script, old, value)
	}
	return script
}

// shell runs a script as a reader would paste it, with vault on PATH and input for its prompts.
func (e *exampleEnv) shell(dir, script, input string, environment ...string) string {
	e.Helper()
	command := exec.CommandContext(e.Context(), "bash", "-euxc", script)
	command.Dir, command.Stdin = dir, strings.NewReader(input)
	command.Env = e.environment(append(environment, "VAULT_ADDR="+e.vault.Addr, "VAULT_TOKEN="+e.vault.Token)...)
	output, err := command.CombinedOutput()
	require.NoError(e, err, "%s", output)
	return string(output)
}

func TestReadme(t *testing.T) {
	t.Parallel()
	needsCommands(t, "bash", "script")
	e := newBareEnv(t)
	require.NoError(t, e.client.Sys().MountWithContext(t.Context(), e.mount, &api.MountInput{Type: pluginName}))
	e.plantRootKey(nil) // this also sets the emulator's endpoints
	e.addUser("ann")

	t.Run("the blocks under Configure can be pasted", func(t *testing.T) {
		dir := t.TempDir()
		e.writeSecret(dir, "aws-secret-access-key.txt", secretKey)
		e.writeSecret(dir, "app-client-secret.txt", e.Seed.AppClientSecret)
		values := strings.NewReplacer(
			"AKIAIOSFODNN7EXAMPLE", firstKey, "eu-west-1_AbCdEfGhI", e.Seed.UserPoolID,
			"1h57kf5cpq17m0eml12EXAMPLE", e.Seed.AppClientID, "3l79ab8def26n0fgh34EXAMPLE", e.Seed.M2MClientID,
			"example.auth.eu-west-1.amazoncognito.com", e.Seed.Domain,
		)
		for _, block := range readmeScripts(t, "Configure") {
			e.pasteBlock(dir, values.Replace(block))
		}
		require.NoFileExists(t, filepath.Join(dir, "aws-secret-access-key.txt"))
		require.NotEqual(t, firstKey, e.read("config").Data["aws_access_key_id"], "the key from the README is still in use")
		user := e.read("creds/ci-user")
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, user.Data["id_token"])["cognito:groups"])
		e.revoke(user.LeaseID)
		require.Equal(t, "api/read api/write", e.read("creds/machine").Data["scope"])
		require.True(t, e.passwordWorks("ann", e.read("static-creds/ann").Data["password"].(string)))
		require.NotEmpty(t, e.read("static-creds/api").Data["app_client_secret"])
		mount, err := e.client.Sys().MountConfigWithContext(t.Context(), e.mount)
		require.NoError(t, err)
		require.Equal(t, []string{"username", "sub"}, mount.AuditNonHMACResponseKeys)
	})

	t.Run("the block under Five minutes can be pasted", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")))
		e.pasteBlock(dir, readmeScripts(t, "Five minutes")[0])
		require.FileExists(t, filepath.Join(dir, "user.json"))
		e.awaitNoUsers()
		_, err := e.client.Auth().Token().LookupSelfWithContext(t.Context())
		require.NoError(t, err, "the README's commands revoked the reader's own token")
	})
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestBlocksAreSafeToPaste checks on every page what pasting a block cannot show.
func TestBlocksAreSafeToPaste(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	for _, path := range append(pages, "../README.md", "../CONTRIBUTING.md", "../examples/README.md") {
		page, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
			for _, command := range commandsOf(block[1]) {
				if !strings.Contains(command, "|") && !strings.Contains(command, "<<") {
					require.NotRegexp(t, `=-(\s|$)|policy write \S+ -(\s|$)`, command, "%s: a command reads the rest of the paste as its input", path)
				}
				require.NotRegexp(t, `<[a-z_ ]+>`, command, "%s: a shell takes a placeholder for a redirection", path)
				require.NotRegexp(t, `^\s*(export )?VAULT_TOKEN=\S+\s*$|export VAULT_TOKEN`, command, "%s: the reader's own token is overwritten", path)
			}
		}
	}
}

// commandsOf returns the commands of a block, each with the lines that continue it.
func commandsOf(block string) []string {
	joined := regexp.MustCompile(`(\\|\|)\n`).ReplaceAllString(block, "$1 ")
	return strings.Split(joined, "\n")
}

// writeSecret writes a secret to a file, with a newline at its end as an editor leaves it.
func (e *exampleEnv) writeSecret(dir, name, secret string) {
	e.Helper()
	require.NoError(e, os.WriteFile(filepath.Join(dir, name), []byte(secret+"\n"), 0o600))
}

// pasteBlock pastes a whole block into a shell on a pseudo-terminal. A command that reads its
// standard input swallows the rest, and with it the line that proves that the shell read all of the
// block.
func (e *exampleEnv) pasteBlock(dir, block string) {
	e.Helper()
	const wholeBlock = "whole-block-was-read"
	shell := exec.CommandContext(e.Context(), "script", "--quiet", "--return", "--command", "bash --norc -e", "/dev/null")
	shell.Dir, shell.Stdin = dir, strings.NewReader(block+"\ntouch "+wholeBlock+"\nexit\n")
	shell.Env = e.environment("VAULT_ADDR="+e.vault.Addr, "VAULT_TOKEN="+e.vault.Token)
	output, err := shell.CombinedOutput()
	require.NoError(e, err, "%s", output)
	require.FileExists(e, filepath.Join(dir, wholeBlock), "%s", output)
	require.NoError(e, os.Remove(filepath.Join(dir, wholeBlock)))
}

func TestReadmeInstall(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		counters.Skip(t, "the commands need the options of sha256sum and install on Linux")
	}
	needsCommands(t, "bash", "sha256sum", "install")
	plugins, downloads := t.TempDir(), t.TempDir()
	vault, err := tryStartServer(t, sandbox.VaultOptions{PluginDir: plugins})
	require.NoError(t, err)
	e := &exampleEnv{env: &env{
		T: t, Cognito: emulatortest.Start(t), vault: watchLeaks(t, vault.Vault), client: vault.Client(), mount: "cognito",
	}}

	version := download(t, downloads)
	script := readmeScript(t, "Install", map[string]string{"/etc/vault/plugins": plugins})
	script = regexp.MustCompile(`\bVERSION=v\S+`).ReplaceAllString(script, "VERSION="+version)
	e.shell(downloads, script, "")
	e.configure(nil)
	e.writeRole("ci", nil)
	require.Equal(t, version, e.runningVersion())

	const next = "v1.0.1"
	user := e.read("creds/ci")
	register := fmt.Sprintf("vault plugin register -sha256=%s -version=%s -command=%s secret %s",
		sumOf(t, buildVersion(t, next, plugins)), next, pluginName+"_"+next, pluginName)
	e.shell(t.TempDir(), register, "")
	e.shell(t.TempDir(), replaced(t, readmeScripts(t, "Install")[1], map[string]string{next: next}), "", "PLUGIN="+pluginName)
	require.Equal(t, next, e.runningVersion())
	e.revoke(user.LeaseID)
	require.Empty(t, e.Users())
}

func (e *exampleEnv) runningVersion() string {
	e.Helper()
	mounts, err := e.client.Sys().ListMountsWithContext(e.Context())
	require.NoError(e, err)
	return mounts[e.mount+"/"].RunningVersion
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

// download puts the plugin into a directory, named as in a release, and returns its version.
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
