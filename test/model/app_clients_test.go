// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestAppClients checks the invariants of issued records with app clients: a living lease never
// loses its app client, and none is left without a lease.
func TestAppClients(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newAppClients(rt)
		steps := m.steps()
		steps["list late"] = m.listLate
		play(rt, steps)
		m.finish()
	})
}

// appClients are the subject of leases of app clients.
type appClients struct {
	*machine
	// orphans came to be without record when a snapshot was restored.
	orphans map[string]bool
	// lag is how long new app clients are in no list.
	lag time.Duration
	// had are the app clients when the snapshot was taken.
	had map[string]time.Time
}

func newAppClients(rt *rapid.T) *appClients {
	m := &appClients{machine: newMachine(rt), orphans: map[string]bool{}}
	m.subject = m
	m.mount()
	return m
}

func (m *appClients) roles() map[string]map[string]any {
	role := map[string]any{"credential_type": "app_client", "cognito_pool_domain": m.seed.Domain, "scopes": "api/read"}
	return map[string]map[string]any{"renewed": role, "short": role}
}

func (m *appClients) creating() []string { return []string{"CreateUserPoolClient"} }

func (m *appClients) breakable() []string {
	return []string{"CreateUserPoolClient", "DeleteUserPoolClient", "ListUserPoolClients"}
}

// listLate keeps new app clients out of Cognito's lists, for less long than the engine looks for
// them.
func (m *appClients) listLate(rt *rapid.T) {
	m.lag = rapid.SampledFrom([]time.Duration{0, 10 * time.Second, 20 * time.Minute, 5 * time.Hour, 20 * time.Hour}).Draw(rt, "lag")
	m.cognito.SetLateClients(m.lag)
}

// present returns the app clients of the engine that are at Cognito, and when they were created.
func (m *appClients) present() map[string]time.Time {
	found := map[string]time.Time{}
	for _, client := range m.cognito.AppClients(m.seed.UserPoolID) {
		if strings.HasPrefix(client.Name, "vault-") {
			found[client.ClientID] = client.Created
		}
	}
	return found
}

func (m *appClients) takeSnapshot() { m.had = m.present() }

func (m *appClients) restoreSnapshot() {
	present := m.present()
	for id := range present {
		m.orphans[id] = m.orphans[id] || m.had[id].IsZero()
	}
	for _, l := range m.leases {
		l.stale = l.stale || present[l.clientID].IsZero()
	}
}

func (m *appClients) checkLiving(rt *rapid.T) {
	present := m.present()
	for _, id := range m.ids() {
		if l := m.leases[id]; m.isLiving(l) && present[l.clientID].IsZero() {
			fail(rt, "the app client of a living lease is gone", l.clientID, l.role, id, l.timer-m.elapsed())
		}
	}
}

// checkGone forgives what an unmount cannot find: an app client that is in no list for longer than
// it waits.
func (m *appClients) checkGone(rt *rapid.T, when string) {
	leased := map[string]bool{}
	for _, l := range m.leases {
		leased[l.clientID] = true
	}
	for id, created := range m.present() {
		if m.lag > time.Minute && time.Since(created) < m.lag {
			m.orphans[id] = true
		}
		if !leased[id] && !m.orphans[id] {
			fail(rt, "an app client is left without a lease: "+when, id)
		}
	}
}
