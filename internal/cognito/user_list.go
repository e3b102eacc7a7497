// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// pageSize is the largest page that Cognito returns.
const pageSize = 60

// ListedUser is a user in a list. A list lags behind changes by some seconds.
type ListedUser struct {
	UserState
	Email   string
	Created time.Time
}

// UsersByPrefix returns the users whose attribute begins with a prefix, page
// by page as they are needed. The attribute is "username", or "email" in pools
// whose usernames are made by Cognito. The comparison is case-sensitive.
// After an error there are no more users.
func (p *Pool) UsersByPrefix(ctx context.Context, attribute, prefix string) iter.Seq2[ListedUser, error] {
	pages := cip.NewListUsersPaginator(p.api, &cip.ListUsersInput{
		UserPoolId: &p.target.UserPoolID, Limit: aws.Int32(pageSize),
		Filter: aws.String(fmt.Sprintf(`%s ^= "%s"`, attribute, filterEscaper.Replace(prefix))),
	})
	return func(yield func(ListedUser, error) bool) {
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(ListedUser{}, fail(fmt.Sprintf("listing the users of user pool %q whose %s begins with %q", p.target.UserPoolID, attribute, prefix), err))
				return
			}
			for _, user := range page.Users {
				if !yield(listedUser(user), nil) {
					return
				}
			}
		}
	}
}

// filterEscaper escapes a value in a filter of ListUsers.
// https://docs.aws.amazon.com/cognito-user-identity-pools/latest/APIReference/API_ListUsers.html
var filterEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

func listedUser(user types.UserType) ListedUser {
	return ListedUser{
		UserState: UserState{
			User:       User{Username: aws.ToString(user.Username), Sub: attribute(user.Attributes, "sub")},
			Enabled:    user.Enabled,
			Status:     string(user.UserStatus),
			Attributes: attributeMap(user.Attributes),
		},
		Email:   attribute(user.Attributes, "email"),
		Created: aws.ToTime(user.UserCreateDate),
	}
}
