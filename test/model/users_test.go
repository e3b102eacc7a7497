// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestUsers checks the invariants of issued records with users: a living lease never loses its
// user, and nothing stays without a lease.
func TestUsers(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newUsers(rt)
		steps := m.steps()
		steps["downgrade"] = m.downgrade
		play(rt, steps)
		m.finish()
	})
}

// users are the subject of leases of users.
type users struct {
	*machine
	// orphans came to be without record when a snapshot was restored; tidy is for them.
	orphans map[string]bool
	// had are the users when the snapshot was taken.
	had map[string]bool
}

func newUsers(rt *rapid.T) *users {
	m := &users{machine: newMachine(rt), orphans: map[string]bool{}}
	m.subject = m
	m.mount()
	return m
}

func (m *users) roles() map[string]map[string]any {
	role := func(revocation string) map[string]any {
		return map[string]any{
			"credential_type": "user", "app_client_id": m.seed.AppClientID, "app_client_secret": m.seed.AppClientSecret,
			"groups": "testers", "revocation": revocation,
		}
	}
	return map[string]map[string]any{"deleting": role("delete"), "disabling": role("disable")}
}

func (m *users) creating() []string {
	return []string{"AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth"}
}

func (m *users) breakable() []string {
	return []string{"AdminCreateUser", "AdminInitiateAuth", "AdminGetUser", "AdminDeleteUser", "AdminDisableUser"}
}

// downgrade lets the plugin of 2021 serve the mount for a while. A stay of less than two minutes
// leaves no trace, so there are no renewals in it.
func (m *users) downgrade(rt *rapid.T) {
	m.stop(false)
	older := m.olderPlugin()
	for range rapid.IntRange(1, 3).Draw(rt, "renewals") {
		older.pass(rapid.SampledFrom([]time.Duration{3 * time.Minute, 20 * time.Minute, 2 * time.Hour}).Draw(rt, "time"))
		if len(m.leases) > 0 {
			l := m.leases[m.drawLease(rt)]
			times := m.times[l.role]
			older.renew(l, time.Duration(times.ttl)*time.Second, time.Duration(times.most)*time.Second, rapid.SampledFrom([]time.Duration{0, 9 * time.Hour}).Draw(rt, "increment"))
		}
	}
	m.start()
}

func (m *users) takeSnapshot() { m.had = m.users() }

func (m *users) restoreSnapshot() {
	present := m.users()
	for username := range present {
		_, had := m.had[username]
		m.orphans[username] = m.orphans[username] || !had
	}
	for _, l := range m.leases {
		l.stale = l.stale || !present[l.username] // deleted or disabled since
	}
}

// checkLiving requires each living lease to have its user.
func (m *users) checkLiving(rt *rapid.T) {
	users := m.users()
	for _, id := range m.ids() {
		l := m.leases[id]
		if enabled, exists := users[l.username]; m.isLiving(l) && (!exists || !enabled) {
			fail(rt, "the user of a living lease is gone", l.username, l.role, id, l.timer-m.elapsed())
		}
	}
}

// checkGone requires that no user without a lease is left.
func (m *users) checkGone(rt *rapid.T, when string) {
	leased := map[string]bool{}
	for _, l := range m.leases {
		leased[l.username] = true
	}
	for username, enabled := range m.users() {
		if enabled && !leased[username] && !m.orphans[username] {
			fail(rt, "a user is left without a lease: "+when, username)
		}
	}
}
