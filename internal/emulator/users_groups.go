// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

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
