// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

type membershipInput struct {
	userInput
	GroupName string
}

// adminAddUserToGroup accepts a user that is a member already. AdminAddUserToGroup documents no
// LimitExceededException; that a 101st group is an invalid parameter is a guess.
func (r *request) adminAddUserToGroup(in membershipInput) (any, error) {
	u, err := r.findMember(in)
	if err != nil {
		return nil, err
	}
	if !u.groups[in.GroupName] && len(u.groups) >= maxUserGroups {
		return nil, invalidParameter("A user is a member of at most %d groups.", maxUserGroups)
	}
	u.groups[in.GroupName] = true
	return empty{}, nil
}

// adminRemoveUserFromGroup accepts a user that is not a member.
func (r *request) adminRemoveUserFromGroup(in membershipInput) (any, error) {
	u, err := r.findMember(in)
	if err != nil {
		return nil, err
	}
	delete(u.groups, in.GroupName)
	return empty{}, nil
}

// findMember returns the user of a request whose group exists.
func (r *request) findMember(in membershipInput) (*user, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	_, _, err = r.findGroup(in.UserPoolId, in.GroupName)
	return u, err
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
	return adminListGroupsForUserOutput{Groups: u.pool.describeGroups(names), NextToken: next}, nil
}

type listUsersInGroupInput struct {
	UserPoolId string
	GroupName  string
	Limit      *int
	NextToken  string
}

type listUsersInGroupOutput struct {
	Users     []userDescription
	NextToken string `json:",omitempty"`
}

func (r *request) listUsersInGroup(in listUsersInGroupInput) (any, error) {
	p, g, err := r.findGroup(in.UserPoolId, in.GroupName)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(r.visibleUsers(p, userFilter{}), func(u *user) bool { return !u.groups[g.name] })
	users, next, err := page(members, in.Limit, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := listUsersInGroupOutput{Users: []userDescription{}, NextToken: next}
	for _, u := range users {
		out.Users = append(out.Users, u.describe())
	}
	return out, nil
}
