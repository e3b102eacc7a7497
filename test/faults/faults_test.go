// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// hangTimeout is how long the engine waits for a call that hangs.
const hangTimeout = 150 * time.Millisecond

// operation is what a request to the engine, or a tick, does.
type operation struct {
	name string
	// prepare creates what the operation needs.
	prepare func(e *env)
	// run makes the request. It is called once with a fault, and again after the repair: then it
	// must succeed.
	run func(e *env) error
	// hangTimeout is longer where the engine waits for AWS also without a fault.
	hangTimeout time.Duration
	// refused says that the request is refused also without a fault.
	refused bool
}

// fault is the one thing that fails in a cell of the matrix.
type fault struct {
	name string
	// cold says that the operation is the first of its process, which has nothing cached.
	cold bool
	// hangs says that a call does not end by itself.
	hangs bool
	// killsProcess says that the process dies.
	killsProcess bool
	inject       func(e *env)
	// happened reports whether the fault took effect; a cell without a fault proves nothing.
	happened func(e *env) bool
}

// TestFaults injects one fault into every call of every operation. After one injected fault and
// recovery: no orphaned user, every returned credential works, every lease can be revoked, no
// secret is logged.
func TestFaults(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // the SDK reads one for every mount
	for family, operations := range families() {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			calls := counters.Open(t, "Faults", family+" x AWS calls")
			storage := counters.Open(t, "Faults", family+" x storage calls")
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) {
					t.Parallel()
					op.try(t, calls, faultsAtAWS(op.learn(t, calls, false).callNames()))
					op.try(t, storage, faultsAtStorage(op.learn(t, storage, true).storage.Calls()))
				})
			}
		})
	}
}

func (o operation) start(t *testing.T, count *counters.Counter, cold bool) *env {
	t.Helper()
	e := newEnv(t, count)
	if o.prepare != nil {
		o.prepare(e)
	}
	if cold {
		e.newProcess()
	}
	require.NoError(t, e.Control.ResetCalls(t.Context()))
	e.storage.Repair()
	return e
}

// learn runs the operation without a fault, so that its calls are known.
func (o operation) learn(t *testing.T, count *counters.Counter, cold bool) *env {
	t.Helper()
	e := o.start(t, count, cold)
	err := o.run(e)
	require.Equal(t, o.refused, err != nil, "%v", err)
	return e
}

// try runs the operation once with each fault, and once without any.
func (o operation) try(t *testing.T, count *counters.Counter, faults []fault) {
	t.Helper()
	none := fault{name: "no fault", inject: func(*env) {}, happened: func(*env) bool { return true }}
	for _, f := range append(faults, none) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			e := o.start(t, count, f.cold)
			if f.hangs {
				e.setTimeout(max(hangTimeout, o.hangTimeout))
			}
			f.inject(e)
			_ = o.run(e)
			require.True(t, f.hangs || f.happened(e), "the fault did not happen")
			e.learnSecrets()
			e.repair(f)
			e.checkInvariants(o, f)
			count.Tried(1)
		})
	}
}

// repair ends the fault.
func (e *env) repair(f fault) {
	e.T.Helper()
	e.Heal()
	e.storage.Repair()
	if f.hangs {
		e.setTimeout(longTimeout)
	}
	if f.killsProcess {
		e.newProcess()
	}
	e.responsesLost = false
}

// checkInvariants checks them after the repair, after the next attempt, and after every lease has
// ended. A user whose response was lost with its process may live until its lease would have ended.
func (e *env) checkInvariants(o operation, f fault) {
	e.T.Helper()
	e.checkStaticsAtOnce()
	e.passWithTick(2 * time.Hour)
	e.passWithTick(10 * time.Minute)
	e.checkStatics()
	e.checkLibrary()
	e.checkRoot()
	if !f.killsProcess {
		e.checkNothingLeft()
	}
	err := o.run(e)
	require.Equal(e.T, o.refused, err != nil, "the next attempt, after the repair: %v", err)
	e.checkStatics()
	e.checkLibrary()
	if !f.killsProcess {
		e.checkNothingLeft()
	}
	e.checkLeases()
	if e.rotatesRoot { // a rotation deletes the old key at a later tick
		e.passWithTick(10 * time.Minute)
		e.checkRoot()
	}
	e.sealed(25 * time.Hour)
	e.passWithTick(10 * time.Minute)
	e.checkNothingLeft()
	e.checkLibrary()
	e.checkStorage()
	e.checkTexts()
}

// faultsAtAWS returns the faults of the calls to AWS: each call fails in every way, once or with
// all calls after it, or the process dies in it.
func faultsAtAWS(calls []string) []fault {
	var faults []fault
	for i, name := range calls {
		before := len(slices.DeleteFunc(slices.Clone(calls[:i]), func(earlier string) bool { return earlier != name }))
		at := fmt.Sprintf("call %d, %s, ", i+1, name)
		for _, mode := range failureModes(name) {
			faults = append(faults, faultsOfMode(at, name, before, i, mode)...)
		}
		for _, effect := range []bool{false, true} {
			faults = append(faults, fault{
				name: fmt.Sprintf("%skills the process, with its effect %t", at, effect), killsProcess: true,
				inject:   func(e *env) { e.dieAtCall(i+1, effect) },
				happened: func(e *env) bool { return len(e.callNames()) > i },
			})
		}
	}
	return faults
}

// faultsOfMode returns the faults of one call that fails in one way. Before it there are other
// calls, some of them of the same operation.
func faultsOfMode(at, name string, sameBefore, before int, mode failureMode) []fault {
	once, forGood := mode.fault, mode.fault
	once.Operation, once.Skip, once.Times = name, sameBefore, 1
	faults := []fault{{
		name: at + mode.name + ", once", hangs: mode.hangs,
		inject:   func(e *env) { e.Fault(once) },
		happened: func(e *env) bool { return len(e.Calls().Of(name)) > sameBefore },
	}}
	switch {
	case mode.outage:
		forGood.Operation, forGood.Skip = control.OperationAny, before
	case isLongRun():
		forGood.Operation, forGood.Skip = name, sameBefore
	default:
		return faults
	}
	return append(faults, fault{
		name: at + mode.name + ", for good", hangs: mode.hangs,
		inject:   func(e *env) { e.Fault(forGood) },
		happened: func(e *env) bool { return len(e.callNames()) > before },
	})
}

// faultsAtStorage returns the faults of the calls to storage: each fails once, with all after it,
// or after its effect; or the process dies before it, or before the response is sent.
func faultsAtStorage(calls []string) []fault {
	var faults []fault
	for i := range len(calls) + 1 {
		at, n := "the response", i+1
		happened := func(e *env) bool { return len(e.storage.Calls()) >= min(n, len(calls)) }
		if i < len(calls) {
			at = fmt.Sprintf("storage call %d, %s,", n, calls[i])
			faults = append(faults,
				fault{name: at + " fails once", cold: true, happened: happened, inject: func(e *env) { e.storage.Fail(backendtest.StorageFault{At: n}) }},
				fault{name: at + " fails for good", cold: true, happened: happened, inject: func(e *env) { e.storage.Fail(backendtest.StorageFault{At: n, ForGood: true}) }},
			)
			if strings.HasPrefix(calls[i], "put") || strings.HasPrefix(calls[i], "delete") {
				faults = append(faults, fault{name: at + " fails after its effect", cold: true, happened: happened,
					inject: func(e *env) { e.storage.Fail(backendtest.StorageFault{At: n, Afterwards: true}) }})
			}
		}
		faults = append(faults, fault{name: at + " is never reached by the process", cold: true, killsProcess: true, happened: happened, inject: func(e *env) { e.dieAtStorage(n) }})
	}
	return faults
}
