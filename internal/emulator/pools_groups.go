// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"maps"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"
)

const (
	maxGroupNameLength = 128
	// maxPoolGroups and maxUserGroups are the quotas of groups per user pool and per user.
	maxPoolGroups = 10_000
	maxUserGroups = 100
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
	if len(p.groups) >= maxPoolGroups {
		return nil, newException(codeLimitExceeded, "A user pool has at most %d groups.", maxPoolGroups)
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

type listGroupsInput struct {
	UserPoolId string
	Limit      *int
	NextToken  string
}

type listGroupsOutput struct {
	Groups    []groupDescription
	NextToken string `json:",omitempty"`
}

func (r *request) listGroups(in listGroupsInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	names, next, err := page(slices.Sorted(maps.Keys(p.groups)), in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	return listGroupsOutput{Groups: p.describeGroups(names), NextToken: next}, nil
}

func (p *pool) describeGroups(names []string) []groupDescription {
	groups := []groupDescription{}
	for _, name := range names {
		groups = append(groups, p.groups[name].describe(p))
	}
	return groups
}
