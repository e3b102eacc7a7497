// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// newUser makes up a user as its role describes it, but for the password.
func newUser(aws *connection, role *roleEntry, data templateData) (cognito.NewUser, error) {
	username, err := role.username(aws, data)
	if err != nil {
		return cognito.NewUser{}, err
	}
	data.Username = username
	attributes, err := role.attributes(data)
	if err != nil {
		return cognito.NewUser{}, err
	}
	return cognito.NewUser{Username: username, Attributes: attributes, ClientMetadata: role.ClientMetadata}, nil
}

// username comes from the role's template, or the mount's, or is our own.
func (r *roleEntry) username(aws *connection, data templateData) (string, error) {
	text := cmp.Or(r.UsernameTemplate, aws.usernameTemplate)
	if text == "" {
		return newUsername(data.RoleName, r.DummyEmailDomain), nil
	}
	username, err := renderUsername(text, data)
	if err != nil {
		return "", badRequest("username_template %q is not allowed: %s", text, err)
	}
	return username, nil
}

// attributes are the role's. A dummy e-mail domain gives the user an address
// when the role names none, and an address counts as verified unless the role
// says otherwise: an alias works only then.
func (r *roleEntry) attributes(data templateData) (map[string]string, error) {
	attributes := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.UserAttributes)) {
		value, err := renderAttribute(r.UserAttributes[name], data)
		if err != nil {
			return nil, badRequest("user_attributes holds %s=%q, which is not allowed: %s", name, r.UserAttributes[name], err)
		}
		attributes[name] = value
	}
	if attributes[attributeEmail] == "" && r.DummyEmailDomain != "" {
		attributes[attributeEmail] = dummyEmail(data.Username, r.DummyEmailDomain)
	}
	if attributes[attributeEmail] != "" && attributes["email_verified"] == "" {
		attributes["email_verified"] = "true"
	}
	return attributes, nil
}

// dummyEmail is the username where that is an address already.
func dummyEmail(username, domain string) string {
	if strings.Contains(username, "@") {
		return username
	}
	return username + "@" + strings.ToLower(domain)
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

// tryRole makes up a user of the role and throws it away, so that a template or
// policy that does not work is found now and not at three in the morning.
func (b *backend) tryRole(ctx context.Context, aws *connection, name, mountPoint string, role *roleEntry) error {
	if role.CredentialType != credentialTypeUser {
		return nil
	}
	if _, err := newUser(aws, role, trialData(name, mountPoint, role.UserPoolID)); err != nil {
		return err
	}
	_, _, err := b.newPasswords(ctx, role.passwordPolicy(aws))
	return err
}

// tryConfig does the same for the mount's defaults.
func (b *backend) tryConfig(ctx context.Context, mountPoint string, config *configEntry) error {
	defaults := &connection{usernameTemplate: config.UsernameTemplate, passwordPolicy: config.PasswordPolicy}
	trial := &roleEntry{CredentialType: credentialTypeUser}
	return b.tryRole(ctx, defaults, "role", mountPoint, trial)
}
