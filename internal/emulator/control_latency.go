// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// latency delays calls as a network would: half of it before the effect of a call, half after it.
type latency struct {
	mu       sync.Mutex
	settings control.Latency
}

func (l *latency) set(settings control.Latency) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings = settings
}

func (l *latency) of(operation string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	ms, ok := l.settings.Operations[operation]
	if !ok {
		ms = l.settings.DefaultMS
	}
	return time.Duration(ms) * time.Millisecond
}

// napTime is the last part of a wait, which nap sleeps precisely.
const napTime = 1500 * time.Microsecond

// wait waits until delay has passed since begin, or until the client disconnects. The call is
// performed even then, as Cognito would.
func wait(ctx context.Context, begin time.Time, delay time.Duration) {
	if delay <= 0 {
		return
	}
	until := begin.Add(delay)
	timer := time.NewTimer(time.Until(until) - napTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		nap(time.Until(until))
	case <-ctx.Done():
	}
}
