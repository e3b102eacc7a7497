// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // authenticator apps use nothing else
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"time"
)

const (
	softwareTokenBytes  = 32
	softwareTokenPeriod = 30 * time.Second
	softwareTokenModulo = 1_000_000
	// softwareTokenDrift is by how many periods the user's clock may differ, in either direction.
	softwareTokenDrift = 1
)

// softwareToken is a time-based one-time password of six digits (RFC 6238).
type softwareToken struct {
	// secret is encoded in base32, as the user receives it.
	secret   string
	verified bool
	// lastStep is the period of the last code that was used; codes up to it are refused.
	lastStep int64
}

func (r *request) newTokenSecret() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(r.server.random.bytes(softwareTokenBytes))
}

// use accepts a code that is valid at the time, once.
func (t *softwareToken) use(code string, now time.Time) error {
	step, ok := t.stepOf(code, now)
	switch {
	case !ok:
		return codeMismatch()
	case step <= t.lastStep:
		return newException("ExpiredCodeException", "Your software token has already been used once.")
	default:
		t.lastStep = step
		return nil
	}
}

// stepOf returns the period, close to the present one, that a code belongs to.
func (t *softwareToken) stepOf(code string, now time.Time) (step int64, ok bool) {
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(t.secret)
	if err != nil || len(key) == 0 {
		return 0, false
	}
	present := now.Unix() / int64(softwareTokenPeriod.Seconds())
	for step := present - softwareTokenDrift; step <= present+softwareTokenDrift; step++ {
		if subtle.ConstantTimeCompare([]byte(codeAt(key, step)), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}

// codeAt returns the HOTP value (RFC 4226) of a counter.
func codeAt(key []byte, step int64) string {
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, step) // a hash accepts every write
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0x0f
	value := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%06d", value%softwareTokenModulo)
}
