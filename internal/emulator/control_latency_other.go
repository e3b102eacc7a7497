// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package emulator

import "time"

// nap sleeps with the precision of Go's timers.
func nap(d time.Duration) { <-time.After(d) }
