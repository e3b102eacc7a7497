// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package docs_test runs the commands of the API reference as a reader would
// and compares the sample answers with what comes.
package docs_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

const (
	apiReference = "../../docs/api.md"

	rootKey    = "AKIAIOSFODNN7EXAMPLE"
	rootSecret = "hush-root-secret"
)

var update = flag.Bool("update", false, "write the sample answers of docs/api.md anew")

// What the reference calls things, next to what they are called here.
const (
	documentedPool    = "eu-west-1_AbCdEfGhI"
	documentedClient  = "1h57kf5cpq17m0eml12EXAMPLE"
	documentedMachine = "3l79ab8def26n0fgh34EXAMPLE"
	documentedDomain  = "example.auth.eu-west-1.amazoncognito.com"
)

// secretFields are cut short in sample answers.
var secretFields = []string{"password", "app_client_secret", "access_token", "id_token", "refresh_token", "totp_secret", "totp_url"}

// block is a piece of code in a document.
type block struct {
	language, text string
	// at is where its text begins.
	at int
}

var fence = regexp.MustCompile("(?sm)^```(sh|json)\n(.*?)^```$")

func blocksOf(document string) []block {
	var blocks []block
	for _, found := range fence.FindAllStringSubmatchIndex(document, -1) {
		blocks = append(blocks, block{document[found[2]:found[3]], document[found[4]:found[5]], found[4]})
	}
	return blocks
}

// reader follows the reference with a Vault and a Cognito of its own.
type reader struct {
	*testing.T
	*emulatortest.Cognito
	vault *sandbox.Vault
	// dir is where the commands run, and bin where they find vault.
	dir, bin string
}

func newReader(t *testing.T) *reader {
	t.Helper()
	plugin := os.Getenv("PLUGIN_BIN")
	if plugin == "" {
		counters.Skip(t, "PLUGIN_BIN is not set; make test-e2e builds it")
	}
	if _, err := exec.LookPath("curl"); err != nil {
		counters.Skip(t, "the reference uses curl, and there is none here")
	}
	binary, err := sandbox.FindServer(t.Context())
	require.NoError(t, err)
	binary, err = filepath.Abs(binary)
	require.NoError(t, err)
	vault, err := sandbox.StartVault(t.Context(), sandbox.VaultOptions{Binary: binary, PluginDir: filepath.Dir(plugin)})
	require.NoError(t, err)
	t.Cleanup(vault.Stop)
	r := &reader{T: t, Cognito: emulatortest.Start(t), vault: vault, dir: t.TempDir(), bin: t.TempDir()}
	require.NoError(t, os.Symlink(binary, filepath.Join(r.bin, "vault")))
	require.NoError(t, vault.Client().Sys().MountWithContext(t.Context(), "cognito", &api.MountInput{Type: filepath.Base(plugin)}))
	r.PlantKey("vault", rootKey, rootSecret)
	r.addUser("ann")
	r.addUser("ben")
	return r
}

func (r *reader) addUser(username string) {
	r.Helper()
	_, err := r.Admin.AdminCreateUser(r.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &r.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("hush-First-1"),
	})
	require.NoError(r, err)
}

// pointAtCognito gives the mount what the reference leaves out: that Cognito is
// here and not at AWS. Where there is no config at all, it needs a key, too.
func (r *reader) pointAtCognito() {
	r.Helper()
	config := map[string]any{"cognito_endpoint": r.Seed.Domain, "sts_endpoint": r.Seed.Domain, "iam_endpoint": r.Seed.Domain}
	client := r.vault.Client().Logical()
	present, err := client.ReadWithContext(r.Context(), "cognito/config")
	require.NoError(r, err)
	if present == nil {
		maps.Copy(config, map[string]any{"aws_access_key_id": rootKey, "aws_secret_access_key": rootSecret, "region": emulatortest.Region})
	}
	_, err = client.WriteWithContext(r.Context(), "cognito/config", config)
	require.NoError(r, err)
}

// run runs a block of commands and gives what they wrote. All must succeed.
func (r *reader) run(script string) string {
	r.Helper()
	script = strings.NewReplacer(
		documentedPool, r.Seed.UserPoolID, documentedClient, r.Seed.AppClientID, documentedMachine, r.Seed.M2MClientID, documentedDomain, r.Seed.Domain,
	).Replace(script)
	cmd := exec.CommandContext(r.Context(), "sh", "-e", "-c", script)
	cmd.Dir = r.dir
	cmd.Env = []string{
		"PATH=" + r.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + r.dir,
		"VAULT_ADDR=" + r.vault.Addr, "VAULT_TOKEN=" + r.vault.Token,
		"AWS_SECRET=" + rootSecret, "APP_CLIENT_SECRET=" + r.Seed.AppClientSecret, "MACHINE_SECRET=" + r.Seed.M2MClientSecret,
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(r, err, "%s\n%s%s", script, out, stderr.String())
	require.NotContains(r, string(out), `"errors":`, script)
	return string(out)
}

// answerOf takes the answer of Vault, which is the last line, and leaves
// of it what the reference shows.
func (r *reader) answerOf(output string) map[string]any {
	r.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	var answer map[string]any
	require.NoError(r, json.Unmarshal([]byte(lines[len(lines)-1]), &answer), output)
	shown := map[string]any{"data": r.asDocumented("", answer["data"])}
	if warnings := answer["warnings"]; warnings != nil {
		shown["warnings"] = warnings
	}
	if answer["lease_id"] != "" {
		for _, field := range []string{"lease_id", "lease_duration", "renewable"} {
			shown[field] = answer[field]
		}
	}
	return shown
}

// asDocumented gives a value the names of the reference, and cuts secrets.
func (r *reader) asDocumented(field string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		shown := map[string]any{}
		for name, inner := range value {
			shown[name] = r.asDocumented(name, inner)
		}
		return shown
	case []any:
		shown := []any{}
		for _, inner := range value {
			shown = append(shown, r.asDocumented("", inner))
		}
		return shown
	case string:
		return r.textAsDocumented(field, value)
	default:
		return value
	}
}

func (r *reader) textAsDocumented(field, text string) string {
	switch {
	case slices.Contains(secretFields, field):
		return text[:min(8, len(text))] + "…"
	case field == "token_endpoint":
		return "https://" + documentedDomain + "/oauth2/token"
	case strings.HasSuffix(field, "_endpoint"):
		return ""
	default:
		return strings.NewReplacer(
			r.Seed.UserPoolID, documentedPool, r.Seed.AppClientID, documentedClient, r.Seed.M2MClientID, documentedMachine, r.Seed.Domain, documentedDomain,
		).Replace(text)
	}
}

// TestSamples runs every command of the reference, from top to bottom.
func TestSamples(t *testing.T) {
	r := newReader(t)
	text, err := os.ReadFile(apiReference)
	require.NoError(t, err)
	document := string(text)
	blocks := blocksOf(document)
	answers := 0
	for i, b := range blocks {
		if b.language != "sh" {
			continue
		}
		r.pointAtCognito()
		output := r.run(b.text)
		if i+1 == len(blocks) || blocks[i+1].language != "json" {
			continue
		}
		answers++
		sample := blocks[i+1]
		var shown map[string]any
		require.NoError(t, json.Unmarshal([]byte(sample.text), &shown))
		answer := r.answerOf(output)
		if strings.Contains(b.text, "/cognito/metrics") { // of which the sample shows a part
			answer = partOf(answer, shown).(map[string]any)
		}
		if *update {
			document = replaceSample(document, answers, answer)
			continue
		}
		require.Equal(t, shapeOf(answer), shapeOf(shown), "the answer to\n%s", b.text)
	}
	require.NotZero(t, answers)
	if *update {
		require.NoError(t, os.WriteFile(apiReference, []byte(document), 0o644))
	}
}

// partOf returns what a value has of the keys that another one shows.
func partOf(value, shown any) any {
	all, isMap := value.(map[string]any)
	keys, both := shown.(map[string]any)
	if !isMap || !both {
		return value
	}
	part := map[string]any{}
	for key, inner := range keys {
		if found, has := all[key]; has {
			part[key] = partOf(found, inner)
		}
	}
	return part
}

// replaceSample puts an answer in the place of the nth sample.
func replaceSample(document string, n int, answer map[string]any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(answer); err != nil {
		panic(err) // it was decoded from JSON
	}
	for _, b := range blocksOf(document) {
		if b.language != "json" {
			continue
		}
		if n--; n == 0 {
			return document[:b.at] + text.String() + document[b.at+len(b.text):]
		}
	}
	return document
}

// randomKey matches the ids of issued records and the usernames that the engine makes, which differ
// from run to run.
var randomKey = regexp.MustCompile(`^(\d{8}-\d{4}-[a-z2-7]{4}-[a-z2-7]{12}|vault-.*[a-z2-7]{26}@.*)$`)

// shapeOf is a value with types in the place of what differs from run to run:
// the keys of maps stay, and of a list the shapes that are in it.
func shapeOf(value any) any {
	switch value := value.(type) {
	case map[string]any:
		shape := map[string]any{}
		for name, inner := range value {
			shape[randomKey.ReplaceAllString(name, "<random>")] = shapeOf(inner)
		}
		return shape
	case []any:
		shapes := map[string]bool{}
		for _, inner := range value {
			shapes[fmt.Sprint(shapeOf(inner))] = true
		}
		return shapes
	default:
		return fmt.Sprintf("%T", value)
	}
}
