// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// countingStorage counts reads and writes.
type countingStorage struct {
	logical.Storage
	lists, gets, writes atomic.Int64
}

func (s *countingStorage) List(ctx context.Context, prefix string) ([]string, error) {
	s.lists.Add(1)
	return s.Storage.List(ctx, prefix)
}

func (s *countingStorage) Get(ctx context.Context, key string) (*logical.StorageEntry, error) {
	s.gets.Add(1)
	return s.Storage.Get(ctx, key)
}

func (s *countingStorage) Put(ctx context.Context, entry *logical.StorageEntry) error {
	s.writes.Add(1)
	return s.Storage.Put(ctx, entry)
}

func (s *countingStorage) Delete(ctx context.Context, key string) error {
	s.writes.Add(1)
	return s.Storage.Delete(ctx, key)
}

func (s *countingStorage) reset() {
	s.lists.Store(0)
	s.gets.Store(0)
	s.writes.Store(0)
}

// TestHundredThousandLivingUsers bounds what 100,000 living users cost. docs/scale.md has the
// figures.
func TestHundredThousandLivingUsers(t *testing.T) {
	const users, minutes = 100_000, 480
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	storage := &countingStorage{Storage: &logical.InmemStorage{}}
	storeLivingUsers(t, storage, users, minutes, now)
	storage.reset()

	before := heap()
	elapsed := time.Duration(0)
	b := newBackend(Options{Now: func() time.Time { return now.Add(elapsed) }})
	system := &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 24 * time.Hour}
	require.NoError(t, b.Setup(t.Context(), &logical.BackendConfig{System: system}))
	require.NoError(t, b.Initialize(t.Context(), &logical.InitializationRequest{Storage: storage}))
	require.Zero(t, storage.lists.Load()+storage.gets.Load(), "an unseal reads nothing")

	tick := func() (took time.Duration) {
		storage.reset()
		began := time.Now()
		_, err := b.HandleRequest(t.Context(), &logical.Request{Operation: logical.RollbackOperation, Storage: storage})
		require.NoError(t, err)
		return time.Since(began)
	}
	for !b.census.isDone() { // the ticks after a start, which count for the metrics
		elapsed += time.Minute
		t.Logf("a tick that counts took %s: %d lists, %d reads", tick(), storage.lists.Load(), storage.gets.Load())
	}
	elapsed += time.Minute
	took := tick()
	t.Logf("a later tick took %s: %d lists, %d reads, %d writes", took, storage.lists.Load(), storage.gets.Load(), storage.writes.Load())
	require.Less(t, storage.lists.Load()+storage.gets.Load()+storage.writes.Load(), int64(50), "a tick does bounded work")

	storage.reset()
	page, err := b.HandleRequest(t.Context(), &logical.Request{Operation: logical.ListOperation, Path: "issued/ci", Storage: storage})
	require.NoError(t, err)
	require.Len(t, page.Data["keys"], issuedLimitDefault)
	t.Logf("a page of the list: %d lists, %d reads", storage.lists.Load(), storage.gets.Load())
	require.Less(t, storage.lists.Load()+storage.gets.Load(), int64(1200), "a page costs what is on it")

	grown := heap() - before
	runtime.KeepAlive(b)
	runtime.KeepAlive(storage)
	t.Logf("the memory grew by %d MiB", grown>>20)
	require.Less(t, grown, int64(100<<20))
}

// TestTickIsBounded leaves more due than one tick looks at: nothing is lost, and no tick reads all
// of it.
func TestTickIsBounded(t *testing.T) {
	const batches, perBatch = 120, 100
	const readsMax = 5 * 2100 // a record is read again under its lock, and with it its role
	const emptyBatches, emptyBatchesMax = 1500, 1009
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	storage := &countingStorage{Storage: &logical.InmemStorage{}}
	b := newBackend(Options{Now: func() time.Time { return now }})
	require.NoError(t, b.Setup(t.Context(), &logical.BackendConfig{System: &logical.StaticSystemView{MaxLeaseTTLVal: 24 * time.Hour}}))
	tick := func() (batchesLeft int) {
		storage.reset()
		_ = b.reconcile(t.Context(), &logical.Request{Storage: storage}) // without a config no user can be ended
		keys, err := logical.CollectKeysWithPrefix(t.Context(), storage.Storage, dueStoragePrefix+now.Format(dueDayLayout))
		require.NoError(t, err)
		return len(keys)
	}

	storeLivingUsers(t, storage, batches*perBatch, batches, now.Add(-25*time.Hour))
	tick()
	require.LessOrEqual(t, storage.gets.Load(), int64(readsMax), "the records of a tick")

	require.NoError(t, logical.ClearView(t.Context(), storage.Storage.(*logical.InmemStorage)))
	for n := range emptyBatches {
		require.NoError(t, putDue(t.Context(), storage, dueKey(batchName{"ci", fmt.Sprintf("20260301-0100-%04d", n)}, now.Add(-time.Duration(n/10)*time.Minute))))
	}
	require.GreaterOrEqual(t, tick(), emptyBatches-emptyBatchesMax, "the batches of a tick")
	require.Zero(t, tick(), "the next tick goes on")
}

// storeLivingUsers stores records of users that were issued in the last minutes and live for a day.
func storeLivingUsers(t *testing.T, s logical.Storage, users, minutes int, now time.Time) {
	t.Helper()
	for minute := range minutes {
		created := now.Add(-time.Duration(minutes-minute) * time.Minute)
		batch := batchName{"ci", created.Format(batchLayout) + "-abcd"}
		deadline := created.Add(24 * time.Hour)
		require.NoError(t, putDue(t.Context(), s, dueKey(batch, deadline)))
		for n := minute; n < users; n += minutes {
			name := fmt.Sprintf("vault-ci-%026d", n)
			require.NoError(t, writeRecord(t.Context(), s, &issuedRecord{
				ID: newRecordID(batch.id), Role: "ci", Kind: kindUser, State: stateConfirmed, Created: created, Deadline: deadline, Watch: "watch",
				Username: name, RequestedName: name, Sub: "6a813da4-ebee-4d72-978b-ea49d7d06e3d", DisplayName: "token",
				place: place{UserPoolID: "eu-west-1_AbCdEfGhI", Region: "eu-west-1", Account: "123456789012"},
			}))
		}
	}
	require.NoError(t, putJSON(t.Context(), s, heartbeatStoragePath, heartbeat{Watch: "watch", Last: now}))
}

func heap() int64 {
	for range 3 { // what has finalizers takes more than one
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
