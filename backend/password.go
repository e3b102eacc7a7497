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

	// usernamePrefix distinguishes the engine's users from others.
	usernamePrefix = "vault-"
	// localPartMax is the longest local part of an e-mail address: the part before the @.
	localPartMax = 64
	// emailDomainMax keeps "<local part>@<domain>" within the 128 characters of a Cognito username.
	emailDomainMax = 128 - localPartMax - 1
)

// passwordClasses are the four classes of Cognito's password policies, without the symbols that a
// shell interprets.
// https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
var passwordClasses = []string{
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	"abcdefghijklmnopqrstuvwxyz",
	"0123456789",
	"#%+,-./:=@^_~",
}

// newPassword returns a password of every class. It begins with a letter, so that no command
// mistakes it for an option.
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

// shuffle permutes all characters except the first.
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

// newPasswords returns a permanent and a temporary password. They must differ, because a pool with
// a password history refuses a repeated one.
func (b *backend) newPasswords(ctx context.Context, policy string) (permanent, temporary string, err error) {
	if permanent, err = b.newPasswordBy(ctx, policy); err != nil {
		return "", "", err
	}
	if temporary, err = b.newPasswordBy(ctx, policy); err != nil {
		return "", "", err
	}
	if permanent == temporary {
		return "", "", badRequest("password_policy %q is not allowed: it generated the same password twice", policy)
	}
	return permanent, temporary, nil
}

func (b *backend) newPasswordBy(ctx context.Context, policy string) (string, error) {
	if policy == "" {
		return newPassword(rand.Reader)
	}
	password, err := b.System().GeneratePasswordFromPolicy(ctx, policy)
	if err != nil || password == "" {
		// The plugin boundary replaces the cause with one fixed text, so it is not repeated here.
		return "", badRequest("password_policy %q cannot be used: Vault generated no password from it; check that sys/policies/password/%s exists", policy, policy)
	}
	return password, nil
}
