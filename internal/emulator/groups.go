// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxGroupNameLength = 128
	maxGroupPage       = 60
)

var groupNamePattern = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$`)

type group struct {
	name        string
	description string
	roleARN     string
	precedence  *int
	created     time.Time
}

type groupInput struct {
	UserPoolId  string
	GroupName   string
	Description string
	Precedence  *int
	RoleArn     string
}

type groupDescription struct {
	GroupName        string
	UserPoolId       string
	Description      string `json:",omitempty"`
	RoleArn          string `json:",omitempty"`
	Precedence       *int   `json:",omitempty"`
	CreationDate     epoch
	LastModifiedDate epoch
}

type groupOutput struct {
	Group groupDescription
}

func (g *group) describe(p *pool) groupDescription {
	return groupDescription{
		GroupName:        g.name,
		UserPoolId:       p.id,
		Description:      g.description,
		RoleArn:          g.roleARN,
		Precedence:       g.precedence,
		CreationDate:     epoch(g.created),
		LastModifiedDate: epoch(g.created),
	}
}

func (r *request) createGroup(in groupInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := checkGroupName(in.GroupName); err != nil {
		return nil, err
	}
	if _, exists := p.groups[in.GroupName]; exists {
		return nil, newException("GroupExistsException", "A group with the name already exists.")
	}
	g := &group{name: in.GroupName, description: in.Description, roleARN: in.RoleArn, precedence: in.Precedence, created: r.now}
	p.groups[g.name] = g
	return groupOutput{g.describe(p)}, nil
}

func checkGroupName(name string) error {
	if utf8.RuneCountInString(name) > maxGroupNameLength || !groupNamePattern.MatchString(name) {
		return invalidParameter("1 validation error detected: Value at 'groupName' failed to satisfy constraint: "+
			`Member must have 1 to %d characters of the pattern [\p{L}\p{M}\p{S}\p{N}\p{P}]+`, maxGroupNameLength)
	}
	return nil
}

func (r *request) findGroup(poolID, name string) (*pool, *group, error) {
	p, err := r.findPool(poolID)
	if err != nil {
		return nil, nil, err
	}
	if err := checkGroupName(name); err != nil {
		return nil, nil, err
	}
	g, ok := p.groups[name]
	if !ok {
		return nil, nil, resourceNotFound("Group not found.")
	}
	return p, g, nil
}

func (r *request) getGroup(in groupInput) (any, error) {
	p, g, err := r.findGroup(in.UserPoolId, in.GroupName)
	if err != nil {
		return nil, err
	}
	return groupOutput{g.describe(p)}, nil
}

func (r *request) deleteGroup(in groupInput) (any, error) {
	p, g, err := r.findGroup(in.UserPoolId, in.GroupName)
	if err != nil {
		return nil, err
	}
	for _, u := range p.users {
		delete(u.groups, g.name)
	}
	delete(p.groups, g.name)
	return empty{}, nil
}

type membershipInput struct {
	userInput
	GroupName string
}

func (r *request) adminAddUserToGroup(in membershipInput) (any, error) {
	return r.changeMembership(in, func(u *user) { u.groups[in.GroupName] = true })
}

func (r *request) adminRemoveUserFromGroup(in membershipInput) (any, error) {
	return r.changeMembership(in, func(u *user) { delete(u.groups, in.GroupName) })
}

func (r *request) changeMembership(in membershipInput, change func(*user)) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	if _, _, err := r.findGroup(in.UserPoolId, in.GroupName); err != nil {
		return nil, err
	}
	change(u)
	return empty{}, nil
}

type adminListGroupsForUserInput struct {
	userInput
	Limit     *int
	NextToken string
}

type adminListGroupsForUserOutput struct {
	Groups    []groupDescription
	NextToken string `json:",omitempty"`
}

func (r *request) adminListGroupsForUser(in adminListGroupsForUserInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	names, next, err := page(u.groupNames(), in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := adminListGroupsForUserOutput{Groups: []groupDescription{}, NextToken: next}
	for _, name := range names {
		out.Groups = append(out.Groups, u.pool.groups[name].describe(u.pool))
	}
	return out, nil
}

// page cuts a list at the limit. The token for the next page is where that begins.
func page[T any](all []T, limit *int, token string) (rest []T, next string, err error) {
	size := maxGroupPage
	if limit != nil && *limit != 0 {
		size = *limit
	}
	if size < 0 || size > maxGroupPage {
		return nil, "", invalidParameter("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value less than or equal to %d", size, maxGroupPage)
	}
	start := 0
	if token != "" {
		if start, err = strconv.Atoi(token); err != nil || start < 0 || start > len(all) {
			return nil, "", invalidParameter("Invalid pagination token.")
		}
	}
	end := min(start+size, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[start:end], next, nil
}
