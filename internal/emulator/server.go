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

// Options holds the emulator's dependencies. The zero value is usable.
type Options struct {
	// Now is the clock for everything except latency; the default is time.Now.
	Now func() time.Time
	// Random is the source of identifiers, secrets and refresh tokens; the default is crypto/rand.
	Random io.Reader
	// SigningKey signs the JWTs; by default it is generated when it is first needed. That takes
	// tenths of a second, so tests with many emulators may share a key.
	SigningKey *rsa.PrivateKey
	// CheapTokens is for model tests and benchmarks only: JWTs have a valid header and valid
	// claims, but all of them carry the same RS256 signature, which is computed once. The emulator
	// accepts them; other verifiers do not. A token then costs microseconds instead of a
	// millisecond.
	CheapTokens bool
	// Issuer is what the issuer of JWTs begins with, before a slash and the ID of the pool. The
	// default is Cognito's address in the pool's region; LocalIssuer is where Listen listens.
	Issuer string
	// AccountID is the AWS account that owns everything; the default is 123456789012.
	AccountID string
	// Observe is called with each call to Cognito's API that the emulator performed, unless a fault
	// answered it. It must not change what it is given, and may be called by several goroutines at
	// a time.
	Observe func(Exchange)
}

// LocalIssuer stands for the address that the emulator listens on.
const LocalIssuer = "local"

// Exchange is a request to Cognito's JSON API and the emulator's answer.
type Exchange struct {
	Operation string
	// AccessKey is the one that signed the request, if any.
	AccessKey       string
	Request, Answer []byte
	// Code is the error in the answer, or empty.
	Code string
}

// Server is the emulator as an http.Handler. Connections are only counted if the http.Server uses
// its ConnContext, as Start does.
type Server struct {
	now       func() time.Time
	accountID string
	issuer    string
	keys      *signingKeys
	random    random

	operations map[string]operation
	observe    func(Exchange)
	control    http.Handler

	faults    *faults
	latency   *latency
	conflicts *conflicts
	quotas    *quotas
	iam       *iam
	calls     *callLog
	secrets   *issuedSecrets

	// mu guards state. It is not held while a fault or latency keeps a call waiting.
	mu    sync.Mutex
	state *state
}

// New returns an empty emulator.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		now:        opts.Now,
		accountID:  opts.AccountID,
		issuer:     opts.Issuer,
		keys:       newSigningKeys(opts.SigningKey, opts.CheapTokens),
		random:     random{opts.Random},
		operations: operations(),
		observe:    opts.Observe,
		faults:     newFaults(),
		latency:    &latency{},
		conflicts:  &conflicts{open: map[string]*change{}},
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
