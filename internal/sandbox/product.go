// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
)

// Product is the kind of a server.
type Product string

// The servers that can be started.
const (
	ProductVault   Product = "Vault"
	ProductOpenBao Product = "OpenBao"
)

// versionLine matches what the binaries of both products print, such as "OpenBao v2.7.2 (…".
var versionLine = regexp.MustCompile(`^(Vault|OpenBao) v([0-9][0-9A-Za-z.+-]*)`)

// identify returns the product and the version of a server binary.
func identify(ctx context.Context, binary string) (Product, string, error) {
	cmd := exec.CommandContext(ctx, binary, "version")
	cmd.WaitDelay = pipeGrace
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("asking %s for its version: %w: %s", binary, err, tail(string(out)))
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return "", "", fmt.Errorf("asking %s for its version: %q names neither Vault nor OpenBao", binary, tail(string(out)))
	}
	return Product(match[1]), string(match[2]), nil
}

// StandbysRunPlugins reports whether the members of a cluster that are not active run plugins, too.
// Vault does so in its Enterprise edition only (performance standbys).
func (p Product) StandbysRunPlugins() bool { return p == ProductOpenBao }

// Command returns the name of the product's command line.
func (p Product) Command() string {
	if p == ProductOpenBao {
		return "bao"
	}
	return "vault"
}

// LocksMemory reports whether the server locks its memory and lets its plugins do so (mlock).
// OpenBao has removed that.
func (p Product) LocksMemory() bool { return p == ProductVault }

// config returns the settings that the product needs besides those of every server: OpenBao allows
// audit devices to be enabled by API only if its configuration says so.
func (p Product) config() string {
	if p == ProductOpenBao {
		return "unsafe_allow_api_audit_creation = true\n"
	}
	return ""
}
