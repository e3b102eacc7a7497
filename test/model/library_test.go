// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"
)

// TestLibrary checks the invariants of library sets: no user has two holders, none is free with a
// password or a session that somebody has seen, and none is lost.
func TestLibrary(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newLibrary(rt)
		steps := m.steps()
		steps["arm a crash"] = m.armCrash
		steps["take snapshot"] = m.takeQuietSnapshot
		steps["check in"] = m.checkIn
		steps["check in by force"] = m.forceCheckIn
		steps["resize"] = m.resize
		steps["change the users"] = m.changeUsers
		steps["delete at Cognito"] = m.deleteUser
		steps["disable at Cognito"] = m.disableUser
		steps["change the password"] = m.changePassword
		play(rt, steps)
		m.finish()
	})
}

// library is the subject of leases of check-outs.
type library struct {
	*machine
	size int
	// wanted is what the role says of the users.
	wanted map[string]any
	// seen are the secrets that were returned, by username.
	seen map[string][]seenSecrets
	// returned are the check-outs whose user was checked in, or may have been.
	returned, returnedBefore map[string]bool
	// orphans are users of which a restored snapshot knows nothing; tidy is for them.
	orphans map[string]bool
	// restored are the passwords that free users had in a restored snapshot, by username: the
	// engine must not lend a user with it.
	restored map[string]string
}

type seenSecrets struct{ password, accessToken string }

// libraryEntry is a user of a set as it is stored.
type libraryEntry struct {
	State         string
	RequestedName string `json:"requested_name"`
	Username      string
	Password      string
	CheckOut      string `json:"check_out"`
	LastError     string `json:"last_error"`
}

func (e libraryEntry) isNamed(name string) bool { return e.RequestedName == name || e.Username == name }

// snapshotAge is more than the engine needs to notice that a snapshot was restored: a younger one
// looks like a restart, as the runbook says.
const snapshotAge = 2*time.Minute + time.Second

func newLibrary(rt *rapid.T) *library {
	m := &library{
		machine: newMachine(rt), size: 2, seen: map[string][]seenSecrets{}, returned: map[string]bool{},
		orphans: map[string]bool{}, restored: map[string]string{},
		wanted: map[string]any{"groups": "testers", "user_attributes": map[string]string{"nickname": "robot"}},
	}
	m.subject = m
	m.refusals = append(m.refusals, "NotAuthorizedException")
	m.mount()
	return m
}

func (m *library) roles() map[string]map[string]any {
	role := map[string]any{
		"credential_type": "user", "app_client_id": m.seed.AppClientID, "app_client_secret": m.seed.AppClientSecret,
	}
	maps.Copy(role, m.wanted)
	return map[string]map[string]any{"lent": role}
}

func (m *library) creating() []string { return []string{"AdminInitiateAuth"} }

func (m *library) breakable() []string {
	return []string{
		"AdminCreateUser", "AdminSetUserPassword", "AdminUserGlobalSignOut", "AdminGetUser",
		"AdminInitiateAuth", "AdminAddUserToGroup", "AdminUpdateUserAttributes", "AdminDeleteUser",
	}
}

func (m *library) mounted() {
	m.must(m.writeSet())
	m.settle()
}

func (m *library) writeSet() error {
	return m.write("library/e2e", map[string]any{"role": "lent", "size": m.size})
}

// settle waits until nothing goes on behind the requests.
func (m *library) settle() { synctest.Wait() }

func (m *library) entries() (entries []libraryEntry) {
	m.must(logical.ScanView(context.Background(), logical.NewStorageView(m.storage, "library/users/"), func(key string) {
		stored, err := m.storage.Get(context.Background(), "library/users/"+key)
		m.must(err)
		var entry libraryEntry
		m.must(json.Unmarshal(stored.Value, &entry))
		entries = append(entries, entry)
	}))
	return entries
}

func (m *library) as(entity int, path string, data map[string]any) (*logical.Response, error) {
	name := fmt.Sprintf("entity-%d", entity)
	return m.request(&logical.Request{Operation: logical.UpdateOperation, Path: path, Data: data, EntityID: name, ClientToken: name})
}

func drawEntity(rt *rapid.T) int { return rapid.IntRange(1, 3).Draw(rt, "entity") }

func (m *library) issuance(rt *rapid.T, _ string) *logical.Request {
	name := fmt.Sprintf("entity-%d", drawEntity(rt))
	wait := rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "wait")
	return &logical.Request{
		Operation: logical.UpdateOperation, Path: "library/e2e/check-out", Data: map[string]any{"wait": wait}, EntityID: name, ClientToken: name,
	}
}

// answered requires that what a check-out returned is known to its holder only.
func (m *library) answered(rt *rapid.T, response *logical.Response) {
	text := func(name string) string { return response.Data[name].(string) }
	username, password := text("username"), text("password")
	for _, seen := range m.seen[username] {
		if seen.password == password || m.cognito.HasPassword(m.seed.UserPoolID, username, seen.password) {
			fail(rt, "a user is lent with a password that was returned before", username)
		}
	}
	m.seen[username] = append(m.seen[username], seenSecrets{password, text("access_token")})
}

func checkOutOf(l *lease) string { return l.secret.InternalData["record"].(string) }

func (m *library) checkIn(rt *rapid.T) {
	l := m.leases[m.drawLease(rt)]
	m.markReturned(l.username)
	for entity := 1; entity <= 3; entity++ {
		_, _ = m.as(entity, "library/e2e/check-in", map[string]any{"usernames": l.username}) // two of them are refused
	}
}

func (m *library) forceCheckIn(rt *rapid.T) {
	entries := m.entries()
	if len(entries) == 0 {
		rt.Skip("there is no user")
	}
	name := rapid.SampledFrom(entries).Draw(rt, "user").Username
	m.markReturned(name)
	_, _ = m.as(9, "library/manage/e2e/check-in", map[string]any{"usernames": name}) // it may fail
}

// markReturned notes that no lease of a user need live.
func (m *library) markReturned(username string) {
	for _, l := range m.leases {
		if l.username == username {
			m.returned[checkOutOf(l)] = true
		}
	}
}

func (m *library) armCrash(rt *rapid.T) {
	m.life.dieAt(rapid.IntRange(1, 24).Draw(rt, "call"), rapid.Bool().Draw(rt, "effect"))
}

func (m *library) resize(rt *rapid.T) {
	before := m.size
	m.size = rapid.IntRange(1, 4).Draw(rt, "size")
	if m.writeSet() != nil {
		m.size = m.storedSize(before)
	}
}

func (m *library) storedSize(otherwise int) int {
	stored, err := m.storage.Get(context.Background(), "library/sets/e2e")
	m.must(err)
	set := struct{ Size int }{otherwise}
	m.must(json.Unmarshal(stored.Value, &set))
	return set.Size
}

// changeUsers changes what the role says of the users.
func (m *library) changeUsers(rt *rapid.T) {
	m.wanted = map[string]any{
		"groups":          rapid.SampledFrom([]string{"testers", "admins", "admins,testers", ""}).Draw(rt, "groups"),
		"user_attributes": map[string]string{"nickname": rapid.SampledFrom([]string{"robot", "worker"}).Draw(rt, "nickname")},
	}
	m.writeRole("lent")
}

// drawUser draws a user at Cognito.
func (m *library) drawUser(rt *rapid.T) string {
	names := slices.Sorted(maps.Keys(m.users()))
	if len(names) == 0 {
		rt.Skip("there is no user")
	}
	return rapid.SampledFrom(names).Draw(rt, "user")
}

func (m *library) deleteUser(rt *rapid.T) {
	name := m.drawUser(rt)
	m.administer(func(ctx context.Context, api *cip.Client) error {
		_, err := api.AdminDeleteUser(ctx, &cip.AdminDeleteUserInput{UserPoolId: &m.seed.UserPoolID, Username: &name})
		return err
	})
}

func (m *library) disableUser(rt *rapid.T) {
	name := m.drawUser(rt)
	m.administer(func(ctx context.Context, api *cip.Client) error {
		_, err := api.AdminDisableUser(ctx, &cip.AdminDisableUserInput{UserPoolId: &m.seed.UserPoolID, Username: &name})
		return err
	})
}

// changePassword lets an administrator set a password that somebody knows.
func (m *library) changePassword(rt *rapid.T) {
	name, password := m.drawUser(rt), fmt.Sprintf("Administrator-%d", len(m.seen[""]))
	m.seen[""] = append(m.seen[""], seenSecrets{password: password})
	m.administer(func(ctx context.Context, api *cip.Client) error {
		_, err := api.AdminSetUserPassword(ctx, &cip.AdminSetUserPasswordInput{UserPoolId: &m.seed.UserPoolID, Username: &name, Password: &password, Permanent: true})
		return err
	})
}

// administer makes a call to AWS that is not the engine's. A broken AWS may refuse it.
func (m *library) administer(call func(context.Context, *cip.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := call(ctx, m.olderPlugin().api); err != nil && !m.isBroken {
		m.must(err)
	}
}

// takeQuietSnapshot takes a snapshot while nothing goes on.
func (m *library) takeQuietSnapshot(rt *rapid.T) {
	m.settle()
	m.machine.takeSnapshot(rt)
}

func (m *library) takeSnapshot() { m.returnedBefore = maps.Clone(m.returned) }

func (m *library) restoreSnapshot() {
	m.returned = maps.Clone(m.returnedBefore)
	entries := m.entries()
	m.restored = map[string]string{}
	for _, entry := range entries {
		if entry.State == "available" {
			m.restored[entry.Username] = entry.Password
		}
	}
	for name := range m.users() {
		if !slices.ContainsFunc(entries, func(e libraryEntry) bool { return e.isNamed(name) }) {
			m.orphans[name] = true
		}
	}
	wait(snapshotAge)
}

func (m *library) checkLiving(rt *rapid.T) {
	m.settle()
	entries := m.entries()
	m.checkFree(rt, entries)
	m.checkLost(rt, entries)
	m.checkHolders(rt, entries)
}

// checkGone requires that no user is left that has no entry.
func (m *library) checkGone(rt *rapid.T, _ string) { m.checkLost(rt, m.entries()) }

// checkFree requires that nobody has seen the secrets of a user that is free.
func (m *library) checkFree(rt *rapid.T, entries []libraryEntry) {
	for _, entry := range entries {
		if entry.State != "available" || m.restored[entry.Username] == entry.Password {
			continue
		}
		for _, seen := range m.seen[entry.Username] {
			if seen.password == entry.Password || m.cognito.HasPassword(m.seed.UserPoolID, entry.Username, seen.password) {
				fail(rt, "a user is free with a password that somebody has seen", entry.Username)
			}
			if !m.isBroken && m.isOpen(seen.accessToken) {
				fail(rt, "a user is free, and a session of a holder is open", entry.Username)
			}
		}
	}
}

func (m *library) isOpen(accessToken string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := m.olderPlugin().api.GetUser(ctx, &cip.GetUserInput{AccessToken: &accessToken})
	return err == nil
}

// checkLost requires that each user at Cognito has an entry.
func (m *library) checkLost(rt *rapid.T, entries []libraryEntry) {
	for name := range m.users() {
		if !m.orphans[name] && !slices.ContainsFunc(entries, func(e libraryEntry) bool { return e.isNamed(name) }) {
			fail(rt, "a user at Cognito is lost", name)
		}
	}
}

// checkHolders requires that each living lease has its user, and alone.
func (m *library) checkHolders(rt *rapid.T, entries []libraryEntry) {
	holders := map[string]int{}
	for _, id := range m.ids() {
		l := m.leases[id]
		if !m.isLiving(l) || m.returned[checkOutOf(l)] {
			continue
		}
		if other := holders[l.username]; other != 0 {
			fail(rt, "two leases have the same user", other, id, l.username)
		}
		holders[l.username] = id
		isLent := func(e libraryEntry) bool {
			return e.State == "lent" && e.CheckOut == checkOutOf(l) && e.Username == l.username
		}
		if !slices.ContainsFunc(entries, isLent) {
			fail(rt, "the user of a living lease is no longer lent", l.username, id, l.timer-m.elapsed(), entries)
		}
	}
}

// finish lets every lease end while all is well: then all users must be free and as the role says.
func (m *library) finish() {
	m.heal()
	m.writeRole("lent")
	m.must(m.writeSet())
	m.endLeases()
	m.settle()
	for _, entry := range m.entries() {
		if entry.Password == m.restored[entry.Username] {
			fail(m.rt, "a user was not reset after a snapshot was restored", entry)
		}
		// What an administrator did to a free user shows when it is used.
		_, err := m.as(9, "library/manage/e2e/check-in", map[string]any{"usernames": entry.Username})
		m.must(err)
	}
	entries := m.entries()
	if len(entries) != m.size {
		fail(m.rt, "the set has another number of users", len(entries), m.size, entries)
	}
	for _, entry := range entries {
		m.checkReady(entry)
	}
	m.checkLiving(m.rt)
	m.checkEnd()
	m.stop(false)
}

// checkReady requires that a user is free, signs in, and is as the role says.
func (m *library) checkReady(entry libraryEntry) {
	if entry.State != "available" {
		fail(m.rt, "a user is not free after everything has ended", entry)
	}
	out, err := m.olderPlugin().api.AdminListGroupsForUser(context.Background(), &cip.AdminListGroupsForUserInput{UserPoolId: &m.seed.UserPoolID, Username: &entry.Username})
	m.must(err)
	var groups []string
	for _, group := range out.Groups {
		groups = append(groups, *group.GroupName)
	}
	slices.Sort(groups)
	if wanted := m.roleGroups(); !slices.Equal(groups, wanted) {
		fail(m.rt, "a user is not in the groups of its role", entry.Username, groups, wanted)
	}
	if !m.cognito.HasPassword(m.seed.UserPoolID, entry.Username, entry.Password) {
		fail(m.rt, "a user is free, and Cognito does not have its password", entry.Username)
	}
	user, err := m.olderPlugin().api.AdminGetUser(context.Background(), &cip.AdminGetUserInput{UserPoolId: &m.seed.UserPoolID, Username: &entry.Username})
	m.must(err)
	nickname := m.wanted["user_attributes"].(map[string]string)["nickname"]
	hasNickname := func(a types.AttributeType) bool { return *a.Name == "nickname" && *a.Value == nickname }
	if !user.Enabled || !slices.ContainsFunc(user.UserAttributes, hasNickname) {
		fail(m.rt, "a user is not as its role says", entry.Username)
	}
}

func (m *library) roleGroups() (groups []string) {
	read, err := m.request(&logical.Request{Operation: logical.ReadOperation, Path: "roles/lent"})
	m.must(err)
	groups = append(groups, read.Data["groups"].([]string)...)
	slices.Sort(groups)
	return groups
}

// checkEnd requires that nothing is left of a set that is deleted, nor of its check-outs.
func (m *library) checkEnd() {
	_, err := m.request(&logical.Request{Operation: logical.DeleteOperation, Path: "library/e2e"})
	m.must(err)
	m.pass(10*time.Minute, time.Minute, func() {})
	m.settle()
	if stored := m.entries(); len(stored) > 0 {
		fail(m.rt, "the set was deleted, and entries are left", stored)
	}
	m.checkGone(m.rt, "the set was deleted")
	m.checkRecords()
}
