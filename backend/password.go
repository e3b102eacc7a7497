// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"math/big"
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

func (r *roleEntry) passwordPolicy(aws *connection) string {
	return cmp.Or(r.PasswordPolicy, aws.passwordPolicy)
}

// newPasswords makes a permanent and a temporary password, which must differ,
// or a pool with a password history refuses the second.
func (b *backend) newPasswords(ctx context.Context, policy string) (permanent, temporary string, err error) {
	if permanent, err = b.newPasswordBy(ctx, policy); err != nil {
		return "", "", err
	}
	if temporary, err = b.newPasswordBy(ctx, policy); err != nil {
		return "", "", err
	}
	if permanent == temporary {
		return "", "", badRequest("password_policy %q is not allowed: it makes the same password twice", policy)
	}
	return permanent, temporary, nil
}

func (b *backend) newPasswordBy(ctx context.Context, policy string) (string, error) {
	if policy == "" {
		return newPassword(rand.Reader)
	}
	password, err := b.System().GeneratePasswordFromPolicy(ctx, policy)
	if err != nil || password == "" {
		// Over the plugin boundary the cause is always the same text, so it helps nobody.
		return "", badRequest("password_policy %q cannot be used: Vault made no password from it; is there such a policy under sys/policies/password?", policy)
	}
	return password, nil
}
