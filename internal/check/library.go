// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// shownUsers bounds how many users a finding names.
const shownUsers = 3

// Library is a library set: what its role creates, and how its users are.
type Library struct {
	// Role is what the role of the set says.
	Role User
	// Wanted is how many users the set is to have.
	Wanted int
	// Free and Lent count the users that are.
	Free, Lent int
	// Broken are the last errors of users that could not be prepared, by username.
	Broken map[string]string
}

// Run compares the set with its user pool, and reports users that are not free. It signs in no
// user.
func (l Library) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	role := l.Role.read(ctx, aws, pool)
	return append(role.findings(), checkPasskeys(role.rules), checkRecovery(role.rules), l.checkUsers())
}

// checkPasskeys is for pools that allowed passkeys after the set was written.
func checkPasskeys(rules Result[cognito.PoolRules]) Finding {
	const name = "passkeys"
	switch {
	case !rules.known():
		return skipped(name, "user_pool")
	case rules.Value.Passkeys:
		return Failed(name, "The pool allows passkeys. A holder can register one, and no administrator can delete it, so the user stays open to that holder.",
			"Remove WEB_AUTHN from the sign-in policy of the pool, or use roles that create a user for each lease.")
	default:
		return Passed(name, "The pool does not allow passkeys.")
	}
}

func checkRecovery(rules Result[cognito.PoolRules]) Finding {
	const name = "account_recovery"
	switch {
	case !rules.known():
		return skipped(name, "user_pool")
	case len(rules.Value.Recovery) > 0:
		return Warned(name, "Users of the pool can recover their account by "+quoted(rules.Value.Recovery)+
			". A code that a holder requested before its check-in may let it set a password after it.",
			"Set account recovery of the pool to admin_only.")
	default:
		return Passed(name, "Only an administrator can recover an account.")
	}
}

func (l Library) checkUsers() Finding {
	const name = "library_users"
	count := fmt.Sprintf("%d of %d users are free, %d are checked out", l.Free, l.Wanted, l.Lent)
	switch {
	case len(l.Broken) > 0:
		return Failed(name, fmt.Sprintf("%d users could not be prepared: %s.", len(l.Broken), l.brokenText()),
			"Correct the cause. The engine tries again by itself; status of the set shows each user.")
	case l.Free+l.Lent < l.Wanted:
		return Warned(name, count+", and the others are being prepared.", "Wait a minute and check again.")
	case l.Free == 0:
		return Warned(name, count+".", "Raise size or add usernames if check-outs are refused, or check users in.")
	default:
		return Passed(name, count+".")
	}
}

// brokenText names the first users with their errors.
func (l Library) brokenText() string {
	names := slices.Sorted(maps.Keys(l.Broken))
	texts := make([]string, 0, shownUsers)
	for _, name := range names[:min(len(names), shownUsers)] {
		texts = append(texts, fmt.Sprintf("%q: %s", name, l.Broken[name]))
	}
	return strings.Join(texts, "; ")
}
