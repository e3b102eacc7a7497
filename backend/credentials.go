// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strings"
)

const (
	passwordLength = 32

	// usernamePrefix lets operators tell the engine's users from others.
	usernamePrefix = "vault-"
	// localPartMax is the length of what stands before the @ of an e-mail address.
	localPartMax = 64
	// emailDomainMax keeps "<local part>@<domain>" within Cognito's 128 characters of a username.
	emailDomainMax = 128 - localPartMax - 1
)

// passwordClasses are the four that Cognito's password policies know. The
// symbols leave out those that a shell would read.
// https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
var passwordClasses = []string{
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	"abcdefghijklmnopqrstuvwxyz",
	"0123456789",
	"#%+,-./:=@^_~",
}

// notInUsername is what a role's name may hold and an e-mail address may not
// hold everywhere.
var notInUsername = regexp.MustCompile(`[^a-z0-9_-]+`)

// newPassword makes a password of every class. It begins with a letter, so
// that no command takes it for an option.
func newPassword(random io.Reader) (string, error) {
	letters := passwordClasses[0] + passwordClasses[1]
	sources := append([]string{letters}, passwordClasses...)
	for len(sources) < passwordLength {
		sources = append(sources, strings.Join(passwordClasses, ""))
	}
	password := make([]byte, 0, passwordLength)
	for _, source := range sources {
		i, err := below(random, len(source))
		if err != nil {
			return "", err
		}
		password = append(password, source[i])
	}
	return shuffle(random, password)
}

// shuffle mixes all but the first character.
func shuffle(random io.Reader, password []byte) (string, error) {
	for i := len(password) - 1; i > 1; i-- {
		j, err := below(random, i)
		if err != nil {
			return "", err
		}
		password[i], password[j+1] = password[j+1], password[i]
	}
	return string(password), nil
}

func below(random io.Reader, n int) (int, error) {
	i, err := rand.Int(random, big.NewInt(int64(n)))
	if err != nil {
		return 0, fmt.Errorf("reading random numbers: %w", err)
	}
	return int(i.Int64()), nil
}

// newUsername names a user after its role, with 130 random bits that no long
// role name pushes out.
func newUsername(role, emailDomain string) string {
	random := "-" + strings.ToLower(rand.Text())
	name := usernamePrefix + notInUsername.ReplaceAllString(strings.ToLower(role), "-")
	name = name[:min(len(name), localPartMax-len(random))] + random
	if emailDomain == "" {
		return name
	}
	return name + "@" + strings.ToLower(emailDomain)
}
