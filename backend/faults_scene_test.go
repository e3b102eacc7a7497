// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
	"vault-plugin-secrets-cognito/internal/tally"
)

const (
	// watchdog ends requests that would not end by themselves.
	watchdog = 80 * time.Second
	// patience is how long a call to AWS may take while nothing is to hang.
	patience = 30 * time.Second
)

var errPanicked = errors.New("the request panicked")

// scene is one try of an operation: a mount with a Cognito of its own, in
// which one thing goes wrong, and what was handed out of it.
type scene struct {
	*keeper
	count *tally.Count
	log   *logBook

	// answersLost says that the process is to die, so that nobody hears what it answers.
	answersLost bool
	leases      []*leaseInHand
	statics     map[string]*ownedThing
	// rotatesRoot says that the key in the config is enforced.
	rotatesRoot bool
	// foreign says that there is a secret that is not ours.
	foreign bool
	// texts are what everybody may read, and secrets what must not be in there.
	texts, secrets []string
}

// logBook is where the engine logs to.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newScene(t *testing.T, count *tally.Count) *scene {
	t.Helper()
	s := &scene{keeper: newKeeper(t), count: count, log: &logBook{}, statics: map[string]*ownedThing{}}
	s.newProcess()
	// A mark in all passwords that the engine makes betrays those, too, that nobody is handed.
	s.System.SetPasswordPolicy("marked", func() (string, error) { return "hush-" + rand.Text() + "-1", nil })
	s.WriteOK("config", map[string]any{
		"password_policy": "marked", "region": emulatortest.Region, "sts_endpoint": s.Seed.Domain, "iam_endpoint": s.Seed.Domain,
		"request_timeout": int(patience.Seconds()),
		"rate_limits":     map[string]any{"UserPoolClientRead": 1000, "UserPoolClientUpdate": 1000, "UserUpdate": 1000, "UserAccountRecovery": 1000},
	})
	// No lease ends by itself while a scene lasts.
	s.WriteOK("roles/ci", map[string]any{"ttl": "24h", "max_ttl": "24h"})
	s.secrets = []string{"hush-", "eyJhbGci", "eyJraWQi", s.Seed.AppClientSecret, s.Seed.M2MClientSecret, s.clientSecret}
	return s
}

// newProcess lets another process serve the mount.
func (s *scene) newProcess() {
	s.T.Helper()
	s.Backend.Cleanup(s.T.Context())
	b, err := backend.Factory(backend.Options{Version: "v1.2.3", Now: s.now})(s.T.Context(), &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: s.log}), System: s.System,
	})
	require.NoError(s.T, err)
	s.Mount = &backendtest.Mount{T: s.T, Backend: b, Storage: s.storage, System: s.System}
}

// setPatience sets how long a call to AWS may take, also to less than a config
// may say.
func (s *scene) setPatience(d time.Duration) {
	s.T.Helper()
	entry, err := s.storage.Storage.Get(s.T.Context(), "config")
	require.NoError(s.T, err)
	var config map[string]any
	require.NoError(s.T, json.Unmarshal(entry.Value, &config))
	config["request_timeout"] = d
	changed, err := logical.StorageEntryJSON("config", config)
	require.NoError(s.T, err)
	require.NoError(s.T, s.storage.Storage.Put(s.T.Context(), changed))
	s.Backend.InvalidateKey(s.T.Context(), "config")
}

// lose counts a loss and fails the cell of the matrix in which it happened.
func (s *scene) lose(loss tally.Loss, format string, args ...any) {
	s.T.Helper()
	s.count.Lost(loss, 1)
	s.T.Errorf("%s: %s", loss, fmt.Sprintf(format, args...))
}

// try makes a request of Vault's. An error response is an error too.
func (s *scene) try(op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	s.T.Helper()
	return s.guard(fmt.Sprintf("%s %s", op, path), func(ctx context.Context) (*logical.Response, error) {
		return s.Request(ctx, op, path, data)
	})
}

// tryLease makes a request about a lease, which comes out of Vault's storage.
func (s *scene) tryLease(op logical.Operation, secret *logical.Secret) (*logical.Response, error) {
	s.T.Helper()
	return s.guard(fmt.Sprintf("%s of a lease", op), func(ctx context.Context) (*logical.Response, error) {
		stored := *secret
		return s.Backend.HandleRequest(ctx, &logical.Request{
			Operation: op, Path: "creds/ci", Secret: &stored, Storage: s.storage, MountPoint: "cognito/",
		})
	})
}

// tryWrite asks first whether to create or to update, as Vault does.
func (s *scene) tryWrite(path string, data map[string]any) error {
	s.T.Helper()
	exists := false
	_, err := s.guard("existence of "+path, func(ctx context.Context) (response *logical.Response, err error) {
		_, exists, err = s.Backend.HandleExistenceCheck(ctx, &logical.Request{Operation: logical.CreateOperation, Path: path, Storage: s.storage})
		return nil, err
	})
	op := logical.CreateOperation
	if exists {
		op = logical.UpdateOperation
	}
	if err == nil {
		_, err = s.try(op, path, data)
	}
	return err
}

// guard counts what no request may come to: a panic, or no end.
func (s *scene) guard(what string, do func(context.Context) (*logical.Response, error)) (response *logical.Response, err error) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), watchdog)
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			s.lose(tally.Panics, "%s panicked: %v", what, panicked)
			response, err = nil, errPanicked
		}
	}()
	response, err = do(ctx)
	if ctx.Err() != nil {
		s.lose(tally.Panics, "%s did not end by itself", what)
	}
	if err == nil && response.IsError() {
		err = response.Error()
	}
	if err != nil {
		s.texts = append(s.texts, err.Error())
		return nil, err
	}
	if response != nil {
		s.texts = append(s.texts, response.Warnings...)
	}
	return response, nil
}

// tryTick does what Vault does each minute, to entries of any age.
func (s *scene) tryTick() error {
	s.T.Helper()
	_, err := s.try(logical.RollbackOperation, "", map[string]any{"immediate": true})
	return err
}

// timePasses ends with a tick that has to succeed, because all is well again.
func (s *scene) timePasses(d time.Duration) {
	s.T.Helper()
	s.pass(d)
	if err := s.tryTick(); err != nil {
		s.lose(tally.LeasesStuck, "the roll-back fails although all is well: %v", err)
	}
}

// callNames are the calls that AWS got, in their order.
func (s *scene) callNames() []string {
	s.T.Helper()
	var names []string
	for _, call := range s.Calls().Calls {
		names = append(names, call.Operation)
	}
	return names
}

// dieAtCall lets the process die in its n-th call to AWS: nothing leaves it
// from then on. The call itself has its effect or not.
func (s *scene) dieAtCall(n int, effect bool) {
	s.T.Helper()
	s.answersLost = true
	if effect {
		s.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutAfter, Skip: n - 1, Times: 1})
	}
	s.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutBefore, Skip: n - 1})
	s.storage.Fail(backendtest.StorageFault{When: func() bool { return len(s.Calls().Calls) >= n }})
}

// dieAtStorage lets the process die just before a call to the storage.
func (s *scene) dieAtStorage(call int) {
	s.T.Helper()
	s.answersLost = true
	var once sync.Once
	s.storage.Fail(backendtest.StorageFault{At: call, ForGood: true, Met: func() {
		once.Do(func() { s.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutBefore}) })
	}})
}

// judgeTexts looks for secrets where everybody may read.
func (s *scene) judgeTexts() {
	s.T.Helper()
	s.texts = append(s.texts, s.log.String())
	for _, text := range s.texts {
		for _, secret := range s.secrets {
			if secret != "" && strings.Contains(text, secret) {
				s.lose(tally.SecretsShown, "%.12s... is in %q", secret, text)
			}
		}
	}
}

// judgeStorage wants nothing to be left of what is finished.
func (s *scene) judgeStorage() {
	s.T.Helper()
	for _, prefix := range []string{"wal/", "handovers/"} {
		left := s.entries(prefix)
		if len(left) > 0 {
			s.lose(tally.LeasesStuck, "%d entries are left under %s", len(left), prefix)
		}
	}
}
