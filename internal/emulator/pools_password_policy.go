// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// passwordSymbols are the characters that Cognito counts as symbols, from the page "Adding user
	// pool password requirements" of the developer guide.
	passwordSymbols = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-"

	// Letters and digits count if they belong to the basic Latin alphabet.
	upperLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	lowerLetters = "abcdefghijklmnopqrstuvwxyz"
	digits       = "0123456789"

	maxPasswordLength             = 256
	defaultPasswordLength         = 8
	defaultTemporaryPasswordDays  = 7
	minPasswordPolicyLength       = 6
	maxPasswordPolicyLength       = 99
	maxPasswordHistory            = 24
	maxTemporaryPasswordValidDays = 365
)

type passwordPolicy struct {
	MinimumLength                 int
	RequireUppercase              bool
	RequireLowercase              bool
	RequireNumbers                bool
	RequireSymbols                bool
	PasswordHistorySize           int `json:",omitempty"`
	TemporaryPasswordValidityDays int
}

func defaultPasswordPolicy() passwordPolicy {
	return passwordPolicy{
		MinimumLength:    defaultPasswordLength,
		RequireUppercase: true,
		RequireLowercase: true,
		RequireNumbers:   true,
		RequireSymbols:   true,
	}
}

// complete checks the policy itself and adds Cognito's defaults.
func (p passwordPolicy) complete(tier string) (passwordPolicy, error) {
	if p.MinimumLength == 0 {
		p.MinimumLength = defaultPasswordLength
	}
	if p.TemporaryPasswordValidityDays == 0 {
		p.TemporaryPasswordValidityDays = defaultTemporaryPasswordDays
	}
	switch {
	case p.MinimumLength < minPasswordPolicyLength || p.MinimumLength > maxPasswordPolicyLength:
		return p, invalidParameter("The minimum length of passwords is %d; it has to be from %d to %d.",
			p.MinimumLength, minPasswordPolicyLength, maxPasswordPolicyLength)
	case p.PasswordHistorySize < 0 || p.PasswordHistorySize > maxPasswordHistory:
		return p, invalidParameter("The password history size is %d; it has to be from 0 to %d.", p.PasswordHistorySize, maxPasswordHistory)
	case p.TemporaryPasswordValidityDays < 0 || p.TemporaryPasswordValidityDays > maxTemporaryPasswordValidDays:
		return p, invalidParameter("Temporary passwords are valid for %d days; it has to be from 0 to %d.",
			p.TemporaryPasswordValidityDays, maxTemporaryPasswordValidDays)
	case p.PasswordHistorySize > 0 && tier == tierLite:
		return p, newException(codeFeatureNotInTier, "Password history is not available in the %s tier.", tier)
	default:
		return p, nil
	}
}

// check returns an InvalidPasswordException that names what the password lacks, or an
// InvalidParameterException for a password that no policy could allow: the constraints of the API
// come before the policy of the pool.
func (p passwordPolicy) check(password string) error {
	if err := checkPasswordConstraints(password); err != nil {
		return err
	}
	flaw := p.flaw(password)
	if flaw == "" {
		return nil
	}
	return newException(codeInvalidPassword, "Password did not conform with policy: %s", flaw)
}

// checkPasswordConstraints checks the length and the pattern of the type PasswordType in AWS's
// model of the API.
func checkPasswordConstraints(password string) error {
	switch {
	case utf8.RuneCountInString(password) > maxPasswordLength:
		return invalidParameter("1 validation error detected: Value at 'password' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", maxPasswordLength)
	case strings.ContainsFunc(password, unicode.IsSpace):
		return invalidParameter("1 validation error detected: Value at 'password' failed to satisfy constraint: " +
			`Member must satisfy regular expression pattern: ^[\S]+$`)
	default:
		return nil
	}
}

func (p passwordPolicy) flaw(password string) string {
	switch {
	case utf8.RuneCountInString(password) < p.MinimumLength:
		return "Password not long enough"
	case p.RequireUppercase && !strings.ContainsAny(password, upperLetters):
		return "Password must have uppercase characters"
	case p.RequireLowercase && !strings.ContainsAny(password, lowerLetters):
		return "Password must have lowercase characters"
	case p.RequireNumbers && !strings.ContainsAny(password, digits):
		return "Password must have numeric characters"
	case p.RequireSymbols && !strings.ContainsAny(password, passwordSymbols):
		return "Password must have symbol characters"
	default:
		return ""
	}
}

// checkHistory refuses the passwords that the user had last, including the present one. They are
// sorted newest first.
func (p passwordPolicy) checkHistory(password string, past []string) error {
	remembered := past[:min(len(past), p.PasswordHistorySize)]
	if slices.Contains(remembered, password) {
		return newException(codePasswordHistory, "Password has previously been used.")
	}
	return nil
}
