// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// latency is how long calls wait before they are carried out.
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

// wait returns early when the client goes away; the call is carried out all the same, as Cognito would.
func (l *latency) wait(ctx context.Context, operation string) {
	delay := l.of(operation)
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
