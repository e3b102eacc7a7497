// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// TestMemberships checks the invariants of leases that put users into groups, while administrators
// add and remove memberships: what was there before a lease is never removed, what a living lease
// granted is there, and nothing that a lease granted outlives the last lease.
func TestMemberships(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newMemberships(rt)
		steps := m.steps()
		steps["administrator adds"] = m.administratorAdds
		steps["administrator removes"] = m.administratorRemoves
		steps["administrator replaces a user"] = m.replaceUser
		play(rt, steps)
		m.finish()
	})
}

// membership is that of a user in a group.
type membership struct{ username, group string }

// memberships are the subject of leases of group memberships.
type memberships struct {
	*machine
	admin *cip.Client
	// given are memberships that exist for other reasons than a lease.
	given map[membership]bool
	// taken are the groups that administrators removed during a lease.
	taken map[int][]string
}

var (
	memberNames  = []string{"ann", "bob"}
	memberGroups = []string{"testers", "admins", "oncall"}
)

func newMemberships(rt *rapid.T) *memberships {
	m := &memberships{machine: newMachine(rt), given: map[membership]bool{}, taken: map[int][]string{}}
	m.subject = m
	m.admin = cip.New(cip.Options{
		Region: emulatortest.Region, BaseEndpoint: aws.String(emulatortest.Endpoint), Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: emulatortest.Transport(m.cognito)},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", "secret", ""),
	})
	_, err := m.admin.CreateGroup(context.Background(), &cip.CreateGroupInput{UserPoolId: &m.seed.UserPoolID, GroupName: aws.String("oncall")})
	m.must(err)
	for _, username := range memberNames {
		m.createUser(username)
	}
	m.mount()
	return m
}

func (m *memberships) createUser(username string) {
	_, err := m.admin.AdminCreateUser(context.Background(), &cip.AdminCreateUserInput{UserPoolId: &m.seed.UserPoolID, Username: &username})
	m.must(err)
}

func (m *memberships) roles() map[string]map[string]any {
	role := func(username, groups string, signOut bool) map[string]any {
		return map[string]any{"credential_type": "group_membership", "username": username, "groups": groups, "sign_out_on_revoke": signOut}
	}
	return map[string]map[string]any{
		"ann-1": role("ann", "testers,admins", true),
		"ann-2": role("ann", "admins,oncall", false),
		"bob":   role("bob", "admins", false),
	}
}

func (m *memberships) creating() []string {
	return []string{"AdminListGroupsForUser", "AdminAddUserToGroup"}
}

func (m *memberships) breakable() []string {
	return []string{"AdminGetUser", "AdminListGroupsForUser", "AdminAddUserToGroup", "AdminRemoveUserFromGroup", "AdminUserGlobalSignOut"}
}

// drawMembership draws a user and a group.
func (m *memberships) drawMembership(rt *rapid.T) membership {
	return membership{rapid.SampledFrom(memberNames).Draw(rt, "user"), rapid.SampledFrom(memberGroups).Draw(rt, "group")}
}

// administratorAdds adds a membership. While a lease grants it, it is the lease's.
func (m *memberships) administratorAdds(rt *rapid.T) {
	at := m.drawMembership(rt)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = m.admin.AdminAddUserToGroup(ctx, &cip.AdminAddUserToGroupInput{
		UserPoolId: &m.seed.UserPoolID, Username: &at.username, GroupName: &at.group,
	}) // AWS may be out of reach
	if m.exists(at) && !m.isGranted(at) {
		m.given[at] = true
	}
}

// administratorRemoves removes a membership, also from living leases.
func (m *memberships) administratorRemoves(rt *rapid.T) {
	at := m.drawMembership(rt)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = m.admin.AdminRemoveUserFromGroup(ctx, &cip.AdminRemoveUserFromGroupInput{
		UserPoolId: &m.seed.UserPoolID, Username: &at.username, GroupName: &at.group,
	})
	if m.exists(at) {
		return
	}
	delete(m.given, at)
	for id, l := range m.leases {
		if l.username == at.username {
			m.taken[id] = append(m.taken[id], at.group)
		}
	}
}

// replaceUser deletes a user and creates another of the same name, in a group.
func (m *memberships) replaceUser(rt *rapid.T) {
	m.heal()
	at := m.drawMembership(rt)
	_, err := m.admin.AdminDeleteUser(context.Background(), &cip.AdminDeleteUserInput{UserPoolId: &m.seed.UserPoolID, Username: &at.username})
	m.must(err)
	m.createUser(at.username)
	_, err = m.admin.AdminAddUserToGroup(context.Background(), &cip.AdminAddUserToGroupInput{
		UserPoolId: &m.seed.UserPoolID, Username: &at.username, GroupName: &at.group,
	})
	m.must(err)
	for _, group := range memberGroups {
		delete(m.given, membership{at.username, group})
	}
	m.given[at] = true
	for _, l := range m.leases {
		l.stale = l.stale || l.username == at.username
	}
}

func (m *memberships) user(username string) control.User {
	users := m.cognito.Users(m.seed.UserPoolID)
	return users[slices.IndexFunc(users, func(u control.User) bool { return u.Username == username })]
}

func (m *memberships) exists(at membership) bool {
	return slices.Contains(m.user(at.username).Groups, at.group)
}

// isGranted reports whether the engine's records say that the engine gave a membership.
func (m *memberships) isGranted(at membership) bool {
	prefix := "issued/members/" + m.seed.UserPoolID + "/" + m.user(at.username).Sub + "/"
	entries, err := m.storage.List(context.Background(), prefix)
	m.must(err)
	return slices.ContainsFunc(entries, func(entry string) bool { return slices.Contains(m.groupsOfRecord(entry), at.group) })
}

// groupsOfRecord returns the groups that a record grants, by its entry in the index.
func (m *memberships) groupsOfRecord(entry string) []string {
	role, id, _ := strings.Cut(entry, ":")
	batch := id[:strings.LastIndex(id, "-")]
	stored, err := m.storage.Get(context.Background(), "issued/records/"+role+"/"+batch+"/"+strings.TrimPrefix(id, batch+"-"))
	m.must(err)
	if stored == nil {
		fail(m.rt, "an entry of the index has no record", entry)
	}
	var record struct{ Groups []string }
	m.must(json.Unmarshal(stored.Value, &record))
	return record.Groups
}

func (m *memberships) takeSnapshot() {}

// restoreSnapshot judges memberships by the restored records: the engine takes what they do not
// grant for what was there before, and removes what they grant.
func (m *memberships) restoreSnapshot() {
	for _, username := range memberNames {
		for _, group := range memberGroups {
			at := membership{username, group}
			m.given[at] = m.exists(at) && !m.isGranted(at)
		}
	}
	for id, l := range m.leases {
		l.stale = l.stale || l.secret.InternalData["sub"] != m.user(l.username).Sub || len(m.missing(id)) > 0
	}
}

// missing returns what a lease granted or found and is not there, although no administrator removed
// it.
func (m *memberships) missing(id int) (groups []string) {
	l := m.leases[id]
	for _, group := range append(slices.Clone(l.groups), l.existing...) {
		if !slices.Contains(m.taken[id], group) && !m.exists(membership{l.username, group}) {
			groups = append(groups, group)
		}
	}
	return groups
}

func (m *memberships) checkLiving(rt *rapid.T) {
	for at, given := range m.given {
		if given && !m.exists(at) {
			fail(rt, "a membership that no lease gave is gone", at.username, at.group)
		}
	}
	for _, id := range m.ids() {
		l := m.leases[id]
		if missing := m.missing(id); m.isLiving(l) && len(missing) > 0 {
			fail(rt, "a membership of a living lease is gone", l.username, missing, id, l.timer-m.elapsed())
		}
	}
}

// checkGone requires that every membership is from before, or that of a lease.
func (m *memberships) checkGone(rt *rapid.T, when string) {
	for _, username := range memberNames {
		for _, group := range m.user(username).Groups {
			at := membership{username, group}
			if !m.given[at] && !m.isLeased(at) {
				fail(rt, "a membership is left without a lease: "+when, username, group)
			}
		}
	}
}

func (m *memberships) isLeased(at membership) bool {
	for _, l := range m.leases {
		if l.username == at.username && !l.stale && slices.Contains(l.groups, at.group) {
			return true
		}
	}
	return false
}
