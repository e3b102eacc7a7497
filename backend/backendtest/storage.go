// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backendtest

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

var ErrStorage = errors.New("the storage is broken")

// Storage counts its Calls and lets some of them fail. While nothing is
// set to break it is sound.
type Storage struct {
	logical.Storage

	mu     sync.Mutex
	seen   []string
	broken StorageFault
}

// StorageFault says which Calls fail, and how.
type StorageFault struct {
	// At is the first call to fail, counted from 1; 0 is none.
	At int
	// ForGood lets all that follow fail too.
	ForGood bool
	// Afterwards fails a call only when it has taken effect.
	Afterwards bool
	// When, if set, tells of every call whether it fails.
	When func() bool
	// Met is told of every call that fails.
	Met func()
}

func (b StorageFault) meets(call int) bool {
	if b.When != nil && b.When() {
		return true
	}
	return b.At != 0 && (call == b.At || b.ForGood && call > b.At)
}

// Fail sets what breaks from now on, and counts from 1 again.
func (s *Storage) Fail(b StorageFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.seen = b, nil
}

// Repair makes it sound again, and counts from 1 again.
func (s *Storage) Repair() { s.Fail(StorageFault{}) }

// Calls are those since the last Fail or Repair, such as "put wal".
func (s *Storage) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.seen...)
}

// carry makes one call, as far as it does not break.
func (s *Storage) carry(name, key string, do func() error) error {
	s.mu.Lock()
	folder, _, _ := strings.Cut(key, "/")
	s.seen = append(s.seen, name+" "+folder)
	b, call := s.broken, len(s.seen)
	s.mu.Unlock()
	if !b.meets(call) {
		return do()
	}
	if b.Met != nil {
		b.Met()
	}
	if b.Afterwards {
		return errors.Join(ErrStorage, do())
	}
	return ErrStorage
}

func (s *Storage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.carry("list", prefix, func() error {
		keys, err = s.Storage.List(ctx, prefix)
		return err
	})
	return keys, err
}

func (s *Storage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.carry("get", key, func() error {
		entry, err = s.Storage.Get(ctx, key)
		return err
	})
	return entry, err
}

func (s *Storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.carry("put", entry.Key, func() error { return s.Storage.Put(ctx, entry) })
}

func (s *Storage) Delete(ctx context.Context, key string) error {
	return s.carry("delete", key, func() error { return s.Storage.Delete(ctx, key) })
}
