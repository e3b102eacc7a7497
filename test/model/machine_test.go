// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing/synctest"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// longest is more than any lease of a history can live.
const longest = 48 * time.Hour

// subject is what the leases of a history are of.
type subject interface {
	// roles returns the fields of each role, but for ttl and max_ttl.
	roles() map[string]map[string]any
	// mounted is called when a new mount has its roles.
	mounted()
	// issuance is the request for credentials of a role, and answered gets the response.
	issuance(rt *rapid.T, role string) *logical.Request
	answered(rt *rapid.T, response *logical.Response)
	// creating are the operations of AWS that issue an object, and breakable those that may fail.
	creating() []string
	breakable() []string
	// takeSnapshot and restoreSnapshot are called when storage is copied and was replaced.
	takeSnapshot()
	restoreSnapshot()
	// checkLiving requires each living lease to have its object, and checkGone that no other object
	// is left.
	checkLiving(rt *rapid.T)
	checkGone(rt *rapid.T, when string)
}

// machine has the steps of histories that all subjects share.
type machine struct {
	*core
	rt      *rapid.T
	subject subject
	// times are the TTLs of each role.
	times map[string]ttls
	// set is how far the clock was set in all, in both directions, and for how long the machine
	// paused.
	set      time.Duration
	snapshot *snapshot
	// guessed says that the engine may have bounded a lease by more than the mount allows.
	guessed bool
	// isBroken says that calls to AWS may fail, also those of the model.
	isBroken bool
	// refusals are the error codes with which AWS may refuse calls.
	refusals []string
}

// ttls are those of a role, in seconds.
type ttls struct{ ttl, most int }

// snapshot is one of Vault's storage.
type snapshot struct {
	entries map[string][]byte
	leases  map[int]lease
}

func newMachine(rt *rapid.T) *machine {
	return &machine{
		core: newCore(newWorld(rt)), rt: rt,
		refusals: []string{"InternalErrorException", "TooManyRequestsException", "AccessDeniedException"},
	}
}

// mounted, issuance and answered are those of most subjects.
func (m *machine) mounted() {}

func (m *machine) issuance(_ *rapid.T, role string) *logical.Request {
	return &logical.Request{Operation: logical.ReadOperation, Path: "creds/" + role}
}

func (m *machine) answered(*rapid.T, *logical.Response) {}

// steps are those of a history.
func (m *machine) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"":                m.subject.checkLiving,
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
		"disable":         m.disable,
		"take snapshot":   m.takeSnapshot,
		"restore":         m.restoreSnapshot,
		"tune":            m.tuneMount,
		"hide the TTLs":   m.hideTTLs,
		"change the role": m.changeRole,
		"set the clock":   m.setClock,
		"break AWS":       m.breakAWS,
		"repair":          m.repair,
	}
}

// mount configures a new mount for a subject.
func (m *machine) mount() {
	m.configure()
	m.times = map[string]ttls{}
	for i, name := range m.roleNames() {
		m.times[name] = []ttls{{3600, 24 * 3600}, {600, 0}}[i%2]
		m.writeRole(name)
	}
	m.subject.mounted()
}

func (m *machine) roleNames() []string { return slices.Sorted(maps.Keys(m.subject.roles())) }

func (m *machine) writeRole(name string) {
	role := map[string]any{"user_pool_id": m.seed.UserPoolID, "ttl": m.times[name].ttl, "max_ttl": m.times[name].most}
	maps.Copy(role, m.subject.roles()[name])
	err := m.write("roles/"+name, role)
	if errors.Is(err, errDead) {
		err = m.write("roles/"+name, role)
	}
	m.must(err)
}

func (m *machine) drawRole(rt *rapid.T) string {
	return rapid.SampledFrom(m.roleNames()).Draw(rt, "role")
}

// drawLease draws a lease, or skips the step if there is none.
func (m *machine) drawLease(rt *rapid.T) int {
	if len(m.leases) == 0 {
		rt.Skip("there is no lease")
	}
	return rapid.SampledFrom(m.ids()).Draw(rt, "lease")
}

func (m *machine) issue(rt *rapid.T) {
	role := m.drawRole(rt)
	delay := rapid.SampledFrom([]time.Duration{0, 0, 0, 4*time.Minute + 50*time.Second}).Draw(rt, "delay")
	suspended := rapid.SampledFrom([]time.Duration{0, 0, 0, 50 * time.Second, 12 * time.Minute}).Draw(rt, "suspended")
	m.set += suspended
	heard := rapid.IntRange(0, 3).Draw(rt, "heard") > 0
	response, err := m.core.issue(m.subject.issuance(rt, role), role, delay, suspended, heard)
	if err == nil { // it may fail
		m.subject.answered(rt, response)
	}
}

func (m *machine) renew(rt *rapid.T) {
	increment := rapid.SampledFrom([]time.Duration{0, time.Minute, 5 * time.Hour, 100 * time.Hour}).Draw(rt, "increment")
	m.core.renew(m.leases[m.drawLease(rt)], increment)
}

func (m *machine) revoke(rt *rapid.T) { m.core.revoke(m.drawLease(rt)) }

// forceRevoke drops a lease, whether its revocation succeeds or not.
func (m *machine) forceRevoke(rt *rapid.T) {
	id := m.drawLease(rt)
	m.core.revoke(id)
	delete(m.leases, id)
}

func (m *machine) passTime(rt *rapid.T) {
	times := []time.Duration{time.Minute, 3 * time.Minute, 15 * time.Minute, 70 * time.Minute, 7 * time.Hour}
	m.pass(rapid.SampledFrom(times).Draw(rt, "time"), time.Minute, func() { m.subject.checkLiving(rt) })
}

func (m *machine) armCrash(rt *rapid.T) {
	m.life.dieAt(rapid.IntRange(1, 14).Draw(rt, "call"), rapid.Bool().Draw(rt, "effect"))
}

func (m *machine) seal(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	wait(rapid.SampledFrom([]time.Duration{time.Second, 3 * time.Minute, 2 * time.Hour, 30 * time.Hour}).Draw(rt, "time"))
	m.start()
	m.resume()
}

func (m *machine) reload(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.start()
}

// disable unmounts the engine while an object is created, and mounts it again.
func (m *machine) disable(rt *rapid.T) {
	m.heal()
	m.tick() // so that a process is alive
	if rapid.Bool().Draw(rt, "while issuing") {
		m.must(m.cognito.AddFault(control.Fault{Operation: rapid.SampledFrom(m.subject.creating()).Draw(rt, "in"),
			Kind: rapid.SampledFrom([]string{control.FaultHang, control.FaultHangAfter}).Draw(rt, "hang"), Times: 1}))
		request := m.subject.issuance(rt, m.drawRole(rt))
		go func() { _, _ = m.request(request) }()
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
	m.subject.checkGone(rt, "the mount was disabled")
	m.system.TaintedVal, m.snapshot = false, nil
	m.start()
	m.mount()
}

func (m *machine) takeSnapshot(*rapid.T) {
	m.snapshot = &snapshot{entries: map[string][]byte{}, leases: map[int]lease{}}
	m.must(logical.ScanView(context.Background(), m.storage, func(key string) {
		entry, err := m.storage.Get(context.Background(), key)
		m.must(err)
		m.snapshot.entries[key] = entry.Value
	}))
	for id, l := range m.leases {
		m.snapshot.leases[id] = *l
	}
	m.subject.takeSnapshot()
}

func (m *machine) restoreSnapshot(rt *rapid.T) {
	if m.snapshot == nil {
		rt.Skip("there is no snapshot")
	}
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.must(logical.ClearView(context.Background(), m.storage))
	for key, value := range m.snapshot.entries {
		m.must(m.storage.Put(context.Background(), &logical.StorageEntry{Key: key, Value: value}))
	}
	m.leases = map[int]*lease{}
	for id, l := range m.snapshot.leases {
		m.leases[id] = &l
	}
	m.subject.restoreSnapshot()
	m.start()
	m.resume()
}

func (m *machine) tuneMount(rt *rapid.T) {
	ttl := rapid.SampledFrom([]time.Duration{10 * time.Minute, time.Hour, 5 * time.Hour}).Draw(rt, "default")
	m.tune(ttl, ttl*time.Duration(rapid.IntRange(1, 8).Draw(rt, "factor")))
}

func (m *machine) hideTTLs(*rapid.T) {
	m.showTTLs(false)
	m.guessed = true
}

func (m *machine) changeRole(rt *rapid.T) {
	name := m.drawRole(rt)
	if rapid.IntRange(0, 4).Draw(rt, "rewrite") == 0 { // as it is: a role that is gone has forgotten its max_ttl
		_, _ = m.request(&logical.Request{Operation: logical.DeleteOperation, Path: "roles/" + name})
		m.tick()
		m.writeRole(name)
		return
	}
	ttl := rapid.SampledFrom([]int{0, 120, 3600, 5 * 3600}).Draw(rt, "ttl")
	m.times[name] = ttls{ttl, ttl * rapid.IntRange(0, 6).Draw(rt, "factor")}
	m.writeRole(name)
}

func (m *machine) setClock(rt *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{-24 * time.Hour, -20 * time.Minute, 20 * time.Minute, 3 * time.Hour, 26 * time.Hour}).Draw(rt, "by")
	m.clockSet.add(by)
	m.set += by.Abs()
}

func (m *machine) breakAWS(rt *rapid.T) {
	m.isBroken = true
	fault := control.Fault{
		Operation: rapid.SampledFrom(append([]string{control.OperationAny}, m.subject.breakable()...)).Draw(rt, "operation"),
		Kind: rapid.SampledFrom([]string{control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter,
			control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody}).Draw(rt, "kind"),
		Times: rapid.IntRange(0, 2).Draw(rt, "times"),
	}
	switch fault.Kind {
	case control.FaultErrorAfter: // no refusal comes after the effect
		fault.Code = "InternalErrorException"
	case control.FaultError:
		fault.Code = rapid.SampledFrom(m.refusals).Draw(rt, "code")
	}
	m.must(m.cognito.AddFault(fault))
}

func (m *machine) repair(*rapid.T) { m.heal() }

func (m *machine) heal() {
	m.cognito.ClearFaults()
	m.isBroken = false
	m.showTTLs(true)
	m.life.dieAt(0, false)
}

// finish lets every lease end while all is well: nothing may be left then.
func (m *machine) finish() {
	m.endLeases()
	m.subject.checkGone(m.rt, "everything has ended")
	m.checkRecords()
	m.stop(false)
}

// endLeases lets every lease end while all is well.
func (m *machine) endLeases() {
	m.heal()
	m.pass(30*time.Minute, time.Minute, func() { m.subject.checkLiving(m.rt) })
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
}

// checkRecords requires that no record is left.
func (m *machine) checkRecords() {
	keys, err := logical.CollectKeysWithPrefix(context.Background(), m.storage, "issued/")
	m.must(err)
	if len(keys) > 0 {
		fail(m.rt, "records are left", slices.Sorted(slices.Values(keys)))
	}
}
