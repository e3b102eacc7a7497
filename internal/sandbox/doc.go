// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package sandbox starts the real processes that `make dev`, the end-to-end tests and the benchmarks talk to: a Vault
// server and the Cognito emulator, each on a free loopback port, with an environment that holds nothing of the
// caller's and leaves nothing behind when it is stopped.
//
// It runs where Go's unix build constraint holds; on Linux the processes also end when the one that started them dies.
package sandbox
