// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import "time"

// machineClock returns the monotonic clock of the machine, which Vault's timers use, the id of the
// boot at which it started, and for how long the machine was suspended since. With them a process
// can find out whether the wall clock was set since an earlier process. On systems other than Linux
// the id is empty, the clock starts with this process, and a suspension looks like a clock that was
// set.
func machineClock() (boot string, elapsed, suspended func() time.Duration) {
	began := time.Now()
	boot, age := readMachineClock()
	return boot, func() time.Duration { return age + time.Since(began) }, readSuspended
}
