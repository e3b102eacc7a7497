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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/api"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// lineWidth is the number of characters of a line that are shown.
const lineWidth = 80

// The access key in the config belongs to a user of the emulator's IAM, so that the engine can
// rotate it.
const (
	accessKeyID     = "AKIAEMULATOR"
	secretAccessKey = "emulator"
)

// account is the existing user whose password the static role batch rotates, and whom the role
// elevate-batch puts into a group.
const account = "batch"

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
	emulator, err := sandbox.StartEmulator(ctx, sandbox.EmulatorOptions{Binary: o.emulator, Log: log, Port: emulatorPort(o.port), Issuer: o.issuer})
	if err != nil {
		return nil, err
	}
	s := &session{emulator: emulator, binary: binary, screen: out}
	s.vault, err = sandbox.StartVault(ctx, sandbox.VaultOptions{
		Binary:    binary,
		PluginDir: filepath.Dir(o.plugin),
		LogLevel:  "debug",
		Log:       log,
		Port:      o.port,
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

// emulatorPort returns the port of the emulator beside a server with a port, which also takes the
// next one.
func emulatorPort(port int) int {
	if port == 0 {
		return 0
	}
	return port + 2
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
	if err := s.setUpAWS(ctx); err != nil {
		return err
	}
	for _, write := range s.writes() {
		if _, err := client.Logical().WriteWithContext(ctx, write.path, write.data); err != nil {
			return fmt.Errorf("writing %s: %w", write.path, err)
		}
	}
	s.screen.printf("\n%s %s is mounted at cognito/, with the roles ci-user, machine and elevate-batch, the static role batch, and the library set e2e.\n",
		plugin, mount.RunningVersion)
	s.screen.printf("  %-8s %s, version %s\n", s.vault.Product(), s.vault.Addr, s.vault.Version())
	s.screen.printf("  Cognito  %s, emulated, user pool %s, public app client %s\n", endpoint, seed.UserPoolID, seed.PublicClientID)
	return nil
}

// setUpAWS creates what the engine finds in AWS: the IAM user of its access key, and the account of
// the static role.
func (s *session) setUpAWS(ctx context.Context) error {
	key := control.AccessKey{User: "vault", ID: accessKeyID, Secret: secretAccessKey}
	if err := control.New(s.emulator.Endpoint).PlantAccessKey(ctx, key); err != nil {
		return fmt.Errorf("creating the access key of the engine: %w", err)
	}
	_, err := s.cognito().AdminCreateUser(ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &s.emulator.Seed.UserPoolID, Username: aws.String(account), MessageAction: types.MessageActionTypeSuppress,
	})
	return err
}

// write is what is written to a path of the mount.
type write struct {
	path string
	data map[string]any
}

func (s *session) writes() []write {
	seed, endpoint := s.emulator.Seed, s.emulator.Endpoint
	return []write{
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
			"ttl":                "1h", // as long as its tokens are valid
		}},
		{"cognito/roles/machine", map[string]any{
			"credential_type":     "client_credentials_grant",
			"app_client_id":       seed.M2MClientID,
			"app_client_secret":   seed.M2MClientSecret,
			"cognito_pool_domain": seed.Domain,
			"scopes":              seed.Scopes,
		}},
		{"cognito/roles/elevate-batch", map[string]any{
			"credential_type": "group_membership",
			"user_pool_id":    seed.UserPoolID,
			"username":        account,
			"groups":          "admins",
			"ttl":             "15m",
		}},
		{"cognito/static-roles/batch", map[string]any{
			"credential_type":   "user_password",
			"user_pool_id":      seed.UserPoolID,
			"username":          account,
			"app_client_id":     seed.AppClientID,
			"app_client_secret": seed.AppClientSecret,
			"rotation_period":   "1h",
		}},
		{"cognito/library/e2e", map[string]any{"role": "ci-user", "size": 3}},
	}
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
	_, err := s.cognito().AdminGetUser(ctx, &cognitoidentityprovider.AdminGetUserInput{
		UserPoolId: &s.emulator.Seed.UserPoolID,
		Username:   &username,
	})
	if gone := new(types.UserNotFoundException); errors.As(err, &gone) {
		return false, nil
	}
	return err == nil, err
}

// cognito returns a client of the emulator with a key of its own, because the engine's may be
// rotated.
func (s *session) cognito() *cognitoidentityprovider.Client {
	return cognitoidentityprovider.New(cognitoidentityprovider.Options{
		Region:       s.emulator.Seed.Region,
		BaseEndpoint: &s.emulator.Endpoint,
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAOBSERVER", secretAccessKey, ""),
	})
}

// tour returns the arguments of the commands that show everything, in an order in which all of them
// succeed.
func tour(lease string) []string {
	return []string{
		"read cognito/creds/ci-user",
		"read cognito/roles/ci-user",
		"read cognito/check/ci-user",
		"read cognito/static-creds/batch",
		"write -f cognito/rotate-role/batch",
		"read cognito/creds/elevate-batch",
		"write cognito/library/e2e/check-out wait=30s",
		"read cognito/library/e2e/status",
		"write -f cognito/config/rotate-root",
		"read cognito/metrics",
		"lease revoke -sync " + lease,
	}
}

// invite prints how to continue in another terminal.
func (s *session) invite(lease, log string) {
	s.screen.printf("\nTo go on, paste into another terminal:\n\n")
	s.screen.printf("  export VAULT_ADDR=%s VAULT_TOKEN=%s\n", s.vault.Addr, s.vault.Token)
	command := s.vault.Product().Command()
	if onPath, err := exec.LookPath(command); err != nil || onPath != s.binary {
		s.screen.printf("  export PATH=\"%s:$PATH\"\n", filepath.Dir(s.binary))
	}
	if command != "vault" { // the documentation's commands are Vault's
		s.screen.printf("  alias vault=%s\n", command)
	}
	for _, arguments := range tour(lease) {
		s.screen.printf("  %s %s\n", command, arguments)
	}
	s.screen.printf("\nApplications sign in without AWS credentials at %s, through the public app client, with a password\n", s.emulator.Endpoint)
	s.screen.printf("(USER_PASSWORD_AUTH) or SRP; browsers may do so too.\n")
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
