// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/sandbox"
	"vault-plugin-secrets-cognito/test/bench/watch"
)

// The names of the plugins, which are also their mounts.
const (
	pluginName  = "vault-plugin-secrets-cognito"
	floorName   = "floor"
	watchedName = "watched"

	engineMount  = "cognito"
	watchedMount = "watched"
	floorMount   = "floor"
	builtInMount = "kv"

	region = "eu-west-1"
)

// rateLimits removes the engine's own limits, so that the engine is measured and not half of AWS's
// quotas.
var rateLimits = map[string]any{
	"ClientAuthentication": 1e6, "UserAccountRecovery": 1e6, "UserAuthentication": 1e6, "UserCreation": 1e6, "UserRead": 1e6, "UserUpdate": 1e6,
	"UserPoolClientRead": 1e6, "UserPoolClientUpdate": 1e6, "UserResourceRead": 1e6,
}

// setup is a server with the plugins and an emulator, each a process of its own.
type setup struct {
	dir      string
	vault    *sandbox.Vault
	emulator *sandbox.Emulator
	// emulatorName is the file name of the emulator.
	emulatorName string
	control      *control.Client
	cognito      *cip.Client
	client       *vaultClient
}

// build starts everything. close ends what was started, also after an error.
func build(ctx context.Context, o options) (w *setup, err error) {
	w = &setup{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return w, err
	}
	plugins := filepath.Join(w.dir, "plugins")
	if err := fillPluginDir(ctx, plugins, o.plugin); err != nil {
		return w, err
	}
	w.vault, err = sandbox.StartVault(ctx, sandbox.VaultOptions{Binary: o.vault, PluginDir: plugins, Env: []string{watch.DirVariable + "=" + w.dir}})
	if err != nil {
		return w, err
	}
	if w.emulator, err = sandbox.StartEmulator(ctx, sandbox.EmulatorOptions{Binary: o.emulator, Region: region, CheapTokens: true}); err != nil {
		return w, err
	}
	w.emulatorName = filepath.Base(o.emulator)
	w.control = control.New(w.emulator.Endpoint)
	// As many connections as clients, so that none waits for a new one.
	transport := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = 64 })
	w.cognito = cip.New(cip.Options{
		HTTPClient: transport, Region: region, BaseEndpoint: &w.emulator.Endpoint, Credentials: credentials.NewStaticCredentialsProvider("AKIABENCH", "secret", ""),
	})
	w.client = newVaultClient(w.vault.Addr, w.vault.Token)
	return w, w.setUp(ctx)
}

func (w *setup) close() {
	if w.vault != nil {
		w.vault.Stop()
	}
	if w.emulator != nil {
		w.emulator.Stop()
	}
	_ = os.RemoveAll(w.dir) // a remaining temporary directory is no reason to fail
}

// fillPluginDir puts the released plugin beside the two of the benchmark.
func fillPluginDir(ctx context.Context, dir, plugin string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{floorName, watchedName} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, name), "./test/bench/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return copyProgram(plugin, filepath.Join(dir, pluginName))
}

func copyProgram(from, to string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("the plugin: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}

func (w *setup) setUp(ctx context.Context) error {
	steps := []func(context.Context) error{w.fillPool, w.setUpKV}
	for mount, plugin := range map[string]string{floorMount: floorName, engineMount: pluginName, watchedMount: watchedName} {
		steps = append(steps, func(ctx context.Context) error {
			return w.client.write(ctx, "sys/mounts/"+mount, map[string]any{"type": plugin})
		})
	}
	for _, mount := range []string{engineMount, watchedMount} {
		steps = append(steps, func(ctx context.Context) error { return w.setUpEngine(ctx, mount) })
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return fmt.Errorf("setting up: %w", err)
		}
	}
	return nil
}

func (w *setup) setUpKV(ctx context.Context) error {
	if err := w.client.write(ctx, "sys/mounts/"+builtInMount, map[string]any{"type": "kv", "options": map[string]any{"version": "1"}}); err != nil {
		return err
	}
	return w.client.write(ctx, builtInMount+"/one", map[string]any{"password": "as good as any other"})
}

// groups lists the groups of the users with five. The emulator has created the first two.
var groups = []string{"testers", "admins", "readers", "writers", "owners"}

func (w *setup) fillPool(ctx context.Context) error {
	for _, group := range groups[2:] {
		if _, err := w.cognito.CreateGroup(ctx, &cip.CreateGroupInput{UserPoolId: &w.emulator.Seed.UserPoolID, GroupName: &group}); err != nil {
			return err
		}
	}
	for _, mount := range []string{engineMount, watchedMount} {
		if err := w.addUser(ctx, mount); err != nil {
			return err
		}
	}
	return nil
}

// addUser creates a user outside the engine.
func (w *setup) addUser(ctx context.Context, username string) error {
	_, err := w.cognito.AdminCreateUser(ctx, &cip.AdminCreateUserInput{
		UserPoolId: &w.emulator.Seed.UserPoolID, Username: &username,
		MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("Bench-First-1"),
	})
	return err
}

// addClient creates an app client whose secret a static role can own.
func (w *setup) addClient(ctx context.Context) (id string, err error) {
	made, err := w.cognito.CreateUserPoolClient(ctx, &cip.CreateUserPoolClientInput{
		UserPoolId: &w.emulator.Seed.UserPoolID, ClientName: aws.String("owned"), GenerateSecret: true,
	})
	if err != nil {
		return "", err
	}
	return *made.UserPoolClient.ClientId, nil
}

// setUpEngine configures a mount of the engine and writes a role of each kind that is measured.
func (w *setup) setUpEngine(ctx context.Context, mount string) error {
	owned, err := w.addClient(ctx)
	if err != nil {
		return err
	}
	seed := w.emulator.Seed
	machine := map[string]any{
		"app_client_id": seed.M2MClientID, "app_client_secret": seed.M2MClientSecret, "cognito_pool_domain": seed.Domain, "scopes": "api/read",
	}
	entries := []struct {
		path string
		data map[string]any
	}{
		{"config", w.config()},
		{"roles/token", machine},
		{"roles/uncached", with(machine, map[string]any{"cache_tokens": false})},
		{"static-roles/password", map[string]any{
			"credential_type": "user_password", "user_pool_id": seed.UserPoolID, "username": mount, "rotation_period": "24h",
		}},
		{"static-roles/secret", map[string]any{
			"credential_type": "app_client_secret", "user_pool_id": seed.UserPoolID, "app_client_id": owned, "rotation_period": "24h",
		}},
		{"roles/user0", w.userRole(0)},
		{"roles/user2", w.userRole(2)},
		{"roles/user5", w.userRole(5)},
		{"roles/lent", w.userRole(2)},
		{"roles/lent-bare", with(w.userRole(2), map[string]any{"issue_tokens": false})},
		{"library/lent", map[string]any{"role": "lent", "size": setSizes[mount]}},
		{"library/lent-bare", map[string]any{"role": "lent-bare", "size": setSizes[mount]}},
	}
	for _, entry := range entries {
		if err := w.client.write(ctx, mount+"/"+entry.path, entry.data); err != nil {
			return err
		}
	}
	return w.awaitFree(ctx, mount)
}

func (w *setup) config() map[string]any {
	return map[string]any{
		"aws_access_key_id": "AKIABENCH", "aws_secret_access_key": "secret", "region": region,
		"cognito_endpoint": w.emulator.Endpoint, "sts_endpoint": w.emulator.Endpoint, "rate_limits": rateLimits,
	}
}

func (w *setup) userRole(groupCount int) map[string]any {
	seed := w.emulator.Seed
	return map[string]any{
		"credential_type": "user", "user_pool_id": seed.UserPoolID, "app_client_id": seed.AppClientID, "app_client_secret": seed.AppClientSecret,
		"groups": groups[:groupCount], "ttl": "30m", "max_ttl": "1h",
	}
}

func with(data, more map[string]any) map[string]any {
	all := map[string]any{}
	for _, part := range []map[string]any{data, more} {
		for field, value := range part {
			all[field] = value
		}
	}
	return all
}
