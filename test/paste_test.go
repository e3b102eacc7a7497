// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// namedBlock matches a block of commands under a comment with its name, also within a list.
var namedBlock = regexp.MustCompile("(?ms)^( *)<!-- ([a-z ]+: [a-z ]+) -->\n *```sh\n(.*?)^ *```$")

// anyBlock matches every block of commands.
var anyBlock = regexp.MustCompile("(?m)^ *```sh$")

// page is a document whose commands a test pastes, block by block.
type page struct {
	path   string
	blocks map[string]string
	pasted map[string]bool
}

// openPage reads a document of docs/, in which every block of commands but the first unnamed ones
// must have a name.
func openPage(t *testing.T, name string, unnamed int) *page {
	t.Helper()
	path := filepath.Join("../docs", name)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	p := &page{path: path, blocks: map[string]string{}, pasted: map[string]bool{}}
	for _, found := range namedBlock.FindAllStringSubmatch(string(text), -1) {
		require.NotContains(t, p.blocks, found[2], "%s has two blocks of this name", path)
		p.blocks[found[2]] = regexp.MustCompile("(?m)^"+found[1]).ReplaceAllString(found[3], "")
	}
	require.Len(t, anyBlock.FindAllString(string(text), -1), len(p.blocks)+unnamed, "%s has a block without a name", path)
	return p
}

// requireAllPasted demands that no block was left out.
func (p *page) requireAllPasted(t *testing.T) {
	t.Helper()
	for name := range p.blocks {
		require.True(t, p.pasted[name], "%s: the block %q was not pasted", p.path, name)
	}
}

// terminal is where a reader pastes: a directory and a shell that finds vault and an aws that calls
// the emulator.
type terminal struct {
	env   *env
	page  *page
	dir   string
	token string
	// variables are those of the shell.
	variables map[string]string
	// saved is a file that carries the shell's variables from one block to the next, or empty.
	saved string
}

// keepVariables lets blocks use the variables that the blocks before them set, as in one terminal.
func (t *terminal) keepVariables() { t.saved = filepath.Join(t.dir, ".variables") }

// awsWrapper calls the real AWS CLI with the emulator in the place of AWS. The commands of AWS
// Secrets Manager, which the emulator does not have, are answered from a file.
const awsWrapper = `#!/bin/sh
if [ "$1" = secretsmanager ]; then
    echo "$2" >>"%[1]s/secretsmanager.log"
    case $2 in get-secret-value) cat "%[1]s/secret.json" ;; esac
    exit
fi
if [ "$1" = iam ]; then # with an endpoint of its own, the CLI no longer knows where IAM is signed for
    export AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
fi
exec "%[2]s" --endpoint-url "%[3]s" "$@"
`

// newTerminal opens a terminal for the commands of a page. It skips the test if a command that they
// need is missing.
func newTerminal(e *env, p *page) *terminal {
	e.Helper()
	needsCommands(e.T, "bash", "aws", "jq", "curl")
	t := &terminal{env: e, page: p, dir: e.TempDir(), token: e.vault.Token, variables: map[string]string{}}
	aws, err := exec.LookPath("aws")
	require.NoError(e, err)
	wrapper := fmt.Sprintf(awsWrapper, t.dir, aws, e.Seed.Domain)
	require.NoError(e, os.WriteFile(filepath.Join(t.dir, "aws"), []byte(wrapper), 0o700))
	require.NoError(e, os.Symlink(binaries.vault, filepath.Join(t.dir, "vault")))
	return t
}

// paste runs a block and returns its standard output. Every command of it must succeed.
func (t *terminal) paste(block string) string {
	t.env.Helper()
	output, err := t.tryPaste(block)
	require.NoError(t.env, err, "%s: %s: %s", t.page.path, block, output)
	return output
}

func (t *terminal) tryPaste(block string) (string, error) {
	t.env.Helper()
	script, known := t.page.blocks[block]
	require.True(t.env, known, "%s has no block %q", t.page.path, block)
	t.page.pasted[block] = true
	return t.run(script)
}

// run runs a script as a reader would paste it, but stops at the first command that fails.
func (t *terminal) run(script string) (string, error) {
	var stderr strings.Builder
	if t.saved != "" {
		script = fmt.Sprintf("[ ! -e %[1]q ] || . %[1]q 2>/dev/null || true\n%[2]s\ndeclare -p >%[1]q", t.saved, script)
	}
	command := exec.CommandContext(t.env.Context(), "bash", "-euo", "pipefail", "-c", script)
	command.Dir = t.dir
	command.Env = []string{
		"HOME=" + t.dir, "PATH=" + t.dir + ":" + os.Getenv("PATH"), "VAULT_ADDR=" + t.env.vault.Addr, "VAULT_TOKEN=" + t.token,
		"AWS_ACCESS_KEY_ID=AKIAADMIN", "AWS_SECRET_ACCESS_KEY=hush-admin", "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "AWS_PAGER=",
	}
	for name, value := range t.variables {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(output), err
}
