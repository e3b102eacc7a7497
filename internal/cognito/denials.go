// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"sync"
	"time"
)

// denialMemory is how long a denied AdminSetUserPassword is not tried again. It is short, so that a
// corrected IAM policy takes effect soon.
const denialMemory = 10 * time.Minute

// denials records the targets for which IAM denies AdminSetUserPassword. The zero value is ready.
type denials struct {
	mu    sync.Mutex
	until map[Target]time.Time
}

func (d *denials) remember(target Target, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until == nil {
		d.until = map[Target]time.Time{}
	}
	d.until[target] = now.Add(denialMemory)
}

func (d *denials) recent(target Target, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Before(d.until[target])
}
