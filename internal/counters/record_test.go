// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package counters_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counters")
	t.Setenv(counters.FileVariable, path)
	table := func() (bool, string) {
		written, err := os.ReadFile(path)
		require.NoError(t, err)
		var out bytes.Buffer
		good, err := counters.Print(&out, bytes.NewReader(written))
		require.NoError(t, err)
		return good, out.String()
	}

	require.NoError(t, counters.Record("Secrets", "end to end", 7, counters.SecretsShown, 0, "in 70 forms"))
	good, shown := table()
	require.True(t, good)
	require.Contains(t, shown, "in 70 forms")

	require.NoError(t, counters.Record("Secrets", "end to end", 7, counters.SecretsShown, 2))
	good, shown = table()
	require.False(t, good)
	require.Regexp(t, `Secrets +end to end +14 +0 +0 +0 +0 +2 +FAILED`, shown)
}

func TestRecordWritesNothingWithoutAFile(t *testing.T) {
	t.Setenv(counters.FileVariable, "")
	require.NoError(t, counters.Record("Secrets", "end to end", 7, counters.SecretsShown, 1))
}
