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

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// TestLibrary checks the invariants of library sets: no user has two holders, none is free with a
// password or a session that a holder has seen, and none is lost.
func TestLibrary(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newLibrary(rt)
		play(rt, map[string]func(*rapid.T){
			"":                    m.checkAll,
			"check out":           m.checkOut,
			"check out again":     m.checkOut,
			"check in":            m.checkIn,
			"check in by force":   m.forceCheckIn,
			"renew":               m.renew,
			"revoke":              m.revoke,
			"force-revoke":        m.forceRevoke,
			"pass":                m.passTime,
			"pass again":          m.passTime,
			"arm a crash":         m.armCrash,
			"seal":                m.seal,
			"reload":              m.reload,
			"resize":              m.resize,
			"change the role":     m.changeRole,
			"delete at Cognito":   m.deleteUser,
			"disable at Cognito":  m.disableUser,
			"change the password": m.changePassword,
			"break AWS":           m.breakAWS,
			"repair":              m.repair,
		})
		m.finish()
	})
}

// library is the machine whose steps are those of a history.
type library struct {
	*core
	rt   *rapid.T
	size int
	role map[string]any
	// seen are the secrets that were returned, by username.
	seen map[string][]seenSecrets
	// returned are the leases whose user was checked in, or may have been.
	returned map[string]bool
	// isBroken says that calls to AWS may fail, also those of the model.
	isBroken bool
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

func newLibrary(rt *rapid.T) *library {
	m := &library{core: newCore(newWorld(rt)), rt: rt, size: 2, seen: map[string][]seenSecrets{}, returned: map[string]bool{}}
	m.configure()
	m.role = map[string]any{"groups": "testers", "user_attributes": map[string]string{"nickname": "robot"}}
	m.must(m.writeRole())
	m.must(m.writeSet())
	m.settle()
	return m
}

func (m *library) writeRole() error {
	role := map[string]any{
		"credential_type": "user", "user_pool_id": m.seed.UserPoolID, "ttl": 3600, "max_ttl": 24 * 3600,
		"app_client_id": m.seed.AppClientID, "app_client_secret": m.seed.AppClientSecret,
	}
	maps.Copy(role, m.role)
	return m.write("roles/lent", role)
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

func (m *library) checkOut(rt *rapid.T) {
	heard := rapid.IntRange(0, 4).Draw(rt, "heard") > 0
	wait := rapid.SampledFrom([]int{0, 0, 20}).Draw(rt, "wait")
	response, err := m.as(drawEntity(rt), "library/e2e/check-out", map[string]any{"wait": wait})
	if err != nil {
		return
	}
	text := func(name string) string { return response.Data[name].(string) }
	m.seen[text("username")] = append(m.seen[text("username")], seenSecrets{text("password"), text("access_token")})
	if heard {
		m.register("lent", response)
	}
}

func (m *library) drawLease(rt *rapid.T) int {
	if len(m.leases) == 0 {
		rt.Skip("there is no lease")
	}
	return rapid.SampledFrom(m.ids()).Draw(rt, "lease")
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

func (m *library) renew(rt *rapid.T) { m.core.renew(m.leases[m.drawLease(rt)], 0) }

func (m *library) revoke(rt *rapid.T) { m.core.revoke(m.drawLease(rt)) }

// forceRevoke drops a lease, whether its revocation succeeds or not.
func (m *library) forceRevoke(rt *rapid.T) {
	id := m.drawLease(rt)
	m.core.revoke(id)
	delete(m.leases, id)
}

func (m *library) passTime(rt *rapid.T) {
	times := []time.Duration{time.Minute, 3 * time.Minute, 15 * time.Minute, 70 * time.Minute, 7 * time.Hour}
	m.pass(rapid.SampledFrom(times).Draw(rt, "time"), time.Minute, func() { m.checkAll(rt) })
}

func (m *library) armCrash(rt *rapid.T) {
	m.life.dieAt(rapid.IntRange(1, 24).Draw(rt, "call"), rapid.Bool().Draw(rt, "effect"))
}

func (m *library) seal(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	wait(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Minute, 2 * time.Hour, 30 * time.Hour}).Draw(rt, "time"))
	m.start()
	m.resume()
}

func (m *library) reload(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.start()
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

func (m *library) changeRole(rt *rapid.T) {
	m.role = map[string]any{
		"groups":          rapid.SampledFrom([]string{"testers", "admins", "admins,testers", ""}).Draw(rt, "groups"),
		"user_attributes": map[string]string{"nickname": rapid.SampledFrom([]string{"robot", "worker"}).Draw(rt, "nickname")},
	}
	_ = m.writeRole() // finish writes it again
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

// changePassword lets an administrator set a password, which is then known.
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

func (m *library) breakAWS(rt *rapid.T) {
	m.isBroken = true
	fault := control.Fault{
		Operation: rapid.SampledFrom([]string{control.OperationAny, "AdminCreateUser", "AdminSetUserPassword", "AdminUserGlobalSignOut", "AdminGetUser",
			"AdminInitiateAuth", "AdminAddUserToGroup", "AdminUpdateUserAttributes", "AdminDeleteUser"}).Draw(rt, "operation"),
		Kind: rapid.SampledFrom([]string{control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter,
			control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody}).Draw(rt, "kind"),
		Times: rapid.IntRange(0, 2).Draw(rt, "times"),
	}
	switch fault.Kind {
	case control.FaultErrorAfter: // no refusal comes after the effect
		fault.Code = "InternalErrorException"
	case control.FaultError:
		fault.Code = rapid.SampledFrom([]string{"InternalErrorException", "TooManyRequestsException", "AccessDeniedException", "NotAuthorizedException"}).Draw(rt, "code")
	}
	m.must(m.cognito.AddFault(fault))
}

func (m *library) repair(*rapid.T) { m.heal() }

func (m *library) heal() {
	m.cognito.ClearFaults()
	m.life.dieAt(0, false)
	m.isBroken = false
}

func (m *library) checkAll(rt *rapid.T) {
	m.settle()
	entries := m.entries()
	m.checkFree(rt, entries)
	m.checkLost(rt, entries)
	m.checkLiving(rt, entries)
}

// checkFree requires that no holder has seen the secrets of a user that is free.
func (m *library) checkFree(rt *rapid.T, entries []libraryEntry) {
	for _, entry := range entries {
		if entry.State != "available" {
			continue
		}
		for _, seen := range m.seen[entry.Username] {
			if seen.password == entry.Password || m.cognito.HasPassword(m.seed.UserPoolID, entry.Username, seen.password) {
				fail(rt, "a user is free with a password that a holder has seen", entry.Username)
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
		if !slices.ContainsFunc(entries, func(e libraryEntry) bool { return e.RequestedName == name || e.Username == name }) {
			fail(rt, "a user at Cognito is lost", name)
		}
	}
}

// checkLiving requires that each living lease has its user, and alone.
func (m *library) checkLiving(rt *rapid.T, entries []libraryEntry) {
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
	m.pass(30*time.Minute, time.Minute, func() { m.checkAll(m.rt) })
	m.must(m.writeRole())
	m.must(m.writeSet())
	m.pass(longest+26*time.Hour, 4*time.Minute, func() {})
	if len(m.leases) > 0 {
		fail(m.rt, "leases never ended", m.ids())
	}
	m.settle()
	for _, entry := range m.entries() { // what an administrator did to a free user shows when it is used
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
	m.checkAll(m.rt)
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
	nickname := m.role["user_attributes"].(map[string]string)["nickname"]
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
	keys, err := logical.CollectKeysWithPrefix(context.Background(), m.storage, "issued/")
	m.must(err)
	if len(keys) > 0 {
		fail(m.rt, "records are left", keys)
	}
	_, err = m.request(&logical.Request{Operation: logical.DeleteOperation, Path: "library/e2e"})
	m.must(err)
	m.pass(10*time.Minute, time.Minute, func() {})
	m.settle()
	if left, stored := m.users(), m.entries(); len(left)+len(stored) > 0 {
		fail(m.rt, "the set was deleted, and users or entries are left", left, stored)
	}
}
