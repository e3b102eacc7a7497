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
	// signInStoragePrefix has one entry per user with sign-ins that may have been wrong.
	signInStoragePrefix = "static-sign-ins/"

	// signInsMax is how many sign-ins of a user may be wrong within signInWindow.
	// Cognito locks users out after five wrong ones.
	signInsMax   = 2
	signInWindow = 15 * time.Minute
)

// signIns are the times of sign-ins that may have been wrong.
type signIns struct {
	Times []time.Time `json:"times"`
}

// current returns the sign-ins that still count. A time in the future is that of
// a clock that was set back; it counts from now.
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

// free returns when n more sign-ins are allowed.
func (s signIns) free(n int) time.Time {
	slices.SortFunc(s.Times, time.Time.Compare)
	return s.Times[len(s.Times)+n-signInsMax-1].Add(signInWindow)
}

// signInsExhausted refuses a sign-in that could be one wrong one too many.
type signInsExhausted struct{ until time.Time }

func (e *signInsExhausted) Error() string {
	return fmt.Sprintf("the user is not signed in before %s, because %d sign-ins within %s may have had a wrong password and Cognito locks users out",
		timeText(e.until), signInsMax, signInWindow)
}

// Unwrap makes the refusal a 400.
func (e *signInsExhausted) Unwrap() error { return &userError{e.Error()} }

// signer signs in the user of a static role. It counts each sign-in in the
// storage before it is made, and removes it from the count if it was certainly not wrong.
type signer struct {
	*backend
	storage logical.Storage
	pool    *cognito.Pool
	role    *staticRole
}

// signInCounter serializes changes of the counts. It is not held while AWS is called.
type signInCounter struct{ sync.Mutex }

func (b *backend) newSigner(storage logical.Storage, pool *cognito.Pool, role *staticRole) *signer {
	return &signer{b, storage, pool, role}
}

// signIn makes one sign-in. An error without a request has an unclear verdict.
func (s *signer) signIn(ctx context.Context, password string) (cognito.Verdict, cognito.Session, error) {
	session, err := counted(ctx, s, func() (cognito.Session, error) {
		credentials := cognito.Login{Username: s.role.user(), Password: password}
		return s.pool.TrySignIn(ctx, s.role.appClient(), credentials, s.role.SelfManaged)
	})
	return cognito.VerdictOf(err), session, err
}

// counted makes one sign-in that counts unless it was certainly not wrong.
func counted[T any](ctx context.Context, s *signer, signIn func() (T, error)) (result T, err error) {
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

// mustHave refuses unless n sign-ins are left.
func (s *signer) mustHave(ctx context.Context, n int) error {
	s.signInCounts.Lock()
	defer s.signInCounts.Unlock()
	_, err := s.read(ctx, n)
	return err
}

// count stores that a sign-in is about to be made, and returns its time.
func (s *signer) count(ctx context.Context) (time.Time, error) {
	s.signInCounts.Lock()
	defer s.signInCounts.Unlock()
	at := s.now().UTC()
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

// read returns the sign-ins of the user by key, if n more are allowed.
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
			until = latest(until, current.free(n))
		}
	}
	if !until.IsZero() {
		return nil, &signInsExhausted{until}
	}
	return counts, nil
}

// readKey stores what a clock that was set back changed, or the sign-ins would count
// until the clock is where it was. A damaged entry counts as all that are allowed.
func (s *signer) readKey(ctx context.Context, key string) (signIns, error) {
	var stored signIns
	var damaged *damagedEntry
	now := s.now()
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

// uncount removes a sign-in that was not wrong from the counts. A failure leaves
// it counted, which is safe.
func (s *signer) uncount(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	s.signInCounts.Lock()
	defer s.signInCounts.Unlock()
	for _, key := range s.keys() {
		if err := removeSignIn(ctx, s.storage, key, at); err != nil {
			s.Logger().Warn("a sign-in that was not wrong stays counted", "error", err)
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

// keys are the storage entries that count the user's sign-ins. A self-managed
// user is counted by name, too: its sub is known only after a sign-in.
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

// deleteOldSignIns deletes the counts of users whose sign-ins are all too old.
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
