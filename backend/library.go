// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

// # Library
//
// A library set holds users that are lent out, each to one holder at a time. Three invariants hold,
// also if the process dies at any point:
//
//	No user has two holders.
//	No user is free with a password that a holder has seen.
//	No user is lost: each one that exists because of a set has an entry.
//
// States and events of a user:
//
//	 (none) ─── a set is written ───▶ creating ───── Cognito has the user ─────▶ resetting ◀──────┐
//	            with size                ▲                                       ▲  │             │
//	 (none) ─── a set is written ────────┼───────────────────────────────────────┘  │ the reset   │ the check-out
//	            with usernames           │ the user is missing at Cognito           │ is complete │ ends, or its
//	                                     └──────────── (resetting) ◀──┐             ▼             │ record is lost
//	                                                                  └─────── available ──────▶ lent
//	                                               the sign-in is refused                check-out
//
//	 any state, of a user that the set no longer wants: retiring ─── the user is deleted at Cognito ───▶ (none)
//
// creating: the name is stored before the call that creates the user, so a repetition finds the
// user.
//
// resetting: the next password is stored as pending before Cognito gets it. A reset is a fixed list
// of steps, see userReset. Each of them may be repeated, and all are repeated after any failure,
// with the same password: an answer that was lost and comes late changes nothing. If Cognito
// refuses the pending password because the user had it before, or it is of an earlier watch, a new
// one is stored first.
//
// available: the password has never been returned, and the user is as the role said at the reset.
// If the role has changed since, or the watch of the heartbeat has ended, the user is reset before
// it is lent.
//
// lent: the entry has the id of the check-out, which is the id of its issued record. Both are
// stored at the same time, before the answer is sent. A renewal or an end with another id concerns
// an earlier holder: the renewal is refused, and the end does nothing.
//
// retiring: a lent user that is no longer wanted is marked instead, and retires when it is
// returned. A user of usernames is not deleted: it keeps the password of a completed reset, which
// was never returned.
//
// A check-out ends when its lease ends, when it is checked in, or when the reconciler ends its
// record; all of them call endCheckOut. The record is deleted after the user is available, so a
// failed reset fails the revocation and Vault repeats it, as the reconciler and the periodic task
// do.
//
// What is stored, replicated, and sealed because it holds passwords:
//
//	library/sets/<name>        a set
//	library/users/<name>/<id>  a user of a set; its set_id says of which, as a set may be deleted and written again
//
// If the process dies
//
//	between the set and the entries of its users: the next tick stores the missing ones;
//	while a user is created: the create is repeated under the same name, and finds the user;
//	during a reset: the reset is repeated from its first step;
//	before a check-out is stored on the user: the user is available, and its record ends nothing;
//	between that and the lease: the reconciler ends the check-out at the end of the first ttl;
//	if the record is missing: the next process resets the user;
//	between the end of a reset and the deletion of the record: the end is repeated with a stale id.
//
// A restored snapshot may say that a user is available which is lent by now, or that it is about to
// get a password which a holder has seen by now. A password of an earlier watch therefore counts as
// seen, see isUnseen.
//
// Sets belong to one cluster. Users are lent on the primary only, because leases and issued records
// are local to a cluster and an entry has one writer; a secondary refuses. A local mount has its
// own.
//
// What is free, who waits, and what is due is in memory, in checkOutQueues, and read from storage
// once.

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

const (
	libraryStoragePrefix     = "library/"
	librarySetStoragePrefix  = libraryStoragePrefix + "sets/"
	libraryUserStoragePrefix = libraryStoragePrefix + "users/"

	// libraryNameReserved is part of the path library/manage/<name>/check-in.
	libraryNameReserved = "manage"

	// librarySizeMax bounds the users of a set: all of them are in memory.
	librarySizeMax = 1000

	libraryUserVersion = 1
)

// librarySet is a set as it is stored.
type librarySet struct {
	// ID distinguishes the set from an earlier one of the same name.
	ID        string   `json:"id"`
	Role      string   `json:"role"`
	Size      int      `json:"size,omitempty"`
	Usernames []string `json:"usernames,omitempty"`
	// NoEnforcement lets everyone check in what another one checked out.
	NoEnforcement bool `json:"disable_check_in_enforcement,omitempty"`
}

// libraryUserState is where a user of a set is in its life.
type libraryUserState string

const (
	libraryCreating  libraryUserState = "creating"
	libraryResetting libraryUserState = "resetting"
	libraryAvailable libraryUserState = "available"
	libraryLent      libraryUserState = "lent"
	libraryRetiring  libraryUserState = "retiring"
	// libraryUnknown is that of a user whose entry must be read again. It is never stored.
	libraryUnknown libraryUserState = "unknown"
)

// libraryUser is a user of a set, as it is stored.
type libraryUser struct {
	// Set and ID are in the key.
	Set string `json:"-"`
	ID  string `json:"-"`

	Version int              `json:"version"`
	SetID   string           `json:"set_id"`
	State   libraryUserState `json:"state"`
	place

	// RequestedName is the name that was sent to Cognito or written in usernames, and Username
	// Cognito's own.
	RequestedName string `json:"requested_name,omitempty"`
	Username      string `json:"username,omitempty"`
	Sub           string `json:"sub,omitempty"`
	// Owned says that the engine created the user, and deletes it when it retires.
	Owned bool `json:"owned,omitempty"`
	// Created is when the engine created the user.
	Created time.Time `json:"created,omitzero"`
	// Retire says that the set no longer wants the user.
	Retire bool `json:"retire,omitempty"`

	// Baseline and BaselineGroups are what the user has besides what the role says.
	Baseline       map[string]string `json:"baseline"`
	BaselineGroups []string          `json:"baseline_groups,omitempty"`

	// Password is in force while the user is available or lent, and Pending is the next one while
	// it is reset.
	Password string `json:"password,omitempty"`
	Pending  string `json:"pending,omitempty"`
	// Watch is the watch in which the one that is stored was made, see isUnseen.
	Watch string `json:"watch,omitempty"`
	Email string `json:"email,omitempty"`
	// TOTPStep is the last period whose one-time code was used.
	TOTPSecret string `json:"totp_secret,omitempty"`
	TOTPURL    string `json:"totp_url,omitempty"`
	TOTPStep   int64  `json:"totp_step,omitempty"`

	// CheckOut is the id of the check-out, and RecordRole the role whose record it is. They stay
	// until the reset is complete.
	CheckOut   string `json:"check_out,omitempty"`
	RecordRole string `json:"record_role,omitempty"`
	// BorrowerEntityID and BorrowerToken, a digest, say who may check the user in.
	BorrowerEntityID string    `json:"borrower_entity_id,omitempty"`
	BorrowerToken    string    `json:"borrower_token,omitempty"`
	CheckedOut       time.Time `json:"checked_out_at,omitzero"`
	Due              time.Time `json:"due_at,omitzero"`
	// Since is when the user became available, and Shape what its role said by then.
	Since time.Time `json:"since,omitzero"`
	Shape string    `json:"shape,omitempty"`

	// LastError is why the last attempt to create, reset or delete the user failed, and
	// FailingSince when the first one did.
	LastError    string    `json:"last_error,omitempty"`
	FailingSince time.Time `json:"failing_since,omitzero"`
}

func libraryUserKey(set, id string) string { return libraryUserStoragePrefix + set + "/" + id }

func (u *libraryUser) key() string { return libraryUserKey(u.Set, u.ID) }

// name returns the name that Cognito is called with.
func (u *libraryUser) name() string {
	if u.Username != "" {
		return u.Username
	}
	return u.RequestedName
}

// shownName is the user's name, or its id while it has none.
func (u *libraryUser) shownName() string { return cmp.Or(u.name(), u.ID) }

// isNamed reports whether a name is one of the user's.
func (u *libraryUser) isNamed(name string) bool {
	return name != "" && (name == u.Username || name == u.RequestedName || name == u.Sub)
}

// belongsTo reports whether the user is one of a set, which may be nil.
func (u *libraryUser) belongsTo(set *librarySet) bool { return set != nil && u.SetID == set.ID }

// getLibrarySet reads a set that the caller may change, or returns nil.
func getLibrarySet(ctx context.Context, s logical.Storage, name string) (*librarySet, error) {
	set := &librarySet{}
	found, err := getJSON(ctx, s, librarySetStoragePrefix+name, set)
	if err != nil || !found {
		return nil, err
	}
	return set, nil
}

// librarySet returns a set from the cache or the storage, or nil. The caller must not change it.
func (b *backend) librarySet(ctx context.Context, s logical.Storage, name string) (*librarySet, error) {
	return b.librarySets.Get(ctx, name, nil, func(ctx context.Context) (*librarySet, error) { return getLibrarySet(ctx, s, name) })
}

// existingLibrarySet is librarySet with an error for a set that does not exist.
func (b *backend) existingLibrarySet(ctx context.Context, s logical.Storage, name string) (*librarySet, error) {
	set, err := b.librarySet(ctx, s, name)
	if err == nil && set == nil {
		err = badRequest("there is no library set %q", name)
	}
	return set, err
}

// getLibraryUser reads a user of a set, or nil if there is none.
func getLibraryUser(ctx context.Context, s logical.Storage, set, id string) (*libraryUser, error) {
	u := &libraryUser{}
	found, err := getJSON(ctx, s, libraryUserKey(set, id), u)
	if err != nil || !found {
		return nil, err
	}
	if u.Version != libraryUserVersion {
		return nil, fmt.Errorf("the user %q of library set %q has format %d, and this version knows format %d", id, set, u.Version, libraryUserVersion)
	}
	u.Set, u.ID = set, id
	return u, nil
}

// putLibraryUser stores a user. The queue learns of it; after a failure the entry must be read
// again, because the storage may have either one.
func (b *backend) putLibraryUser(ctx context.Context, s logical.Storage, u *libraryUser) error {
	u.Version = libraryUserVersion
	if err := putJSON(ctx, s, u.key(), u); err != nil {
		b.checkOuts.invalidate(u.Set, u.ID, b.now())
		return err
	}
	b.checkOuts.update(u)
	return nil
}

func (b *backend) deleteLibraryUser(ctx context.Context, s logical.Storage, u *libraryUser) error {
	if err := s.Delete(ctx, u.key()); err != nil {
		b.checkOuts.invalidate(u.Set, u.ID, b.now())
		return fmt.Errorf("deleting %q: %w", u.key(), err)
	}
	b.checkOuts.remove(u.Set, u.ID)
	return nil
}

// libraryUsers returns the users of a set, in the order of their ids.
func libraryUsers(ctx context.Context, s logical.Storage, name string) ([]*libraryUser, error) {
	ids, err := listSorted(ctx, s, libraryUserStoragePrefix+name+"/")
	if err != nil {
		return nil, err
	}
	users := make([]*libraryUser, 0, len(ids))
	for _, id := range ids {
		u, err := getLibraryUser(ctx, s, name, id)
		if err != nil {
			return nil, err
		}
		if u != nil {
			users = append(users, u)
		}
	}
	return users, nil
}

// usersOf returns the users of a set that exists, without those of an earlier set of its name.
func usersOf(ctx context.Context, s logical.Storage, name string, set *librarySet) ([]*libraryUser, error) {
	users, err := libraryUsers(ctx, s, name)
	return slices.DeleteFunc(users, func(u *libraryUser) bool { return !u.belongsTo(set) }), err
}

// libraryUserSets returns the names under which users are stored: those of sets that exist or
// existed.
func libraryUserSets(ctx context.Context, s logical.Storage) ([]string, error) {
	names, err := listSorted(ctx, s, libraryUserStoragePrefix)
	for i, name := range names {
		names[i] = strings.TrimSuffix(name, "/")
	}
	return names, err
}

// update sets the fields that the request names.
func (l *librarySet) update(in input) error {
	if err := in.checkSizes(); err != nil {
		return err
	}
	setString(in, "role", &l.Role)
	setField(in, "size", &l.Size)
	setField(in, "usernames", &l.Usernames)
	setField(in, "disable_check_in_enforcement", &l.NoEnforcement)
	l.Usernames = slices.Compact(slices.Sorted(slices.Values(l.Usernames)))
	l.Role = strings.ToLower(l.Role)
	return nil
}

func (l *librarySet) validate(name string) error {
	switch {
	case name == libraryNameReserved:
		return badRequest("name %q is not allowed: it is reserved for the path library/manage/<name>/check-in", name)
	case l.Role == "":
		return requiredField("role", "a role of credential_type user, which says what the users of the set are like")
	case l.Size < 0 || l.Size > librarySizeMax:
		return badRequest("size %d is not allowed: it must be a number of users, at most %d", l.Size, librarySizeMax)
	case l.Size != 0 && len(l.Usernames) > 0:
		return badRequest("size and usernames are mutually exclusive: the engine creates the users of a size, and takes over those of usernames")
	case l.Size == 0 && len(l.Usernames) == 0:
		return requiredField("size", "how many users to create; or write usernames, the existing users to take over")
	case len(l.Usernames) > librarySizeMax:
		return badRequest("usernames has %d names: a library set may have %d users", len(l.Usernames), librarySizeMax)
	}
	for _, username := range l.Usernames {
		if !isUsername(username) {
			return badRequest("usernames holds %q: a username must be 1 to 128 characters without spaces", username)
		}
	}
	return nil
}

// wanted is how many users the set is to have.
func (l *librarySet) wanted() int { return l.Size + len(l.Usernames) }

func (l *librarySet) responseData() map[string]any {
	return map[string]any{
		"role":                         l.Role,
		"size":                         l.Size,
		"usernames":                    append([]string{}, l.Usernames...),
		"disable_check_in_enforcement": l.NoEnforcement,
	}
}

// statusData is what the status of a set shows of a user.
func (u *libraryUser) statusData() map[string]any {
	shown := map[string]any{
		"available":          u.State == libraryAvailable,
		"state":              string(u.State),
		"borrower_entity_id": u.BorrowerEntityID,
		"checked_out_at":     timeText(u.CheckedOut),
		"due_at":             timeText(u.Due),
		"last_error":         u.LastError,
	}
	return shown
}

// setsOfRole returns the names of the library sets that use a role.
func setsOfRole(ctx context.Context, s logical.Storage, role string) ([]string, error) {
	names, err := listSorted(ctx, s, librarySetStoragePrefix)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, name := range names {
		set, err := getLibrarySet(ctx, s, name)
		if err != nil {
			return nil, err
		}
		if set != nil && set.Role == role {
			users = append(users, name)
		}
	}
	return users, nil
}

// refuseRoleDeletion returns an error if a library set uses a role.
func (b *backend) refuseRoleDeletion(ctx context.Context, s logical.Storage, name string) error {
	sets, err := setsOfRole(ctx, s, name)
	if err == nil && len(sets) > 0 {
		err = badRequest("role %q cannot be deleted: library set %q uses it; delete the set, or write another role to it", name, sets[0])
	}
	return err
}

// refuseForSets returns an error if library sets use a role that is changed in a way that their
// users cannot follow.
func (b *backend) refuseForSets(ctx context.Context, s logical.Storage, aws *connection, name, mountPoint string, before, after *roleEntry) error {
	if before == nil || before.CredentialType != credentialTypeUser {
		return nil
	}
	sets, err := setsOfRole(ctx, s, name)
	if err != nil || len(sets) == 0 {
		return err
	}
	switch {
	case after.CredentialType != before.CredentialType:
		return badRequest("credential_type %q is not allowed: library set %q uses the role, so it must stay %q", after.CredentialType, sets[0], before.CredentialType)
	case after.UserPoolID != before.UserPoolID:
		return badRequest("user_pool_id %q is not allowed: library set %q uses the role, so it must stay %q", after.UserPoolID, sets[0], before.UserPoolID)
	case after.target(aws.region).Region != before.target(aws.region).Region:
		return badRequest("region %q is not allowed: library set %q uses the role, so it must stay %q", after.Region, sets[0], before.Region)
	}
	return checkLibraryTemplates(aws, name, mountPoint, after)
}

// userShape identifies what the role says of a user of a library set.
func (r *roleEntry) userShape(name string) string {
	said, _ := json.Marshal([]any{name, slices.Sorted(slices.Values(r.Groups)), r.UserAttributes, r.DummyEmailDomain, r.mfa()}) // no such value fails
	sum := sha256.Sum256(said)
	return hex.EncodeToString(sum[:8])
}

// refitLibraries makes the free users of the sets of a role follow a change of it.
func (b *backend) refitLibraries(ctx context.Context, req *logical.Request, role string) {
	sets, err := setsOfRole(ctx, req.Storage, role)
	if err != nil {
		b.Logger().Warn("users of library sets follow the change of their role only when they are lent", "role", role, "error", err)
		return
	}
	for _, set := range sets {
		b.checkOuts.scheduleAll(set, b.now())
	}
	if len(sets) > 0 {
		b.maintainSoon(req)
	}
}

// checkLibraryTemplates refuses templates that depend on the caller: the users of a set have none.
func checkLibraryTemplates(aws *connection, role, mountPoint string, entry *roleEntry) error {
	var first string
	var firstAttributes map[string]string
	for i, caller := range trialCallers {
		data := trialData(role, mountPoint, entry.UserPoolID, caller)
		username, err := entry.trialUsername(aws, data)
		if err != nil {
			return err
		}
		data.Username = username
		attributes, err := entry.attributes(data)
		if err != nil {
			return err
		}
		if i == 0 {
			first, firstAttributes = username, attributes
		}
		if username != first {
			return badRequest("role %q cannot be used by a library set: its username_template depends on the caller", role)
		}
		for name, value := range firstAttributes {
			if attributes[name] != value {
				return badRequest("role %q cannot be used by a library set: its user_attributes hold %s, which depends on the caller", role, name)
			}
		}
	}
	return nil
}

// trialUsername renders the template of usernames, if there is one. The engine's own form has no
// caller.
func (r *roleEntry) trialUsername(aws *connection, data templateData) (string, error) {
	if cmp.Or(r.UsernameTemplate, aws.usernameTemplate) == "" {
		return "username", nil
	}
	return r.username(aws, data)
}

// libraryData returns the data for the templates of a set's role, which see no caller.
func (b *backend) libraryData(req *logical.Request, role string, userPoolID string) templateData {
	return templateData{RoleName: role, MountPoint: req.MountPoint, UserPoolID: userPoolID}
}

// refuseSecondary refuses what only the cluster that owns the sets may do.
func (b *backend) refuseSecondary(set string) error {
	if b.mayWrite() {
		return nil
	}
	return badRequest("library set %q belongs to the primary cluster, because a user must not be lent by two clusters: "+
		"send the request to the primary, or use a mount that is local to this cluster", set)
}
