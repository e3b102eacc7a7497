// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// faults holds the faults that the control API added.
type faults struct {
	mu  sync.Mutex
	set []*armedFault
	// released is closed to release the calls that hang, and then replaced.
	released chan struct{}
}

// armedFault is a fault with its remaining counts.
type armedFault struct {
	control.Fault
	skip    int
	left    int
	forever bool
}

// caughtFault is a fault that applies to a call, with the channel that ends its hanging.
type caughtFault struct {
	control.Fault
	released <-chan struct{}
}

func newFaults() *faults {
	return &faults{released: make(chan struct{})}
}

func (f *faults) add(fault control.Fault) error {
	if err := checkFault(fault); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = append(f.set, &armedFault{Fault: fault, skip: fault.Skip, left: fault.Times, forever: fault.Times == 0})
	return nil
}

func checkFault(fault control.Fault) error {
	kinds := []string{
		control.FaultError, control.FaultErrorAfter, control.FaultHang, control.FaultHangAfter, control.FaultCutBefore,
		control.FaultCutAfter, control.FaultRaw, control.FaultCutBody,
	}
	switch {
	case fault.Operation == "":
		return fmt.Errorf("operation of a fault is required: name an AWS operation, Token or *")
	case !slices.Contains(kinds, fault.Kind):
		return fmt.Errorf("kind %q of a fault is unknown: use one of %q", fault.Kind, kinds)
	case isError(fault) && fault.Code == "":
		return fmt.Errorf("code is required for a fault of kind %q: name an exception", fault.Kind)
	default:
		return nil
	}
}

func isError(fault control.Fault) bool {
	return fault.Kind == control.FaultError || fault.Kind == control.FaultErrorAfter
}

// clear deletes all faults and releases the calls that hang in one.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = nil
	close(f.released)
	f.released = make(chan struct{})
}

// take returns the fault that applies to a call, or nil. Faults apply in the order in which they
// were added.
func (f *faults) take(call control.Call) *caughtFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.set {
		if fault.catches(call) {
			return &caughtFault{Fault: fault.Fault, released: f.released}
		}
	}
	return nil
}

func (f *armedFault) catches(call control.Call) bool {
	if !f.matches(call) {
		return false
	}
	if f.skip > 0 {
		f.skip--
		return false
	}
	if f.forever {
		return true
	}
	if f.left == 0 {
		return false
	}
	f.left--
	return true
}

func (f *armedFault) matches(call control.Call) bool {
	if f.Operation != control.OperationAny && f.Operation != call.Operation {
		return false
	}
	for _, condition := range []struct{ want, got string }{
		{f.Username, call.Username}, {f.GroupName, call.GroupName}, {f.ClientID, call.ClientID}, {f.ClientName, call.ClientName},
	} {
		if condition.want != "" && condition.want != condition.got {
			return false
		}
	}
	return true
}

// hang waits until it is released or the client disconnects, and reports whether the client did.
func (f *caughtFault) hang(ctx context.Context) (gone bool) {
	select {
	case <-f.released:
		return false
	case <-ctx.Done():
		return true
	}
}
