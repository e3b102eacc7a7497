// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package sandbox

import (
	"bytes"
	"io"
	"sync"
)

// output keeps what a process writes and passes it on.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	tee  io.Writer // may be nil
}

// Write never fails: a closed tee must not stop the process that writes.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if o.tee != nil {
		_, _ = o.tee.Write(p)
	}
	return len(p), nil
}

func (o *output) String() string { return o.since(0) }

// since returns what was written after the first size bytes.
func (o *output) since(size int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text.Bytes()[size:])
}

func (o *output) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Len()
}

// firstLine sends the first line that is written to it to line, and writes everything after it to
// rest.
type firstLine struct {
	line chan<- []byte // buffered
	rest io.Writer

	seen   []byte
	handed bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	if f.handed {
		return f.rest.Write(p)
	}
	f.seen = append(f.seen, p...)
	line, after, found := bytes.Cut(f.seen, []byte("\n"))
	if !found {
		return len(p), nil
	}
	f.handed = true
	f.line <- line
	if len(after) > 0 {
		_, _ = f.rest.Write(after)
	}
	return len(p), nil
}
