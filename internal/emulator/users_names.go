// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const maxUsernameLength = 128

var usernamePattern = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$`)

// checkUsername checks the constraints of usernames in requests.
func checkUsername(name string) error {
	switch {
	case name == "":
		return invalidParameter("1 validation error detected: Value at 'username' failed to satisfy constraint: Member must not be null")
	case utf8.RuneCountInString(name) > maxUsernameLength:
		return invalidParameter("1 validation error detected: Value at 'username' failed to satisfy constraint: "+
			"Member must have length less than or equal to %d", maxUsernameLength)
	case !usernamePattern.MatchString(name):
		return invalidParameter("1 validation error detected: Value at 'username' failed to satisfy constraint: " +
			`Member must satisfy regular expression pattern: [\p{L}\p{M}\p{S}\p{N}\p{P}]+`)
	default:
		return nil
	}
}

// fold returns the form of a sign-in name that the pool compares.
func (p *pool) fold(name string) string {
	if p.caseSensitive() {
		return name
	}
	return strings.ToLower(name)
}

// caseSensitive is true for pools without UsernameConfiguration.
func (p *pool) caseSensitive() bool {
	return p.settings.UsernameConfiguration == nil || p.settings.UsernameConfiguration.CaseSensitive
}

// namesAreAttributes reports whether the pool uses e-mail addresses or phone numbers as usernames.
func (p *pool) namesAreAttributes() bool {
	return len(p.settings.UsernameAttributes) > 0
}

// nameAttribute returns the attribute that holds the username of a new user, in a pool that uses
// attributes as usernames.
func (p *pool) nameAttribute(name string) (string, error) {
	email := slices.Contains(p.settings.UsernameAttributes, attributeEmail)
	phone := slices.Contains(p.settings.UsernameAttributes, attributePhone)
	switch {
	case email && emailPattern.MatchString(name):
		return attributeEmail, nil
	case phone && phonePattern.MatchString(name):
		return attributePhone, nil
	case email && phone:
		return "", invalidParameter("Username should be either an email or a phone number.")
	case email:
		return "", invalidParameter("Username should be an email.")
	default:
		return "", invalidParameter("Username should be a phone number.")
	}
}

// checkNotAlias refuses usernames that look like an alias of the pool.
func (p *pool) checkNotAlias(name string) error {
	if slices.Contains(p.settings.AliasAttributes, attributeEmail) && emailPattern.MatchString(name) {
		return invalidParameter("Username cannot be of email format, since user pool is configured for email alias.")
	}
	if slices.Contains(p.settings.AliasAttributes, attributePhone) && phonePattern.MatchString(name) {
		return invalidParameter("Username cannot be of phone number format, since user pool is configured for phone number alias.")
	}
	return nil
}

// aliasesOf returns the folded sign-in names, besides the username, of a user with these
// attributes.
func (p *pool) aliasesOf(attributes map[string]string) []string {
	var names []string
	for _, name := range p.settings.UsernameAttributes {
		names = append(names, attributes[name])
	}
	for _, name := range p.settings.AliasAttributes {
		if verified(name, attributes) {
			names = append(names, attributes[name])
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	for i := range names {
		names[i] = p.fold(names[i])
	}
	return names
}

// verified reports whether an alias may be used; a preferred username needs no verification.
func verified(name string, attributes map[string]string) bool {
	return name == attributePreferredUsername || strings.EqualFold(attributes[name+"_verified"], "true")
}

// ownerOfAlias returns a user other than u that has one of the names, or nil.
func (p *pool) ownerOfAlias(u *user, names []string) *user {
	for _, name := range names {
		if owner := p.aliases[name]; owner != nil && owner != u {
			return owner
		}
	}
	return nil
}

// index makes the user findable by its username and its present aliases.
func (p *pool) index(u *user) {
	p.unindex(u)
	p.users[p.fold(u.username)] = u
	p.subs[u.sub] = u
	u.indexed = p.aliasesOf(u.attributes)
	for _, name := range u.indexed {
		p.aliases[name] = u
	}
}

func (p *pool) unindex(u *user) {
	delete(p.users, p.fold(u.username))
	delete(p.subs, u.sub)
	for _, name := range u.indexed {
		if p.aliases[name] == u {
			delete(p.aliases, name)
		}
	}
	u.indexed = nil
}

// userBy returns a user by username, alias or sub, visible or not. That a sub is accepted says the
// reference of AdminGetUser and of the other operations of administrators.
func (p *pool) userBy(name string) *user {
	if u, ok := p.users[p.fold(name)]; ok {
		return u
	}
	if u, ok := p.aliases[p.fold(name)]; ok {
		return u
	}
	return p.subs[name]
}
