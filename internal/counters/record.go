// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package counters

import (
	"fmt"
	"os"
	"testing"
)

// Record writes a whole line at once. It is for counts that exist only after all tests of a package
// have ended: the caller has to fail by itself if lost is not 0.
func Record(suite, what string, tried int, loss Loss, lost int, notes ...string) error {
	path := os.Getenv(FileVariable)
	if path == "" {
		return nil
	}
	l := line{Suite: suite, What: what, Tried: tried, Notes: notes, Failed: lost != 0}
	if lost != 0 {
		l.Lost = map[Loss]int{loss: lost}
	}
	if err := l.appendTo(path); err != nil {
		return fmt.Errorf("writing the counters: %w", err)
	}
	return nil
}

// Skip skips a test and adds a line with the reason to the table, because go test shows neither.
func Skip(t testing.TB, why string) {
	t.Helper()
	if err := Record("Skipped", t.Name(), 0, "", 0, why); err != nil {
		t.Error(err)
	}
	t.Skip(why)
}
