// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"golang.org/x/sync/errgroup"
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

// RemoveFromGroup ends the membership of a user in a group. One that is no member is no error.
func (p *Pool) RemoveFromGroup(ctx context.Context, username, group string) error {
	_, err := p.api.AdminRemoveUserFromGroup(ctx, &cip.AdminRemoveUserFromGroupInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, GroupName: &group,
	})
	if err != nil {
		return fail(p.groupStep("removing user %q from group %q of user pool %q", username, group), err)
	}
	return nil
}

// JoinGroups makes a user a member of groups, several at a time. After the first failure, or the
// end of ctx, no call is started any more; those under way end before JoinGroups returns. The
// Outcome of the error is unknown if that of any call is: AWS may carry it out later.
func (p *Pool) JoinGroups(ctx context.Context, username string, groups []string) error {
	work := newSiblings(uninterrupted(ctx))
	var anyUnknown atomic.Bool
	for _, group := range groups {
		work.run(func(ctx context.Context) error {
			err := p.AddToGroup(ctx, username, group)
			if OutcomeOf(err) == OutcomeUnknown {
				anyUnknown.Store(true)
			}
			return err
		})
	}
	err := work.wait()
	var failure *Error
	if errors.As(err, &failure) && anyUnknown.Load() {
		unknown := *failure
		unknown.Outcome = OutcomeUnknown
		return &unknown
	}
	return err
}

// LeaveGroups ends the memberships of a user in groups, several at a time. It tries all of them,
// and returns the first failure. A user or group that is gone is no failure; left counts the groups
// that are there with the user. Cognito has one code for a missing group and a missing pool, so
// IsPoolGone does not apply: another call has to show that the pool exists.
func (p *Pool) LeaveGroups(ctx context.Context, username string, groups []string) (left int, err error) {
	var work errgroup.Group
	work.SetLimit(parallelWrites)
	var count atomic.Int64
	for _, group := range groups {
		work.Go(func() error {
			err := p.RemoveFromGroup(ctx, username, group)
			switch {
			case err == nil:
				count.Add(1)
				return nil
			case IsGone(err):
				return nil
			default:
				return err
			}
		})
	}
	err = work.Wait()
	return int(count.Load()), err
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
