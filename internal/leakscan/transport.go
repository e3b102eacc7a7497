// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync"
)

// returnsSecrets matches the requests whose purpose is to return a secret.
var returnsSecrets = regexp.MustCompile(`^/v1/[^/]+/(creds|tokens|static-creds)/|^/v1/[^/]+/library/[^/]+/check-out$`)

// transport passes requests on, learns the secrets in them and records the answers.
type transport struct {
	next     http.RoundTripper
	recorder *Recorder
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		t.recorder.learnFrom(body)
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &recordedBody{ReadCloser: resp.Body, done: func(body []byte) { t.recorder.recordAnswer(req, resp.StatusCode, body) }}
	return resp, nil
}

// recordAnswer learns from a successful answer whose purpose is to return a secret, and records any
// other answer as a place in which none may stand.
func (r *Recorder) recordAnswer(req *http.Request, status int, body []byte) {
	if status < http.StatusBadRequest && returnsSecrets.MatchString(req.URL.Path) {
		r.learnFrom(body)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.answers, "%s %s %d\n%s\n", req.Method, req.URL.Path, status, body)
}

// recordedBody calls done with everything that was read from it when it is closed.
type recordedBody struct {
	io.ReadCloser
	text bytes.Buffer
	done func([]byte)
	once sync.Once
}

// Read implements io.Reader.
func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.text.Write(p[:n])
	return n, err
}

// Close implements io.Closer.
func (b *recordedBody) Close() error {
	b.once.Do(func() { b.done(b.text.Bytes()) })
	return b.ReadCloser.Close()
}
