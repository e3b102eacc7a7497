// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"pgregory.net/rapid"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	staticSignInsMax   = 2
	staticSignInWindow = 15 * time.Minute
)

// TestStaticRoles checks the invariants of static roles: what static-creds returns is what Cognito
// accepts, no foreign secret is touched, no user is locked out, and schedules are kept.
func TestStaticRoles(t *testing.T) {
	check(t, func(rt *rapid.T) {
		m := newStatics(rt)
		play(rt, map[string]func(*rapid.T){
			"":                     m.checkAll,
			"write":                m.writeRole,
			"write unchanged":      m.writeUnchanged,
			"read":                 m.read,
			"read again":           m.read,
			"rotate":               m.rotate,
			"rotate again":         m.rotate,
			"delete":               m.delete,
			"reset a password":     m.resetPassword,
			"tell Vault":           m.tellVault,
			"add a foreign secret": m.addForeignSecret,
			"delete a secret":      m.deleteAnySecret,
			"pass":                 m.passTime,
			"pass again":           m.passTime,
			"break AWS":            m.breakAWS,
			"break AWS again":      m.breakAWS,
			"deny":                 m.deny,
			"repair":               m.repair,
			"arm a crash":          m.armCrash,
			"seal":                 m.seal,
			"reload":               m.reload,
			"set the clock":        m.setClock,
		})
		m.finish()
	})
}

// statics is the machine whose steps are those of a history.
type statics struct {
	*staticEnv
	rt *rapid.T
}

func newStatics(rt *rapid.T) *statics {
	m := &statics{newStaticEnv(newWorld(rt)), rt}
	for _, o := range m.owned {
		m.create(o)
	}
	return m
}

// create writes a role that does not exist. An administrator hands over what it is to own.
func (m *statics) create(o *staticOwned) {
	if o.isSecret() {
		m.leaveOneSecret(o)
	}
	fields := maps.Clone(o.fields)
	o.written = ""
	if o.isSelfManaged() {
		o.written = m.newPassword()
		if m.setPassword(o, o.written) != nil {
			return
		}
		fields["password"] = o.written
	}
	_ = m.write("static-roles/"+o.name, fields) // it may fail
	o.disturbed = false
}

// leaveOneSecret makes room for Vault's secret.
func (m *statics) leaveOneSecret(o *staticOwned) {
	secrets := m.secrets(o)
	for _, secret := range secrets[1:] {
		m.deleteSecret(o, secret.ID)
	}
	for _, secret := range m.secrets(o) {
		delete(m.foreign, secret.ID)
	}
}

func (m *statics) draw(rt *rapid.T) *staticOwned {
	return rapid.SampledFrom(m.owned).Draw(rt, "role")
}

func (m *statics) drawSecret(rt *rapid.T) *staticOwned {
	return rapid.SampledFrom(slices.DeleteFunc(slices.Clone(m.owned), func(o *staticOwned) bool { return !o.isSecret() })).Draw(rt, "role")
}

func (m *statics) drawPassword(rt *rapid.T) *staticOwned {
	return rapid.SampledFrom(slices.DeleteFunc(slices.Clone(m.owned), (*staticOwned).isSecret)).Draw(rt, "role")
}

func (m *statics) writeRole(rt *rapid.T) {
	o := m.draw(rt)
	if m.stored(o) == nil {
		m.create(o)
		return
	}
	if !o.hasWindow() {
		o.fields["rotation_period"] = rapid.SampledFrom([]int{3600, 5400}).Draw(rt, "period")
	}
	_ = m.write("static-roles/"+o.name, o.fields)
}

// writeUnchanged repeats the last write, as Terraform does.
func (m *statics) writeUnchanged(rt *rapid.T) {
	o := m.draw(rt)
	before := m.stored(o)
	if before == nil {
		rt.Skip("there is no role")
	}
	fields := maps.Clone(o.fields)
	if o.written != "" {
		fields["password"] = o.written
	}
	if m.write("static-roles/"+o.name, o.fields) != nil {
		return // a field that an earlier write changed may still be news
	}
	before = m.stored(o)
	err := m.write("static-roles/"+o.name, fields)
	if after := m.stored(o); err == nil && !before.isInDoubt() && !reflect.DeepEqual(before, after) {
		fail(rt, "writing role "+o.name+" again unchanged changed it", "from", before, "to", after)
	}
}

// read requires that what is returned is accepted, or that the read says that it is in doubt.
func (m *statics) read(rt *rapid.T) {
	o := m.draw(rt)
	signIns := m.wrongSignIns(o)
	response, err := m.request(&logical.Request{Operation: logical.ReadOperation, Path: "static-creds/" + o.name})
	if err != nil {
		return
	}
	value, _ := response.Data["password"].(string)
	if o.isSecret() {
		value, _ = response.Data["app_client_secret"].(string)
	}
	doubt, _ := response.Data["in_doubt"].(bool)
	if !doubt && !o.disturbed && !m.accepts(o, value) {
		fail(rt, "static-creds/"+o.name+" returned a value that Cognito does not accept", m.stored(o))
	}
	if doubt && len(m.wrongSignIns(o)) != len(signIns) {
		fail(rt, "a read of static-creds/"+o.name+" signed in with a password in doubt")
	}
	if ttl := response.Data["ttl"].(int64); ttl < 1 {
		fail(rt, "static-creds/"+o.name+" has a ttl below 1", ttl)
	}
	if _, hasToken := response.Data["access_token"]; hasToken && !doubt && m.stored(o).State == "setting" {
		fail(rt, "a read of static-creds/"+o.name+" signed in while the password is in doubt")
	}
}

func (m *statics) rotate(rt *rapid.T) {
	o := m.draw(rt)
	before := m.stored(o)
	_, err := m.request(&logical.Request{Operation: logical.UpdateOperation, Path: "rotate-role/" + o.name})
	after := m.stored(o)
	if err == nil && before != nil && after.Value == before.Value {
		fail(rt, "rotate-role/"+o.name+" succeeded and the value is the same")
	}
	o.before = after // a rotation on demand keeps to no schedule
}

// delete is refused while only Vault knows which password is in force.
func (m *statics) delete(rt *rapid.T) {
	o := m.draw(rt)
	before := m.stored(o)
	_, err := m.request(&logical.Request{Operation: logical.DeleteOperation, Path: "static-roles/" + o.name})
	if err == nil && before != nil && before.State == "setting" && !o.isSecret() {
		fail(rt, "static role "+o.name+" was deleted while its password was in doubt")
	}
}

func (m *statics) resetPassword(rt *rapid.T) {
	o := m.drawPassword(rt)
	password := m.newPassword()
	_ = m.setPassword(o, password)
	o.disturbed = o.disturbed || m.accepts(o, password)
}

// tellVault writes the present password, which an administrator sets before.
func (m *statics) tellVault(rt *rapid.T) {
	o := m.drawPassword(rt)
	if m.stored(o) == nil {
		rt.Skip("there is no role")
	}
	password := m.newPassword()
	_ = m.setPassword(o, password)
	if !m.accepts(o, password) {
		return
	}
	o.disturbed = true
	fields := maps.Clone(o.fields)
	fields["password"] = password
	err := m.write("static-roles/"+o.name, fields)
	if err == nil || m.stored(o).Value == password { // it may have been stored although the answer was lost
		o.written, o.disturbed = password, false
	}
	o.before = nil
}

func (m *statics) addForeignSecret(rt *rapid.T) { m.addForeign(m.drawSecret(rt)) }

func (m *statics) deleteAnySecret(rt *rapid.T) {
	o := m.drawSecret(rt)
	m.deleteSecret(o, rapid.SampledFrom(m.secrets(o)).Draw(rt, "secret").ID)
}

func (m *statics) passTime(rt *rapid.T) {
	times := []time.Duration{time.Minute, 5 * time.Minute, 16 * time.Minute, 70 * time.Minute, 7 * time.Hour}
	m.pass(rt, rapid.SampledFrom(times).Draw(rt, "time"), time.Minute)
}

// pass lets time pass, with ticks at a distance.
func (m *statics) pass(rt *rapid.T, d, distance time.Duration) {
	for ; d > 0; d -= distance {
		wait(min(d, distance))
		began := time.Now()
		m.tick()
		if took := time.Since(began); took > 90*time.Second {
			fail(rt, "a tick took more than 90 seconds", took)
		}
		m.checkAll(rt)
	}
}

func (m *statics) breakAWS(rt *rapid.T) {
	fault := control.Fault{
		Operation: rapid.SampledFrom([]string{
			control.OperationAny, "AdminSetUserPassword", "AdminInitiateAuth", "InitiateAuth", "ChangePassword", "AdminUserGlobalSignOut", "AdminGetUser",
			"DescribeUserPoolClient", "AddUserPoolClientSecret", "DeleteUserPoolClientSecret", "ListUserPoolClientSecrets", control.OperationToken,
		}).Draw(rt, "operation"),
		Kind: rapid.SampledFrom([]string{
			control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter, control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody,
		}).Draw(rt, "kind"),
		Times: rapid.IntRange(0, 3).Draw(rt, "times"),
	}
	switch fault.Kind {
	case control.FaultErrorAfter: // no refusal comes after the effect
		fault.Code = "InternalErrorException"
	case control.FaultError:
		fault.Code = rapid.SampledFrom([]string{
			"InternalErrorException", "TooManyRequestsException", "AccessDeniedException", "InvalidParameterException",
		}).Draw(rt, "code")
		if fault.Operation == control.OperationToken {
			fault.Code = "invalid_client"
		}
	}
	m.must(m.cognito.AddFault(fault))
}

func (m *statics) deny(rt *rapid.T) {
	action := rapid.SampledFrom([]string{
		"AdminSetUserPassword", "AdminInitiateAuth", "AdminUserGlobalSignOut", "AdminGetUser", "AddUserPoolClientSecret", "DeleteUserPoolClientSecret",
	}).Draw(rt, "action")
	m.cognito.SetIAM(control.IAM{DeniedActions: []string{"cognito-idp:" + action}})
}

func (m *statics) repair(*rapid.T) { m.heal() }

func (m *statics) armCrash(rt *rapid.T) {
	m.life.dieAt(rapid.IntRange(1, 12).Draw(rt, "call"), rapid.Bool().Draw(rt, "effect"))
}

func (m *statics) seal(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	wait(rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Minute, 30 * time.Hour}).Draw(rt, "time"))
	m.start()
}

func (m *statics) reload(rt *rapid.T) {
	m.stop(rapid.Bool().Draw(rt, "kill"))
	m.start()
}

func (m *statics) setClock(rt *rapid.T) {
	by := rapid.SampledFrom([]time.Duration{-30 * time.Hour, -20 * time.Minute, 20 * time.Minute, 26 * time.Hour}).Draw(rt, "by")
	m.clockSet.add(by)
	if by > 0 {
		m.forward = time.Now()
	}
	for _, o := range m.owned {
		o.before = nil
	}
}

// checkAll checks what must be true between any two steps, also after a crash.
func (m *statics) checkAll(rt *rapid.T) {
	for _, o := range m.owned {
		stored := m.stored(o)
		if stored != nil {
			m.checkValue(rt, o, stored)
			m.checkSchedule(rt, o, stored)
		}
		o.before = stored
		m.checkSignIns(rt, o)
		m.checkForeign(rt, o, stored)
	}
}

// checkValue requires a value that is not in doubt to be accepted.
func (m *statics) checkValue(rt *rapid.T, o *staticOwned, stored *staticStored) {
	if stored.Value == "" || stored.isInDoubt() && !o.isSecret() {
		return
	}
	accepted := m.accepts(o, stored.Value)
	o.disturbed = o.disturbed && !accepted
	if !accepted && !o.disturbed {
		fail(rt, "Cognito does not accept the value of role "+o.name, stored)
	}
}

// checkSchedule requires a rotation to begin when it is due, and within the window.
func (m *statics) checkSchedule(rt *rapid.T, o *staticOwned, stored *staticStored) {
	before := o.before
	if before == nil || before.State != "idle" || stored.LastRotation.Equal(before.LastRotation) {
		return
	}
	if stored.LastRotation.Before(before.NextRotation) {
		fail(rt, "role "+o.name+" was rotated before it was due", "at", stored.LastRotation, "due at", before.NextRotation)
	}
	if o.hasWindow() && stored.LastRotation.UTC().Hour()%6 != 0 {
		fail(rt, "role "+o.name+" was rotated outside of its window", stored.LastRotation.UTC())
	}
}

func (m *statics) wrongSignIns(o *staticOwned) []time.Time {
	for _, user := range m.cognito.Users(o.pool) {
		if user.Username == o.user {
			return user.WrongSignIns
		}
	}
	return nil
}

// checkSignIns allows two wrong sign-ins within a quarter of an hour, unless the clock by which the
// engine counts was set forward meanwhile.
func (m *statics) checkSignIns(rt *rapid.T, o *staticOwned) {
	wrong := m.wrongSignIns(o)
	for i := staticSignInsMax; i < len(wrong); i++ {
		first := wrong[i-staticSignInsMax]
		if wrong[i].Sub(first) < staticSignInWindow && !m.forward.After(first.Add(-time.Second)) {
			fail(rt, "the user of role "+o.name+" was signed in too often with a wrong password", wrong[i-staticSignInsMax:i+1])
		}
	}
}

// checkForeign requires that foreign secrets exist and that Vault does not take them for its own.
func (m *statics) checkForeign(rt *rapid.T, o *staticOwned, stored *staticStored) {
	if !o.isSecret() {
		return
	}
	exist := map[string]bool{}
	for _, client := range m.cognito.AppClients(o.pool) {
		for _, secret := range client.Secrets {
			exist[secret.ID] = true
		}
	}
	for id := range m.foreign {
		if !exist[id] {
			fail(rt, "a foreign secret was deleted", id)
		}
		if stored != nil && (stored.SecretID == id || stored.PreviousID == id || stored.Pending != nil && stored.Pending.ID == id) {
			fail(rt, "role "+o.name+" takes a foreign secret for its own", id, stored)
		}
	}
}

// finish lets all faults end. What is in doubt must be settled by two ticks after sign-ins are
// allowed again; after a day every role rotates as scheduled.
func (m *statics) finish() {
	m.heal()
	m.pass(m.rt, staticSignInWindow+3*time.Minute, time.Minute)
	for _, o := range m.owned {
		if stored := m.stored(o); stored != nil && !o.isSecret() && stored.State == "setting" {
			fail(m.rt, "the password of role "+o.name+" is still in doubt", stored)
		}
	}
	m.pass(m.rt, 8*time.Hour, 5*time.Minute)
	rotated := map[string]time.Time{}
	for _, o := range m.owned {
		if m.mustRotate(o) {
			rotated[o.name] = m.checkEqual(o).LastRotation
		}
	}
	m.pass(m.rt, 8*time.Hour, 5*time.Minute)
	for _, o := range m.owned {
		if last, found := rotated[o.name]; found && !m.checkEqual(o).LastRotation.After(last) {
			fail(m.rt, "role "+o.name+" is not rotated any more", "since", last)
		}
	}
	m.stop(false)
}

// mustRotate reports whether nothing keeps a role from rotating: no foreign secret that takes the
// place of the next one, and no password that only an administrator knows.
func (m *statics) mustRotate(o *staticOwned) bool {
	stored := m.stored(o)
	if stored == nil || o.isSelfManaged() && o.disturbed {
		return false
	}
	for _, secret := range m.secrets(o) {
		if secret.ID != stored.SecretID && secret.ID != stored.PreviousID {
			return false
		}
	}
	return true
}

// checkEqual requires both ends to have the same value.
func (m *statics) checkEqual(o *staticOwned) *staticStored {
	stored := m.stored(o)
	if stored.State != "idle" || stored.LastError != "" || !m.accepts(o, stored.Value) {
		fail(m.rt, "role "+o.name+" has not recovered", stored)
	}
	return stored
}
