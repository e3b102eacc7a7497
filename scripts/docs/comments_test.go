// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// commentWidth is the width of comments, with tabs of four columns.
const commentWidth = 100

// TestComments requires one width of the comments that stand on lines of their own. Diagrams and
// tables, which are indented, and URLs cannot be wrapped.
func TestComments(t *testing.T) {
	skipped := []string{".git", "bin", "dist", "node_modules"}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skipped, entry.Name()):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			requireNarrowComments(t, path)
		}
		return nil
	})
	require.NoError(t, err)
}

func requireNarrowComments(t *testing.T, path string) {
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for number, line := range strings.Split(string(content), "\n") {
		line = strings.ReplaceAll(line, "\t", "    ")
		text, isComment := strings.CutPrefix(strings.TrimSpace(line), "// ")
		isProse := isComment && !strings.HasPrefix(text, " ") && !strings.Contains(text, "://")
		if isProse && utf8.RuneCountInString(line) > commentWidth {
			t.Errorf("%s:%d: the comment has more than %d columns", path, number+1, commentWidth)
		}
	}
}
