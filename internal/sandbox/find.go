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

// FindVault returns the path of a vault binary: VAULT_BIN if it is set, else what scripts/vault-bin.sh finds or builds,
// which takes minutes the first time.
func FindVault(ctx context.Context) (string, error) {
	if binary := os.Getenv("VAULT_BIN"); binary != "" {
		return binary, nil
	}
	script, err := findUpwards(filepath.Join("scripts", "vault-bin.sh"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "sh", script)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding a vault binary: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// findUpwards looks for a file in the working directory and its parents; tests run in the directory of their package.
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
			return "", errors.New("no " + name + " here or above: not inside the project")
		}
		dir = parent
	}
}
