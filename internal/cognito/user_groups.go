// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
)

// AddToGroup makes a user a member of a group. A member stays one.
func (p *Pool) AddToGroup(ctx context.Context, username, group string) error {
	_, err := p.api.AdminAddUserToGroup(ctx, &cip.AdminAddUserToGroupInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, GroupName: &group,
	})
	if err != nil {
		return fail(p.groupStep("adding user %q to group %q of user pool %q", username, group), err)
	}
	return nil
}

// RemoveFromGroup ends the membership of a user in a group. One that is no
// member is no error.
func (p *Pool) RemoveFromGroup(ctx context.Context, username, group string) error {
	_, err := p.api.AdminRemoveUserFromGroup(ctx, &cip.AdminRemoveUserFromGroupInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, GroupName: &group,
	})
	if err != nil {
		return fail(p.groupStep("removing user %q from group %q of user pool %q", username, group), err)
	}
	return nil
}

func (p *Pool) groupStep(format, username, group string) string {
	return fmt.Sprintf(format, username, group, p.target.UserPoolID)
}

// GroupsOf returns the names of all groups that a user is a member of.
func (p *Pool) GroupsOf(ctx context.Context, username string) ([]string, error) {
	pages := cip.NewAdminListGroupsForUserPaginator(p.api, &cip.AdminListGroupsForUserInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, Limit: aws.Int32(pageSize),
	})
	var names []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fail(p.step("listing the groups of user", username), err)
		}
		for _, group := range page.Groups {
			names = append(names, aws.ToString(group.GroupName))
		}
	}
	return names, nil
}
