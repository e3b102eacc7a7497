// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Command tally prints the table of what the reliability tests counted, which it reads from its standard input, and
// fails when something was lost.
package main

import (
	"fmt"
	"os"

	"vault-plugin-secrets-cognito/internal/tally"
)

func main() {
	well, err := tally.Print(os.Stdout, os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
	}
	if err != nil || !well {
		os.Exit(1)
	}
}
