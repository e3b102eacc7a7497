// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package awserrors holds the test that has every operation of Amazon Cognito answer every error
// that AWS documents for it, in every flow of the engine, and writes what the engine does to
// docs/errors.md.
package awserrors

//go:generate go test -count=1 -run ^TestErrorReference$ . -update
