// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// ownGroup is a group that the elevated user was in before any lease, and elevatedGroups are those
// of role "ci", which names it, too.
const ownGroup = "testers"

var elevatedGroups = []string{"admins", "oncall", ownGroup}

// elevating prepares a role that puts a user into two groups that are new to it, and into one that
// is not.
func elevating(more map[string]any) func(*env) {
	return func(e *env) {
		_, err := e.Admin.CreateGroup(e.T.Context(), &cip.CreateGroupInput{UserPoolId: &e.Seed.UserPoolID, GroupName: aws.String("oncall")})
		require.NoError(e.T, err)
		_, err = e.Admin.AdminAddUserToGroup(e.T.Context(), &cip.AdminAddUserToGroupInput{
			UserPoolId: &e.Seed.UserPoolID, Username: aws.String(staticUser), GroupName: aws.String(ownGroup),
		})
		require.NoError(e.T, err)
		role := map[string]any{
			"credential_type": "group_membership", "user_pool_id": e.Seed.UserPoolID, "region": e.Seed.Region,
			"username": staticUser, "groups": elevatedGroups, "ttl": "24h", "max_ttl": "24h",
		}
		maps.Copy(role, more)
		e.OK(logical.DeleteOperation, "roles/ci", nil)
		e.WriteOK("roles/ci", role)
		e.elevates = true
	}
}

// elevated prepares leases of one user.
func elevated(leases int, more map[string]any) func(*env) {
	return func(e *env) {
		elevating(more)(e)
		for range leases {
			require.NoError(e.T, issue(e))
		}
		e.passWithTick(time.Minute)
	}
}

func memberships() []operation {
	revoke := func(e *env) error { return e.revoke(e.leases[0]) }
	return []operation{
		{name: "granting them", prepare: elevating(nil), run: issue},
		{name: "granting them beside another lease", prepare: elevated(1, nil), run: issue},
		{name: "renewing them", prepare: elevated(1, nil), run: func(e *env) error { return e.renew(e.leases[0]) }},
		{name: "revoking them", prepare: elevated(1, nil), run: revoke},
		{name: "revoking them with the sessions of the user", prepare: elevated(1, map[string]any{"sign_out_on_revoke": true}), run: revoke},
		{name: "revoking one of two leases", prepare: elevated(2, nil), run: revoke},
		{name: "revoking those of a user who is gone", prepare: elevatedGone, run: revoke},
		{name: "ending what was not undone", prepare: elevatedInDoubt, run: (*env).tryTick},
		{name: "ending what was not received", prepare: elevatedUnheard, run: (*env).tryTick},
		{name: "ending what was not received beside a lease", run: (*env).tryTick, prepare: func(e *env) {
			elevatedUnheard(e)
			require.NoError(e.T, issue(e))
		}},
	}
}

// elevatedGone deletes the user of a lease.
func elevatedGone(e *env) {
	elevated(1, nil)(e)
	_, err := e.Admin.AdminDeleteUser(e.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(staticUser)})
	require.NoError(e.T, err)
	e.elevates = false // no user is left to check
}

// elevatedInDoubt loses the answers of additions, and of the removals that are to undo them.
func elevatedInDoubt(e *env) {
	elevating(nil)(e)
	e.Fault(control.Fault{Operation: "AdminAddUserToGroup", Kind: control.FaultCutAfter})
	e.Fault(control.Fault{Operation: "AdminRemoveUserFromGroup", Kind: control.FaultCutBefore})
	require.Error(e.T, issue(e))
	e.Heal()
	require.NotEmpty(e.T, e.entries("issued/members/"))
	e.pass(10 * time.Minute)
}

// elevatedUnheard loses a response, and lets the time of its lease pass.
func elevatedUnheard(e *env) {
	elevating(nil)(e)
	e.responsesLost = true
	require.NoError(e.T, issue(e))
	e.responsesLost = false
	e.newProcess()
	e.passWithTick(time.Minute)
	e.sealed(25 * time.Hour)
}

// groups returns the groups of the elevated user.
func (e *env) groups() []string {
	e.T.Helper()
	for _, user := range e.Users() {
		if user.Username == staticUser {
			return user.Groups
		}
	}
	return nil
}

// checkMember requires that the user of a living lease is in all groups of the role.
func (e *env) checkMember(lease *heldLease) {
	e.T.Helper()
	if groups := e.groups(); len(groups) != len(elevatedGroups) {
		e.lose(counters.LeasesStuck, "the user of a living lease that grants %v is in %v", lease.data["groups"], groups)
	}
}

// checkMemberships requires that the user is in the group from before, and in no other without a
// lease.
func (e *env) checkMemberships() {
	e.T.Helper()
	if !e.elevates {
		return
	}
	groups := e.groups()
	if !slices.Contains(groups, ownGroup) {
		e.lose(counters.LeasesStuck, "the user has lost a group from before its leases: it is in %v", groups)
	}
	leased := slices.ContainsFunc(e.leases, func(l *heldLease) bool { return !l.ended })
	if len(groups) > 1 && !leased {
		e.lose(counters.UsersLeft, "the user is in %v without a lease", groups)
	}
}
