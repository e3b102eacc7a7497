// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// callLog stores every call except those of the control API.
type callLog struct {
	mu sync.Mutex
	// events counts beginnings and ends of calls; reset does not change it.
	events      int64
	calls       []*control.Call
	connections int
}

// connection marks a TCP connection, which is counted with its first call.
type connection struct {
	counted bool
}

type connectionKey struct{}

// ConnContext is for http.Server.ConnContext: it lets the emulator count TCP connections.
func (s *Server) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, &connection{})
}

func (l *callLog) countConnection(r *http.Request) {
	conn, ok := r.Context().Value(connectionKey{}).(*connection)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !conn.counted {
		conn.counted = true
		l.connections++
	}
}

func (l *callLog) begin(call control.Call) *control.Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events++
	call.Begin = l.events
	l.calls = append(l.calls, &call)
	return &call
}

func (l *callLog) end(call *control.Call, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events++
	call.End = l.events
	call.Status = a.status
	call.Code = a.code
}

func (l *callLog) snapshot() control.CallLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := control.CallLog{Connections: l.connections, Calls: make([]control.Call, 0, len(l.calls))}
	for _, call := range l.calls {
		log.Calls = append(log.Calls, *call)
	}
	return log
}

// reset empties the log. Calls that are still open do not enter it when they end.
func (l *callLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = slices.Delete(l.calls, 0, len(l.calls))
	l.connections = 0
}
