// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times under /proc.
const clockTick = 10 * time.Millisecond

// processes holds the processes whose CPU time and memory are measured. Systems without /proc
// report neither.
type processes struct {
	vault, engine, floor, emulator int
}

func findProcesses(w *setup) (processes, error) {
	var found processes
	for name, pid := range map[string]*int{pluginName: &found.engine, floorName: &found.floor} {
		pids, err := w.vault.PluginPIDs(name)
		if err != nil {
			return found, err
		}
		if len(pids) != 1 {
			return found, fmt.Errorf("%s: %w: %d run", name, errNoProcess, len(pids))
		}
		*pid = pids[0]
	}
	found.vault, _ = parentOf(found.engine)
	found.emulator = childNamed(w.emulatorName)
	return found, nil
}

// childNamed returns the child of this process whose program has that file name, or 0.
func childNamed(program string) int {
	links, _ := filepath.Glob("/proc/[0-9]*/exe") // the pattern is well-formed
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || filepath.Base(target) != program {
			continue // it has ended, or belongs to another user
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if parent, err := parentOf(pid); err == nil && parent == os.Getpid() {
			return pid
		}
	}
	return 0
}

// cpuTimes returns the CPU time of the server, of the plugin that serves a kind of request, and of
// the emulator.
type cpuTimes struct{ vault, owner, emulator time.Duration }

func (c cpuTimes) since(before cpuTimes) cpuTimes {
	return cpuTimes{c.vault - before.vault, c.owner - before.owner, c.emulator - before.emulator}
}

func (c *cpuTimes) add(more cpuTimes) {
	c.vault += more.vault
	c.owner += more.owner
	c.emulator += more.emulator
}

func (p processes) cpu(k kind) cpuTimes {
	times := cpuTimes{vault: cpuTime(p.vault), emulator: cpuTime(p.emulator)}
	switch k {
	case kindBuiltIn, kindDirect:
	case kindFloor, kindFloor1K, kindFloorLease:
		times.owner = cpuTime(p.floor)
	default:
		times.owner = cpuTime(p.engine)
	}
	return times
}

// statFields returns the fields of proc_pid_stat(5) after the name, which may hold spaces.
func statFields(pid int) ([]string, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, false
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	return fields, len(fields) > 12
}

func parentOf(pid int) (int, error) {
	fields, ok := statFields(pid)
	if !ok {
		return 0, errNoProcess
	}
	return strconv.Atoi(fields[1])
}

func cpuTime(pid int) time.Duration {
	fields, ok := statFields(pid)
	if !ok {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * clockTick
}

// residentMemory returns the memory of a process in bytes, or 0 if the system does not report it.
func residentMemory(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			kilobytes, _ := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return kilobytes << 10
		}
	}
	return 0
}
