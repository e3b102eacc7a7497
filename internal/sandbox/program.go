// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"os"
	"syscall"
)

// WriteProgram writes an executable file while no process is started: a new process would hold the
// file open for a moment, and a file that is open for writing cannot be executed
// (https://go.dev/issue/22315).
func WriteProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o700) //nolint:gosec // it is to be run
}
