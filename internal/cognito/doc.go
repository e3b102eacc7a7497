// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package cognito does what the engine does at Amazon Cognito: users and their sign-in, groups, app
// clients and their secrets, machine tokens, and the AWS sessions under them. It knows nothing of
// Vault.
//
// A Service is one connection to AWS, made of Settings; a Pool is one user pool that it reaches.
// Each method of a Pool is one step, such as SetPassword; IssueUser puts the steps of a new user
// together.
//
// These invariants hold. Every error is an *Error, whose text holds no secret and whose Outcome
// says whether a change took effect, over all attempts. No request leaves without a slot of its
// quota category, see package ratelimit. No response is awaited longer than
// Settings.RequestTimeout.
//
// The package imports internal/cache and internal/cognito/ratelimit, and no package of Vault.
package cognito
