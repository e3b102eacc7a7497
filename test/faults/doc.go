// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package faults is the fault matrix: every operation of the engine, times every call that it makes
// to AWS or to storage, times every way in which that call can fail, or at which the process can
// die.
//
// Its main types are operation, which is what is tried; fault, which is the one thing that fails;
// and env, a mount with an emulated Cognito of its own. Which calls an operation makes is learned
// by running it. After the fault, everything is repaired, and these invariants must hold: no user
// is orphaned, every returned credential works, every lease can be renewed and revoked, nothing is
// left in storage, and no secret is logged or returned where it does not belong.
//
// A normal run tries one error of each class; RELIABILITY=long tries every documented one. The
// package holds tests only.
package faults
