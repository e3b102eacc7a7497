// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// longest is more than any lease of a history can live.
const longest = 48 * time.Hour

// TestUsers checks the invariants of issued records with users: a living lease never loses its
// user, and nothing stays without a lease.
func TestUsers(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newUsers(rt)
		play(rt, map[string]func(*rapid.T){
			"":                m.checkLiving,
			"issue":           m.issue,
			"issue again":     m.issue,
			"renew":           m.renew,
			"renew again":     m.renew,
			"revoke":          m.revoke,
			"force-revoke":    m.forceRevoke,
			"pass":            m.passTime,
			"pass again":      m.passTime,
			"arm a crash":     m.armCrash,
			"seal":            m.seal,
			"reload":          m.reload,
			"downgrade":       m.downgrade,
			"disable":         m.disable,
			"take snapshot":   m.takeSnapshot,
			"restore":         m.restoreSnapshot,
			"tune":            m.tuneMount,
			"hide the TTLs":   m.hideTTLs,
			"change the role": m.changeRole,
			"set the clock":   m.setClock,
			"break AWS":       m.breakAWS,
			"repair":          m.repair,
		})
		m.finish()
	})
}

// users is the machine whose steps are those of a history.
type users struct {
	*core
	rt    *rapid.T
	roles map[string]map[string]any
	// orphans came to be without record when a snapshot was restored; tidy is for them.
	orphans map[string]bool
	// set is how far the clock was set in all, in both directions, and for how long the machine paused.
	set      time.Duration
	snapshot *snapshot
	// guessed says that the engine may have bounded a lease by more than the mount allows.
	guessed bool
}

// snapshot is one of Vault's storage.
type snapshot struct {
	entries map[string][]byte
	leases  map[int]lease
	users   map[string]bool
}

func newUsers(rt *rapid.T) *users {
	m := &users{core: newCore(newWorld(rt)), rt: rt, orphans: map[string]bool{}}
	m.mount()
	return m
}

// mount configures a new mount.
func (m *users) mount() {
	m.configure()
	m.roles = map[string]map[string]any{
		"deleting":  {"ttl": 3600, "max_ttl": 24 * 3600},
		"disabling": {"ttl": 600, "max_ttl": 0, "revocation": "disable"},
	}
	for name := range m.roles {
		m.writeRole(name)
	}
}

func (m *users) writeRole(name string) {
	role := map[string]any{
		"credential_type": "user", "user_pool_id": m.seed.UserPoolID,
		"app_client_id": m.seed.AppClientID, "app_client_secret": m.seed.AppClientSecret, "groups": "testers",
	}
	maps.Copy(role, m.roles[name])
	err := m.write("roles/"+name, role)
	if errors.Is(err, errDead) {
		err = m.write("roles/"+name, role)
	}
	m.must(err)
}

func (m *users) drawRole(rt *rapid.T) string {
	return rapid.SampledFrom([]string{"deleting", "disabling"}).Draw(rt, "role")
}

// drawLease draws a lease, or skips the step if there is none.
func (m *users) drawLease(rt *rapid.T) int {
	if len(m.leases) == 0 {
		rt.Skip("there is no lease")
	}
	return rapid.SampledFrom(m.ids()).Draw(rt, "lease")
}

func (m *users) issue(rt *rapid.T) {
	role := m.drawRole(rt)
	delay := rapid.SampledFrom([]time.Duration{0, 0, 0, 4*time.Minute + 50*time.Second}).Draw(rt, "delay")
	suspended := rapid.SampledFrom([]time.Duration{0, 0, 0, 50 * time.Second, 12 * time.Minute}).Draw(rt, "suspended")
	m.set += suspended
	heard := rapid.IntRange(0, 3).Draw(rt, "heard") > 0
	_ = m.core.issue(role, delay, suspended, heard) // it may fail
}

func (m *users) renew(rt *rapid.T) {
	increment := rapid.SampledFrom([]time.Duration{0, time.Minute, 5 * time.Hour, 100 * time.Hour}).Draw(rt, "increment")
	m.core.renew(m.leases[m.drawLease(rt)], increment)
}

func (m *users) revoke(rt *rapid.T) { m.core.revoke(m.drawLease(rt)) }

// forceRevoke drops a lease, whether its revocation succeeds or not.
func (m *users) forceRevoke(rt *rapid.T) {
	id := m.drawLease(rt)
	m.core.revoke(id)
	delete(m.leases, id)
}

func (m *users) passTime(rt *rapid.T) {
	times := []time.Duration{time.Minute, 3 * time.Minute, 15 * time.Minute, 70 * time.Minute, 7 * time.Hour}
	m.pass(rapid.SampledFrom(times).Draw(rt, "time"), time.Minute, func() { m.checkLiving(rt) })
}

func (m *users) armCrash(rt *rapid.T) {
	m.life.dieAt(rapid.IntRange(1, 14).Draw(rt, "call"), rapid.Bool().Draw(rt, "effect"))
}

func (m *users) seal(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	wait(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Minute, 2 * time.Hour, 30 * time.Hour}).Draw(rt, "time"))
	m.start()
	m.resume()
}

func (m *users) reload(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.start()
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
			most := time.Duration(m.roles[l.role]["max_ttl"].(int)) * time.Second
			older.renew(l, time.Duration(m.roles[l.role]["ttl"].(int))*time.Second, most, rapid.SampledFrom([]time.Duration{0, 9 * time.Hour}).Draw(rt, "increment"))
		}
	}
	m.start()
}

// disable unmounts the engine while a user is created, and mounts it again.
func (m *users) disable(rt *rapid.T) {
	m.heal()
	m.tick() // so that a process is alive
	if rapid.Bool().Draw(rt, "while issuing") {
		m.must(m.cognito.AddFault(control.Fault{Operation: rapid.SampledFrom([]string{"AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth"}).Draw(rt, "in"),
			Kind: rapid.SampledFrom([]string{control.FaultHang, control.FaultHangAfter}).Draw(rt, "hang"), Times: 1}))
		role := m.drawRole(rt)
		go func() { _, _ = m.request(&logical.Request{Operation: logical.ReadOperation, Path: "creds/" + role}) }()
		synctest.Wait()
	}
	m.system.TaintedVal = true
	_, _ = m.request(&logical.Request{Operation: logical.RollbackOperation})
	for _, id := range m.ids() {
		m.core.revoke(id)
	}
	if len(m.leases) > 0 {
		fail(rt, "leases of a disabled mount cannot be revoked", len(m.leases))
	}
	m.stop(false)
	m.must(logical.ClearView(context.Background(), m.storage))
	m.checkGone(rt, "the mount was disabled")
	m.system.TaintedVal, m.snapshot = false, nil
	m.start()
	m.mount()
}

func (m *users) takeSnapshot(*rapid.T) {
	m.snapshot = &snapshot{entries: map[string][]byte{}, leases: map[int]lease{}, users: m.users()}
	m.must(logical.ScanView(context.Background(), m.storage, func(key string) {
		entry, err := m.storage.Get(context.Background(), key)
		m.must(err)
		m.snapshot.entries[key] = entry.Value
	}))
	for id, l := range m.leases {
		m.snapshot.leases[id] = *l
	}
}

func (m *users) restoreSnapshot(rt *rapid.T) {
	if m.snapshot == nil {
		rt.Skip("there is no snapshot")
	}
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.must(logical.ClearView(context.Background(), m.storage))
	for key, value := range m.snapshot.entries {
		m.must(m.storage.Put(context.Background(), &logical.StorageEntry{Key: key, Value: value}))
	}
	present := m.users()
	for username := range present {
		_, had := m.snapshot.users[username]
		m.orphans[username] = m.orphans[username] || !had
	}
	m.leases = map[int]*lease{}
	for id, l := range m.snapshot.leases {
		l.stale = l.stale || !present[l.username]
		m.leases[id] = &l
	}
	m.start()
	m.resume()
}

func (m *users) tuneMount(rt *rapid.T) {
	ttl := rapid.SampledFrom([]time.Duration{10 * time.Minute, time.Hour, 5 * time.Hour}).Draw(rt, "default")
	m.tune(ttl, ttl*time.Duration(rapid.IntRange(1, 8).Draw(rt, "factor")))
}

func (m *users) hideTTLs(*rapid.T) {
	m.showTTLs(false)
	m.guessed = true
}

func (m *users) changeRole(rt *rapid.T) {
	name := m.drawRole(rt)
	if rapid.IntRange(0, 4).Draw(rt, "rewrite") == 0 { // as it is: a role that is gone has forgotten its max_ttl
		_, _ = m.request(&logical.Request{Operation: logical.DeleteOperation, Path: "roles/" + name})
		m.tick()
		m.writeRole(name)
		return
	}
	ttl := rapid.SampledFrom([]int{0, 120, 3600, 5 * 3600}).Draw(rt, "ttl")
	m.roles[name]["ttl"] = ttl
	m.roles[name]["max_ttl"] = ttl * rapid.IntRange(0, 6).Draw(rt, "factor")
	m.writeRole(name)
}

func (m *users) setClock(rt *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{-24 * time.Hour, -20 * time.Minute, 20 * time.Minute, 3 * time.Hour, 26 * time.Hour}).Draw(rt, "by")
	m.clockSet.add(by)
	m.set += by.Abs()
}

func (m *users) breakAWS(rt *rapid.T) {
	fault := control.Fault{
		Operation: rapid.SampledFrom([]string{control.OperationAny, "AdminCreateUser", "AdminInitiateAuth", "AdminGetUser", "AdminDeleteUser", "AdminDisableUser"}).Draw(rt, "operation"),
		Kind: rapid.SampledFrom([]string{control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter,
			control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody}).Draw(rt, "kind"),
		Times: rapid.IntRange(0, 2).Draw(rt, "times"),
	}
	switch fault.Kind {
	case control.FaultErrorAfter: // no refusal comes after the effect
		fault.Code = "InternalErrorException"
	case control.FaultError:
		fault.Code = rapid.SampledFrom([]string{"InternalErrorException", "TooManyRequestsException", "AccessDeniedException"}).Draw(rt, "code")
	}
	m.must(m.cognito.AddFault(fault))
}

func (m *users) repair(*rapid.T) { m.heal() }

func (m *users) heal() {
	m.cognito.ClearFaults()
	m.showTTLs(true)
	m.life.dieAt(0, false)
}

// checkLiving requires each living lease to have its user.
func (m *users) checkLiving(rt *rapid.T) {
	users := m.users()
	for _, id := range m.ids() {
		l := m.leases[id]
		if enabled, exists := users[l.username]; m.isLiving(l) && (!exists || !enabled) {
			fail(rt, "a user is gone whose lease is alive", l.username, "of role", l.role, "lease", id, "lives for another", l.timer-m.elapsed())
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

// finish lets every lease end while all is well: nothing may be left then.
func (m *users) finish() {
	m.heal()
	m.pass(30*time.Minute, time.Minute, func() { m.checkLiving(m.rt) })
	if m.guessed {
		m.stop(false)
		wait(768 * time.Hour)
		m.start()
		m.resume()
	}
	m.pass(longest+m.set+26*time.Hour, 4*time.Minute, func() {})
	if len(m.leases) > 0 {
		fail(m.rt, "leases never ended", m.ids())
	}
	m.checkGone(m.rt, "everything has ended")
	keys, err := logical.CollectKeysWithPrefix(context.Background(), m.storage, "issued/")
	m.must(err)
	if len(keys) > 0 {
		fail(m.rt, "records are left", slices.Sorted(slices.Values(keys)))
	}
	m.stop(false)
}
