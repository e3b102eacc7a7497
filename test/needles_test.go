// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	// needleMin is the shortest text that is looked for: a shorter one turns up in a long log by chance. Cognito's
	// secrets are longer, but for the six digits of an authenticator, which serve for seconds and once.
	needleMin = 8

	// contextShown is how much of the text around a find is shown.
	contextShown = 80

	filterBits = 24
)

// needles are secrets to look for in large texts, in every form that a program may write them.
type needles struct {
	secrets  []control.Secret
	tooShort int
	forms    int
	// byStart holds which secrets have a form that begins with these eight bytes; filter says quickly that none has.
	byStart map[uint64][]int
	filter  []uint64
}

// find is a place where a secret stands.
type find struct {
	secret control.Secret
	form   string
	around string
}

func (f find) String() string {
	return fmt.Sprintf("%s, %s: %q", f.secret.Field, f.form, f.around)
}

func newNeedles(secrets []control.Secret) *needles {
	n := &needles{byStart: map[uint64][]int{}, filter: make([]uint64, 1<<filterBits/64)}
	for _, secret := range secrets {
		secret.Value = essence(secret.Value)
		if len(secret.Value) < needleMin {
			n.tooShort++
			continue
		}
		n.add(secret)
	}
	return n
}

// essence of a JWT is its signature, without which it serves nobody. The rest is known: the claims are no secret, and
// all tokens of a key begin alike.
func essence(value string) string {
	if parts := strings.Split(value, "."); len(parts) == 3 && strings.HasPrefix(value, "eyJ") {
		return parts[2]
	}
	return value
}

func (n *needles) add(secret control.Secret) {
	n.secrets = append(n.secrets, secret)
	for _, f := range formsOf(secret.Value) {
		start := binary.LittleEndian.Uint64([]byte(f.text))
		if own := len(n.secrets) - 1; !slices.Contains(n.byStart[start], own) {
			n.byStart[start] = append(n.byStart[start], own)
		}
		n.filter[slot(start)/64] |= 1 << (slot(start) % 64)
		n.forms++
	}
}

// slot spreads the beginnings over the filter.
func slot(start uint64) uint64 { return start * 0x9E3779B97F4A7C15 >> (64 - filterBits) }

// form is a text in which a secret may stand, with what it is called.
type form struct{ name, text string }

// formsOf are all forms of a secret, each once. All have eight bytes at least.
func formsOf(secret string) []form {
	escaped, _ := json.Marshal(secret) // a string always encodes
	all := []form{
		{"as it is", secret},
		{"escaped for JSON", strings.Trim(string(escaped), `"`)},
		{"escaped for a log", strings.Trim(fmt.Sprintf("%q", secret), `"`)},
		{"escaped for a URL", url.QueryEscape(secret)},
		{"escaped for a URL's path", url.PathEscape(secret)},
		{"in hex", hex.EncodeToString([]byte(secret))},
		{"in upper-case hex", strings.ToUpper(hex.EncodeToString([]byte(secret)))},
	}
	for offset := range 3 {
		all = append(all,
			form{fmt.Sprintf("in base64, %d bytes into something", offset), base64Within(base64.RawStdEncoding, secret, offset)},
			form{fmt.Sprintf("in base64 for URLs, %d bytes into something", offset), base64Within(base64.RawURLEncoding, secret, offset)})
	}
	var once []form
	for _, f := range all {
		if !slices.ContainsFunc(once, func(o form) bool { return o.text == f.text }) {
			once = append(once, f)
		}
	}
	return once
}

// base64Within is the part of the base64 of a longer text that the secret alone decides, when the number of bytes
// before it leaves that remainder by three.
func base64Within(encoding *base64.Encoding, secret string, offset int) string {
	encoded := encoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
	first := (offset*8 + 5) / 6
	last := (offset + len(secret)) * 8 / 6
	return encoded[first:last]
}

// in finds all places of text where a secret stands.
func (n *needles) in(text []byte) []find {
	var finds []find
	for i := 0; i+needleMin <= len(text); i++ {
		start := binary.LittleEndian.Uint64(text[i:])
		if n.filter[slot(start)/64]&(1<<(slot(start)%64)) == 0 {
			continue
		}
		for _, candidate := range n.byStart[start] {
			if found, ok := n.at(text, i, n.secrets[candidate]); ok {
				finds = append(finds, found)
			}
		}
	}
	return finds
}

func (n *needles) at(text []byte, i int, secret control.Secret) (find, bool) {
	for _, f := range formsOf(secret.Value) {
		if bytes.HasPrefix(text[i:], []byte(f.text)) {
			before, after := text[max(0, i-contextShown):i], text[i+len(f.text):]
			after = after[:min(len(after), contextShown)]
			return find{secret, f.name, fmt.Sprintf("%s<HERE>%s", before, after)}, true
		}
	}
	return find{}, false
}

// TestNeedlesAreFound plants a secret with every character that encodings treat apart in a text.
func TestNeedlesAreFound(t *testing.T) {
	const secret = "p%+/=&\"<a\\ä~word?"
	n := newNeedles([]control.Secret{{Field: "Other", Value: "something-else"}, {Field: "Password", Value: secret}})
	quoted, err := json.Marshal(map[string]string{"k": secret})
	require.NoError(t, err)
	within := func(encoding *base64.Encoding, before string) string {
		return encoding.EncodeToString([]byte(before + secret + " and more"))
	}
	for name, text := range map[string]string{
		"plain":                          secret,
		"JSON":                           string(quoted),
		"a Go string":                    fmt.Sprintf("%q", secret),
		"a form":                         url.Values{"k": {secret}}.Encode(),
		"the path of a URL":              url.PathEscape(secret),
		"hex":                            fmt.Sprintf("%x", secret),
		"upper-case hex":                 fmt.Sprintf("%X", secret),
		"base64":                         base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64 for URLs":                base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 without padding":         base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 of more, one byte in":    within(base64.StdEncoding, "1"),
		"base64 of more, two bytes in":   within(base64.StdEncoding, "12"),
		"base64 of more, three bytes in": within(base64.StdEncoding, "123"),
		"base64 for URLs of more":        within(base64.RawURLEncoding, "user:pass"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, around := range []string{"", strings.Repeat("noise ", 100)} {
				finds := n.in([]byte(around + text + around))
				require.Len(t, finds, 1)
				require.Equal(t, "Password", finds[0].secret.Field)
				require.NotContains(t, finds[0].String(), text, "whoever reads the failure must not learn the secret")
			}
			require.Empty(t, n.in([]byte(text[:len(text)/2])))
		})
	}
}

func TestNeedlesLeaveOut(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLW1pbmU"
	n := newNeedles([]control.Secret{{Field: "Token", Value: token}, {Field: "UserCode", Value: "123456"}})
	require.Equal(t, 1, n.tooShort)
	require.Empty(t, n.in([]byte("123456 eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLXlvdXJz")), "a token that begins alike is another one")
	require.Len(t, n.in([]byte("its token is "+token)), 1)
	require.Len(t, n.in([]byte("the end of it is "+token[40:])), 0)
	require.Len(t, n.in([]byte(strings.Split(token, ".")[2])), 1)
}
