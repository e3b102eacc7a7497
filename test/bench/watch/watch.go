// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package watch lets the benchmark look into a plugin's process: what it allocates, how often it
// calls the server, and its profiles.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
)

// DirVariable names the environment variable with the directory in which each plugin process stores
// the address of its watcher.
const DirVariable = "BENCH_WATCH_DIR"

// Counts is what a process has done since it started.
type Counts struct {
	// Objects and Bytes were allocated.
	Objects uint64 `json:"objects"`
	Bytes   uint64 `json:"bytes"`
	// CallsBack is the number of the plugin's calls to the server, for storage and for its system
	// view.
	CallsBack int64 `json:"calls_back"`
}

var callsBack atomic.Int64

// Serve answers on a free loopback port until the process ends.
func Serve() error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening to be watched: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/counts", writeCounts)
	mux.HandleFunc("/profile", pprof.Profile)
	mux.Handle("/allocs", pprof.Handler("allocs"))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // ends with the process
	return os.WriteFile(addressFile(os.Getenv(DirVariable), os.Getpid()), []byte(listener.Addr().String()), 0o600)
}

func writeCounts(w http.ResponseWriter, _ *http.Request) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	_ = json.NewEncoder(w).Encode(Counts{Objects: memory.Mallocs, Bytes: memory.TotalAlloc, CallsBack: callsBack.Load()})
}

func addressFile(dir string, pid int) string { return filepath.Join(dir, strconv.Itoa(pid)) }

// Address returns the base URL at which a plugin process can be watched.
func Address(dir string, pid int) (string, error) {
	text, err := os.ReadFile(addressFile(dir, pid))
	if err != nil {
		return "", fmt.Errorf("the plugin process %d cannot be watched: %w", pid, err)
	}
	return "http://" + strings.TrimSpace(string(text)), nil
}

// Counting returns a factory whose mounts count their calls to the server.
func Counting(factory logical.Factory) logical.Factory {
	return func(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
		if conf == nil {
			return nil, errors.New("there is no configuration")
		}
		counted := *conf
		counted.System = system{conf.System}
		made, err := factory(ctx, &counted)
		return backend{made}, err
	}
}

type backend struct{ logical.Backend }

// HandleRequest gives the mount a storage that counts.
func (b backend) HandleRequest(ctx context.Context, req *logical.Request) (*logical.Response, error) {
	req.Storage = storage{req.Storage}
	return b.Backend.HandleRequest(ctx, req)
}

type storage struct{ logical.Storage }

func (s storage) List(ctx context.Context, prefix string) ([]string, error) {
	callsBack.Add(1)
	return s.Storage.List(ctx, prefix)
}

func (s storage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	callsBack.Add(1)
	return s.Storage.Get(ctx, key)
}

func (s storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	callsBack.Add(1)
	return s.Storage.Put(ctx, entry)
}

func (s storage) Delete(ctx context.Context, key string) error {
	callsBack.Add(1)
	return s.Storage.Delete(ctx, key)
}

// system counts what the SDK and the engine ask for during a request.
type system struct{ logical.SystemView }

func (s system) DefaultLeaseTTL() time.Duration {
	callsBack.Add(1)
	return s.SystemView.DefaultLeaseTTL()
}

func (s system) MaxLeaseTTL() time.Duration {
	callsBack.Add(1)
	return s.SystemView.MaxLeaseTTL()
}

func (s system) Tainted() bool {
	callsBack.Add(1)
	return s.SystemView.Tainted()
}

func (s system) LocalMount() bool {
	callsBack.Add(1)
	return s.SystemView.LocalMount()
}

func (s system) ReplicationState() consts.ReplicationState {
	callsBack.Add(1)
	return s.SystemView.ReplicationState()
}

func (s system) GeneratePasswordFromPolicy(ctx context.Context, policy string) (string, error) {
	callsBack.Add(1)
	return s.SystemView.GeneratePasswordFromPolicy(ctx, policy)
}
