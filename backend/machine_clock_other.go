// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

//go:build !linux

package backend

import "time"

func readMachineClock() (boot string, age time.Duration) { return "", 0 }

func readSuspended() time.Duration { return 0 }
