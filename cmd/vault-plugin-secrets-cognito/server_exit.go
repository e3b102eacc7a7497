// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"time"
)

// parentPollInterval is how often the plugin checks whether its server still runs. The check is one
// system call.
const parentPollInterval = 2 * time.Second

// exitWithServer ends this process when the server that started it has ended. A server that stops
// stops its plugins itself, but one that is killed cannot, and the plugin would keep its
// credentials in memory for ever. The write-ahead design of the engine makes this end as safe as
// any other crash.
func exitWithServer() {
	go func() {
		awaitParentExit()
		os.Exit(1) // no log line: standard error is a pipe that the server read
	}()
}

// awaitNewParent returns when getppid returns another process than at first. Unix systems give an
// orphan a new parent at once. This also holds where the first parent was process 1, whose end ends
// all processes of its namespace.
func awaitNewParent(getppid func() int, ticks <-chan time.Time) {
	parent := getppid()
	for range ticks {
		if getppid() != parent {
			return
		}
	}
}
