// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// childAttributes puts the child in its own process group and sends it SIGTERM when the thread that
// started it ends, so that a server can stop its plugins.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// groupAlive reports whether a process of the group runs. A zombie does not run: orphans may never
// be reaped.
func groupAlive(group int) bool {
	stats, err := processes()
	if err != nil {
		return false
	}
	for _, s := range stats {
		if s.group == group && s.state != "Z" && s.state != "X" {
			return true
		}
	}
	return false
}

// Alive reports whether a process runs. A zombie does not.
func Alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	s, ok := parseStat(string(text))
	return ok && s.state != "Z" && s.state != "X"
}

// childrenNamed returns the running children of parent whose executable has that file name.
func childrenNamed(parent int, name string) ([]int, error) {
	stats, err := processes()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, s := range stats {
		if s.parent == parent && s.executable() == name {
			pids = append(pids, s.pid)
		}
	}
	return pids, nil
}

// processStat is a part of what proc_pid_stat(5) describes.
type processStat struct {
	pid, parent, group int
	state              string
}

// executable returns the file name of the program, even if the file was replaced, or "" for a
// zombie.
func (s processStat) executable() string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.pid))
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSuffix(target, " (deleted)"))
}

func processes() ([]processStat, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var stats []processStat
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if s, ok := parseStat(string(text)); ok {
			stats = append(stats, s)
		}
	}
	return stats, nil
}

// parseStat parses "pid (name) state parent group …", where name may hold spaces and brackets.
func parseStat(text string) (processStat, bool) {
	var s processStat
	_, err := fmt.Sscan(text, &s.pid)
	if err != nil {
		return s, false
	}
	_, err = fmt.Sscan(text[strings.LastIndexByte(text, ')')+1:], &s.state, &s.parent, &s.group)
	return s, err == nil
}
