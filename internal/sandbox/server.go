// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/vault/api"
)

// ServerOptions says which server to start and where it keeps its data.
type ServerOptions struct {
	VaultOptions
	// DataDir is an empty directory for the storage and the keys.
	DataDir string
}

// Server is a server as in production: integrated storage (raft) on disk, sealed when it starts,
// plugins registered by hand.
type Server struct {
	*Vault

	pluginDir string
	member    member
}

// member says how a server gets its data and keys.
type member struct {
	// keyFile holds the keys that all members share.
	keyFile string
	// join is the address of the member that a new server joins; empty means that it starts a
	// cluster.
	join string
}

// keys unseals an initialised server.
type keys struct {
	Unseal string `json:"unseal_key"`
	Root   string `json:"root_token"`
}

// StartServer starts a server, initialises and unseals it, and returns when it is active. After
// Stop or Kill, Restart starts it again. ctx bounds the start only.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	return startMember(ctx, o, member{keyFile: filepath.Join(o.DataDir, "keys.json")})
}

func startMember(ctx context.Context, o ServerOptions, m member) (*Server, error) {
	pluginDir, err := resolveDir(o.PluginDir)
	if err != nil {
		return nil, err
	}
	v, err := onFreePort(ctx, func(port int) (*Vault, error) { return startOn(ctx, o, m, pluginDir, port) })
	if err != nil {
		return nil, err
	}
	return &Server{Vault: v, pluginDir: pluginDir, member: m}, nil
}

func startOn(ctx context.Context, o ServerOptions, m member, pluginDir string, port int) (*Vault, error) {
	config, err := serverConfig(o, pluginDir, port)
	if err != nil {
		return nil, err
	}
	v, err := launch(ctx, o.VaultOptions, port, []string{"server"}, config)
	if err != nil {
		return nil, err
	}
	if err := v.open(ctx, m); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// Restart ends the server if it still runs, starts it on the same data and port, unseals it, and
// returns when it is active or its cluster has an active member. Existing clients keep working.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.open(ctx, s.member)
}

// Unseal unseals a sealed server, and returns when Restart would.
func (s *Server) Unseal(ctx context.Context) error { return s.open(ctx, s.member) }

// StepDown makes an active server step down, and returns when it is a standby.
func (s *Server) StepDown(ctx context.Context) error {
	if err := s.client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("stepping down: %w", err)
	}
	return s.await(ctx, func(ctx context.Context) error {
		if s.leads(ctx) {
			return errors.New("it is still active")
		}
		return nil
	})
}

// Ready waits until the server takes writes: it or another member of its cluster is active.
func (s *Server) Ready(ctx context.Context) error { return s.await(ctx, s.takesWrites) }

// leads reports whether the server is the active one.
func (s *Server) leads(ctx context.Context) bool {
	health, err := s.health(ctx)
	return err == nil && health.Initialized && !health.Sealed && !health.Standby
}

func (s *Server) health(ctx context.Context) (health *api.HealthResponse, err error) {
	err = attempt(ctx, func(ctx context.Context) error {
		health, err = s.client.Sys().HealthWithContext(ctx)
		return err
	})
	return health, err
}

// serverConfig creates the directory for the storage and returns the server's configuration. A new
// leader is elected within a few seconds, and a new member soon gets its vote: the default settings
// are slower, and faster ones would depose leaders that only wait for a processor.
func serverConfig(o ServerOptions, pluginDir string, port int) (string, error) {
	dataDir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return "", err
	}
	storage := filepath.Join(dataDir, "storage")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return "", err
	}
	text := fmt.Sprintf(`storage "raft" {
  path                         = %q
  node_id                      = %q
  performance_multiplier       = 2
  autopilot_update_interval    = "500ms"
  autopilot_reconcile_interval = "1s"
}
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
api_addr      = "http://127.0.0.1:%d"
cluster_addr  = "https://127.0.0.1:%d"
disable_mlock = true
`, storage, "node-"+filepath.Base(dataDir), port, port, port+1)
	if pluginDir != "" {
		text += fmt.Sprintf("plugin_directory = %q\n", pluginDir)
	}
	return text, nil
}

// open initialises a new server or lets it join its cluster, unseals it and waits until it takes
// writes.
func (v *Vault) open(ctx context.Context, m member) error {
	var initialised bool
	answers := func(ctx context.Context) (err error) {
		initialised, err = v.client.Sys().InitStatusWithContext(ctx)
		return err
	}
	if err := v.await(ctx, answers); err != nil {
		return err
	}
	k, err := v.keys(ctx, initialised, m)
	if err != nil {
		return err
	}
	if _, err := v.client.Sys().UnsealWithContext(ctx, k.Unseal); err != nil {
		return fmt.Errorf("unsealing: %w", err)
	}
	v.Token = k.Root
	v.client.SetToken(k.Root)
	return v.await(ctx, v.takesWrites)
}

// keys returns the keys of the server. A new one is initialised or joins its cluster.
func (v *Vault) keys(ctx context.Context, initialised bool, m member) (keys, error) {
	switch {
	case initialised:
		return readKeys(m.keyFile)
	case m.join != "":
		if _, err := v.client.Sys().RaftJoinWithContext(ctx, &api.RaftJoinRequest{LeaderAPIAddr: m.join}); err != nil {
			return keys{}, fmt.Errorf("joining a cluster: %w", err)
		}
		return readKeys(m.keyFile)
	}
	answer, err := v.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return keys{}, fmt.Errorf("initialising: %w", err)
	}
	k := keys{Unseal: answer.KeysB64[0], Root: answer.RootToken}
	text, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	return k, os.WriteFile(m.keyFile, text, 0o600)
}

func readKeys(keyFile string) (keys, error) {
	var k keys
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return k, fmt.Errorf("reading the keys of an initialised server: %w", err)
	}
	return k, json.Unmarshal(text, &k)
}

// RegisterPlugin registers the binary called name in the plugin directory as a secrets engine of
// that name. If version is empty, the server uses the one that the plugin reports.
func (s *Server) RegisterPlugin(ctx context.Context, name, version string) error {
	binary, err := os.ReadFile(filepath.Join(s.pluginDir, filepath.Base(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no plugin %q in the plugin directory: %w", name, err)
	}
	if err != nil {
		return err
	}
	sum := sha256.Sum256(binary)
	return s.client.Sys().RegisterPluginWithContext(ctx, &api.RegisterPluginInput{
		Name:    name,
		Type:    api.PluginTypeSecrets,
		Command: name,
		SHA256:  hex.EncodeToString(sum[:]),
		Version: version,
	})
}
