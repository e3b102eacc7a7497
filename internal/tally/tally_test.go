// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package tally_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/tally"
)

// recorder is a test that takes its failures for information.
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

// count runs one Count to its end.
func count(t *testing.T, what string, f func(*tally.Count)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	f(tally.Open(r, "Suite", what))
	r.cleanup()
	return r
}

func table(t *testing.T, path string) (string, bool) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var out strings.Builder
	well, err := tally.Print(&out, file)
	require.NoError(t, err)
	return out.String(), well
}

func TestSkip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	t.Setenv(tally.FileVariable, path)
	r := &recorder{TB: t}
	tally.Skip(r, "no such thing here")
	require.Equal(t, "no such thing here", r.skipped)
	require.Empty(t, r.failures)
	text, _ := table(t, path)
	require.Regexp(t, `(?m)^Skipped +TestSkip +0 .* no such thing here$`, text)
}

func TestTally(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	t.Setenv(tally.FileVariable, path)
	for range 2 {
		r := count(t, "good", func(c *tally.Count) { c.Tried(3); c.Lost(tally.UsersLeft, 0); c.Note("seed 7") })
		require.Empty(t, r.failures)
	}
	text, well := table(t, path)
	require.True(t, well)
	require.Regexp(t, `(?m)^Suite +good +6 +0 +0 +0 +0 +0 +seed 7$`, text)

	r := count(t, "bad", func(c *tally.Count) { c.Tried(1); c.Lost(tally.PasswordsLost, 2) })
	require.Len(t, r.failures, 1)
	text, well = table(t, path)
	require.False(t, well)
	require.Regexp(t, `(?m)^Suite +bad +1 +0 +2 +0 +0 +0 +FAILED$`, text)
	require.Regexp(t, `(?m)^All +7 +0 +2 +0 +0 +0 +FAILED$`, text)

	r = count(t, "idle", func(*tally.Count) {})
	require.Len(t, r.failures, 1, "a line that tried nothing proves nothing")
}

func TestNothingCounted(t *testing.T) {
	var out strings.Builder
	well, err := tally.Print(&out, strings.NewReader(""))
	require.NoError(t, err)
	require.False(t, well)
	_, err = tally.Print(&out, strings.NewReader("{\n"))
	require.Error(t, err)
}
