// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// histories is up to a minute of them for each subject.
const histories = "400"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", histories); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// check runs a property in a bubble for each history. What fails in the bubble fails outside,
// where rapid can shrink it.
func check(t *testing.T, property func(rt *rapid.T)) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			property(rt)
		})
		if isInvalid(failure) {
			panic(failure)
		}
		if failure != nil {
			panic(failure) // on a line of its own: rapid tells failures apart by where they come from
		}
	})
}

// fail ends a history. Details that differ from run to run, such as random usernames, are only
// logged: rapid shrinks a history as long as it fails with the same text.
func fail(tb rapid.TB, what string, details ...any) {
	tb.Helper()
	tb.Logf("%s: %+v", what, details)
	tb.Fatal(what)
}

// stepsMin is how many steps a history has at least, until it shrinks.
const stepsMin = 30

// play makes random steps. The last draw lets a history shrink to less than stepsMin; by chance it
// never does.
func play(rt *rapid.T, steps map[string]func(*rapid.T)) {
	made := 0
	counted := maps.Clone(steps)
	for name, step := range steps {
		if name != "" {
			counted[name] = func(rt *rapid.T) { step(rt); made++ }
		}
	}
	rt.Repeat(counted)
	isWhole := slices.Contains(rapid.SliceOfN(rapid.Bool(), 20, 20).Draw(rt, "whole"), true)
	for isWhole && made < stepsMin {
		rt.Repeat(counted)
	}
}

// isInvalid reports whether a panic is the way in which rapid ends a history that it cannot
// continue.
func isInvalid(failure any) bool { return fmt.Sprintf("%T", failure) == "rapid.invalidData" }

// wait lets time pass in the bubble of a history, where that takes none.
func wait(d time.Duration) { <-time.After(d) }

var errDead = errors.New("the process is dead")

// life is that of one process of the engine. When it is over, no call reaches storage or AWS.
type life struct {
	mu   sync.Mutex
	dead bool
	// calls counts down to the death; 0 is no death.
	calls int
	// effect says whether the call at which the process dies still has its effect.
	effect bool
}

// dieAt lets the process die at its n-th call from now on.
func (l *life) dieAt(n int, effect bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls, l.effect = n, effect
}

// end ends the life at once.
func (l *life) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
}

func (l *life) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// enter is called before each call, and reports whether the call has its effect and whether its
// caller lives to see the answer.
func (l *life) enter() (effect, answer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return false, false
	}
	if l.calls > 0 {
		if l.calls--; l.calls == 0 {
			l.dead = true
			return l.effect, false
		}
	}
	return true, true
}

// processStorage is the storage of a mount as one process reaches it.
type processStorage struct {
	logical.Storage
	life *life
}

func (s processStorage) do(call func() error) error {
	effect, answer := s.life.enter()
	var err error
	if effect {
		err = call()
	}
	if !answer {
		return errDead
	}
	return err
}

// List implements logical.Storage.
func (s processStorage) List(ctx context.Context, prefix string) (names []string, err error) {
	err = s.do(func() (err error) { names, err = s.Storage.List(ctx, prefix); return err })
	return names, err
}

// Get implements logical.Storage.
func (s processStorage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.do(func() (err error) { entry, err = s.Storage.Get(ctx, key); return err })
	return entry, err
}

// Put implements logical.Storage.
func (s processStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.do(func() error { return s.Storage.Put(ctx, entry) })
}

// Delete implements logical.Storage.
func (s processStorage) Delete(ctx context.Context, key string) error {
	return s.do(func() error { return s.Storage.Delete(ctx, key) })
}

// processNetwork is the network as one process reaches it.
type processNetwork struct {
	http.RoundTripper
	life *life
}

// RoundTrip implements http.RoundTripper.
func (n processNetwork) RoundTrip(r *http.Request) (response *http.Response, err error) {
	effect, answer := n.life.enter()
	if effect {
		response, err = n.RoundTripper.RoundTrip(r)
	}
	if !answer {
		return nil, errDead
	}
	return response, err
}

// sum is a sum of durations, which the engine reads in the background.
type sum struct{ nanoseconds atomic.Int64 }

func (s *sum) add(d time.Duration) { s.nanoseconds.Add(int64(d)) }

func (s *sum) get() time.Duration { return time.Duration(s.nanoseconds.Load()) }

// world is what the engine runs in: AWS, a machine with clocks, and the storage of its mount.
type world struct {
	tb      rapid.TB
	cognito *emulator.Server
	seed    emulator.Seed
	began   time.Time
	// clockSet is by how much the wall clock of Vault's machine is ahead of AWS's.
	clockSet sum
	// suspended is for how long the machine was suspended. Monotonic clocks stand still meanwhile.
	suspended sum

	storage *logical.InmemStorage
	system  *logical.StaticSystemView

	life   *life
	engine logical.Backend
	served logical.Storage
}

func newWorld(tb rapid.TB) *world {
	w := &world{
		tb: tb, began: time.Now(),
		cognito: emulator.New(emulator.Options{SigningKey: emulatortest.SigningKey(), CheapTokens: true}),
		storage: &logical.InmemStorage{},
		system:  &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour},
	}
	seed, err := w.cognito.Seed(emulatortest.Region, emulatortest.Endpoint)
	w.must(err)
	w.seed = seed
	w.start()
	return w
}

func (w *world) must(err error) {
	w.tb.Helper()
	if err != nil {
		fail(w.tb, "setting up the world", err)
	}
}

// now is the wall clock of Vault's machine, and elapsed its monotonic clock.
func (w *world) now() time.Time { return time.Now().Add(w.clockSet.get()) }

func (w *world) elapsed() time.Duration { return time.Since(w.began) }

// start starts a process of the engine.
func (w *world) start() {
	w.life = &life{}
	options := backend.Options{
		Version: "v1.2.3", Now: w.now, Elapsed: w.elapsed, Boot: "machine", Suspended: w.suspended.get,
		Transport: processNetwork{emulatortest.Transport(w.cognito), w.life},
	}
	engine, err := backend.Factory(options)(context.Background(), &logical.BackendConfig{Logger: hclog.NewNullLogger(), System: w.system})
	w.must(err)
	w.served = processStorage{w.storage, w.life}
	w.engine = engine
	w.must(engine.Initialize(context.Background(), &logical.InitializationRequest{Storage: w.served}))
}

// stop ends the process, by force or in order.
func (w *world) stop(kill bool) {
	if kill {
		w.life.end()
	}
	w.engine.Cleanup(context.Background())
	w.life.end()
}

// request makes a request as Vault does. A process that died is replaced by the next request, as
// in Vault.
func (w *world) request(req *logical.Request) (*logical.Response, error) {
	if w.life.isOver() {
		w.stop(true)
		w.start()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	life := w.life // another process may have begun when the response comes
	req.Storage, req.MountPoint, req.DisplayName = w.served, "cognito/", "token"
	response, err := w.engine.HandleRequest(ctx, req)
	switch {
	case life.isOver():
		return nil, errDead
	case err == nil && response.IsError():
		return nil, response.Error()
	default:
		return response, err
	}
}

func (w *world) write(path string, data map[string]any) error {
	_, err := w.request(&logical.Request{Operation: logical.UpdateOperation, Path: path, Data: data})
	return err
}

// configure writes config and roles that lead to the emulator.
func (w *world) configure() {
	w.must(w.write("config", map[string]any{
		"aws_access_key_id": "AKIAMODEL", "aws_secret_access_key": "secret", "region": emulatortest.Region,
		"cognito_endpoint": emulatortest.Endpoint, "sts_endpoint": emulatortest.Endpoint, "iam_endpoint": emulatortest.Endpoint,
		"max_retries": 0, "request_timeout": 5,
		"rate_limits": map[string]any{"UserCreation": 1000, "UserAccountRecovery": 1000, "UserUpdate": 1000, "UserAuthentication": 1000, "UserRead": 1000, "UserResourceRead": 1000, "UserToken": 1000},
	}))
}

// users are the usernames at Cognito that no seed brought.
func (w *world) users() map[string]bool {
	found := map[string]bool{}
	for _, user := range w.cognito.Users(w.seed.UserPoolID) {
		found[user.Username] = user.Enabled
	}
	return found
}
