// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// signInStoragePrefix is the prefix of one entry per user whose sign-ins may have used a wrong
	// password.
	signInStoragePrefix = "static-sign-ins/"

	// signInsMax is how many sign-ins of a user may use a wrong password within signInWindow.
	// Cognito locks users out after five.
	signInsMax   = 2
	signInWindow = 15 * time.Minute
)

// signIns has the times of sign-ins that may have used a wrong password.
type signIns struct {
	Times []time.Time `json:"times"`
}

// current returns the sign-ins that still count. A time in the future, from before the clock was
// set back, counts as now.
func (s signIns) current(now time.Time) signIns {
	var current signIns
	for _, at := range s.Times {
		if at.After(now) {
			at = now
		}
		if now.Sub(at) < signInWindow {
			current.Times = append(current.Times, at)
		}
	}
	return current
}

// allowedAt returns when n more sign-ins are allowed.
func (s signIns) allowedAt(n int) time.Time {
	slices.SortFunc(s.Times, time.Time.Compare)
	return s.Times[len(s.Times)+n-signInsMax-1].Add(signInWindow)
}

// signInsExhausted is the error for a sign-in that could be one wrong password too many.
type signInsExhausted struct{ until time.Time }

func (e *signInsExhausted) Error() string {
	return fmt.Sprintf("the user is not signed in before %s, because %d sign-ins within %s may have had a wrong password and Cognito locks users out",
		timeText(e.until), signInsMax, signInWindow)
}

// Unwrap makes the error a 400.
func (e *signInsExhausted) Unwrap() error { return &userError{e.Error()} }

// signer signs in the user of a static role. It stores each sign-in in the counts before it is
// made, and removes it if the password was certainly not wrong.
type signer struct {
	b       *backend
	storage logical.Storage
	pool    *cognito.Pool
	role    *staticRole
}

// signInCounter serializes changes of the counts. It is not locked during calls to AWS.
type signInCounter struct{ sync.Mutex }

func (b *backend) newSigner(storage logical.Storage, pool *cognito.Pool, role *staticRole) *signer {
	return &signer{b, storage, pool, role}
}

// signIn makes one sign-in. An error before the request is VerdictUnclear.
func (s *signer) signIn(ctx context.Context, password string) (cognito.Verdict, cognito.Session, error) {
	session, err := countedSignIn(ctx, s, func() (cognito.Session, error) {
		credentials := cognito.Login{Username: s.role.user(), Password: password}
		return s.pool.TrySignIn(ctx, s.role.appClient(), credentials, s.role.SelfManaged)
	})
	return cognito.VerdictOf(err), session, err
}

// countedSignIn makes one sign-in, which counts unless the password was certainly not wrong.
func countedSignIn[T any](ctx context.Context, s *signer, signIn func() (T, error)) (result T, err error) {
	at, err := s.count(ctx)
	if err != nil {
		return result, err
	}
	result, err = signIn()
	if !cognito.MayCountAsWrong(err) {
		s.uncount(ctx, at)
	}
	return result, err
}

// requireLeft returns an error unless n sign-ins are allowed now.
func (s *signer) requireLeft(ctx context.Context, n int) error {
	s.b.signInCounts.Lock()
	defer s.b.signInCounts.Unlock()
	_, err := s.read(ctx, n)
	return err
}

// count stores a sign-in that is about to be made, and returns its time.
func (s *signer) count(ctx context.Context) (time.Time, error) {
	s.b.signInCounts.Lock()
	defer s.b.signInCounts.Unlock()
	at := s.b.now().UTC()
	counts, err := s.read(ctx, 1)
	if err != nil {
		return at, err
	}
	for key, current := range counts {
		current.Times = append(current.Times, at)
		if err := putJSON(ctx, s.storage, key, current); err != nil {
			return at, err
		}
	}
	return at, nil
}

// read returns the counted sign-ins by storage key, or an error unless n more are allowed.
func (s *signer) read(ctx context.Context, n int) (map[string]signIns, error) {
	counts := map[string]signIns{}
	var until time.Time
	for _, key := range s.keys() {
		current, err := s.readKey(ctx, key)
		if err != nil {
			return nil, err
		}
		counts[key] = current
		if len(current.Times)+n > signInsMax {
			until = latest(until, current.allowedAt(n))
		}
	}
	if !until.IsZero() {
		return nil, &signInsExhausted{until}
	}
	return counts, nil
}

// readKey reads one entry. If the clock was set back it stores the corrected times, because they
// would count for too long. A damaged entry counts as signInsMax sign-ins.
func (s *signer) readKey(ctx context.Context, key string) (signIns, error) {
	var stored signIns
	var damaged *damagedEntry
	now := s.b.now()
	_, err := getJSON(ctx, s.storage, key, &stored)
	if errors.As(err, &damaged) {
		full := signIns{slices.Repeat([]time.Time{now.UTC()}, signInsMax)}
		return full, putJSON(ctx, s.storage, key, full)
	}
	if err != nil {
		return signIns{}, err
	}
	current := stored.current(now)
	if slices.ContainsFunc(stored.Times, now.Before) {
		return current, putJSON(ctx, s.storage, key, current)
	}
	return current, nil
}

// uncount removes a sign-in with a right password from the counts. If that fails the sign-in stays
// counted, which is safe.
func (s *signer) uncount(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	s.b.signInCounts.Lock()
	defer s.b.signInCounts.Unlock()
	for _, key := range s.keys() {
		if err := removeSignIn(ctx, s.storage, key, at); err != nil {
			s.b.Logger().Warn("a sign-in that was not wrong stays counted", "error", err)
		}
	}
}

func removeSignIn(ctx context.Context, storage logical.Storage, key string, at time.Time) error {
	var stored signIns
	found, err := getJSON(ctx, storage, key, &stored)
	if err != nil || !found {
		return err
	}
	if i := slices.IndexFunc(stored.Times, at.Equal); i >= 0 {
		stored.Times = slices.Delete(stored.Times, i, i+1)
	}
	if len(stored.Times) == 0 {
		return storage.Delete(ctx, key)
	}
	return putJSON(ctx, storage, key, stored)
}

// keys returns the storage keys that count the user's sign-ins. A self-managed user also counts by
// name, because its sub is known only after a sign-in.
func (s *signer) keys() []string {
	names := []string{s.role.Sub}
	if s.role.Sub == "" || s.role.SelfManaged {
		names = append(names, s.role.Username)
	}
	var keys []string
	for _, name := range names {
		if name != "" {
			digest := sha256.Sum256(fmt.Appendf(nil, "%q %q", s.role.UserPoolID, name))
			keys = append(keys, signInStoragePrefix+hex.EncodeToString(digest[:]))
		}
	}
	return keys
}

// deleteOldSignIns deletes the entries whose sign-ins no longer count.
func (b *backend) deleteOldSignIns(ctx context.Context, s logical.Storage) error {
	keys, err := s.List(ctx, signInStoragePrefix)
	if err != nil {
		return fmt.Errorf("listing counted sign-ins: %w", err)
	}
	b.signInCounts.Lock()
	defer b.signInCounts.Unlock()
	var failures []error
	for _, key := range keys {
		var stored signIns
		if _, err := getJSON(ctx, s, signInStoragePrefix+key, &stored); err != nil {
			failures = append(failures, err)
			continue
		}
		if len(stored.current(b.now()).Times) == 0 {
			failures = append(failures, s.Delete(ctx, signInStoragePrefix+key))
		}
	}
	return errors.Join(failures...)
}
