// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package sandbox starts the processes that `make dev`, the end-to-end tests and the benchmark use:
// a server (Vault or OpenBao) and the Cognito emulator or moto.
//
// Each process listens on a free loopback port, has an environment without anything of the
// caller's, and leaves nothing behind when it is stopped. StartVault starts a dev server in memory,
// StartServer one with storage on disk, StartCluster several that share their data.
//
// The package runs where Go's unix build constraint holds. On Linux, its processes also end when
// the process that started them is killed. It imports Vault's API client and nothing else of this
// project.
package sandbox
