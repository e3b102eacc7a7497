// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import "time"

// machineClock returns the monotonic clock of the machine, which Vault's timers go by, a name of the
// boot that it starts with, and for how long the machine was suspended since. So a process can tell
// whether the wall clock was set since another one ended. On systems other than Linux the name is
// empty, the clock is that of this process, and a suspension looks like a clock that was set.
func machineClock() (boot string, elapsed, suspended func() time.Duration) {
	began := time.Now()
	boot, age := readMachineClock()
	return boot, func() time.Duration { return age + time.Since(began) }, readSuspended
}
