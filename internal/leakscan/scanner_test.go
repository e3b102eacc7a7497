// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package leakscan

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestScanFindsEveryForm hides a secret with every character that encodings treat differently.
func TestScanFindsEveryForm(t *testing.T) {
	const secret = "p%+/=&\"<a\\ä~word?"
	s := newScanner([]Secret{{Field: "Other", Value: "something-else"}, {Field: "Password", Value: secret}})
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
		"a URL path":                     url.PathEscape(secret),
		"hex":                            fmt.Sprintf("%x", secret),
		"upper-case hex":                 fmt.Sprintf("%X", secret),
		"base64":                         base64.StdEncoding.EncodeToString([]byte(secret)),
		"URL-safe base64":                base64.URLEncoding.EncodeToString([]byte(secret)),
		"base64 without padding":         base64.RawStdEncoding.EncodeToString([]byte(secret)),
		"base64 after one byte":          within(base64.StdEncoding, "1"),
		"base64 after two bytes":         within(base64.StdEncoding, "12"),
		"base64 after three bytes":       within(base64.StdEncoding, "123"),
		"URL-safe base64 after a prefix": within(base64.URLEncoding, "user:pass"),
	} {
		t.Run("a secret in "+name+" is found once and not shown", func(t *testing.T) {
			for _, around := range []string{"", strings.Repeat("noise ", 100)} {
				leaks := s.scan([]byte(around + text + around))
				require.Len(t, leaks, 1)
				require.Equal(t, "Password", leaks[0].secret.Field)
				require.NotContains(t, leaks[0].String(), text, "the report must not show the secret")
			}
			require.Empty(t, s.scan([]byte(text[:len(text)/2])))
		})
	}
}

func TestScanComparesTokensBySignature(t *testing.T) {
	token := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLW1pbmU"
	s := newScanner([]Secret{{Field: "Token", Value: token}})
	require.Empty(t, s.scan([]byte("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLXlvdXJz")), "another token of the same user")
	require.Empty(t, s.scan([]byte("a part of the signature: "+token[40:])))
	require.Len(t, s.scan([]byte("its token is "+token)), 1)
	require.Len(t, s.scan([]byte(strings.Split(token, ".")[2])), 1)
}

func TestScanCountsSecretsThatAreTooShort(t *testing.T) {
	s := newScanner([]Secret{{Field: "UserCode", Value: "123456"}})
	require.Equal(t, 1, s.tooShort)
	require.Empty(t, s.scan([]byte("123456")))
}
