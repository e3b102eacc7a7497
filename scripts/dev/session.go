// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-cognito/internal/sandbox"
)

// lineWidth is the number of characters of a line that are shown.
const lineWidth = 80

// The emulator accepts any keys.
const (
	accessKeyID     = "emulator"
	secretAccessKey = "emulator"
)

// session is what runs during `make dev`.
type session struct {
	vault    *sandbox.Vault
	emulator *sandbox.Emulator
	binary   string
	screen   screen
}

// start starts the emulator and the server, mounts the plugin at cognito/, and writes its config,
// roles and a library set.
func start(ctx context.Context, o options, log io.Writer, out screen) (*session, error) {
	binary, err := filepath.Abs(o.vault)
	if err != nil {
		return nil, err
	}
	emulator, err := sandbox.StartEmulator(ctx, sandbox.EmulatorOptions{Binary: o.emulator, Log: log})
	if err != nil {
		return nil, err
	}
	s := &session{emulator: emulator, binary: binary, screen: out}
	s.vault, err = sandbox.StartVault(ctx, sandbox.VaultOptions{
		Binary:    binary,
		PluginDir: filepath.Dir(o.plugin),
		LogLevel:  "debug",
		Log:       log,
	})
	if err != nil {
		emulator.Stop()
		return nil, err
	}
	if err := s.setUp(ctx, filepath.Base(o.plugin)); err != nil {
		err = fmt.Errorf("%w%s", err, s.hint(o.log))
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *session) stop() {
	s.vault.Stop()
	s.emulator.Stop()
}

func (s *session) setUp(ctx context.Context, plugin string) error {
	client, seed, endpoint := s.vault.Client(), s.emulator.Seed, s.emulator.Endpoint
	if err := client.Sys().MountWithContext(ctx, "cognito", &api.MountInput{Type: plugin}); err != nil {
		return fmt.Errorf("mounting the plugin: %w", err)
	}
	mount, err := client.Sys().GetMountWithContext(ctx, "cognito")
	if err != nil {
		return err
	}
	for _, write := range []struct {
		path string
		data map[string]any
	}{
		{"cognito/config", map[string]any{
			"aws_access_key_id":     accessKeyID,
			"aws_secret_access_key": secretAccessKey,
			"region":                seed.Region,
			"cognito_endpoint":      endpoint,
			"sts_endpoint":          endpoint,
			"iam_endpoint":          endpoint,
		}},
		{"cognito/roles/ci-user", map[string]any{
			"credential_type":    "user",
			"user_pool_id":       seed.UserPoolID,
			"app_client_id":      seed.AppClientID,
			"app_client_secret":  seed.AppClientSecret,
			"groups":             seed.Group,
			"dummy_email_domain": "example.com",
			"ttl":                "15m",
		}},
		{"cognito/roles/machine", map[string]any{
			"credential_type":     "client_credentials_grant",
			"app_client_id":       seed.M2MClientID,
			"app_client_secret":   seed.M2MClientSecret,
			"cognito_pool_domain": seed.Domain,
			"scopes":              seed.Scopes,
		}},
		{"cognito/library/e2e", map[string]any{"role": "ci-user", "size": 3}},
	} {
		if _, err := client.Logical().WriteWithContext(ctx, write.path, write.data); err != nil {
			return fmt.Errorf("writing %s: %w", write.path, err)
		}
	}
	s.screen.printf("\n%s %s is mounted at cognito/, with the roles ci-user and machine and the library set e2e.\n", plugin, mount.RunningVersion)
	s.screen.printf("  %-8s %s, version %s\n", s.vault.Product(), s.vault.Addr, s.vault.Version())
	s.screen.printf("  Cognito  %s, emulated, user pool %s\n", endpoint, seed.UserPoolID)
	return nil
}

// show reads both roles on the screen, and returns the lease and the name of the user.
func (s *session) show(ctx context.Context) (lease, username string, err error) {
	user, err := s.run(ctx, "read", "cognito/creds/ci-user")
	if err != nil {
		return "", "", err
	}
	if _, err := s.run(ctx, "read", "cognito/creds/machine"); err != nil {
		return "", "", err
	}
	lease, username = field(user, "lease_id"), field(user, "username")
	if lease == "" || username == "" {
		return "", "", errors.New("the answer for ci-user has no lease_id or no username")
	}
	return lease, username, nil
}

// revoke revokes the lease on the screen, and returns an error unless that deletes the user.
func (s *session) revoke(ctx context.Context, lease, username string) error {
	there, err := s.userExists(ctx, username)
	if err != nil {
		return err
	}
	if !there {
		return fmt.Errorf("user %s, which the read returned, is not in the pool", username)
	}
	if _, err := s.run(ctx, "lease", "revoke", "-sync", lease); err != nil {
		return err
	}
	if there, err = s.userExists(ctx, username); err != nil {
		return err
	}
	if there {
		return fmt.Errorf("user %s is still in the pool after the lease was revoked", username)
	}
	s.screen.printf("\nUser %s is gone from the pool.\n", username)
	return nil
}

// userExists asks the emulator directly, without the server and the plugin.
func (s *session) userExists(ctx context.Context, username string) (bool, error) {
	client := cognitoidentityprovider.New(cognitoidentityprovider.Options{
		Region:       s.emulator.Seed.Region,
		BaseEndpoint: &s.emulator.Endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKeyID, secretAccessKey, ""),
	})
	_, err := client.AdminGetUser(ctx, &cognitoidentityprovider.AdminGetUserInput{
		UserPoolId: &s.emulator.Seed.UserPoolID,
		Username:   &username,
	})
	if gone := new(types.UserNotFoundException); errors.As(err, &gone) {
		return false, nil
	}
	return err == nil, err
}

// invite prints how to continue in another terminal.
func (s *session) invite(lease, log string) {
	s.screen.printf("\nTo go on, paste into another terminal:\n\n")
	s.screen.printf("  export VAULT_ADDR=%s VAULT_TOKEN=%s\n", s.vault.Addr, s.vault.Token)
	command := s.vault.Product().Command()
	if onPath, err := exec.LookPath(command); err != nil || onPath != s.binary {
		s.screen.printf("  export PATH=\"%s:$PATH\"\n", filepath.Dir(s.binary))
	}
	s.screen.printf("  %s read cognito/creds/ci-user\n", command)
	s.screen.printf("  %s read cognito/roles/ci-user\n", command)
	s.screen.printf("  %s lease revoke -sync %s\n", command, lease)
	s.screen.printf("  %s write cognito/library/e2e/check-out wait=30s\n", command)
	s.screen.printf("  %s read cognito/library/e2e/status\n", command)
	s.screen.printf("\n")
	if log != "" {
		s.screen.printf("Logs are in %s. ", log)
	}
	s.screen.printf("Ctrl-C stops everything.\n")
}

// stay waits until ctx ends, or returns an error if a server ends before.
func (s *session) stay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		s.screen.printf("\nStopping.\n")
		return nil
	case <-s.vault.Done():
		return errors.New("the server has ended" + s.hint(""))
	case <-s.emulator.Done():
		return errors.New("the emulator has ended")
	}
}

// run runs a command of the server on the screen and returns its output.
func (s *session) run(ctx context.Context, args ...string) (string, error) {
	s.screen.command(s.vault.Product().Command() + " " + strings.Join(args, " "))
	out, err := s.vault.CLI(ctx, args...)
	for line := range strings.Lines(out) {
		s.screen.printf("%s\n", shortened(strings.TrimRight(line, "\n")))
	}
	return out, err
}

// shortened cuts a line to lineWidth characters, because a JWT has a thousand.
func shortened(line string) string {
	if runes := []rune(line); len(runes) > lineWidth {
		return string(runes[:lineWidth-1]) + "…"
	}
	return line
}

// hint returns the end of the server log and the path of the whole log, for the end of an error.
func (s *session) hint(log string) string {
	const lines = 10
	all := strings.Split(strings.TrimSpace(s.vault.LogText()), "\n")
	text := "\n\nThe last lines of the log:\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
	if log != "" {
		text += "\n\nAll logs are in " + log + "."
	}
	return text
}

// field returns the value of a key in a table that a command printed.
func field(table, key string) string {
	for line := range strings.Lines(table) {
		if words := strings.Fields(line); len(words) == 2 && words[0] == key {
			return words[1]
		}
	}
	return ""
}
