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

// ErrStorage is the error of every call that is told to fail.
var ErrStorage = errors.New("the storage is broken")

// Storage records its calls and fails those that Fail selects.
type Storage struct {
	logical.Storage

	mu     sync.Mutex
	seen   []string
	broken StorageFault
}

// StorageFault selects the calls that fail, and how. The zero value selects none.
type StorageFault struct {
	// At is the first call to fail, counted from 1; 0 is none.
	At int
	// ForGood fails all later calls, too.
	ForGood bool
	// Afterwards returns the error after the call took effect, like a lost answer.
	Afterwards bool
	// When, if set, reports for each call whether it fails.
	When func() bool
	// Met, if set, is called for every call that fails.
	Met func()
}

func (b StorageFault) meets(call int) bool {
	if b.When != nil && b.When() {
		return true
	}
	return b.At != 0 && (call == b.At || b.ForGood && call > b.At)
}

// Fail replaces the fault, and counts calls from 1 again.
func (s *Storage) Fail(b StorageFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.seen = b, nil
}

// Repair ends all faults, and counts calls from 1 again.
func (s *Storage) Repair() { s.Fail(StorageFault{}) }

// Calls returns the calls since the last Fail or Repair, such as "put wal".
func (s *Storage) Calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.seen...)
}

// carry makes one call, or fails it.
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

// List implements logical.Storage.
func (s *Storage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.carry("list", prefix, func() error {
		keys, err = s.Storage.List(ctx, prefix)
		return err
	})
	return keys, err
}

// Get implements logical.Storage.
func (s *Storage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.carry("get", key, func() error {
		entry, err = s.Storage.Get(ctx, key)
		return err
	})
	return entry, err
}

// Put implements logical.Storage.
func (s *Storage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.carry("put", entry.Key, func() error { return s.Storage.Put(ctx, entry) })
}

// Delete implements logical.Storage.
func (s *Storage) Delete(ctx context.Context, key string) error {
	return s.carry("delete", key, func() error { return s.Storage.Delete(ctx, key) })
}

// SplitStorage is the storage of one cluster of several: what is local is its own, and the rest
// is replicated from the primary.
type SplitStorage struct {
	Replicated, Local logical.Storage
	// LocalPrefixes are the engine's own word for what is local.
	LocalPrefixes []string
	// ReadOnly is set on a secondary, which cannot write what is replicated.
	ReadOnly bool
}

func (s *SplitStorage) of(key string) logical.Storage {
	for _, prefix := range s.LocalPrefixes {
		if strings.HasPrefix(key, prefix) {
			return s.Local
		}
	}
	return s.Replicated
}

func (s *SplitStorage) writable(key string) (logical.Storage, error) {
	storage := s.of(key)
	if s.ReadOnly && storage == s.Replicated {
		return nil, errors.New(logical.ErrReadOnly.Error()) // errors lose their identity at the plugin boundary
	}
	return storage, nil
}

// List implements logical.Storage.
func (s *SplitStorage) List(ctx context.Context, prefix string) ([]string, error) {
	return s.of(prefix).List(ctx, prefix)
}

// Get implements logical.Storage.
func (s *SplitStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	return s.of(key).Get(ctx, key)
}

// Put implements logical.Storage.
func (s *SplitStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	storage, err := s.writable(entry.Key)
	if err != nil {
		return err
	}
	return storage.Put(ctx, entry)
}

// Delete implements logical.Storage.
func (s *SplitStorage) Delete(ctx context.Context, key string) error {
	storage, err := s.writable(key)
	if err != nil {
		return err
	}
	return storage.Delete(ctx, key)
}
