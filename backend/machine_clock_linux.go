// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// readMachineClock returns the id of the present boot and the monotonic clock.
func readMachineClock() (boot string, age time.Duration) {
	id, err := os.ReadFile(bootIDFile)
	if err != nil {
		return "", 0
	}
	if age, err = readClock(unix.CLOCK_MONOTONIC); err != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), age
}

// readSuspended returns for how long the machine was suspended since its boot, or 0 if that is
// unknown. CLOCK_BOOTTIME goes on meanwhile, and CLOCK_MONOTONIC does not.
func readSuspended() time.Duration {
	awake, err := readClock(unix.CLOCK_MONOTONIC)
	all, failed := readClock(unix.CLOCK_BOOTTIME)
	if err != nil || failed != nil {
		return 0
	}
	return all - awake
}

func readClock(id int32) (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(id, &now)
	return time.Duration(now.Nano()), err
}
