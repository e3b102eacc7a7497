// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"syscall"
	"time"
)

// nap sleeps for d to within some ten microseconds: an idle Go program counts in whole milliseconds. It holds a thread.
func nap(d time.Duration) {
	left := syscall.NsecToTimespec(int64(d))
	for left.Nano() > 0 && syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}
