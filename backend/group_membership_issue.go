// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"slices"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// membershipIssue is one request for memberships. Its methods are called in their order: prepare,
// find, begin, join, deliver, response.
type membershipIssue struct {
	issueRequest

	requested string
	record    *issuedRecord
}

func (i *membershipIssue) issue(ctx context.Context) error {
	finding, cancel := context.WithTimeout(ctx, i.b.issueLimit())
	defer cancel()
	if err := i.prepare(finding); err != nil {
		return err
	}
	if err := i.find(finding); err != nil {
		return err
	}
	unlock, err := i.b.lockMember(finding, i.record)
	if err != nil {
		return err
	}
	defer unlock()
	joining, err := i.begin(finding)
	if err != nil {
		return err
	}
	defer i.creation.done()
	if err := i.join(joining); err != nil {
		return roleError(i.name, err)
	}
	return i.deliver(joining)
}

// prepare does everything that needs no answer of AWS.
func (i *membershipIssue) prepare(ctx context.Context) (err error) {
	if err := i.readFields(); err != nil {
		return err
	}
	if i.requested, err = i.b.memberName(i.req, i.role); err != nil {
		return err
	}
	return i.connect(ctx)
}

// find finds the user. One that Cognito knows by a name that users choose themselves is refused.
func (i *membershipIssue) find(ctx context.Context) error {
	user, err := i.pool.User(ctx, i.requested)
	switch {
	case cognito.IsUserGone(err):
		return badRequest("user pool %q has no user %q, which username of role %q names", i.target.UserPoolID, i.requested, i.name)
	case err != nil:
		return roleError(i.name, err)
	case !user.IsNamed(i.requested):
		return badRequest("%q is only an alias of user %q in user pool %q, and users may choose aliases themselves: "+
			"let username of role %q be the username or the sub", i.requested, user.Username, i.target.UserPoolID, i.name)
	case !user.Enabled:
		return badRequest("user %q of user pool %q is disabled", user.Username, i.target.UserPoolID)
	case !subPattern.MatchString(user.Sub):
		return badRequest("user %q of user pool %q has no sub", user.Username, i.target.UserPoolID)
	}
	if i.record, err = i.newRecord(ctx, kindMembership); err != nil {
		return err
	}
	i.record.Username, i.record.RequestedName, i.record.Sub = user.Username, i.requested, user.Sub
	i.record.SignOut = i.role.SignOut
	return nil
}

// begin stores the record, with what the user has and what the lease grants. The user is locked.
func (i *membershipIssue) begin(ctx context.Context) (context.Context, error) {
	present, err := i.pool.GroupsOf(ctx, i.record.Username)
	if err != nil {
		return nil, roleError(i.name, err)
	}
	others, err := otherGrants(ctx, i.req.Storage, i.record)
	if err != nil {
		return nil, err
	}
	for _, group := range i.role.Groups {
		if slices.Contains(present, group) && !others.has(group) {
			i.record.Existing = append(i.record.Existing, group)
		} else {
			i.record.Groups = append(i.record.Groups, group)
		}
	}
	return i.storeRecord(ctx, i.record)
}

// join puts the user into the groups. If that fails, the record is deleted once it is certain that
// none of them is left.
func (i *membershipIssue) join(ctx context.Context) error {
	err := i.pool.JoinGroups(ctx, i.record.Username, i.record.Groups)
	if err != nil {
		i.undo(ctx, err, cognito.OutcomeOf(err) == cognito.OutcomeRefused)
	}
	return err
}

// deliver stores that the memberships are about to be returned. If they cannot be, they are
// removed.
func (i *membershipIssue) deliver(ctx context.Context) error {
	err := i.storeDelivered(ctx)
	if err != nil {
		i.undo(ctx, err, true)
	}
	return err
}

// undo removes the memberships. certain says that no addition can take effect later.
func (i *membershipIssue) undo(ctx context.Context, reason error, certain bool) {
	ctx, cancel := undoContext(ctx)
	defer cancel()
	if !certain { // the record stays, and counts
		err := i.b.removeOwn(ctx, i.req, i.pool, i.record)
		i.creation.fail(ctx, false, reason, err)
		return
	}
	err := i.b.endMembershipAt(ctx, i.req, i.pool, i.record)
	i.creation.fail(ctx, err == nil, reason, err)
}

func (i *membershipIssue) response() (*logical.Response, error) {
	return i.leaseResponse(map[string]any{
		"username":          i.record.Username,
		"sub":               i.record.Sub,
		"groups":            append([]string{}, i.record.Groups...),
		"already_member_of": append([]string{}, i.record.Existing...),
		"user_pool_id":      i.target.UserPoolID,
		"region":            i.target.Region,
	}), nil
}
