// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	librarySet   = "library/e2e"
	libraryUsers = "library/users/e2e/"
	// libraryPatience is how long a cell waits for work behind a request. A fault may keep it from
	// ever being complete.
	libraryPatience = 2 * time.Second
)

// lending is what a cell knows of its library set.
type lending struct {
	// wanted is how many users the set is to have.
	wanted int
	// mayEnd says that the set may not exist.
	mayEnd bool
	// seen are all responses to check-outs, also those that were lost.
	seen []map[string]any
}

// libraryEntry is a user of a set as it is stored.
type libraryEntry struct {
	State     string
	Username  string
	LastError string `json:"last_error"`
}

func (e *env) libraryEntries() (entries []libraryEntry) {
	e.T.Helper()
	for _, id := range e.entries(libraryUsers) {
		stored, err := e.storage.Storage.Get(e.T.Context(), libraryUsers+id)
		require.NoError(e.T, err)
		if stored == nil {
			continue // it was deleted meanwhile
		}
		var entry libraryEntry
		require.NoError(e.T, json.Unmarshal(stored.Value, &entry))
		entries = append(entries, entry)
	}
	return entries
}

// lends prepares a set with free users.
func lends(size int) func(*env) {
	return func(e *env) {
		e.WriteOK("roles/ci", map[string]any{"user_attributes": map[string]string{"nickname": "robot"}})
		e.lending = &lending{wanted: size}
		e.WriteOK(librarySet, map[string]any{"role": "ci", "size": size, "disable_check_in_enforcement": true})
		require.NoError(e.T, e.awaitLibrary())
	}
}

// awaitLibrary waits until all users of the set are free or lent. It reads the storage without a
// trace in the count of calls.
func (e *env) awaitLibrary() error {
	e.T.Helper()
	var failure error
	done := eventually(func() (done bool) {
		done, failure = e.libraryIsDone()
		return done || failure != nil
	})
	if !done {
		return fmt.Errorf("the set has %v", e.libraryEntries())
	}
	return failure
}

// eventually reports whether a condition holds before the patience of a cell is over.
func eventually(condition func() bool) bool {
	over := time.After(libraryPatience)
	for !condition() {
		select {
		case <-time.After(2 * time.Millisecond):
		case <-over:
			return false
		}
	}
	return true
}

// libraryIsDone reports whether all users of the set are free or lent. It returns the error of one
// that is not.
func (e *env) libraryIsDone() (bool, error) {
	e.T.Helper()
	entries := e.libraryEntries()
	open := slices.ContainsFunc(entries, func(u libraryEntry) bool { return u.State != "available" && u.State != "lent" })
	if !open && len(entries) == e.lending.wanted {
		return true, nil
	}
	if failed := slices.IndexFunc(entries, func(u libraryEntry) bool { return u.LastError != "" }); failed >= 0 {
		return false, errors.New(entries[failed].LastError)
	}
	return false, nil
}

// checkedOut prepares a set of which one user is lent.
func checkedOut(e *env) {
	lends(2)(e)
	require.NoError(e.T, checkOut(e))
}

// misused prepares a set of which one user is lent, to a holder who tries to keep it.
func misused(e *env) {
	checkedOut(e)
	e.keepUser(e.leases[0])
}

// keepUser plays a holder who tries to keep the account.
func (e *env) keepUser(lease *heldLease) {
	e.T.Helper()
	token := lease.data["access_token"].(string)
	_, err := e.Admin.UpdateUserAttributes(e.T.Context(), &cip.UpdateUserAttributesInput{AccessToken: &token, UserAttributes: []types.AttributeType{
		{Name: aws.String("nickname"), Value: aws.String("eve")},
	}})
	require.NoError(e.T, err)
	_, err = e.Admin.AdminAddUserToGroup(e.T.Context(), &cip.AdminAddUserToGroupInput{
		UserPoolId: &e.Seed.UserPoolID, GroupName: aws.String("admins"), Username: aws.String(lease.username()),
	})
	require.NoError(e.T, err)
}

func checkOut(e *env) error {
	response, err := e.try(logical.UpdateOperation, librarySet+"/check-out", nil)
	if err == nil {
		e.lending.seen = append(e.lending.seen, response.Data)
		e.receive(response)
	}
	return err
}

// checkIn returns a path's check-in of the first user that was lent.
func checkIn(path string) func(*env) error {
	return func(e *env) error {
		e.leases[0].ending = true
		_, err := e.try(logical.UpdateOperation, path, map[string]any{"usernames": e.leases[0].username()})
		return err
	}
}

func writeSet(data map[string]any, wanted int) func(*env) error {
	return func(e *env) error {
		e.lending.wanted = wanted
		if err := e.tryWrite(librarySet, data); err != nil {
			return err
		}
		return e.awaitLibrary()
	}
}

func libraries() []operation {
	none := func(e *env) {
		e.lending = &lending{mayEnd: true}
		require.NoError(e.T, issue(e)) // the account is known by then, which is looked up behind a request
		require.NoError(e.T, e.revoke(e.leases[0]))
		e.leases = nil
	}
	lost := func(e *env) {
		misused(e)
		e.leases[0].ending = true // its check-out ends without the lease
		require.NoError(e.T, logical.ClearView(e.T.Context(), logical.NewStorageView(e.storage.Storage, "issued/")))
		e.newProcess()
	}
	unmade := func(e *env) {
		e.lending = &lending{wanted: 1}
		e.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultCutAfter})
		require.Error(e.T, writeSet(map[string]any{"role": "ci", "size": 1}, 1)(e))
		e.Heal()
		e.pass(10 * time.Minute)
	}
	broken := func(e *env) {
		misused(e)
		e.Fault(control.Fault{Operation: "AdminUserGlobalSignOut", Kind: control.FaultError, Code: "InternalErrorException"})
		require.Error(e.T, e.revoke(e.leases[0]))
		e.Heal()
		e.pass(10 * time.Minute)
	}
	gone := func(e *env) {
		checkedOut(e)
		e.pass(10 * time.Minute)
		_, err := e.Admin.AdminDeleteUser(e.T.Context(), &cip.AdminDeleteUserInput{UserPoolId: &e.Seed.UserPoolID, Username: aws.String(e.leases[0].username())})
		require.NoError(e.T, err)
	}
	revoke := func(e *env) error { return e.revoke(e.leases[0]) }
	remove := func(e *env) error {
		e.lending.mayEnd, e.lending.wanted = true, 0
		if _, err := e.try(logical.DeleteOperation, librarySet, nil); err != nil {
			return err
		}
		return e.awaitLibrary()
	}
	return []operation{
		{name: "writing a set", prepare: none, run: writeSet(map[string]any{"role": "ci", "size": 1}, 1)},
		{name: "writing a set of users that exist", prepare: none, run: writeSet(map[string]any{"role": "ci", "usernames": staticUser}, 1)},
		{name: "growing a set", prepare: lends(1), run: writeSet(map[string]any{"size": 2}, 2)},
		{name: "shrinking a set", prepare: lends(2), run: writeSet(map[string]any{"size": 1}, 1)},
		{name: "deleting a set", prepare: lends(1), run: remove},
		{name: "checking out", prepare: lends(3), run: checkOut},
		{name: "checking in", prepare: misused, run: checkIn(librarySet + "/check-in")},
		{name: "checking in by force", prepare: misused, run: checkIn("library/manage/e2e/check-in")},
		{name: "ending a lease", prepare: misused, run: revoke},
		{name: "ending the lease of a user that is gone", prepare: gone, run: revoke},
		{name: "renewing a lease", prepare: checkedOut, run: func(e *env) error { return e.renew(e.leases[0]) }},
		{name: "a tick for a user that could not be reset", prepare: broken, run: (*env).tryTick},
		{name: "a tick for a user that could not be created", prepare: unmade, run: (*env).tryTick},
		{name: "a tick for a user whose record is lost", prepare: lost, run: (*env).tryTick},
	}
}

// checkLibrary requires that no user is lost, and that none is free with a password that a
// holder has seen.
func (e *env) checkLibrary() {
	e.T.Helper()
	if e.lending == nil {
		return
	}
	set := e.Read(librarySet)
	e.lending.wanted = 0
	if set != nil {
		e.lending.wanted = set["size"].(int) + len(set["usernames"].([]string))
	} else if !e.lending.mayEnd {
		e.lose(counters.UsersLeft, "the set is gone")
	}
	isDone := func() bool { // work behind the requests may be under way
		done, _ := e.libraryIsDone() // a user that is being reset has an error until it is free
		return done
	}
	if !eventually(isDone) {
		e.lose(counters.UsersLeft, "the set has %v", e.libraryEntries())
	}
	entries := e.libraryEntries()
	for _, entry := range entries {
		switch entry.State {
		case "available":
			e.checkFree(entry.Username)
		case "lent":
		default:
			e.lose(counters.UsersLeft, "user %q is not free: %+v", entry.Username, entry)
		}
	}
	e.checkEntries(entries)
}

// checkEntries requires that each user of the engine at Cognito has an entry.
func (e *env) checkEntries(entries []libraryEntry) {
	e.T.Helper()
	for _, user := range e.Users() {
		known := slices.ContainsFunc(entries, func(u libraryEntry) bool { return u.Username == user.Username })
		if strings.HasPrefix(user.Username, "vault-") && !known {
			e.lose(counters.UsersLeft, "user %q of the set is lost", user.Username)
		}
	}
}

// checkFree tries everything at Cognito that a holder of a free user has seen.
func (e *env) checkFree(username string) {
	e.T.Helper()
	user := e.Users()[slices.IndexFunc(e.Users(), func(u control.User) bool { return u.Username == username })]
	require.True(e.T, user.Enabled)
	require.ElementsMatch(e.T, []string{"testers"}, user.Groups)
	require.NotEqual(e.T, "eve", user.Attributes["nickname"])
	for _, seen := range e.lending.seen {
		if seen["username"] != username {
			continue
		}
		if _, err := e.signIn(username, seen["password"].(string)); err == nil {
			e.lose(counters.PasswordsLost, "user %q is free with a password that a holder has seen", username)
		}
		if _, err := e.Admin.GetUser(e.T.Context(), &cip.GetUserInput{AccessToken: aws.String(seen["access_token"].(string))}); err == nil {
			e.lose(counters.PasswordsLost, "user %q is free with a session of a holder", username)
		}
	}
}
