// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"encoding/base64"
	"fmt"
	"io"
)

const (
	lowerAlphanumeric = lowerLetters + digits
	upperAlphanumeric = upperLetters + digits
	alphanumeric      = lowerLetters + upperLetters + digits
)

// random generates identifiers and secrets.
type random struct {
	source io.Reader
}

// bytes panics if the source fails, which crypto/rand never does.
func (r random) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(r.source, b); err != nil {
		panic(fmt.Errorf("reading random bytes: %w", err))
	}
	return b
}

// text returns n characters of the alphabet. The slight bias of the modulo does not matter in an
// emulator.
func (r random) text(alphabet string, n int) string {
	b := r.bytes(n)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// uuid returns a random UUID of version 4.
func (r random) uuid() string {
	b := r.bytes(16)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// opaque returns n random bytes as base64url without padding.
func (r random) opaque(n int) string {
	return base64.RawURLEncoding.EncodeToString(r.bytes(n))
}
