// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindServer returns the path of a server binary: VAULT_BIN if it is set, else what
// scripts/server.sh finds, downloads or builds. The first time this may take minutes.
func FindServer(ctx context.Context) (string, error) {
	if binary := os.Getenv("VAULT_BIN"); binary != "" {
		return binary, nil
	}
	script, err := findUpwards(filepath.Join("scripts", "server.sh"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding a server binary: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// findUpwards returns the path of a file in the working directory or one of its parents. Tests run
// in the directory of their package.
func findUpwards(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no " + name + " in the working directory or its parents")
		}
		dir = parent
	}
}
