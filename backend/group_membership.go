// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

// # Group memberships
//
// An issued record of kind group_membership follows issued_record.go. Its object is the memberships
// of one user in the groups that the lease grants. Cognito knows a membership or none, and not why:
// the records are what tells them apart. For a user and a group of the role:
//
//	the user is in the group   another record grants it   the new record
//	no                         no                         grants it
//	no, or yes                 yes                        grants it, too
//	yes                        no                         records it as one that existed before
//
// Memberships that existed before are never removed. The end of a record removes the groups that it
// grants and that no other record of the user grants: so the last of several leases removes them,
// in whatever order they end. A record counts from before its user is added until its end has
// succeeded, in every state. What an administrator adds or removes meanwhile looks no different to
// Cognito: an added membership that a record grants is removed with it, and one that was removed is
// not restored.
//
// A user is its sub. If the name belongs to another user by now, there is nothing to remove.
//
// The records of a user are found by an index. An entry is written once, after the new record, and
// deleted before it, so that none is left without a record. A record without an entry has granted
// nothing yet, or nothing any more:
//
//	issue: lock the user; list groups; read the others; store record, then entry; add; deliver; unlock
//	end:   lock the user; read the others; remove; delete the entry; unlock; delete the record
//
// The lock of a user is held while AWS responds, because it belongs to this user alone. It is taken
// after the lock of a record; an issue takes the lock of its own record later, which is new and
// free.
//
// If the process dies
//
//	before the record is stored: nothing was added;
//	before the entry is stored: nothing was added, and the end of the record removes nothing;
//	after that, before the answer: the reconciler ends the record after createGrace. Groups that the
//	    user was not put into are removed nevertheless, which changes nothing;
//	between a removal and the deletion of the entry: the end is repeated. By then the others may grant
//	    the groups anew, and keep them;
//	between the entry and the deletion of the record: the end is repeated and removes nothing.
//
// Answers that are lost: a removal can be repeated. An addition whose outcome is not known may take
// effect after it was undone, so its record stays, and the reconciler removes it again.
//
// A lease without a record was ended: it is neither renewed nor ended again, because a membership
// that is there by now belongs to another lease or to an administrator.

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const memberStoragePrefix = issuedStoragePrefix + "members/"

var (
	// subPattern matches the sub of a user, a UUID, which is part of a key.
	subPattern = regexp.MustCompile(`^[\w-]{1,64}$`)

	// memberTemplate matches the identity templates that have one value for each caller.
	memberTemplate = regexp.MustCompile(`^{{\s*identity\.(?:` +
		`entity\.(?:id|name|metadata\.[^{}\s]+|aliases\.[^{}\s.]+\.(?:id|name|(?:custom_)?metadata\.[^{}\s]+))|` +
		`groups\.(?:ids|names)\.[^{}\s.]+\.(?:id|name|metadata\.[^{}\s]+))\s*}}$`)
)

func (r *roleEntry) validateGroupMembership(defaultRegion string) error {
	if err := r.access().requirePool(defaultRegion); err != nil {
		return err
	}
	switch {
	case r.Username == "":
		return requiredField("username", "the user who is put into the groups, such as {{identity.entity.metadata.cognito_username}}")
	case len(r.Groups) == 0:
		return requiredField("groups", "the groups that the user is put into")
	}
	for _, validate := range []func() error{r.validateMemberName, r.validateLease, r.validateGroups} {
		if err := validate(); err != nil {
			return err
		}
	}
	return nil
}

// validateMemberName allows a username, and text with identity templates of known forms.
func (r *roleEntry) validateMemberName() error {
	valid := true
	text := identityTemplate.ReplaceAllStringFunc(r.Username, func(template string) string {
		valid = valid && memberTemplate.MatchString(template)
		return "x"
	})
	if !valid || strings.Contains(text, "{{") || strings.Contains(text, "}}") || !isUsername(text) {
		return badRequest("username %q is not allowed: it must be a username without spaces, in which "+
			"identity templates such as {{identity.entity.metadata.cognito_username}} may stand, and no other templates", r.Username)
	}
	return nil
}

// hasMemberTemplate reports whether the user depends on the caller.
func (r *roleEntry) hasMemberTemplate() bool { return identityTemplate.MatchString(r.Username) }

func (r *roleEntry) membershipData() map[string]any {
	return map[string]any{
		"groups":             append([]string{}, r.Groups...),
		"username":           r.Username,
		"sign_out_on_revoke": r.SignOut,
		"ttl":                seconds(r.TTL),
		"max_ttl":            seconds(r.MaxTTL),
		"max_issued":         r.MaxIssued,
	}
}

// memberName returns the username that a role names for the caller of a request. Each template
// needs a value: what is left without one could be the name of another user.
func (b *backend) memberName(req *logical.Request, role *roleEntry) (string, error) {
	var failure error
	name := identityTemplate.ReplaceAllStringFunc(role.Username, func(template string) string {
		value, err := b.identityValue(req, template)
		if err == nil && value == "" {
			err = fmt.Errorf("%s is empty for the caller's entity", template)
		}
		if err != nil {
			failure = err
		}
		return value
	})
	switch {
	case failure != nil:
		return "", badRequest("username %q names no user for this caller: %s", role.Username, failure)
	case !isUsername(name):
		return "", badRequest("username %q names %q for this caller, which is no username: it has a space or more than %d characters",
			role.Username, name[:min(len(name), valueTextMax)], usernameMax)
	}
	return name, nil
}

// memberPrefix returns the prefix of the index entries of a user.
func (r *issuedRecord) memberPrefix() string {
	return memberStoragePrefix + r.UserPoolID + "/" + r.Sub + "/"
}

// memberKey returns the key of the index entry of a record. The name of a role has no colon.
func (r *issuedRecord) memberKey() string { return r.memberPrefix() + r.Role + ":" + r.ID }

// putMember stores the index entry of a record of memberships.
func putMember(ctx context.Context, s logical.Storage, r *issuedRecord) error {
	if r.Kind != kindMembership {
		return nil
	}
	if err := s.Put(ctx, &logical.StorageEntry{Key: r.memberKey(), Value: []byte("{}")}); err != nil {
		return fmt.Errorf("storing %q: %w", r.memberKey(), err)
	}
	return nil
}

// deleteMember deletes the index entry of a record of memberships.
func deleteMember(ctx context.Context, s logical.Storage, r *issuedRecord) error {
	if r.Kind != kindMembership {
		return nil
	}
	if err := s.Delete(ctx, r.memberKey()); err != nil {
		return fmt.Errorf("deleting %q: %w", r.memberKey(), err)
	}
	return nil
}

// grants are the groups that the records of one user grant.
type grants struct {
	groups map[string]bool
	// all is set if there is a record that this version cannot read.
	all bool
}

func (g grants) has(group string) bool { return g.all || g.groups[group] }

// otherGrants returns what the other records of the user of a record grant. The user must be
// locked.
func otherGrants(ctx context.Context, s logical.Storage, r *issuedRecord) (grants, error) {
	found := grants{groups: map[string]bool{}}
	entries, err := listSorted(ctx, s, r.memberPrefix())
	if err != nil {
		return found, err
	}
	for _, entry := range entries {
		role, id, _ := strings.Cut(entry, ":")
		if role == r.Role && id == r.ID {
			continue
		}
		other, err := getRecord(ctx, s, role, id)
		switch {
		case err != nil:
			return found, err
		case other == nil:
		case other.State == stateUnreadable:
			found.all = true
		default:
			for _, group := range other.Groups {
				found.groups[group] = true
			}
		}
	}
	return found, nil
}

// lockMember locks the user of a record.
func (b *backend) lockMember(ctx context.Context, r *issuedRecord) (unlock func(), err error) {
	unlock, err = b.memberLocks.lock(ctx, r.memberPrefix())
	if err != nil {
		return nil, fmt.Errorf("waiting for another lease that changes the groups of user %q: %w", r.Username, err)
	}
	return unlock, nil
}

// endMembership removes what a record grants and no other record of its user does.
func (b *backend) endMembership(ctx context.Context, req *logical.Request, r *issuedRecord) error {
	unlock, err := b.lockMember(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	pool, err := b.userPool(ctx, req, r.target())
	if err != nil {
		return err
	}
	return b.endMembershipAt(ctx, req, pool, r)
}

// endMembershipAt ends a record whose user is locked. Without an entry nothing was added for it, or
// all was removed: what is there now is not the lease's.
func (b *backend) endMembershipAt(ctx context.Context, req *logical.Request, pool userPool, r *issuedRecord) error {
	entry, err := req.Storage.Get(ctx, r.memberKey())
	if err != nil {
		return fmt.Errorf("reading %q: %w", r.memberKey(), err)
	}
	if entry == nil {
		return nil
	}
	if err := b.removeOwn(ctx, req, pool, r); err != nil {
		return err
	}
	return deleteMember(ctx, req.Storage, r)
}

// removeOwn removes the groups of a record that no other record grants. The user is locked.
func (b *backend) removeOwn(ctx context.Context, req *logical.Request, pool userPool, r *issuedRecord) error {
	others, err := otherGrants(ctx, req.Storage, r)
	if err != nil {
		return err
	}
	var own []string
	for _, group := range r.Groups {
		if !others.has(group) {
			own = append(own, group)
		}
	}
	if len(own) == 0 {
		return nil
	}
	return b.removeMemberships(ctx, req, pool, r, own)
}

// removeMemberships removes the user of a record from groups, unless the user is gone: then another
// user may have the name. That a user or pool is not found is not believed before a removal says
// so, too.
func (b *backend) removeMemberships(ctx context.Context, req *logical.Request, pool userPool, r *issuedRecord, groups []string) error {
	user, gone := pool.User(ctx, r.Username)
	switch {
	case gone != nil && !cognito.IsGone(gone):
		return gone
	case gone == nil && user.Sub != r.Sub:
		b.Logger().Warn("a user was gone before the end of its memberships, and another has its name",
			"username", r.Username, "user_pool_id", r.UserPoolID)
		return nil
	}
	left, err := pool.LeaveGroups(ctx, r.Username, groups)
	switch {
	case err != nil:
		return err
	case left == 0 && gone != nil:
		return b.acceptGone(ctx, req, r, gone)
	case left == 0 || !r.SignOut:
		return nil
	}
	if err := pool.SignOutUser(ctx, r.Username); !cognito.IsGone(err) {
		return err
	}
	return nil
}
