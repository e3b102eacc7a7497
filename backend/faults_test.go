// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/tally"
)

// impatience is how long the engine waits for a call that hangs.
const impatience = 150 * time.Millisecond

// operation is something that the engine does at the word of a user or of
// Vault itself.
type operation struct {
	name string
	// prepare makes what the operation needs.
	prepare func(s *scene)
	// run carries it out. It is called once while something goes wrong, and
	// again when all is well: then it has to succeed.
	run func(s *scene) error
	// impatience is longer where the engine waits for AWS also when all is well again.
	impatience time.Duration
	// refused says that even without a mishap the answer is no.
	refused bool
}

// mishap is the one thing that goes wrong in a try.
type mishap struct {
	name string
	// cold operations are the first of their process, which remembers nothing.
	cold bool
	// hangs is a mishap that the engine has to lose its patience with.
	hangs bool
	// deadly is the end of the process.
	deadly bool
	arm    func(s *scene)
	// met tells whether it came to pass; one that did not proves nothing.
	met func(s *scene) bool
}

// TestFaults lets every call that the engine makes, to AWS or to the storage,
// go wrong in every way, in every operation. Whatever comes of it: when all is
// well again nobody is left in a pool who was not handed out, what is handed
// out serves, leases end, and nothing has shown a secret. Which calls there are
// is learnt from the operation itself.
func TestFaults(t *testing.T) {
	t.Setenv("AWS_CA_BUNDLE", "") // the SDK reads one for every mount
	for family, operations := range families() {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			calls := tally.Open(t, "Faults", family+" x AWS calls")
			storage := tally.Open(t, "Faults", family+" x storage calls")
			for _, op := range operations {
				t.Run(op.name, func(t *testing.T) {
					t.Parallel()
					op.try(t, calls, mishapsAtAWS(op.learn(t, calls, false).callNames()))
					op.try(t, storage, mishapsAtStorage(op.learn(t, storage, true).storage.Calls()))
				})
			}
		})
	}
}

func (o operation) start(t *testing.T, count *tally.Count, cold bool) *scene {
	t.Helper()
	s := newScene(t, count)
	if o.prepare != nil {
		o.prepare(s)
	}
	if cold {
		s.newProcess()
	}
	require.NoError(t, s.Control.ResetCalls(t.Context()))
	s.storage.Repair()
	return s
}

// learn runs the operation while all is well, so that its calls are known.
func (o operation) learn(t *testing.T, count *tally.Count, cold bool) *scene {
	t.Helper()
	s := o.start(t, count, cold)
	err := o.run(s)
	require.Equal(t, o.refused, err != nil, "%v", err)
	return s
}

// try tries the operation once with each mishap, and once without any.
func (o operation) try(t *testing.T, count *tally.Count, mishaps []mishap) {
	t.Helper()
	none := mishap{name: "nothing goes wrong", arm: func(*scene) {}, met: func(*scene) bool { return true }}
	for _, m := range append(mishaps, none) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := o.start(t, count, m.cold)
			if m.hangs {
				s.setPatience(max(impatience, o.impatience))
			}
			m.arm(s)
			_ = o.run(s)
			require.True(t, m.hangs || m.met(s), "the mishap did not come to pass")
			s.learnSecrets()
			s.mendAll(m)
			s.judge(o, m)
			count.Tried(1)
		})
	}
}

// mendAll makes all well again.
func (s *scene) mendAll(m mishap) {
	s.T.Helper()
	s.Heal()
	s.storage.Repair()
	if m.hangs {
		s.setPatience(patience)
	}
	if m.deadly {
		s.newProcess()
	}
	s.answersLost = false
}

// judge asks whether anything was lost. Users whose answer died with its
// process may live until their lease would have ended.
func (s *scene) judge(o operation, m mishap) {
	s.T.Helper()
	s.judgeStaticsAtOnce()
	s.timePasses(2 * time.Hour)
	s.timePasses(10 * time.Minute)
	s.judgeStatics()
	s.judgeRoot()
	if !m.deadly {
		s.judgeUsers()
	}
	err := o.run(s)
	require.Equal(s.T, o.refused, err != nil, "the next try, when all is well: %v", err)
	s.judgeStatics()
	s.judgeRoot()
	if !m.deadly {
		s.judgeUsers()
	}
	s.judgeLeases()
	s.timePasses(25 * time.Hour)
	s.judgeUsers()
	s.judgeStorage()
	s.judgeTexts()
}

// mishapsAtAWS are what can befall the calls of an operation: one of them, or
// all from one on, in every shape; or the death of the process.
func mishapsAtAWS(calls []string) []mishap {
	var mishaps []mishap
	for i, name := range calls {
		before := len(slices.DeleteFunc(slices.Clone(calls[:i]), func(earlier string) bool { return earlier != name }))
		at := fmt.Sprintf("call %d, %s, ", i+1, name)
		for _, shape := range shapesOf(name) {
			mishaps = append(mishaps, mishapsOfShape(at, name, before, i, shape)...)
		}
		for _, effect := range []bool{false, true} {
			mishaps = append(mishaps, mishap{
				name: fmt.Sprintf("%skills the process, with its effect %t", at, effect), deadly: true,
				arm: func(s *scene) { s.dieAtCall(i+1, effect) },
				met: func(s *scene) bool { return len(s.callNames()) > i },
			})
		}
	}
	return mishaps
}

// mishapsOfShape are one shape at one call, which is the one after some others,
// and so many of its own operation.
func mishapsOfShape(at, name string, sameBefore, before int, shape shape) []mishap {
	once, forGood := shape.fault, shape.fault
	once.Operation, once.Skip, once.Times = name, sameBefore, 1
	mishaps := []mishap{{
		name: at + shape.name + ", once", hangs: shape.hangs,
		arm: func(s *scene) { s.Fault(once) },
		met: func(s *scene) bool { return len(s.Calls().Of(name)) > sameBefore },
	}}
	switch {
	case shape.outage:
		forGood.Operation, forGood.Skip = control.OperationAny, before
	case isLongRun():
		forGood.Operation, forGood.Skip = name, sameBefore
	default:
		return mishaps
	}
	return append(mishaps, mishap{
		name: at + shape.name + ", for good", hangs: shape.hangs,
		arm: func(s *scene) { s.Fault(forGood) },
		met: func(s *scene) bool { return len(s.callNames()) > before },
	})
}

// mishapsAtStorage are the failures of one call to the storage, of all from
// one on, of a write that took effect, and the death of the process before it
// and before its answer is heard.
func mishapsAtStorage(calls []string) []mishap {
	var mishaps []mishap
	for i := range len(calls) + 1 {
		at, n := "the answer", i+1
		met := func(s *scene) bool { return len(s.storage.Calls()) >= min(n, len(calls)) }
		if i < len(calls) {
			at = fmt.Sprintf("storage call %d, %s,", n, calls[i])
			mishaps = append(mishaps,
				mishap{name: at + " fails once", cold: true, met: met, arm: func(s *scene) { s.storage.Fail(backendtest.StorageFault{At: n}) }},
				mishap{name: at + " fails for good", cold: true, met: met, arm: func(s *scene) { s.storage.Fail(backendtest.StorageFault{At: n, ForGood: true}) }},
			)
			if strings.HasPrefix(calls[i], "put") || strings.HasPrefix(calls[i], "delete") {
				mishaps = append(mishaps, mishap{name: at + " fails after its effect", cold: true, met: met,
					arm: func(s *scene) { s.storage.Fail(backendtest.StorageFault{At: n, Afterwards: true}) }})
			}
		}
		mishaps = append(mishaps, mishap{name: at + " is not lived to see", cold: true, deadly: true, met: met, arm: func(s *scene) { s.dieAtStorage(n) }})
	}
	return mishaps
}
