// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// faults are the calls that are to go wrong.
type faults struct {
	mu  sync.Mutex
	set []*armedFault
	// released is closed to let go of the calls that hang, and then replaced.
	released chan struct{}
}

// armedFault is a fault with what is left of its counts.
type armedFault struct {
	control.Fault
	skip    int
	left    int
	forever bool
}

// caughtFault is a fault that met its call, with the channel that ends its hanging.
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
		control.FaultError, control.FaultHang, control.FaultHangAfter, control.FaultCutBefore,
		control.FaultCutAfter, control.FaultRaw, control.FaultCutBody,
	}
	switch {
	case fault.Operation == "":
		return fmt.Errorf("a fault needs an operation")
	case !slices.Contains(kinds, fault.Kind):
		return fmt.Errorf("kind %q of a fault is none of %q", fault.Kind, kinds)
	case fault.Kind == control.FaultError && fault.Code == "":
		return fmt.Errorf("a fault of kind %q needs a code", fault.Kind)
	default:
		return nil
	}
}

// clear removes all faults and releases the calls that hang in one.
func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = nil
	close(f.released)
	f.released = make(chan struct{})
}

// take returns the fault that a call of the operation meets, or nil. The fault that was added first comes first.
func (f *faults) take(operation string) *caughtFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.set {
		if fault.catches(operation) {
			return &caughtFault{Fault: fault.Fault, released: f.released}
		}
	}
	return nil
}

func (f *armedFault) catches(operation string) bool {
	if f.Operation != control.OperationAny && f.Operation != operation {
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

// hang waits for the release, or for the client to go away, which it reports.
func (f *caughtFault) hang(ctx context.Context) (gone bool) {
	select {
	case <-f.released:
		return false
	case <-ctx.Done():
		return true
	}
}

// delivery is a way of sending an answer.
type delivery func(http.ResponseWriter, answer)

func deliver(w http.ResponseWriter, a answer) {
	a.writeWhole(w)
}

// deliverNothing closes the connection: that is what net/http does for this panic, without a word in the log.
func deliverNothing(http.ResponseWriter, answer) {
	panic(http.ErrAbortHandler)
}

func deliverHalf(w http.ResponseWriter, a answer) {
	a.writeHalf(w)
	panic(http.ErrAbortHandler)
}

// carry takes a call through latency and faults to its answer.
func (s *Server) carry(ctx context.Context, x *exchange, arrived time.Time) (answer, delivery) {
	latency := s.latency.of(x.call.Operation)
	wait(ctx, arrived.Add(latency/2))
	defer wait(ctx, arrived.Add(latency))
	fault := s.faults.take(x.call.Operation)
	if fault == nil {
		return s.performUnlessRefused(x), deliver
	}
	switch fault.Kind {
	case control.FaultError:
		return x.refuse(&exception{code: fault.Code, message: fault.Message, status: fault.Status}), deliver
	case control.FaultRaw:
		return rawAnswer(fault.Fault), deliver
	case control.FaultHang:
		return hang(ctx, fault, x)
	case control.FaultHangAfter:
		s.performUnlessRefused(x)
		return hang(ctx, fault, x)
	case control.FaultCutAfter:
		s.performUnlessRefused(x)
		return answer{}, deliverNothing
	case control.FaultCutBody:
		return s.performUnlessRefused(x), deliverHalf
	default: // control.FaultCutBefore
		return answer{}, deliverNothing
	}
}

func hang(ctx context.Context, fault *caughtFault, x *exchange) (answer, delivery) {
	if gone := fault.hang(ctx); gone {
		return answer{}, deliverNothing
	}
	return x.refuse(newException(codeInternalError, "The emulator released this request.")), deliver
}

func rawAnswer(fault control.Fault) answer {
	status := fault.Status
	if status == 0 {
		status = http.StatusOK
	}
	return answer{status: status, contentType: fault.ContentType, body: []byte(fault.Body)}
}
