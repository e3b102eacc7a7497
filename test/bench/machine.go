// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machine describes the hardware and software of the run.
type machine struct {
	CPU, OS, Memory, Go string
	Cores               int
	Vault, Plugin       string
	Day                 string
}

func describeMachine(ctx context.Context, w *setup) (machine, error) {
	m := machine{
		CPU:    firstOf("/proc/cpuinfo", "model name", ":"),
		OS:     strings.Trim(firstOf("/etc/os-release", "PRETTY_NAME", "="), `"`) + " (" + runtime.GOOS + "/" + runtime.GOARCH + ")",
		Memory: gibibytes(firstOf("/proc/meminfo", "MemTotal", ":")),
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
		Cores:  runtime.NumCPU(),
		Day:    time.Now().UTC().Format(time.DateOnly),
	}
	var err error
	if m.Vault, err = w.ask(ctx, "sys/health", "version"); err != nil {
		return m, err
	}
	m.Plugin, err = w.ask(ctx, "sys/mounts/"+engineMount, "running_plugin_version")
	return m, err
}

// firstOf returns the value of the first line of a file with a prefix, or "unknown".
func firstOf(path, name, separator string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if before, value, found := strings.Cut(line, separator); found && strings.TrimSpace(before) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// gibibytes parses a value such as "24100000 kB".
func gibibytes(text string) string {
	kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(text, " kB"), 64)
	if err != nil {
		return text
	}
	return fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))
}

// ask returns one top-level field of an answer.
func (w *setup) ask(ctx context.Context, path, field string) (string, error) {
	var body bytes.Buffer
	if err := w.client.do(ctx, http.MethodGet, path, nil, &body); err != nil {
		return "", err
	}
	var answer map[string]any
	if err := json.Unmarshal(body.Bytes(), &answer); err != nil {
		return "", err
	}
	text, _ := answer[field].(string)
	return text, nil
}
