// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
)

// ListedUser is a user as a list shows it.
type ListedUser struct {
	UserState
	Email   string
	Created time.Time
}

// UserFilter matches users by the beginning of an attribute, "username" or "email". An empty prefix
// matches all users.
type UserFilter struct{ Attribute, Prefix string }

// String returns the filter in the syntax of ListUsers.
func (f UserFilter) String() string {
	if f.Prefix == "" {
		return ""
	}
	value := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(f.Prefix)
	return fmt.Sprintf(`%s ^= "%s"`, f.Attribute, value)
}

// ListUsers calls visit with each user that matches a filter, until visit or ctx ends the list. A
// page of 60 users takes one request.
func (p *Pool) ListUsers(ctx context.Context, filter UserFilter, visit func(ListedUser) error) error {
	input := &cip.ListUsersInput{UserPoolId: &p.target.UserPoolID, Filter: optional(filter.String())}
	for {
		out, err := p.api.ListUsers(ctx, input)
		if err != nil {
			return fail(fmt.Sprintf("listing the users of user pool %q", p.target.UserPoolID), err)
		}
		for _, user := range out.Users {
			listed := ListedUser{
				UserState: UserState{
					User:    User{Username: aws.ToString(user.Username), Sub: attribute(user.Attributes, "sub")},
					Enabled: user.Enabled,
					Status:  string(user.UserStatus),
				},
				Email:   attribute(user.Attributes, "email"),
				Created: aws.ToTime(user.UserCreateDate),
			}
			if err := visit(listed); err != nil {
				return err
			}
		}
		if aws.ToString(out.PaginationToken) == "" {
			return nil
		}
		input.PaginationToken = out.PaginationToken
	}
}
