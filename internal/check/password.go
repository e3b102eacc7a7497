// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// The characters that count for the password policy of a user pool, and the longest password.
// https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
const (
	passwordUpper   = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	passwordLower   = "abcdefghijklmnopqrstuvwxyz"
	passwordNumbers = "0123456789"
	passwordSymbols = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-"
	passwordMax     = 256
)

// checkPasswords compares several passwords with the pool's policy, because a Vault password policy
// may meet it by chance only.
func checkPasswords(samples Result[[]string], rules Result[cognito.PoolRules]) Finding {
	const name = "password"
	switch {
	case !samples.known():
		return Failed(name, samples.Err.Error(), "Create the password policy in Vault, or name another one.")
	case !rules.known():
		return skipped(name, "user_pool")
	}
	for _, password := range samples.Value {
		if flaw := flawOf(password, rules.Value.Password); flaw != "" {
			return Failed(name, "The pool refuses passwords of the role: "+flaw+".",
				"Set a password_policy that always meets the policy of the pool.")
		}
	}
	return Passed(name, "The role's passwords meet the password policy of the pool.")
}

// flawOf describes why a pool refuses a password, without showing it. It returns "" if the pool
// accepts it.
func flawOf(password string, rules cognito.PasswordRules) string {
	length := utf8.RuneCountInString(password)
	lacks := func(required bool, class string) bool { return required && !strings.ContainsAny(password, class) }
	switch {
	case length < rules.MinimumLength:
		return fmt.Sprintf("one has %d characters and the pool requires %d", length, rules.MinimumLength)
	case length > passwordMax:
		return fmt.Sprintf("one has %d characters and Cognito allows %d", length, passwordMax)
	case strings.ContainsFunc(password, unicode.IsSpace):
		return "one has a space"
	case lacks(rules.Upper, passwordUpper):
		return "one has no uppercase letter"
	case lacks(rules.Lower, passwordLower):
		return "one has no lowercase letter"
	case lacks(rules.Numbers, passwordNumbers):
		return "one has no digit"
	case lacks(rules.Symbols, passwordSymbols):
		return "one has no symbol"
	default:
		return ""
	}
}
