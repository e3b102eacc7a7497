// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"slices"
	"strings"
)

const maxFilterLength = 256

// filterPattern matches an attribute, an operator and a value in double quotes.
var filterPattern = regexp.MustCompile(`^\s*"?([\w:]+)"?\s*(\^=|=)\s*"((?:[^"\\]|\\.)*)"\s*$`)

type listUsersInput struct {
	UserPoolId      string
	AttributesToGet []string
	Filter          string
	Limit           *int
	PaginationToken string
}

type listUsersOutput struct {
	Users           []userDescription
	PaginationToken string `json:",omitempty"`
}

// userFilter is a filter of ListUsers; the zero filter matches all users.
type userFilter struct {
	attribute string
	prefix    bool
	value     string
}

func (r *request) listUsers(in listUsersInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	filter, err := parseFilter(in.Filter)
	if err != nil {
		return nil, err
	}
	users, next, err := page(r.visibleUsers(p, filter), in.Limit, in.PaginationToken)
	if err != nil {
		return nil, err
	}
	out := listUsersOutput{Users: []userDescription{}, PaginationToken: next}
	for _, u := range users {
		out.Users = append(out.Users, u.describe().only(in.AttributesToGet))
	}
	return out, nil
}

func (r *request) visibleUsers(p *pool, filter userFilter) []*user {
	var users []*user
	for _, u := range p.sortedUsers() {
		if !r.now.Before(u.visibleFrom) && filter.passes(u) {
			users = append(users, u)
		}
	}
	return users
}

// sortedUsers returns all users by username.
func (p *pool) sortedUsers() []*user {
	users := make([]*user, 0, len(p.users))
	for _, u := range p.users {
		users = append(users, u)
	}
	slices.SortFunc(users, func(a, b *user) int { return strings.Compare(a.username, b.username) })
	return users
}

// only keeps the requested attributes; an empty request keeps all.
func (d userDescription) only(names []string) userDescription {
	if len(names) > 0 {
		d.Attributes = slices.DeleteFunc(d.Attributes, func(a attribute) bool { return !slices.Contains(names, a.Name) })
	}
	return d
}

func parseFilter(text string) (userFilter, error) {
	if text == "" {
		return userFilter{}, nil
	}
	parts := filterPattern.FindStringSubmatch(text)
	if parts == nil || len(text) > maxFilterLength {
		return userFilter{}, invalidParameter("Error while parsing filter.")
	}
	filter := userFilter{attribute: parts[1], prefix: parts[2] == "^=", value: strings.ReplaceAll(parts[3], `\"`, `"`)}
	if !slices.Contains(searchableAttributes(), filter.attribute) {
		return userFilter{}, invalidParameter("User pool attribute %s is not searchable.", filter.attribute)
	}
	return filter, nil
}

// searchableAttributes returns the attributes that a filter may name, all of them standard ones.
func searchableAttributes() []string {
	return []string{
		"username", attributeEmail, attributePhone, "name", "given_name", "family_name", attributePreferredUsername,
		"cognito:user_status", "status", attributeSub,
	}
}

// passes compares usernames case-sensitively, even in case-insensitive pools.
func (f userFilter) passes(u *user) bool {
	value, wanted := f.of(u), f.value
	if f.attribute == "cognito:user_status" {
		value, wanted = strings.ToLower(value), strings.ToLower(wanted)
	}
	switch {
	case f.attribute == "":
		return true
	case f.prefix:
		return strings.HasPrefix(value, wanted)
	default:
		return value == wanted
	}
}

func (f userFilter) of(u *user) string {
	switch f.attribute {
	case "username":
		return u.username
	case attributeSub:
		return u.sub
	case "cognito:user_status":
		return u.status
	case "status":
		if u.disabled {
			return "Disabled"
		}
		return "Enabled"
	default:
		return u.attributes[f.attribute]
	}
}
