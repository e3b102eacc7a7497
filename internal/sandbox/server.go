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
}

// Server is a production-like Vault: file storage, sealed when it starts, plugins registered by hand.
type Server struct {
	*Vault

	pluginDir string
}

// keys open a Vault that was initialised before.
type keys struct {
	Unseal string `json:"unseal_key"`
	Root   string `json:"root_token"`
}

// StartServer starts a server on DataDir, initialises it if it is new, unseals it and returns when it is active.
// A server that was stopped or killed is started again by calling it with the same DataDir. ctx bounds the start only.
func StartServer(ctx context.Context, o ServerOptions) (*Server, error) {
	pluginDir, err := resolveDir(o.PluginDir)
	if err != nil {
		return nil, err
	}
	begin := func(port int) (*Vault, error) { return startOn(ctx, o, pluginDir, port) }
	var v *Vault
	if o.Port != 0 {
		v, err = begin(o.Port)
	} else {
		v, err = onFreePort(ctx, begin)
	}
	if err != nil {
		return nil, err
	}
	return &Server{Vault: v, pluginDir: pluginDir}, nil
}

func startOn(ctx context.Context, o ServerOptions, pluginDir string, port int) (*Vault, error) {
	config, err := writeConfig(o.DataDir, pluginDir, port)
	if err != nil {
		return nil, err
	}
	v, err := launch(ctx, o.VaultOptions, port, []string{"server", "-config=" + config})
	if err != nil {
		return nil, err
	}
	if err := v.open(ctx, filepath.Join(o.DataDir, "keys.json")); err != nil {
		v.Stop()
		return nil, err
	}
	return v, nil
}

// writeConfig writes the server's configuration into dataDir and returns its path.
func writeConfig(dataDir, pluginDir string, port int) (string, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return "", err
	}
	path, err := filepath.Abs(filepath.Join(dataDir, "vault.hcl"))
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`storage "file" { path = %q }
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
api_addr      = "http://127.0.0.1:%d"
cluster_addr  = "https://127.0.0.1:%d"
disable_mlock = true
`, filepath.Join(filepath.Dir(path), "storage"), port, port, port+1)
	if pluginDir != "" {
		text += fmt.Sprintf("plugin_directory = %q\n", pluginDir)
	}
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// open initialises the server if it is new, unseals it and waits until it is active.
func (v *Vault) open(ctx context.Context, keyFile string) error {
	var initialised bool
	answers := func(ctx context.Context) (err error) {
		initialised, err = v.client.Sys().InitStatusWithContext(ctx)
		return err
	}
	if err := v.await(ctx, answers); err != nil {
		return err
	}
	k, err := v.keys(ctx, initialised, keyFile)
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

// keys returns the keys in keyFile, which it makes by initialising a server that is new.
func (v *Vault) keys(ctx context.Context, initialised bool, keyFile string) (keys, error) {
	var k keys
	if initialised {
		text, err := os.ReadFile(keyFile)
		if err != nil {
			return k, fmt.Errorf("vault is initialised, but how to unseal it is unknown: %w", err)
		}
		return k, json.Unmarshal(text, &k)
	}
	answer, err := v.client.Sys().InitWithContext(ctx, &api.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return k, fmt.Errorf("initialising vault: %w", err)
	}
	k = keys{Unseal: answer.KeysB64[0], Root: answer.RootToken}
	text, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	return k, os.WriteFile(keyFile, text, 0o600)
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
