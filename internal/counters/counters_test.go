// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package counters_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// recorder is a testing.TB that records failures instead of failing.
type recorder struct {
	testing.TB
	cleanup  func()
	failures []string
	skipped  string
}

func (r *recorder) Helper()          {}
func (r *recorder) Skipped() bool    { return false }
func (r *recorder) Failed() bool     { return len(r.failures) > 0 }
func (r *recorder) Cleanup(f func()) { r.cleanup = f }
func (r *recorder) Skip(args ...any) { r.skipped = fmt.Sprint(args...) }
func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// runCounter opens a Counter, calls f with it and closes it.
func runCounter(t *testing.T, what string, f func(*counters.Counter)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	f(counters.Open(r, "Suite", what))
	r.cleanup()
	return r
}

func table(t *testing.T, path string) (string, bool) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var out strings.Builder
	good, err := counters.Print(&out, file)
	require.NoError(t, err)
	return out.String(), good
}

func TestSkip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	t.Setenv(counters.FileVariable, path)
	r := &recorder{TB: t}
	counters.Skip(r, "no such thing here")
	require.Equal(t, "no such thing here", r.skipped)
	require.Empty(t, r.failures)
	text, _ := table(t, path)
	require.Regexp(t, `(?m)^Skipped +TestSkip +0 .* no such thing here$`, text)
}

func TestCounter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	t.Setenv(counters.FileVariable, path)
	for range 2 {
		r := runCounter(t, "good", func(c *counters.Counter) { c.Tried(3); c.Lost(counters.UsersLeft, 0); c.Note("seed 7") })
		require.Empty(t, r.failures)
	}
	text, good := table(t, path)
	require.True(t, good)
	require.Regexp(t, `(?m)^Suite +good +6 +0 +0 +0 +0 +0 +seed 7$`, text)

	r := runCounter(t, "bad", func(c *counters.Counter) { c.Tried(1); c.Lost(counters.PasswordsLost, 2) })
	require.Len(t, r.failures, 1)
	text, good = table(t, path)
	require.False(t, good)
	require.Regexp(t, `(?m)^Suite +bad +1 +0 +2 +0 +0 +0 +FAILED$`, text)
	require.Regexp(t, `(?m)^All +7 +0 +2 +0 +0 +0 +FAILED$`, text)

	r = runCounter(t, "idle", func(*counters.Counter) {})
	require.Len(t, r.failures, 1, "a line without attempts proves nothing")
}

func TestPrintFailsWithoutCounters(t *testing.T) {
	var out strings.Builder
	good, err := counters.Print(&out, strings.NewReader(""))
	require.NoError(t, err)
	require.False(t, good)
	_, err = counters.Print(&out, strings.NewReader("{\n"))
	require.Error(t, err)
}
