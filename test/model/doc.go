// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package model tests the engine by random histories against a model of what may exist at
// Cognito and in Vault. A history that breaks an invariant shrinks and prints its steps.
//
// Its main types are world, which is Cognito, a network, storage and clocks; core, a small Vault
// with a lease manager; and one machine per subject, whose methods are the steps of a history.
// Everything runs in one process and in a synctest bubble: waits take no time, AWS is the
// emulator behind a RoundTripper, and a process dies by losing its network and its storage.
//
// Up to a minute of histories of each subject runs by default; -rapid.checks sets their number.
//
// The package holds tests only.
package model
