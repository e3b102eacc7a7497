// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/helper/pluginutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/rotation"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const rootKey = "AKIAROOT000000000000"

// handClock is a clock that a test advances.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rotatable is a mount whose access key belongs to the IAM user "vault".
type rotatable struct {
	*pool
	clock *handClock
}

func newRotatable(t *testing.T) *rotatable {
	t.Helper()
	clock := &handClock{now: time.Now().Truncate(time.Second)}
	storage := &backendtest.Storage{Storage: &logical.InmemStorage{}}
	p := &pool{
		Mount:   backendtest.NewOn(t, storage, backend.Options{Version: "v1.2.3", WALMinAge: time.Minute, Now: clock.Now}),
		Cognito: emulatortest.Start(t),
		storage: storage,
	}
	p.PlantKey("vault", rootKey, "hush")
	p.WriteOK("config", map[string]any{
		"aws_access_key_id": rootKey, "aws_secret_access_key": "hush", "region": emulatortest.Region, "max_retries": 0, "request_timeout": 1,
		"cognito_endpoint": p.Seed.Domain, "sts_endpoint": p.Seed.Domain, "iam_endpoint": p.Seed.Domain,
	})
	p.WriteOK("roles/ci", userRole(map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret, "groups": "testers",
	}))
	return &rotatable{pool: p, clock: clock}
}

func (r *rotatable) rotate() (*logical.Response, error) {
	r.T.Helper()
	return r.Request(r.T.Context(), logical.UpdateOperation, "config/rotate-root", nil)
}

// requireOneKey rolls back and requires that the IAM user has one key, which the engine uses.
func (r *rotatable) requireOneKey() string {
	r.T.Helper()
	require.NoError(r.T, r.rollBack())
	keys := r.Keys()
	require.Len(r.T, keys, 1)
	stored := storedConfig(r.T, r.Mount)
	require.Equal(r.T, keys[0].ID, stored["aws_access_key_id"])
	require.Equal(r.T, keys[0].Secret, stored["aws_secret_access_key"])
	r.Read("creds/ci")
	calls := r.Calls().Calls
	require.Equal(r.T, keys[0].ID, calls[len(calls)-1].AccessKey)
	require.Empty(r.T, r.walEntries())
	return keys[0].ID
}

func TestRotateRoot(t *testing.T) {
	t.Run("a rotation stores a new key, deletes the old one later and shows no secret", func(t *testing.T) {
		r := newRotatable(t)
		r.Read("creds/ci")
		response, err := r.rotate()
		require.NoError(t, err)
		require.Len(t, r.Keys(), 2, "requests in flight use the old key")
		id := r.requireOneKey()
		require.NotEqual(t, rootKey, id)
		require.Equal(t, map[string]any{"aws_access_key_id": id}, response.Data)
		shown := r.Read("config")
		require.Equal(t, id, shown["aws_access_key_id"])
		require.Equal(t, r.clock.Now().UTC().Format(time.RFC3339), shown["last_vault_rotation"])
		require.NotContains(t, fmt.Sprint(shown), r.Keys()[0].Secret)
	})

	t.Run("a rotation waits until AWS accepts the new key", func(t *testing.T) {
		r := newRotatable(t)
		require.NoError(t, r.Control.PlantAccessKey(t.Context(), control.AccessKey{DelayMS: 700}))
		_, err := r.rotate()
		require.NoError(t, err)
		r.requireOneKey()
		require.Greater(t, len(r.Calls().Of("GetCallerIdentity")), 1)
	})

	t.Run("a new key that AWS never accepts is deleted", func(t *testing.T) {
		r := newRotatable(t)
		require.NoError(t, r.Control.PlantAccessKey(t.Context(), control.AccessKey{DelayMS: 3_600_000}))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := r.Request(ctx, logical.UpdateOperation, "config/rotate-root", nil)
		require.Error(t, err)
		require.Equal(t, rootKey, r.requireOneKey())
	})

	t.Run("a config without an access key has nothing to rotate", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"aws_access_key_id": ""})
		require.Contains(t, r.Refused(logical.UpdateOperation, "config/rotate-root", nil), "aws_access_key_id is not set")
	})

	t.Run("a mount without a config has nothing to rotate", func(t *testing.T) {
		require.Contains(t, backendtest.New(t).Refused(logical.UpdateOperation, "config/rotate-root", nil), "aws_access_key_id is not set")
	})

	t.Run("a temporary key cannot be rotated", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"aws_session_token": "hush-token"})
		text := r.Refused(logical.UpdateOperation, "config/rotate-root", nil)
		require.Contains(t, text, "temporary")
		require.NotContains(t, text, "hush")
	})

	t.Run("a second key of the IAM user is not deleted", func(t *testing.T) {
		r := newRotatable(t)
		r.PlantKey("vault", "AKIASECOND", "s")
		text := r.Refused(logical.UpdateOperation, "config/rotate-root", nil)
		require.Contains(t, text, rootKey)
		require.Contains(t, text, "AKIASECOND")
		require.NoError(t, r.rollBack())
		require.Len(t, r.Keys(), 2)
		require.Empty(t, r.Calls().Of("CreateAccessKey"))
	})

	for _, action := range []string{"iam:ListAccessKeys", "iam:CreateAccessKey"} {
		t.Run("a denied "+action+" is named in the error", func(t *testing.T) {
			r := newRotatable(t)
			r.Deny(action)
			_, err := r.rotate()
			requireStatus(t, 403, err)
			require.ErrorContains(t, err, action)
			r.Deny()
			require.NoError(t, r.rollBack())
			r.requireOneKey()
		})
	}
}

// TestRotateRootKeepsRequestsGoing holds back the deletion of the old key, and reads all the time.
func TestRotateRootKeepsRequestsGoing(t *testing.T) {
	const reads = 30
	r := newRotatable(t)
	r.writeMachine(map[string]any{"region": emulatortest.Region})
	token := r.Read("creds/machine")["access_token"]
	r.Fault(control.Fault{Operation: "DeleteAccessKey", Kind: control.FaultHang})
	_, err := r.rotate()
	require.NoError(t, err)
	failures := make(chan error, reads)
	rolledBack := make(chan error, 1)
	go func() { rolledBack <- r.rollBack() }()
	for range reads {
		go func() {
			_, err := r.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			failures <- err
		}()
	}
	for range reads {
		require.NoError(t, <-failures)
	}
	require.Error(t, <-rolledBack)
	require.Len(t, r.Keys(), 2)
	require.Equal(t, token, r.Read("creds/machine")["access_token"], "a rotation must not drop machine tokens")
	require.Equal(t, 1, r.tokenRequests())

	t.Run("another rotation is refused while the old key exists", func(t *testing.T) {
		require.Contains(t, r.Refused(logical.UpdateOperation, "config/rotate-root", nil), "try again then")
	})
	t.Run("a later roll-back deletes the old key", func(t *testing.T) {
		r.Heal()
		require.NotEqual(t, rootKey, r.requireOneKey())
	})
	t.Run("a denied deletion names the action and is retried", func(t *testing.T) {
		_, err := r.rotate()
		require.NoError(t, err)
		r.Deny("iam:DeleteAccessKey")
		require.ErrorContains(t, r.rollBack(), "iam:DeleteAccessKey")
		r.Deny()
		r.requireOneKey()
	})
}

// TestRotateRootProvesEveryRegion makes Cognito know the key later than STS.
func TestRotateRootProvesEveryRegion(t *testing.T) {
	r := newRotatable(t)
	r.WriteOK("roles/far", userRole(map[string]any{"user_pool_id": "us-east-2_AbCdEfGhI", "region": "us-east-2"}))
	r.Fault(control.Fault{Operation: "DescribeUserPool", Kind: control.FaultError, Code: "UnrecognizedClientException", Times: 2})
	_, err := r.rotate()
	require.NoError(t, err)
	calls := r.Calls().Of("DescribeUserPool")
	require.Len(t, calls, 4)
	require.Equal(t, "us-east-2", calls[3].Region)
	require.NotEqual(t, rootKey, r.requireOneKey())
}

// TestRotateRootHalfWay fails each call of a rotation. The old key stays until the new one is
// stored. TestFaults has the other faults.
func TestRotateRootHalfWay(t *testing.T) {
	for _, operation := range []string{"GetUser", "ListAccessKeys", "CreateAccessKey", "GetCallerIdentity", "DescribeUserPool"} {
		t.Run("a failed "+operation+" leaves the old key in use", func(t *testing.T) {
			t.Parallel()
			r := newRotatable(t)
			r.Fault(control.Fault{Operation: operation, Kind: control.FaultError, Code: "ServiceUnavailable"})
			response, err := r.rotate()
			requireStatus(t, 502, err)
			require.Nil(t, response)
			r.Heal()
			require.Equal(t, rootKey, r.requireOneKey())
		})
	}
}

func TestRotateRootThatCannotBeUndone(t *testing.T) {
	r := newRotatable(t)
	r.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "ServiceUnavailable"})
	r.Fault(control.Fault{Operation: "DeleteAccessKey", Kind: control.FaultCutBefore})
	_, err := r.rotate()
	requireStatus(t, 502, err)
	require.Len(t, r.Keys(), 2)
	require.Error(t, r.rollBack())
	require.Len(t, r.walEntries(), 1)

	t.Run("another rotation is refused until the roll-back succeeds", func(t *testing.T) {
		require.Contains(t, r.Refused(logical.UpdateOperation, "config/rotate-root", nil), "the former rotation still has an access key to delete")
	})
	t.Run("the roll-back deletes the new key even without a config", func(t *testing.T) {
		r.Heal()
		r.OK(logical.DeleteOperation, "config", nil)
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.Keys()[0].ID)
		require.Len(t, r.Keys(), 1)
	})
}

// TestRotateRootLate creates the key only after the engine looked for it.
func TestRotateRootLate(t *testing.T) {
	r := newRotatable(t)
	r.Fault(control.Fault{Operation: "CreateAccessKey", Kind: control.FaultHang})
	_, err := r.rotate()
	requireStatus(t, 502, err)
	require.Len(t, r.walEntries(), 1, "the call may still take effect")
	r.Heal()
	r.PlantKey("vault", "AKIALATE", "s")
	require.NoError(t, r.rollBack())
	require.Equal(t, rootKey, r.requireOneKey())
}

// TestRootKeyWAL rolls back entries of a process that died.
func TestRootKeyWAL(t *testing.T) {
	put := func(r *rotatable, newKey string, created time.Time) {
		r.T.Helper()
		entry := map[string]any{"type": "root_key", "created_at": 1, "data": map[string]any{
			"user": "vault", "before": storedConfig(r.T, r.Mount), "new_key_id": newKey, "created": created,
		}}
		raw, err := json.Marshal(entry)
		require.NoError(r.T, err)
		require.NoError(r.T, r.storage.Put(r.T.Context(), &logical.StorageEntry{Key: "wal/x", Value: raw}))
	}

	t.Run("an entry from before the create changes nothing", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "", r.clock.Now())
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
	})
	t.Run("a key whose id was lost is identified by its age", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "", r.clock.Now())
		r.PlantKey("vault", "AKIALOST", "s")
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
	})
	for name, shift := range map[string]time.Duration{"younger": -time.Hour, "older": time.Hour} {
		t.Run("a key that is "+name+" than the rotation is not deleted", func(t *testing.T) {
			r := newRotatable(t)
			put(r, "", r.clock.Now().Add(shift))
			r.PlantKey("vault", "AKIATHEIRS", "s")
			require.NoError(t, r.rollBack())
			require.Len(t, r.Keys(), 2)
			require.Empty(t, r.walEntries())
		})
	}
	t.Run("the key in the config is never deleted", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "", r.clock.Now())
		r.PlantKey("vault", "AKIATHEIRS", "s")
		r.WriteOK("config", map[string]any{"aws_access_key_id": "AKIATHEIRS", "aws_secret_access_key": "s"})
		require.NoError(t, r.rollBack())
		require.Len(t, r.Keys(), 2)
	})
	t.Run("a new key that was not stored is deleted", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "AKIANEW", r.clock.Now().Add(-time.Hour))
		r.PlantKey("vault", "AKIANEW", "s")
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
	})
	t.Run("a new key that was stored stays and the old one is deleted", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "AKIANEW", r.clock.Now())
		r.PlantKey("vault", "AKIANEW", "s")
		r.WriteOK("config", map[string]any{"aws_access_key_id": "AKIANEW", "aws_secret_access_key": "s"})
		require.NoError(t, r.rollBack())
		require.Equal(t, "AKIANEW", r.requireOneKey())
	})
	t.Run("an entry that fails for a day is dropped", func(t *testing.T) {
		r := newRotatable(t)
		put(r, "AKIANEW", r.clock.Now())
		r.Deny("iam:DeleteAccessKey")
		require.ErrorContains(t, r.rollBack(), "iam:DeleteAccessKey")
		r.clock.advance(25 * time.Hour)
		require.NoError(t, r.rollBack())
		require.Empty(t, r.walEntries())
	})
	t.Run("an entry that cannot be read is dropped", func(t *testing.T) {
		r := newRotatable(t)
		require.NoError(t, r.storage.Put(t.Context(), &logical.StorageEntry{
			Key: "wal/x", Value: []byte(`{"type":"root_key","data":{"user":7},"created_at":1}`)}))
		require.NoError(t, r.rollBack())
		require.Empty(t, r.walEntries())
	})
}

func TestScheduledRootRotation(t *testing.T) {
	t.Run("a key is rotated by period", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "24h"})
		start := r.clock.Now()
		require.Equal(t, rfc3339(start.Add(24*time.Hour)), r.Read("config")["next_vault_rotation"])
		require.NotContains(t, r.Read("config"), "last_vault_rotation")

		r.clock.advance(24*time.Hour - time.Second)
		r.WriteOK("config", map[string]any{"max_retries": 1, "rotation_period": "24h"})
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey(), "it is not time yet")

		r.clock.advance(time.Second)
		require.NoError(t, r.rollBack())
		require.NotEqual(t, rootKey, r.requireOneKey())
		require.Equal(t, rfc3339(start.Add(24*time.Hour)), r.Read("config")["last_vault_rotation"])
		require.Equal(t, rfc3339(start.Add(48*time.Hour)), r.Read("config")["next_vault_rotation"])
		require.NoError(t, r.rollBack())
		require.Len(t, r.Calls().Of("CreateAccessKey"), 1)
	})

	t.Run("a key is rotated by schedule, only within the window", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": "1h"})
		due, err := time.Parse(time.RFC3339, r.Read("config")["next_vault_rotation"].(string))
		require.NoError(t, err)
		require.Equal(t, "03:00:00", due.UTC().Format(time.TimeOnly))

		r.clock.advance(due.Add(61 * time.Minute).Sub(r.clock.Now()))
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey(), "the window is over")
		require.Equal(t, rfc3339(due.Add(24*time.Hour)), r.Read("config")["next_vault_rotation"])

		r.clock.advance(due.Add(24*time.Hour + 59*time.Minute).Sub(r.clock.Now()))
		require.NoError(t, r.rollBack())
		require.NotEqual(t, rootKey, r.requireOneKey())
	})

	t.Run("disable_automated_rotation prevents rotations", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "1h", "disable_automated_rotation": true})
		require.NotContains(t, r.Read("config"), "next_vault_rotation")
		r.clock.advance(48 * time.Hour)
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
	})

	t.Run("a removed rotation_period prevents rotations", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "1h"})
		r.OK(logical.PatchOperation, "config", map[string]any{"rotation_period": nil})
		r.clock.advance(48 * time.Hour)
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
	})

	t.Run("a performance standby does not rotate", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "1h"})
		r.clock.advance(2 * time.Hour)
		r.System.ReplicationStateVal = consts.ReplicationPerformanceStandby
		_ = r.rollBack()
		require.Empty(t, r.Calls().Of("CreateAccessKey"))
	})

	t.Run("retries back off", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "24h"})
		r.Deny("iam:CreateAccessKey")
		r.clock.advance(24 * time.Hour)
		tries := func() int {
			require.NoError(t, r.rollBack())
			return len(r.Calls().Of("CreateAccessKey"))
		}
		require.Equal(t, 1, tries())
		require.Equal(t, 1, tries(), "not twice in the same minute")
		r.clock.advance(time.Minute)
		require.Equal(t, 2, tries())
		r.clock.advance(time.Minute)
		require.Equal(t, 2, tries())
		r.clock.advance(time.Minute)
		require.Equal(t, 3, tries())
		r.clock.advance(24 * time.Hour)
		require.Equal(t, 4, tries())
		r.Deny()
		r.clock.advance(time.Hour)
		require.Equal(t, 5, tries())
		require.NotEqual(t, rootKey, r.requireOneKey())
	})

	t.Run("an old key that cannot be deleted yet does not start another rotation", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "24h"})
		r.Deny("iam:DeleteAccessKey")
		r.clock.advance(24 * time.Hour)
		r.OK(logical.RollbackOperation, "", nil)
		r.clock.advance(time.Hour)
		r.OK(logical.RollbackOperation, "", nil)
		require.Len(t, r.Calls().Of("CreateAccessKey"), 1)
		r.Deny()
		require.NoError(t, r.rollBack())
		require.NotEqual(t, rootKey, r.requireOneKey())
	})

	t.Run("another access key restarts the period", func(t *testing.T) {
		r := newRotatable(t)
		r.WriteOK("config", map[string]any{"rotation_period": "24h"})
		_, err := r.rotate()
		require.NoError(t, err)
		r.clock.advance(time.Hour)
		r.WriteOK("config", map[string]any{"aws_access_key_id": "AKIAOTHER", "aws_secret_access_key": "s"})
		require.NotContains(t, r.Read("config"), "last_vault_rotation")
		require.Equal(t, rfc3339(r.clock.Now().Add(24*time.Hour)), r.Read("config")["next_vault_rotation"])
	})
}

func rfc3339(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// enterprise is the system view of a Vault with a rotation manager and identity tokens.
type enterprise struct {
	*logical.StaticSystemView
	jobs   map[string]*rotation.RotationJobConfigureRequest
	tokens int
	fails  error
}

func (e *enterprise) RegisterRotationJobWithResponse(_ context.Context, job *rotation.RotationJobConfigureRequest) (*rotation.RotationInfo, error) {
	if e.fails != nil {
		return nil, e.fails
	}
	e.jobs[job.MountPoint+job.ReqPath] = job
	return &rotation.RotationInfo{RotationID: "id", NextVaultRotation: time.Unix(2_000_000_000, 0)}, nil
}

func (e *enterprise) DeregisterRotationJob(_ context.Context, job *rotation.RotationJobDeregisterRequest) error {
	delete(e.jobs, job.MountPoint+job.ReqPath)
	return e.fails
}

func (e *enterprise) GenerateIdentityToken(_ context.Context, req *pluginutil.IdentityTokenRequest) (*pluginutil.IdentityTokenResponse, error) {
	if e.fails != nil {
		return nil, e.fails
	}
	e.tokens++
	return &pluginutil.IdentityTokenResponse{Token: pluginutil.IdentityToken("hush." + req.Audience + ".token"), TTL: req.TTL}, nil
}

// onEnterprise moves the mount to a Vault Enterprise.
func onEnterprise(r *rotatable) *enterprise {
	r.T.Helper()
	system := &enterprise{StaticSystemView: r.System, jobs: map[string]*rotation.RotationJobConfigureRequest{}}
	b, err := backend.Factory(backend.Options{Version: "v1.2.3", Now: r.clock.Now})(r.T.Context(), &logical.BackendConfig{
		Logger: hclog.NewNullLogger(), System: system,
	})
	require.NoError(r.T, err)
	r.Backend = b
	return system
}

func TestRotationManager(t *testing.T) {
	r := newRotatable(t)
	vault := onEnterprise(r)
	r.WriteOK("config", map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": "2h"})
	job := vault.jobs["cognito/config"]
	require.NotNil(t, job)
	require.Equal(t, "0 3 * * *", job.RotationSchedule)
	require.Equal(t, 2*time.Hour, job.RotationWindow)
	require.Equal(t, rfc3339(time.Unix(2_000_000_000, 0)), r.Read("config")["next_vault_rotation"])

	t.Run("the periodic task does not rotate if Vault has a rotation manager", func(t *testing.T) {
		ahead := time.Unix(2_000_000_000, 0).Add(time.Minute).Sub(r.clock.Now())
		r.clock.advance(ahead)
		require.NoError(t, r.rollBack())
		require.Equal(t, rootKey, r.requireOneKey())
		r.clock.advance(-ahead)
	})
	t.Run("the rotation manager rotates", func(t *testing.T) {
		r.OK(logical.RotationOperation, "config", nil)
		require.NotEqual(t, rootKey, r.requireOneKey())
	})
	t.Run("a failure is returned to the rotation manager", func(t *testing.T) {
		r.Deny("iam:CreateAccessKey")
		defer r.Deny()
		_, err := r.Request(t.Context(), logical.RotationOperation, "config", nil)
		require.ErrorContains(t, err, "iam:CreateAccessKey")
	})
	t.Run("an old key that cannot be deleted yet is not an error for the rotation manager", func(t *testing.T) {
		r.Deny("iam:DeleteAccessKey")
		r.OK(logical.RotationOperation, "config", nil)
		r.Deny()
		require.NoError(t, r.rollBack())
		r.requireOneKey()
	})
	t.Run("a failed registration refuses the write", func(t *testing.T) {
		vault.fails = errors.New("out of order")
		defer func() { vault.fails = nil }()
		_, err := r.Request(t.Context(), logical.UpdateOperation, "config", map[string]any{"rotation_window": "3h"})
		require.ErrorContains(t, err, "out of order")
		require.Equal(t, int64(7200), r.Read("config")["rotation_window"])
	})
	t.Run("deleting the config deregisters the rotation", func(t *testing.T) {
		r.OK(logical.DeleteOperation, "config", nil)
		require.Empty(t, vault.jobs)
	})
	t.Run("a Vault older than the SDK counts as one without a rotation manager", func(t *testing.T) {
		r := newRotatable(t)
		onEnterprise(r).fails = errors.New("rpc error: code = Unimplemented desc = unknown method RegisterRotationJobWithResponse for service pb.SystemView")
		r.WriteOK("config", map[string]any{"rotation_period": "1h"})
		r.clock.advance(time.Hour)
		require.NoError(t, r.rollBack())
		require.NotEqual(t, rootKey, r.requireOneKey())
	})
}

func TestWorkloadIdentityFederation(t *testing.T) {
	const mountRole, otherRole = "arn:aws:iam::123456789012:role/vault", "arn:aws:iam::210987654321:role/pools"
	r := newRotatable(t)
	vault := onEnterprise(r)
	r.WriteOK("config", map[string]any{
		"aws_access_key_id": "", "identity_token_audience": "aws", "identity_token_ttl": "10m", "aws_assume_role_arn": mountRole, "verify_connection": true,
	})
	require.Positive(t, vault.tokens)
	require.Equal(t, int64(600), r.Read("config")["identity_token_ttl"])

	t.Run("the role of the config is assumed with an identity token", func(t *testing.T) {
		require.NoError(t, r.Control.ResetCalls(t.Context()))
		r.Read("creds/ci")
		calls := r.Calls()
		require.Len(t, calls.Of("AssumeRoleWithWebIdentity"), 1)
		require.Equal(t, mountRole, calls.Of("AssumeRoleWithWebIdentity")[0].RoleARN)
		require.Empty(t, calls.Of("AssumeRole"))
		r.Read("creds/ci")
		require.Len(t, r.Calls().Of("AssumeRoleWithWebIdentity"), 1, "the credentials must be cached")
	})
	t.Run("the role of a role is assumed with the credentials of the config's role", func(t *testing.T) {
		r.WriteOK("roles/ci", map[string]any{"aws_assume_role_arn": otherRole})
		r.Read("creds/ci")
		require.Equal(t, otherRole, r.Calls().Of("AssumeRole")[0].RoleARN)
	})
	t.Run("a failed identity token is a 502", func(t *testing.T) {
		vault.fails = errors.New("out of order")
		defer func() { vault.fails = nil }()
		_, err := r.Request(t.Context(), logical.UpdateOperation, "config", map[string]any{"max_retries": 1})
		requireStatus(t, 502, err)
	})
	t.Run("a federated config has no access key to rotate", func(t *testing.T) {
		require.Contains(t, r.Refused(logical.UpdateOperation, "config/rotate-root", nil), "aws_access_key_id is not set")
	})
	t.Run("an access key and identity_token_audience are mutually exclusive", func(t *testing.T) {
		text := r.Refused(logical.UpdateOperation, "config", map[string]any{"aws_access_key_id": "A", "aws_secret_access_key": "s"})
		require.Contains(t, text, "mutually exclusive")
	})
}

func TestVerifyConnection(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(r *rotatable)
		data    map[string]any
		status  int
		says    string
	}{
		"AWS accepts":                {func(*rotatable) {}, nil, 0, ""},
		"AWS rejects the key":        {func(*rotatable) {}, map[string]any{"aws_access_key_id": "AKIABAD", "aws_secret_access_key": "hush-bad"}, 403, "InvalidClientTokenId"},
		"the role cannot be assumed": {func(*rotatable) {}, map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:role/closed"}, 403, "sts:AssumeRole"},
		"STS is unreachable":         {func(*rotatable) {}, map[string]any{"sts_endpoint": "http://127.0.0.1:1"}, 502, "connection refused"},
		"STS hangs":                  {func(r *rotatable) { r.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultHang}) }, nil, 502, "no answer in time"},
		"STS throttles": {func(r *rotatable) {
			r.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "Throttling"})
		}, nil, 429, "Throttling"},
		"verify_connection is false": {func(r *rotatable) { r.Fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultHang}) }, map[string]any{"verify_connection": false}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRotatable(t)
			require.NoError(t, r.Control.SetIAM(t.Context(), control.IAM{
				RejectedKeys: []string{"AKIABAD"}, Roles: map[string]control.Role{"arn:aws:iam::123456789012:role/closed": {Denied: true}},
			}))
			c.prepare(r)
			before := storedConfig(t, r.Mount)
			data := map[string]any{"verify_connection": true, "aws_role_session_name": "changed"}
			for field, value := range c.data {
				data[field] = value
			}
			_, err := r.Request(t.Context(), logical.UpdateOperation, "config", data)
			if c.status == 0 {
				require.NoError(t, err)
				require.Equal(t, "changed", r.Read("config")["aws_role_session_name"])
				require.NotContains(t, storedConfig(t, r.Mount), "verify_connection")
				return
			}
			requireStatus(t, c.status, err)
			require.ErrorContains(t, err, c.says)
			require.NotContains(t, err.Error(), "hush")
			require.Equal(t, before, storedConfig(t, r.Mount), "a refused write must change nothing")
		})
	}
}
