// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/hashicorp/vault/sdk/logical"
)

var errStorage = errors.New("the storage is broken")

// brittleStorage counts its calls and lets some of them fail. While nothing is
// set to break it is sound.
type brittleStorage struct {
	logical.Storage

	mu     sync.Mutex
	seen   []string
	broken storageBreak
}

// storageBreak says which calls fail, and how.
type storageBreak struct {
	// at is the first call to fail, counted from 1; 0 is none.
	at int
	// forGood lets all that follow fail too.
	forGood bool
	// afterwards fails a call only when it has taken effect.
	afterwards bool
	// when, if set, tells of every call whether it fails.
	when func() bool
	// met is told of every call that fails.
	met func()
}

func (b storageBreak) meets(call int) bool {
	if b.when != nil && b.when() {
		return true
	}
	return b.at != 0 && (call == b.at || b.forGood && call > b.at)
}

// breakBy sets what breaks from now on, and counts from 1 again.
func (s *brittleStorage) breakBy(b storageBreak) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.seen = b, nil
}

// mend makes it sound again, and counts from 1 again.
func (s *brittleStorage) mend() { s.breakBy(storageBreak{}) }

// calls are those since the last breakBy or mend, such as "put wal".
func (s *brittleStorage) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.seen...)
}

// carry makes one call, as far as it does not break.
func (s *brittleStorage) carry(name, key string, do func() error) error {
	s.mu.Lock()
	folder, _, _ := strings.Cut(key, "/")
	s.seen = append(s.seen, name+" "+folder)
	b, call := s.broken, len(s.seen)
	s.mu.Unlock()
	if !b.meets(call) {
		return do()
	}
	if b.met != nil {
		b.met()
	}
	if b.afterwards {
		return errors.Join(errStorage, do())
	}
	return errStorage
}

func (s *brittleStorage) List(ctx context.Context, prefix string) (keys []string, err error) {
	err = s.carry("list", prefix, func() error {
		keys, err = s.Storage.List(ctx, prefix)
		return err
	})
	return keys, err
}

func (s *brittleStorage) Get(ctx context.Context, key string) (entry *logical.StorageEntry, err error) {
	err = s.carry("get", key, func() error {
		entry, err = s.Storage.Get(ctx, key)
		return err
	})
	return entry, err
}

func (s *brittleStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	return s.carry("put", entry.Key, func() error { return s.Storage.Put(ctx, entry) })
}

func (s *brittleStorage) Delete(ctx context.Context, key string) error {
	return s.carry("delete", key, func() error { return s.Storage.Delete(ctx, key) })
}
