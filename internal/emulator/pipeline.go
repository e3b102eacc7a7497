// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	tokenPath     = "/oauth2/token"
	jwksPath      = "/.well-known/jwks.json"
	discoveryPath = "/.well-known/openid-configuration"
	maxBodyBytes  = 1 << 20
	formMediaType = "application/x-www-form-urlencoded"
)

// exchange is one call on its way through the pipeline, whatever protocol it came by.
type exchange struct {
	// call is the entry for the call log.
	call control.Call
	// changes is what the call changes, if two such changes at a time are refused.
	changes string
	// quotas are the token buckets that the call draws on.
	quotas []quotaUse
	// authorize checks the signature and the IAM permission; it is nil for calls that are not
	// signed.
	authorize func() *exception
	// perform executes the operation.
	perform func() answer
	// refuse encodes an exception in the protocol of the call.
	refuse func(*exception) answer
}

// answer is what goes back over the wire. The code is the exception in it, for the call log.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	code        string
}

// delivery sends an answer, or as much of it as a fault leaves.
type delivery func(http.ResponseWriter, answer)

// ServeHTTP answers Cognito, STS, IAM, the token endpoint, the key sets and the control API on one
// port. Every request but those of the control API and a browser's preflight passes these steps, in
// this order:
//
//	receive       reads the request and finds its protocol and operation
//	calls.begin   adds it to the call log
//	handle        waits for half of the latency and looks for a fault or a conflict
//	execute       takes from the quotas, checks IAM, performs the operation
//	handle        waits for the other half of the latency
//	calls.end     stores the outcome in the call log
//	deliver…      sends the answer, half of it, or nothing
//
// The log has the end of a call before the caller has the answer, so that a caller that waits for
// each answer never seems to overlap with itself.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	if strings.HasPrefix(r.URL.Path, control.PathPrefix) {
		s.control.ServeHTTP(w, r)
		return
	}
	if allowBrowsers(w, r) {
		return
	}
	s.calls.countConnection(r)
	x, err := s.receive(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	begun := s.conflicts.begin(x.changes)
	entry := s.calls.begin(x.call)
	a, deliver := s.handle(r.Context(), x, begun, arrived)
	s.calls.end(entry, a)
	deliver(w, a)
}

// receive reads the whole request and finds its protocol. Reading the body to its end also lets the
// HTTP server notice a client that disconnects.
func (s *Server) receive(r *http.Request) (*exchange, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBodyBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	s.secrets.record(body)
	switch {
	case r.URL.Path == tokenPath:
		return s.receiveToken(r, body), nil
	case strings.HasSuffix(r.URL.Path, jwksPath):
		return s.receiveJWKS(r), nil
	case strings.HasSuffix(r.URL.Path, discoveryPath):
		return s.receiveDiscovery(r), nil
	case r.Method == http.MethodPost && r.Header.Get(targetHeader) != "":
		return s.receiveJSON(r, body), nil
	case r.Method == http.MethodPost && hasMediaType(r, formMediaType):
		return s.receiveQuery(r, body), nil
	default:
		return nil, fmt.Errorf("%s %s is not a request to Cognito, STS, IAM, %s or a key set", r.Method, r.URL.Path, tokenPath)
	}
}

func hasMediaType(r *http.Request, mediaType string) bool {
	got, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(got), mediaType)
}

// handle applies latency, faults and conflicts to a call. A call with a fault conflicts with no
// other: it may hang.
func (s *Server) handle(ctx context.Context, x *exchange, begun *change, arrived time.Time) (answer, delivery) {
	defer s.conflicts.end(begun)
	latency := s.latency.of(x.call.Operation)
	wait(ctx, arrived, latency/2)
	defer wait(ctx, arrived, latency)
	fault := s.faults.take(x.call)
	if begun.refused && fault == nil {
		return x.refuse(concurrentModification()), deliverAll
	}
	if fault == nil {
		return s.execute(x), deliverAll
	}
	s.conflicts.end(begun)
	switch fault.Kind {
	case control.FaultError:
		return x.refuse(exceptionOf(fault)), deliverAll
	case control.FaultErrorAfter:
		s.execute(x)
		return x.refuse(exceptionOf(fault)), deliverAll
	case control.FaultRaw:
		return rawAnswer(fault.Fault), deliverAll
	case control.FaultHang:
		return hang(ctx, fault, x)
	case control.FaultHangAfter:
		s.execute(x)
		return hang(ctx, fault, x)
	case control.FaultCutAfter:
		s.execute(x)
		return answer{}, deliverNothing
	case control.FaultCutBody:
		return s.execute(x), deliverHalf
	default: // control.FaultCutBefore
		return answer{}, deliverNothing
	}
}

// execute takes from the quotas, checks IAM and performs the operation.
func (s *Server) execute(x *exchange) answer {
	if err := s.quotas.take(x.quotas); err != nil {
		return x.refuse(err)
	}
	if x.authorize != nil {
		if err := x.authorize(); err != nil {
			return x.refuse(err)
		}
	}
	a := x.perform()
	s.secrets.record(a.body)
	return a
}

// hang holds a call until the client disconnects or the control API clears the faults.
func hang(ctx context.Context, fault *caughtFault, x *exchange) (answer, delivery) {
	if disconnected := fault.hang(ctx); disconnected {
		return answer{}, deliverNothing
	}
	return x.refuse(newException(codeInternalError, "The emulator released this request.")), deliverAll
}

func exceptionOf(fault *caughtFault) *exception {
	return &exception{code: fault.Code, message: fault.Message, status: fault.Status}
}

func rawAnswer(fault control.Fault) answer {
	status := fault.Status
	if status == 0 {
		status = http.StatusOK
	}
	return answer{status: status, contentType: fault.ContentType, body: []byte(fault.Body)}
}

func deliverAll(w http.ResponseWriter, a answer) {
	a.writeHead(w)
	_, _ = w.Write(a.body) // a client that disconnected needs no answer
}

// deliverHalf announces the whole body, sends half of it and closes the connection.
func deliverHalf(w http.ResponseWriter, a answer) {
	a.writeHead(w)
	_, _ = w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// deliverNothing closes the connection: net/http does so for this panic, and logs nothing.
func deliverNothing(http.ResponseWriter, answer) {
	panic(http.ErrAbortHandler)
}

func (a answer) writeHead(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
}
