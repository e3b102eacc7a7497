// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// attributeEmail is the standard attribute of an e-mail address.
const attributeEmail = "email"

// renderUser makes up a user as its role describes it, but for the password.
func renderUser(aws *connection, role *roleEntry, data templateData) (cognito.NewUser, error) {
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

// dryRunRole makes up a user of the role and throws it away, so that a template or
// policy that does not work is found now and not at three in the morning.
func (b *backend) dryRunRole(ctx context.Context, aws *connection, name, mountPoint string, role *roleEntry) error {
	if role.CredentialType != credentialTypeUser {
		return nil
	}
	if _, err := renderUser(aws, role, trialData(name, mountPoint, role.UserPoolID)); err != nil {
		return err
	}
	_, _, err := b.newPasswords(ctx, role.passwordPolicy(aws))
	return err
}

// dryRunConfig does the same for the mount's defaults.
func (b *backend) dryRunConfig(ctx context.Context, mountPoint string, config *configEntry) error {
	defaults := &connection{usernameTemplate: config.UsernameTemplate, passwordPolicy: config.PasswordPolicy}
	trial := &roleEntry{CredentialType: credentialTypeUser}
	return b.dryRunRole(ctx, defaults, "role", mountPoint, trial)
}

// notInUsername is what a role's name may hold and an e-mail address may not
// hold everywhere.
var notInUsername = regexp.MustCompile(`[^a-z0-9_-]+`)

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
