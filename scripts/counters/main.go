// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command counters prints the table of what the reliability tests counted. It reads the counters
// from standard input, and exits with 1 if anything was lost.
package main

import (
	"fmt"
	"os"

	"vault-plugin-secrets-cognito/internal/counters"
)

func main() {
	good, err := counters.Print(os.Stdout, os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "counters:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}
