// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package leakscan searches everything that a test run left behind for every secret that it saw.
//
// A Recorder collects both during the run. Secrets are the values that the emulator was sent or
// returned, and the secret fields of requests to the server and of its answers. The places in which
// no secret may stand are the logs of all watched servers, their audit logs, their errors, and
// their answers except those whose purpose is to return a secret. At the end, Scan looks for each
// secret in each place, in every encoding that a program may have used.
//
// The package knows servers only by the interface Server. It imports Vault's API client and nothing
// else of this project.
package leakscan
