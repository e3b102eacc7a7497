// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps for d to within some ten microseconds, where the timers of an idle Go program are
// precise to a millisecond. It falls back to those if the kernel has no timer.
func nap(d time.Duration) {
	if d > 0 && !kernelNap(d) {
		<-time.After(d)
	}
}

func kernelNap(d time.Duration) bool {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return false
	}
	timer := os.NewFile(uintptr(fd), "timer")
	defer func() { _ = timer.Close() }()
	if unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil) != nil {
		return false
	}
	_, err = timer.Read(make([]byte, 8)) // the number of expirations, which is 1
	return err == nil
}
