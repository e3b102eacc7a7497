// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"crypto/rand"
	"crypto/rsa"
	"io"
	"net/http"
	"sync"
	"time"
)

const defaultAccountID = "123456789012"

// Options are what the emulator would otherwise take from its surroundings. All may be left out.
type Options struct {
	// Now is the clock of everything but latency; time.Now by default.
	Now func() time.Time
	// Random is where identifiers, secrets and refresh tokens come from; crypto/rand by default.
	Random io.Reader
	// SigningKey signs the JWTs; one is made at the first need by default. It takes tenths of a second to make one, so
	// tests that start many emulators may want to share theirs.
	SigningKey *rsa.PrivateKey
	// CheapTokens is for model tests only: the JWTs have a valid header and valid claims, but all of
	// them carry one RS256 signature, which is computed once. The emulator accepts them; nothing that
	// verifies signatures does. A token then costs microseconds instead of a millisecond.
	CheapTokens bool
	// AccountID is the AWS account that owns everything; 123456789012 by default.
	AccountID string
	// Observe is called with each call to Cognito's API that the emulator performed, unless a fault answered
	// it. It must not change what it is given, and may be called by several goroutines at a time.
	Observe func(Exchange)
}

// Exchange is a request to Cognito's JSON API and the emulator's answer.
type Exchange struct {
	Operation string
	// AccessKey is the one that signed the request, if any.
	AccessKey       string
	Request, Answer []byte
	// Code is the error in the answer, or empty.
	Code string
}

// Server is the emulator as an http.Handler. Give its ConnContext to the http.Server, or connections are not counted;
// Start does so.
type Server struct {
	now       func() time.Time
	accountID string
	keys      *signingKeys
	random    random

	operations map[string]operation
	observe    func(Exchange)
	control    http.Handler

	faults  *faults
	latency *latency
	quotas  *quotas
	iam     *iam
	calls   *callLog
	secrets *issuedSecrets

	// mu guards state. It is never held while a fault or latency keeps a call waiting.
	mu    sync.Mutex
	state *state
}

// New returns an emulator with nothing in it.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		now:        opts.Now,
		accountID:  opts.AccountID,
		keys:       newSigningKeys(opts.SigningKey, opts.CheapTokens),
		random:     random{opts.Random},
		operations: operations(),
		observe:    opts.Observe,
		faults:     newFaults(),
		latency:    &latency{},
		quotas:     newQuotas(opts.Now),
		iam:        newIAM(opts.AccountID),
		calls:      &callLog{},
		secrets:    &issuedSecrets{},
		state:      newState(),
	}
	s.control = s.controlHandler()
	return s
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Observe == nil {
		o.Observe = func(Exchange) {}
	}
	if o.AccountID == "" {
		o.AccountID = defaultAccountID
	}
	return o
}
