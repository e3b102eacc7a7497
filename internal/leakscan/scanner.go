// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	// minLength is the shortest secret that is searched for: shorter texts occur in long logs by
	// chance. Only the six digits of an authenticator are shorter, and they are valid for seconds.
	minLength = 8

	// contextShown is how many bytes around a leak are shown.
	contextShown = 80

	filterBits = 24
)

// scanner searches large texts for many secrets in all their forms.
type scanner struct {
	secrets  []Secret
	tooShort int
	forms    int
	// byStart maps the first eight bytes of a form to the secrets that have such a form. filter is
	// a fast test that is almost always negative when no form begins with these bytes.
	byStart map[uint64][]int
	filter  []uint64
}

// leak is a place where a secret stands.
type leak struct {
	secret Secret
	form   string
	around string
}

// String describes the leak without the secret.
func (l leak) String() string {
	return fmt.Sprintf("%s, %s: %q", l.secret.Field, l.form, l.around)
}

func newScanner(secrets []Secret) *scanner {
	s := &scanner{byStart: map[uint64][]int{}, filter: make([]uint64, 1<<filterBits/64)}
	for _, secret := range secrets {
		secret.Value = distinctive(secret.Value)
		if len(secret.Value) < minLength {
			s.tooShort++
			continue
		}
		s.add(secret)
	}
	return s
}

func (s *scanner) add(secret Secret) {
	s.secrets = append(s.secrets, secret)
	for _, f := range formsOf(secret.Value) {
		start := binary.LittleEndian.Uint64([]byte(f.text))
		if own := len(s.secrets) - 1; !slices.Contains(s.byStart[start], own) {
			s.byStart[start] = append(s.byStart[start], own)
		}
		s.filter[slot(start)/64] |= 1 << (slot(start) % 64)
		s.forms++
	}
}

// slot returns the bit of the filter for the first eight bytes of a form.
func slot(start uint64) uint64 { return start * 0x9E3779B97F4A7C15 >> (64 - filterBits) }

// scan returns all places of text where a secret stands.
func (s *scanner) scan(text []byte) []leak {
	var leaks []leak
	for i := 0; i+minLength <= len(text); i++ {
		start := binary.LittleEndian.Uint64(text[i:])
		if s.filter[slot(start)/64]&(1<<(slot(start)%64)) == 0 {
			continue
		}
		for _, candidate := range s.byStart[start] {
			if found, ok := leakAt(text, i, s.secrets[candidate]); ok {
				leaks = append(leaks, found)
			}
		}
	}
	return leaks
}

func leakAt(text []byte, i int, secret Secret) (leak, bool) {
	for _, f := range formsOf(secret.Value) {
		if bytes.HasPrefix(text[i:], []byte(f.text)) {
			before, after := text[max(0, i-contextShown):i], text[i+len(f.text):]
			after = after[:min(len(after), contextShown)]
			return leak{secret, f.name, fmt.Sprintf("%s<HERE>%s", before, after)}, true
		}
	}
	return leak{}, false
}

// Find describes each place of text where one of the secrets stands, without the secret.
func Find(text string, secrets ...Secret) []string {
	var found []string
	for _, l := range newScanner(secrets).scan([]byte(text)) {
		found = append(found, l.String())
	}
	return found
}
