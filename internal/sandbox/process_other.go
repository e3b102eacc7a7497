// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix && !linux

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// childAttributes puts the child in its own process group. It outlives this process if that is
// killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// groupAlive reports whether a process of the group exists.
func groupAlive(group int) bool {
	return !errors.Is(syscall.Kill(-group, 0), syscall.ESRCH)
}

// Alive reports whether a process exists.
func Alive(pid int) bool {
	return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

// childrenNamed returns the running children of parent whose executable has that file name.
func childrenNamed(parent int, name string) ([]int, error) {
	children, err := lines("pgrep", "-P", strconv.Itoa(parent))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, child := range children {
		pid, err := strconv.Atoi(child)
		if err != nil {
			return nil, fmt.Errorf("parsing the output of pgrep: %w", err)
		}
		program, err := lines("ps", "-o", "comm=", "-p", child)
		if err == nil && len(program) > 0 && filepath.Base(program[0]) == name {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// lines runs a command and returns the fields of its output. pgrep and ps exit with 1 if they find
// nothing.
func lines(name string, args ...string) ([]string, error) {
	out, err := exec.CommandContext(context.Background(), name, args...).Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", name, err)
	}
	return strings.Fields(string(out)), nil
}
