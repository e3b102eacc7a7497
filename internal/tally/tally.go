// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package tally counts what the reliability tests try and what is lost on the way, across the processes of one run of
// go test, and prints it as one table.
package tally

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
)

// FileVariable names the environment variable with the path of the file that gets one JSON line per Count. Without it
// a Count still fails its test when something is lost, and is not written down.
const FileVariable = "TALLY_FILE"

// Loss is a kind of thing that must never be lost.
type Loss string

// What can be lost. A count of any of them fails its test.
const (
	// UsersLeft are users in a pool that no lease will ever end.
	UsersLeft Loss = "users left"
	// PasswordsLost are passwords or client secrets that Vault hands out and Cognito refuses, while they should serve.
	PasswordsLost Loss = "passwords lost"
	// LeasesStuck are leases that Vault cannot revoke, or that have no user behind them before their time.
	LeasesStuck Loss = "leases stuck"
	// Panics are ends of a process that nobody asked for, and requests that never end.
	Panics Loss = "panics, hangs"
	// SecretsShown are passwords, tokens, secrets and keys in a place where they must not be.
	SecretsShown Loss = "secrets shown"
)

// losses are the columns of the table, in order.
var losses = []Loss{UsersLeft, PasswordsLost, LeasesStuck, Panics, SecretsShown}

// line is a Count as it is written down.
type line struct {
	Suite  string       `json:"suite"`
	What   string       `json:"what"`
	Tried  int          `json:"tried"`
	Lost   map[Loss]int `json:"lost,omitempty"`
	Notes  []string     `json:"notes,omitempty"`
	Failed bool         `json:"failed,omitempty"`
}

// Count is one line of the table. It may be used by several goroutines.
type Count struct {
	mu   sync.Mutex
	line line
}

// Open begins a line, such as Open(t, "Faults", "creds/ x AWS calls"). It is written down when t ends, and fails t when
// anything was lost. Lines of the same suite and text are added up.
func Open(t testing.TB, suite, what string) *Count {
	t.Helper()
	c := &Count{line: line{Suite: suite, What: what, Lost: map[Loss]int{}}}
	t.Cleanup(func() { c.close(t) })
	return c
}

// Tried adds n to how often it was tried.
func (c *Count) Tried(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.Tried += n
}

// Lost adds n losses; 0 is no loss.
func (c *Count) Lost(loss Loss, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n != 0 {
		c.line.Lost[loss] += n
	}
}

// Note adds a remark, such as the seed or a measured figure.
func (c *Count) Note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.Notes = append(c.line.Notes, text)
}

func (c *Count) close(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for loss, n := range c.line.Lost {
		t.Errorf("%s, %s: %d %s in %d tries; %s", c.line.Suite, c.line.What, n, loss, c.line.Tried, strings.Join(c.line.Notes, "; "))
	}
	if c.line.Tried == 0 && !t.Skipped() {
		t.Errorf("%s, %s: nothing was tried", c.line.Suite, c.line.What)
	}
	c.line.Failed = t.Failed()
	if path := os.Getenv(FileVariable); path != "" && !t.Skipped() {
		if err := c.line.appendTo(path); err != nil {
			t.Errorf("writing down what was counted: %v", err)
		}
	}
}

// appendTo writes in one call, so that lines of several processes do not mix.
func (l line) appendTo(path string) (err error) {
	encoded, err := json.Marshal(l)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the path is the Makefile's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.Write(append(encoded, '\n'))
	return err
}
