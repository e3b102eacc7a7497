// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Member is a role that puts an existing user into groups.
type Member struct {
	Subject
	Groups []string
	// Username is that of the user, or empty if it depends on the caller and the caller of the
	// check has none: then Template is the username of the role.
	Username, Template string
}

type memberCheck struct {
	Member
	lookups
	groups  groupLookups
	user    Result[cognito.UserState]
	present Result[[]string]
	quotas  quotaLookup
}

// Run compares the role with its user pool. Whether IAM allows to change memberships is not
// compared.
func (m Member) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	c := &memberCheck{
		Member: m, lookups: newLookups(m.Subject), groups: newGroupLookups(m.Groups),
		user: notRead[cognito.UserState](), present: notRead[[]string](),
	}
	r := newReader(ctx)
	c.start(r, aws, pool)
	c.groups.start(r, pool)
	c.quotas.start(r, aws, m.Target)
	if m.Username != "" {
		read(r, &c.user, func(ctx context.Context) (cognito.UserState, error) { return pool.User(ctx, m.Username) })
		read(r, &c.present, func(ctx context.Context) ([]string, error) { return pool.GroupsOf(ctx, m.Username) })
	}
	r.wait()
	return []Finding{c.checkIdentity(), c.checkPool(), c.groups.check(&c.lookups), c.checkUser(), c.quotas.check()}
}

func (c *memberCheck) checkUser() Finding {
	const name = "user"
	const remedy = "Correct username in the role, or what its template reads."
	user := c.user.Value
	switch {
	case c.Username == "":
		return Passed(name, fmt.Sprintf("username %s names no user for the caller of this check, so none was looked for.", c.Template))
	case c.brokenBy() != "":
		return skipped(name, c.brokenBy())
	case !c.user.known():
		return lookupFailed(name, c.user.Err, remedy)
	case !user.IsNamed(c.Username):
		return Failed(name, fmt.Sprintf("%q is only an alias of user %q.", c.Username, user.Username), remedy)
	case !user.Enabled:
		return Failed(name, fmt.Sprintf("The user %q is disabled.", user.Username), "Enable the user at Cognito.")
	case !c.present.known():
		return lookupFailed(name, c.present.Err, remedy)
	default:
		return Passed(name, fmt.Sprintf("The user %q exists, and its groups can be listed.", user.Username))
	}
}
