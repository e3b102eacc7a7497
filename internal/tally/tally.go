// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package tally is the former name of package counters, until all tests use the new one.
package tally

import "vault-plugin-secrets-cognito/internal/counters"

type (
	Count = counters.Counter
	Loss  = counters.Loss
)

const (
	UsersLeft     = counters.UsersLeft
	PasswordsLost = counters.PasswordsLost
	LeasesStuck   = counters.LeasesStuck
	Panics        = counters.Panics
	SecretsShown  = counters.SecretsShown
)

var (
	Open   = counters.Open
	Record = counters.Record
	Skip   = counters.Skip
)
