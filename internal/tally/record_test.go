// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package tally_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/tally"
)

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tally")
	t.Setenv(tally.FileVariable, path)
	table := func() (bool, string) {
		written, err := os.ReadFile(path)
		require.NoError(t, err)
		var out bytes.Buffer
		well, err := tally.Print(&out, bytes.NewReader(written))
		require.NoError(t, err)
		return well, out.String()
	}

	require.NoError(t, tally.Record("Secrets", "end to end", 7, tally.SecretsShown, 0, "in 70 forms"))
	well, shown := table()
	require.True(t, well)
	require.Contains(t, shown, "in 70 forms")

	require.NoError(t, tally.Record("Secrets", "end to end", 7, tally.SecretsShown, 2))
	well, shown = table()
	require.False(t, well)
	require.Regexp(t, `Secrets +end to end +14 +0 +0 +0 +0 +2 +FAILED`, shown)
}

func TestRecordWithoutAFile(t *testing.T) {
	t.Setenv(tally.FileVariable, "")
	require.NoError(t, tally.Record("Secrets", "end to end", 7, tally.SecretsShown, 1))
}
