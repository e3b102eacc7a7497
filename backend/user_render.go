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

const (
	attributeEmail             = "email"
	attributePreferredUsername = "preferred_username"

	verifiedSuffix = "_verified"
)

// renderUser returns the user that a role describes, without its password.
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

// username renders the role's template, or else the config's. Without a template it returns
// newUsername.
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

// attributes renders the role's attributes. If the role sets no email, the user gets an address
// under dummy_email_domain. Addresses under that domain, and only those, are verified by default:
// an alias works only if it is verified.
func (r *roleEntry) attributes(data templateData) (map[string]string, error) {
	attributes := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(r.UserAttributes)) {
		value, err := renderAttribute(r.UserAttributes[name], data.forAttribute(name))
		if err != nil {
			return nil, badRequest("user_attributes holds %s=%q, which is not allowed: %s", name, r.UserAttributes[name], err)
		}
		attributes[name] = value
	}
	if attributes[attributeEmail] == "" && r.DummyEmailDomain != "" {
		attributes[attributeEmail] = dummyEmail(data.Username, r.DummyEmailDomain)
	}
	if attributes[attributeEmail+verifiedSuffix] == "" && r.ownsAddress(attributes[attributeEmail]) {
		attributes[attributeEmail+verifiedSuffix] = "true"
	}
	return attributes, nil
}

// forAttribute returns the data for an attribute. Users can sign in with some attributes, which are
// treated like usernames.
func (d templateData) forAttribute(name string) templateData {
	if name == attributeEmail || name == attributePreferredUsername {
		return d.safe()
	}
	return d.plain()
}

// ownsAddress reports whether an e-mail address is under dummy_email_domain.
func (r *roleEntry) ownsAddress(address string) bool {
	return r.DummyEmailDomain != "" && strings.EqualFold(domainOf(address), r.DummyEmailDomain)
}

// domainOf returns the domain of an e-mail address, or "" for any other text.
func domainOf(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	if local == "" || strings.Contains(domain, "@") {
		return ""
	}
	return domain
}

// dummyEmail returns the username if it is an address, and otherwise an address with it.
func dummyEmail(username, domain string) string {
	if strings.Contains(username, "@") {
		return username
	}
	return username + "@" + strings.ToLower(domain)
}

// dryRunRole renders users of the role for harmless and hostile callers, and generates passwords.
// So a template or policy that fails, or that a caller could misuse, is refused when the role is
// written.
func (b *backend) dryRunRole(ctx context.Context, aws *connection, name, mountPoint string, role *roleEntry) error {
	switch role.CredentialType {
	case credentialTypeUser:
	case credentialTypeAppClient:
		return dryRunClientName(name, mountPoint, role)
	default:
		return nil
	}
	var first cognito.NewUser
	for i, caller := range trialCallers {
		user, err := renderUser(aws, role, trialData(name, mountPoint, role.UserPoolID, caller))
		if err != nil {
			return err
		}
		if i == 0 {
			first = user
		}
		if err := role.checkCallerInfluence(first, user); err != nil {
			return err
		}
	}
	_, _, err := b.newPasswords(ctx, role.passwordPolicy(aws))
	return err
}

// checkCallerInfluence compares the users that are rendered for two callers. A caller must not
// determine the domain of an address or the value of a verified attribute.
func (r *roleEntry) checkCallerInfluence(one, other cognito.NewUser) error {
	if domainOf(one.Username) != domainOf(other.Username) {
		return badRequest("username_template is not allowed: the domain of the usernames depends on the caller")
	}
	if domainOf(one.Attributes[attributeEmail]) != domainOf(other.Attributes[attributeEmail]) {
		return badRequest("user_attributes holds email=%q, which is not allowed: the domain depends on the caller", r.UserAttributes[attributeEmail])
	}
	for name, value := range one.Attributes {
		if value == other.Attributes[name] || one.Attributes[name+verifiedSuffix] != "true" || name == attributeEmail && r.ownsAddress(value) {
			continue
		}
		return badRequest("user_attributes holds %s%s=\"true\", which is not allowed: %s depends on the caller", name, verifiedSuffix, name)
	}
	return nil
}

// dryRunConfig is dryRunRole for the defaults in the config.
func (b *backend) dryRunConfig(ctx context.Context, mountPoint string, config *configEntry) error {
	defaults := &connection{usernameTemplate: config.UsernameTemplate, passwordPolicy: config.PasswordPolicy}
	return b.dryRunRole(ctx, defaults, "role", mountPoint, &roleEntry{CredentialType: credentialTypeUser})
}

// notInUsername matches characters that a role name may contain but the local part of an e-mail
// address may not.
var notInUsername = regexp.MustCompile(`[^a-z0-9_-]+`)

// newUsername returns a username with the name of its role and 130 random bits. A role name that is
// too long is cut off.
func newUsername(role, emailDomain string) string {
	random := "-" + strings.ToLower(rand.Text())
	name := usernamePrefix + notInUsername.ReplaceAllString(strings.ToLower(role), "-")
	name = name[:min(len(name), localPartMax-len(random))] + random
	if emailDomain == "" {
		return name
	}
	return name + "@" + strings.ToLower(emailDomain)
}
