// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

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
	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const (
	// watchdog bounds requests that would not end by themselves.
	watchdog = 80 * time.Second
	// longTimeout is how long a call to AWS may take while no call is to hang.
	longTimeout = 30 * time.Second
)

var errPanicked = errors.New("the request panicked")

// env is one cell of the matrix: a mount with a Cognito of its own, in which one fault happens, and
// what it returned.
type env struct {
	*fixture
	count *counters.Counter
	log   *logBuffer

	// responsesLost says that the process is to die, so that Vault receives no response.
	responsesLost bool
	leases        []*heldLease
	statics       map[string]*staticObject
	lending       *lending
	// rotatesRoot says that the access key in the config is one of an emulated IAM user.
	rotatesRoot bool
	// elevates says that role "ci" puts a user into groups.
	elevates bool
	// foreign says that the app client has a secret that the engine did not make.
	foreign bool
	// texts are errors and warnings, in which none of the secrets may be.
	texts, secrets []string
}

// logBuffer holds the log of the engine.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newEnv(t *testing.T, count *counters.Counter) *env {
	t.Helper()
	e := &env{fixture: newFixture(t), count: count, log: &logBuffer{}, statics: map[string]*staticObject{}}
	e.newProcess()
	// The mark in every generated password also shows those that were never returned.
	e.System.SetPasswordPolicy("marked", func() (string, error) { return "hush-" + rand.Text() + "-1", nil })
	e.WriteOK("config", map[string]any{
		"password_policy": "marked", "region": emulatortest.Region, "sts_endpoint": e.Seed.Domain, "iam_endpoint": e.Seed.Domain,
		"request_timeout": int(longTimeout.Seconds()),
		"rate_limits": map[string]any{ // all that AWS raises are given, so that no quotas are read between the calls
			"UserPoolClientRead": 1000, "UserPoolClientUpdate": 1000, "UserUpdate": 1000, "UserAccountRecovery": 1000,
			"UserAuthentication": 1000, "UserCreation": 1000, "UserRead": 1000, "UserResourceRead": 1000, "UserToken": 1000,
		},
	})
	// No lease expires by itself in a cell.
	e.WriteOK("roles/ci", map[string]any{"ttl": "24h", "max_ttl": "24h"})
	e.secrets = []string{"hush-", "eyJhbGci", "eyJraWQi", e.Seed.AppClientSecret, e.Seed.M2MClientSecret, e.clientSecret}
	return e
}

// newProcess starts another process for the mount.
func (e *env) newProcess() {
	e.T.Helper()
	e.Backend.Cleanup(e.T.Context())
	b, err := backend.Factory(backend.Options{Version: "v1.2.3", Now: e.now})(e.T.Context(), &logical.BackendConfig{
		Logger: hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: e.log}), System: e.System,
	})
	require.NoError(e.T, err)
	e.Mount = &backendtest.Mount{T: e.T, Backend: b, Storage: e.storage, System: e.System}
}

// setTimeout sets how long a call to AWS may take, also to less than a config may say.
func (e *env) setTimeout(d time.Duration) {
	e.T.Helper()
	entry, err := e.storage.Storage.Get(e.T.Context(), "config")
	require.NoError(e.T, err)
	var config map[string]any
	require.NoError(e.T, json.Unmarshal(entry.Value, &config))
	config["request_timeout"] = d
	changed, err := logical.StorageEntryJSON("config", config)
	require.NoError(e.T, err)
	require.NoError(e.T, e.storage.Storage.Put(e.T.Context(), changed))
	e.Backend.InvalidateKey(e.T.Context(), "config")
}

// lose counts a loss and fails the cell.
func (e *env) lose(loss counters.Loss, format string, args ...any) {
	e.T.Helper()
	e.count.Lost(loss, 1)
	e.T.Errorf("%s: %s", loss, fmt.Sprintf(format, args...))
}

// try makes a request. An error response is an error.
func (e *env) try(op logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	e.T.Helper()
	return e.guard(fmt.Sprintf("%s %s", op, path), func(ctx context.Context) (*logical.Response, error) {
		return e.Request(ctx, op, path, data)
	})
}

// tryLease makes a request for a lease, with a copy of its secret, as from Vault's storage.
func (e *env) tryLease(op logical.Operation, secret *logical.Secret) (*logical.Response, error) {
	e.T.Helper()
	return e.guard(fmt.Sprintf("%s of a lease", op), func(ctx context.Context) (*logical.Response, error) {
		stored := *secret
		return e.Backend.HandleRequest(ctx, &logical.Request{
			Operation: op, Path: "creds/ci", Secret: &stored, Storage: e.storage, MountPoint: "cognito/",
		})
	})
}

// tryWrite checks first whether to create or to update, as Vault does.
func (e *env) tryWrite(path string, data map[string]any) error {
	e.T.Helper()
	exists := false
	_, err := e.guard("existence of "+path, func(ctx context.Context) (response *logical.Response, err error) {
		_, exists, err = e.Backend.HandleExistenceCheck(ctx, &logical.Request{Operation: logical.CreateOperation, Path: path, Storage: e.storage})
		return nil, err
	})
	op := logical.CreateOperation
	if exists {
		op = logical.UpdateOperation
	}
	if err == nil {
		_, err = e.try(op, path, data)
	}
	return err
}

// guard counts a panic, and a request that does not end.
func (e *env) guard(what string, do func(context.Context) (*logical.Response, error)) (response *logical.Response, err error) {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(e.T.Context(), watchdog)
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			e.lose(counters.Panics, "%s panicked: %v", what, panicked)
			response, err = nil, errPanicked
		}
	}()
	response, err = do(ctx)
	if ctx.Err() != nil {
		e.lose(counters.Panics, "%s did not end by itself", what)
	}
	if err == nil && response.IsError() {
		err = response.Error()
	}
	if err != nil {
		e.texts = append(e.texts, err.Error())
		return nil, err
	}
	if response != nil {
		e.texts = append(e.texts, response.Warnings...)
	}
	return response, nil
}

// tryTick makes the tick that Vault makes each minute, for WAL entries of any age.
func (e *env) tryTick() error {
	e.T.Helper()
	_, err := e.try(logical.RollbackOperation, "", map[string]any{"immediate": true})
	return err
}

// sealed lets time pass without a process, and starts one.
func (e *env) sealed(d time.Duration) {
	e.T.Helper()
	e.pass(d)
	e.newProcess()
}

// passWithTick lets time pass, and makes a tick that must succeed.
func (e *env) passWithTick(d time.Duration) {
	e.T.Helper()
	e.pass(d)
	if err := e.tryTick(); err != nil {
		e.lose(counters.LeasesStuck, "a tick fails after the repair: %v", err)
	}
}

// callNames returns the calls to AWS, in their order.
func (e *env) callNames() []string {
	e.T.Helper()
	var names []string
	for _, call := range e.Calls().Calls {
		names = append(names, call.Operation)
	}
	return names
}

// dieAtCall lets the process die in its n-th call to AWS: no later call is made. The call itself
// has its effect or not.
func (e *env) dieAtCall(n int, effect bool) {
	e.T.Helper()
	e.responsesLost = true
	if effect {
		e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutAfter, Skip: n - 1, Times: 1})
	}
	e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutBefore, Skip: n - 1})
	e.storage.Fail(backendtest.StorageFault{When: func() bool { return len(e.Calls().Calls) >= n }})
}

// dieAtStorage lets the process die before a call to storage.
func (e *env) dieAtStorage(call int) {
	e.T.Helper()
	e.responsesLost = true
	var once sync.Once
	e.storage.Fail(backendtest.StorageFault{At: call, ForGood: true, Met: func() {
		once.Do(func() { e.Fault(control.Fault{Operation: control.OperationAny, Kind: control.FaultCutBefore}) })
	}})
}

// checkTexts searches errors, warnings and the log for secrets.
func (e *env) checkTexts() {
	e.T.Helper()
	e.texts = append(e.texts, e.log.String())
	for _, text := range e.texts {
		for _, secret := range e.secrets {
			if secret != "" && strings.Contains(text, secret) {
				e.lose(counters.SecretsShown, "%.12s... is in %q", secret, text)
			}
		}
	}
}

// checkStorage requires that nothing is left of what is finished.
func (e *env) checkStorage() {
	e.T.Helper()
	for _, prefix := range []string{"wal/", "issued/records/", "issued/members/", "issued/due/"} {
		left := e.entries(prefix)
		if len(left) > 0 {
			e.lose(counters.LeasesStuck, "%d entries are left under %s", len(left), prefix)
		}
	}
}
