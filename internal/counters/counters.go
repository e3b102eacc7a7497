// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package counters counts what the reliability tests try and what they lose, across all processes
// of one run of go test, and prints the counts as one table.
//
// Open starts a Counter, which is one line of the table. The line is appended to the file that
// FileVariable names when the test ends. Print adds up the lines of that file. A Counter with a
// loss fails its test, with or without a file. The package imports nothing of this project.
package counters

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
)

// FileVariable names the environment variable that holds the path of the file to which every
// Counter appends one line of JSON. Without it, nothing is written.
const FileVariable = "COUNTERS_FILE"

// Loss is a kind of thing that must never be lost.
type Loss string

// The kinds of losses. Any of them fails its test.
const (
	// UsersLeft counts users in a pool that no lease will ever delete.
	UsersLeft Loss = "users left"
	// PasswordsLost counts passwords and client secrets that are returned although Cognito rejects
	// them.
	PasswordsLost Loss = "passwords lost"
	// LeasesStuck counts leases that cannot be revoked, or whose user is gone before they expire.
	LeasesStuck Loss = "leases stuck"
	// Panics counts processes that ended unasked, and requests that never ended.
	Panics Loss = "panics, hangs"
	// SecretsShown counts passwords, tokens, secrets and keys that stand where they must not.
	SecretsShown Loss = "secrets shown"
)

// losses lists the columns of the table in order.
var losses = []Loss{UsersLeft, PasswordsLost, LeasesStuck, Panics, SecretsShown}

// line is a Counter as it is written to the file.
type line struct {
	Suite  string       `json:"suite"`
	What   string       `json:"what"`
	Tried  int          `json:"tried"`
	Lost   map[Loss]int `json:"lost,omitempty"`
	Notes  []string     `json:"notes,omitempty"`
	Failed bool         `json:"failed,omitempty"`
}

// Counter is one line of the table. Several goroutines may use it.
type Counter struct {
	mu   sync.Mutex
	line line
}

// Open starts a line, for example Open(t, "Faults", "creds/ x AWS calls"). It is written when t
// ends, and fails t if anything was lost. Lines with the same suite and text are added up.
func Open(t testing.TB, suite, what string) *Counter {
	t.Helper()
	c := &Counter{line: line{Suite: suite, What: what, Lost: map[Loss]int{}}}
	t.Cleanup(func() { c.close(t) })
	return c
}

// Tried adds n attempts.
func (c *Counter) Tried(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.Tried += n
}

// Lost adds n losses. Zero losses add nothing.
func (c *Counter) Lost(loss Loss, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n != 0 {
		c.line.Lost[loss] += n
	}
}

// Note adds a remark, such as the seed or a measured value.
func (c *Counter) Note(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.Notes = append(c.line.Notes, text)
}

func (c *Counter) close(t testing.TB) {
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
			t.Errorf("writing the counters: %v", err)
		}
	}
}

// appendTo writes the line in one call, so that lines of several processes do not mix.
func (l line) appendTo(path string) (err error) {
	encoded, err := json.Marshal(l)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the Makefile sets the path
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.Write(append(encoded, '\n'))
	return err
}
