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
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

const (
	// startLimit is how long a server may take to start on a busy machine.
	startLimit = time.Minute
	// attemptLimit is how long one readiness check may take.
	attemptLimit = 2 * time.Second
	// requestLimit is how long a client waits for an answer. Servers give up after 90 seconds.
	requestLimit = 2 * time.Minute
	// idleConnections is how many clients can share a transport without a new connection per
	// request.
	idleConnections = 128
)

// VaultOptions says which server to start and how.
type VaultOptions struct {
	// Binary is the vault or bao executable. Required; FindServer finds one.
	Binary string
	// PluginDir holds plugin binaries and nothing else: a dev server registers every file in it
	// under the name of the file.
	PluginDir string
	// LogLevel is the server's -log-level; empty means "info".
	LogLevel string
	// Log, if set, gets what the server writes, as it writes it. LogText returns all of it in any
	// case.
	Log io.Writer
	// Env is added to the server's otherwise clean environment, as KEY=value.
	Env []string
	// Config is added to the server's configuration, in HCL.
	Config string
	// Port is where StartVault lets the server listen; 0 means a free port.
	Port int
}

// Vault is a running server of either product.
type Vault struct {
	// Addr is the server's base URL, http://127.0.0.1:PORT.
	Addr string
	// Token is the root token.
	Token string

	product Product
	version string
	binary  string
	args    []string
	config  string // the content of the configuration file
	env     []string
	home    string
	output  *output
	began   int // the size of output when the process began
	process *process
	client  *api.Client
}

// StartVault starts a dev server (in memory, unsealed) and returns when it is active and has
// registered the plugins of PluginDir. ctx bounds the start only: the server runs until Stop or
// Kill.
func StartVault(ctx context.Context, o VaultOptions) (*Vault, error) {
	if o.Port != 0 {
		return startDev(ctx, o, o.Port)
	}
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
	v, err := launch(ctx, o, port, args, "")
	if err != nil {
		return nil, err
	}
	v.Token = token
	v.client.SetToken(token)
	// The token proves that this process listens on the port. A dev server listens when all else is
	// done.
	if err := v.await(ctx, v.takesWrites); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// launch starts the binary with args, a home directory and a configuration file, and does not wait.
func launch(ctx context.Context, o VaultOptions, port int, args []string, config string) (*Vault, error) {
	if err := checkExecutable("server", o.Binary); err != nil {
		return nil, err
	}
	product, version, err := identify(ctx, o.Binary)
	if err != nil {
		return nil, err
	}
	if o.LogLevel == "" {
		o.LogLevel = "info"
	}
	v := &Vault{
		Addr:    fmt.Sprintf("http://127.0.0.1:%d", port),
		product: product,
		version: version,
		binary:  o.Binary,
		args:    append(args, "-log-level="+o.LogLevel),
		config:  config + o.Config + product.config(),
		env:     o.Env,
		output:  &output{tee: o.Log},
	}
	if v.client, err = newClient(v.Addr); err != nil {
		return nil, err
	}
	if err := v.begin(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

// begin starts the server's process with a home directory that holds its configuration.
func (v *Vault) begin(ctx context.Context) (err error) {
	v.began = v.output.size()
	if v.home, err = os.MkdirTemp("", "sb"); err != nil { // short: paths of plugin sockets are limited to 104 characters
		return err
	}
	args := v.args
	if v.config != "" {
		path := filepath.Join(v.home, "server.hcl")
		if err := os.WriteFile(path, []byte(v.config), 0o600); err != nil {
			return errors.Join(err, os.RemoveAll(v.home))
		}
		args = append(slices.Clone(args), "-config="+path)
	}
	v.process, err = start(ctx, command{
		name:   v.name(),
		path:   v.binary,
		args:   args,
		env:    cleanEnv(v.home, v.env...),
		stdout: v.output,
		stderr: v.output,
	})
	if err != nil {
		return errors.Join(err, os.RemoveAll(v.home))
	}
	return nil
}

// Product returns the kind of the server.
func (v *Vault) Product() Product { return v.product }

// Version returns the server's version, such as "1.21.1".
func (v *Vault) Version() string { return v.version }

// name returns the server's name for messages.
func (v *Vault) name() string { return strings.ToLower(string(v.product)) }

// Client returns a new client that holds the root token and never retries.
func (v *Vault) Client() *api.Client {
	client, err := v.client.Clone()
	if err != nil { // the same settings worked before
		panic(fmt.Sprintf("cloning an API client: %v", err))
	}
	return client
}

// Stop ends the server and everything it started, and returns when no process is left. It may be
// called repeatedly.
func (v *Vault) Stop() {
	v.process.stop()
	_ = os.RemoveAll(v.home) // a remaining temporary directory is no reason to fail
}

// Kill ends the server and everything it started with SIGKILL, and returns when no process is left.
func (v *Vault) Kill() {
	v.process.kill()
	_ = os.RemoveAll(v.home)
}

// KillServer kills the server with SIGKILL and leaves its plugins running, as the kernel or an
// operator would. It returns when the server has ended.
func (v *Vault) KillServer() { v.process.killAlone() }

// Done is closed when the server has exited.
func (v *Vault) Done() <-chan struct{} { return v.process.done }

// PluginPIDs returns the process ids of the server's plugins whose binary has that file name.
func (v *Vault) PluginPIDs(name string) ([]int, error) {
	return childrenNamed(v.process.pid, name)
}

// LogText returns all that the server wrote so far.
func (v *Vault) LogText() string { return v.output.String() }

// CLI runs the server's own binary against the server and returns its standard output. If the
// command fails, the error holds its standard error.
func (v *Vault) CLI(ctx context.Context, args ...string) (stdout string, err error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, v.binary, args...)
	cmd.Env = cleanEnv(v.home, "VAULT_ADDR="+v.Addr, "VAULT_TOKEN="+v.Token)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.WaitDelay = pipeGrace
	if err := cmd.Run(); err != nil {
		// Not all arguments, because they may hold secrets.
		shown := strings.Join(args[:min(2, len(args))], " ")
		return out.String(), fmt.Errorf("%s %s: %w: %s", v.name(), shown, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// await polls until ready returns nil, the server has exited, startLimit has passed or ctx ends.
func (v *Vault) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for attempt(ctx, ready) != nil {
		if err := v.portTaken(); err != nil {
			return err // the process needs seconds to end
		}
		select {
		case <-v.Done():
			return fmt.Errorf("%s ended: %w; its last output:\n%s", v.name(), v.process.exitStatus(), tail(v.LogText()))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its last output:\n%s", v.name(), ctx.Err(), tail(v.LogText()))
		case <-ticker.C:
		}
	}
	return nil
}

// portTaken returns an error if the process reported that its port is in use.
func (v *Vault) portTaken() error {
	for line := range strings.Lines(v.output.since(v.began)) {
		if strings.Contains(line, "address already in use") {
			return fmt.Errorf("%w: %s", errPortTaken, strings.TrimSpace(line))
		}
	}
	return nil
}

// attempt bounds one call of ready: another process on the port may accept the connection and never
// answer.
func attempt(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	return ready(ctx)
}

// takesWrites returns nil if a write succeeds, which takes an active node: an OpenBao standby
// answers reads also when there is none.
func (v *Vault) takesWrites(ctx context.Context) error {
	_, err := v.client.Logical().WriteWithContext(ctx, "cubbyhole/sandbox", map[string]any{"ready": true})
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
		return nil, fmt.Errorf("creating an API client: %w", err)
	}
	client.ClearNamespace()
	client.ClearToken()
	return client, nil
}

// resolveDir returns dir as servers require their plugin directory: absolute, without symbolic
// links.
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
