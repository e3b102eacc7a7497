// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"net/http"
	"strconv"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// exchange is one call on its way through the emulator, whatever protocol it came by.
type exchange struct {
	// call is what the call log shows.
	call control.Call
	// quotas are the token buckets that the call draws on.
	quotas []quotaUse
	// authorize says who may not make this call; nil for calls that nobody signs.
	authorize func() *exception
	// perform carries the call out.
	perform func() answer
	// refuse words an exception in the protocol of the call.
	refuse func(*exception) answer
}

// answer is what goes back over the wire. The code is the exception in it, for the call log.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	code        string
}

func (a answer) writeHead(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
}

// writeWhole sends all of the answer.
func (a answer) writeWhole(w http.ResponseWriter) {
	a.writeHead(w)
	_, _ = w.Write(a.body) // the client may be gone, which is its own business
}

// writeHalf announces all of the answer and sends half of the body.
func (a answer) writeHalf(w http.ResponseWriter) {
	a.writeHead(w)
	_, _ = w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
}
