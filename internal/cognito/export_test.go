// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import "time"

// DenialMemory is how long a denied AdminSetUserPassword is remembered.
const DenialMemory = denialMemory

// SetClock lets a test hold the time.
func (s *Service) SetClock(now func() time.Time) { s.now = now }
