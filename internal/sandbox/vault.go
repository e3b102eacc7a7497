// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// startLimit is how long a server may take to come up, on a machine that has other work.
	startLimit = time.Minute
	// attemptLimit is how long one look at a server that starts may take.
	attemptLimit = 2 * time.Second
	// requestLimit is how long a client waits for an answer; Vault itself gives up after 90 seconds.
	requestLimit = 2 * time.Minute
	// idleConnections is how many clients may share a transport without opening a connection per request.
	idleConnections = 128
)

// VaultOptions says which Vault to start and how.
type VaultOptions struct {
	// Binary is the vault executable. Required; FindVault finds one.
	Binary string
	// PluginDir holds plugin binaries and nothing else: a dev server registers every file in it under the file's name.
	PluginDir string
	// LogLevel is Vault's -log-level; empty means "info".
	LogLevel string
	// Log, when set, gets what Vault writes, as it writes it. LogText has it all in either case.
	Log io.Writer
	// Env is added to Vault's otherwise clean environment, as KEY=value.
	Env []string
}

// Vault is a running Vault server.
type Vault struct {
	// Addr is the server's base URL, http://127.0.0.1:PORT.
	Addr string
	// Token is the root token.
	Token string

	binary  string
	args    []string
	env     []string
	home    string
	output  *output
	began   int // the size of output when the process began
	process *process
	client  *api.Client
}

// StartVault starts a dev server (in memory, unsealed) and returns when it is active and has registered the plugins of
// PluginDir. ctx bounds the start only: the server runs until Stop or Kill.
func StartVault(ctx context.Context, o VaultOptions) (*Vault, error) {
	return onFreePort(ctx, func(port int) (*Vault, error) { return startDev(ctx, o, port) })
}

func startDev(ctx context.Context, o VaultOptions, port int) (*Vault, error) {
	pluginDir, err := resolveDir(o.PluginDir)
	if err != nil {
		return nil, err
	}
	token := "dev-" + rand.Text()
	args := []string{
		"server", "-dev", "-dev-no-store-token", "-dev-root-token-id=" + token,
		fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port),
	}
	if pluginDir != "" {
		args = append(args, "-dev-plugin-dir="+pluginDir)
	}
	v, err := launch(ctx, o, port, args)
	if err != nil {
		return nil, err
	}
	v.Token = token
	v.client.SetToken(token)
	// The token proves that the server on this port is ours. A dev server listens when all else is done.
	if err := v.await(ctx, v.tokenWorks); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// launch starts the vault binary with args and a home of its own, and does not wait for anything.
func launch(ctx context.Context, o VaultOptions, port int, args []string) (*Vault, error) {
	if err := checkExecutable("vault", o.Binary); err != nil {
		return nil, err
	}
	if o.LogLevel == "" {
		o.LogLevel = "info"
	}
	v := &Vault{
		Addr:   fmt.Sprintf("http://127.0.0.1:%d", port),
		binary: o.Binary,
		args:   append(args, "-log-level="+o.LogLevel),
		env:    o.Env,
		output: &output{tee: o.Log},
	}
	var err error
	if v.client, err = newClient(v.Addr); err != nil {
		return nil, err
	}
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// begin starts the server's process, with a home of its own.
func (v *Vault) begin(ctx context.Context) (err error) {
	v.began = v.output.size()
	if v.home, err = os.MkdirTemp("", "sb"); err != nil { // short: paths of the plugins' sockets may have 104 characters
		return err
	}
	v.process, err = start(ctx, command{
		name:   "vault",
		path:   v.binary,
		args:   v.args,
		env:    cleanEnv(v.home, v.env...),
		stdout: v.output,
		stderr: v.output,
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(v.home))
	}
	return nil
}

// Client returns a new client that holds the root token and never retries.
func (v *Vault) Client() *api.Client {
	client, err := v.client.Clone()
	if err != nil { // the same settings made a client before
		panic(fmt.Sprintf("cloning a Vault client: %v", err))
	}
	return client
}

// Stop ends the server and everything it started, and returns when no process is left. It may be called repeatedly.
func (v *Vault) Stop() {
	v.process.stop()
	_ = os.RemoveAll(v.home) // a leftover in the temporary directory is no reason to fail
}

// Kill ends the server and everything it started with SIGKILL, and returns when no process is left.
func (v *Vault) Kill() {
	v.process.kill()
	_ = os.RemoveAll(v.home)
}

// Done is closed when the server has exited, for whatever reason.
func (v *Vault) Done() <-chan struct{} { return v.process.done }

// PluginPIDs returns the process ids of the server's plugin processes whose binary has that file name.
func (v *Vault) PluginPIDs(name string) ([]int, error) {
	return childrenNamed(v.process.pid, name)
}

// LogText returns all that the server wrote so far.
func (v *Vault) LogText() string { return v.output.String() }

// CLI runs the server's own binary against the server and returns its standard output. The error of a command that
// fails holds what it wrote to standard error.
func (v *Vault) CLI(ctx context.Context, args ...string) (stdout string, err error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, v.binary, args...)
	cmd.Env = cleanEnv(v.home, "VAULT_ADDR="+v.Addr, "VAULT_TOKEN="+v.Token)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = pipeGrace
	if err := cmd.Run(); err != nil {
		// No more of the arguments: they may hold secrets.
		shown := strings.Join(args[:min(2, len(args))], " ")
		return out.String(), fmt.Errorf("vault %s: %w: %s", shown, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// await polls until ready answers no error, the server has exited, startLimit is over or ctx ends.
func (v *Vault) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for attempt(ctx, ready) != nil {
		if err := v.portTaken(); err != nil {
			return err // it says so at once, and takes seconds to end
		}
		select {
		case <-v.Done():
			return fmt.Errorf("vault ended: %w; it wrote last:\n%s", v.process.exitStatus(), tail(v.LogText()))
		case <-ctx.Done():
			return fmt.Errorf("vault is not ready: %w; it wrote last:\n%s", ctx.Err(), tail(v.LogText()))
		case <-ticker.C:
		}
	}
	return nil
}

// portTaken looks for what the process says when it cannot listen.
func (v *Vault) portTaken() error {
	for line := range strings.Lines(v.output.since(v.began)) {
		if strings.Contains(line, "address already in use") {
			return fmt.Errorf("%w: %s", errPortTaken, strings.TrimSpace(line))
		}
	}
	return nil
}

// attempt bounds one call of ready: a stranger on our port may take the connection and never answer.
func attempt(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	return ready(ctx)
}

func (v *Vault) tokenWorks(ctx context.Context) error {
	_, err := v.client.Auth().Token().LookupSelfWithContext(ctx)
	return err
}

// newClient returns a client that follows none of the caller's VAULT_ settings.
func newClient(addr string) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address: addr,
		HttpClient: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: idleConnections},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Timeout:      requestLimit,
		CloneHeaders: true,
		CloneToken:   true,
	})
	if err != nil {
		return nil, fmt.Errorf("making a Vault client: %w", err)
	}
	client.ClearNamespace()
	client.ClearToken()
	return client, nil
}

// resolveDir returns dir as Vault wants its plugin directory: absolute and without symbolic links.
func resolveDir(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	resolved, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return "", fmt.Errorf("plugin directory: %w", err)
	}
	return resolved, nil
}
