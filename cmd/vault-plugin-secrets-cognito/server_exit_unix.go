// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package main

import (
	"os"
	"time"
)

// awaitParentExit returns when the process that started this one has ended. Linux's parent-death
// signal is no alternative: it is sent when the thread that started the plugin ends, and a Go
// program ends threads while it runs.
func awaitParentExit() {
	ticker := time.NewTicker(parentPollInterval)
	defer ticker.Stop()
	awaitNewParent(os.Getppid, ticker.C)
}
