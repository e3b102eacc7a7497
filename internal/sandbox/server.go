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
	// DataDir holds the storage, the configuration and the keys. The same DataDir gives the same Vault.
	DataDir string
	// Port to listen on, with the next one for the cluster; 0 means a free one, another at each start.
	Port int
	// Raft keeps the data in integrated storage instead of in plain files. Such a server remembers its port, so it is
	// started again by Restart.
	Raft bool
}

// Server is a production-like Vault: storage on disk, sealed when it starts, plugins registered by hand.
type Server struct {
	*Vault

	pluginDir string
	member    member
}

// member is what a server knows of those that it shares its data with.
type member struct {
	// keyFile holds the keys of all.
	keyFile string
	// join is the address of one that a new server asks for the data; empty means that it begins its own.
	join string
}

// keys open a Vault that was initialised before.
type keys struct {
	Unseal string `json:"unseal_key"`
	Root   string `json:"root_token"`
}

// StartServer starts a server on DataDir, initialises it if it is new, unseals it and returns when it is active.
// A server that was stopped or killed is started again by calling it with the same DataDir. ctx bounds the start only.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	return startMember(ctx, o, member{keyFile: filepath.Join(o.DataDir, "keys.json")})
}

func startMember(ctx context.Context, o ServerOptions, m member) (*Server, error) {
	pluginDir, err := resolveDir(o.PluginDir)
	if err != nil {
		return nil, err
	}
	begin := func(port int) (*Vault, error) { return startOn(ctx, o, m, pluginDir, port) }
	var v *Vault
	if o.Port != 0 {
		v, err = begin(o.Port)
	} else {
		v, err = onFreePort(ctx, begin)
	}
	if err != nil {
		return nil, err
	}
	return &Server{Vault: v, pluginDir: pluginDir, member: m}, nil
}

func startOn(ctx context.Context, o ServerOptions, m member, pluginDir string, port int) (*Vault, error) {
	config, err := writeConfig(o, pluginDir, port)
	if err != nil {
		return nil, err
	}
	v, err := launch(ctx, o.VaultOptions, port, []string{"server", "-config=" + config})
	if err != nil {
		return nil, err
	}
	if err := v.open(ctx, m); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// Restart ends the server if it still runs, starts it again on the same data and the same port, unseals it and returns
// when it is active, or stands by in a cluster that has a leader. Clients from before go on.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.open(ctx, s.member)
}

// Unseal unseals a server that was sealed, and returns as Restart does.
func (s *Server) Unseal(ctx context.Context) error { return s.open(ctx, s.member) }

// StepDown makes the server give up being active and returns when it has.
func (s *Server) StepDown(ctx context.Context) error {
	if err := s.client.Sys().StepDownWithContext(ctx); err != nil {
		return fmt.Errorf("making vault step down: %w", err)
	}
	return s.await(ctx, func(ctx context.Context) error {
		if s.leads(ctx) {
			return errors.New("it is still active")
		}
		return nil
	})
}

// Ready waits until requests to the server are answered, which is when it or another of its cluster is active.
func (s *Server) Ready(ctx context.Context) error { return s.await(ctx, s.tokenWorks) }

// leads reports whether the server is active: it has taken the lead and is done with its preparations for it.
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

// writeConfig writes the server's configuration into its DataDir and returns its path.
func writeConfig(o ServerOptions, pluginDir string, port int) (string, error) {
	dataDir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return "", err
	}
	storage := filepath.Join(dataDir, "storage")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return "", err
	}
	text := fmt.Sprintf(`%s
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
api_addr      = "http://127.0.0.1:%d"
cluster_addr  = "https://127.0.0.1:%d"
disable_mlock = true
`, storageConfig(o.Raft, storage, filepath.Base(dataDir)), port, port, port+1)
	if pluginDir != "" {
		text += fmt.Sprintf("plugin_directory = %q\n", pluginDir)
	}
	path := filepath.Join(dataDir, "vault.hcl")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// storageConfig lets an election take a few seconds, and a new member vote as soon: Vault's own pace is slower, for small
// machines. A faster one would depose leaders that only wait for a processor.
func storageConfig(raft bool, dir, id string) string {
	if !raft {
		return fmt.Sprintf("storage \"file\" { path = %q }", dir)
	}
	return fmt.Sprintf(`storage "raft" {
  path                         = %q
  node_id                      = %q
  performance_multiplier       = 2
  autopilot_update_interval    = "500ms"
  autopilot_reconcile_interval = "1s"
}`, dir, "node-"+id)
}

// open initialises the server if it is new, or lets it join another's data, unseals it and waits until requests to it
// are answered.
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
		return fmt.Errorf("unsealing vault: %w", err)
	}
	v.Token = k.Root
	v.client.SetToken(k.Root)
	return v.await(ctx, v.tokenWorks)
}

// keys returns the keys of the server, which a new one gets by being initialised or by joining.
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
		return keys{}, fmt.Errorf("initialising vault: %w", err)
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
		return k, fmt.Errorf("vault is initialised, but how to unseal it is unknown: %w", err)
	}
	return k, json.Unmarshal(text, &k)
}

// RegisterPlugin registers the binary name of the plugin directory as a secrets engine of that name. version may be
// empty: Vault then takes the one that the plugin reports.
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
