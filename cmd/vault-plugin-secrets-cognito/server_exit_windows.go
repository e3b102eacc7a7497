// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import "os"

// awaitParentExit returns when the process that started this one has ended. Windows never gives an
// orphan another parent, but any process can wait for one that it holds a handle of. If the handle
// cannot be opened or waited for, it never returns, and the plugin outlives a killed server.
func awaitParentExit() {
	parent, err := os.FindProcess(os.Getppid())
	if err == nil {
		_, err = parent.Wait()
	}
	if err != nil {
		select {}
	}
}
