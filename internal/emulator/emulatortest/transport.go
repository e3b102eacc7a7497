// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulatortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"vault-plugin-secrets-cognito/internal/emulator"
)

// Endpoint is the URL for an emulator that is reached through Transport. Nothing listens there: a
// request that goes around the transport fails.
const Endpoint = "http://127.0.0.1:9"

// Transport returns a RoundTripper that calls the server in the same process, without sockets and
// without goroutines. Whatever the host of a request is, the emulator answers it.
//
// Faults surface as they do over a real connection: a cut before or after the effect is io.EOF, a
// cut body is io.ErrUnexpectedEOF when the body is read, and a call that hangs returns the error of
// its context when that ends. A context that ends while the call waits does not undo the call.
func Transport(server *emulator.Server) http.RoundTripper {
	return transport{server}
}

type transport struct {
	server *emulator.Server
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := &recorder{header: http.Header{}}
	cut := w.serve(t.server, received(r))
	switch {
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case cut && w.status == 0:
		return nil, io.EOF
	default:
		return w.response(r, cut), nil
	}
}

// received returns the request as a server on this machine would receive it.
func received(r *http.Request) *http.Request {
	in := r.Clone(r.Context())
	in.RemoteAddr = "127.0.0.1:0"
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

// recorder is an http.ResponseWriter that keeps the answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// serve reports whether the handler closed the connection instead of finishing the answer.
func (w *recorder) serve(h http.Handler, r *http.Request) (cut bool) {
	defer func() {
		switch failure := recover(); {
		case failure == nil:
		case isAbort(failure):
			cut = true
		default:
			panic(failure)
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

func isAbort(failure any) bool {
	err, ok := failure.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// Header implements http.ResponseWriter.
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush implements http.Flusher; there is nothing to wait for.
func (w *recorder) Flush() {}

func (w *recorder) response(r *http.Request, cut bool) *http.Response {
	w.WriteHeader(http.StatusOK)
	length := int64(w.body.Len())
	var body io.Reader = &w.body
	if cut {
		length, _ = strconv.ParseInt(w.header.Get("Content-Length"), 10, 64)
		body = io.MultiReader(body, failingReader{})
	}
	return &http.Response{
		Status:        strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode:    w.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(contextReader{r.Context(), body}),
		ContentLength: length,
		Request:       r,
	}
}

// failingReader is where a body breaks off.
type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// contextReader fails once the context of the request has ended, as a connection would.
type contextReader struct {
	ctx    context.Context
	reader io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.reader.Read(b)
}
