// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	walKindRootKey = "root_key"

	// rootCleanupTimeout bounds what a rotation still does after its request ended.
	rootCleanupTimeout = 30 * time.Second

	// rootKeySlack is how far the clocks of AWS and Vault may differ where a key is identified by
	// its age.
	rootKeySlack = time.Minute
)

// rootKeyWAL is the stored state of a rotation, together with the access key in the config:
//
//	state     stored                                      roll-back
//	creating  entry without NewKeyID                      finds a new key by its age and deletes it
//	proving   entry with NewKeyID, config has the old key deletes the new key
//	switched  entry with NewKeyID, config has the new key deletes the old key
//	done      no entry
//
// The switch is the one write of the config. The old key is deleted by the roll-back, which runs
// minutes after the switch: by then no request and no other node uses it, and all of AWS knows the
// new one. The entry holds the config before the rotation, because a later write may change or
// delete it.
type rootKeyWAL struct {
	User     string      `json:"user"`
	Before   configEntry `json:"before"`
	NewKeyID string      `json:"new_key_id,omitempty"`
	Created  time.Time   `json:"created"`
}

// rootRotation replaces the access key in the config. Its methods stand in the order in which they
// run.
type rootRotation struct {
	b    *backend
	req  *logical.Request
	keys *cognito.AccessKeys
	wal  rootKeyWAL
	// walIDs are the entries of the rotation that are not deleted yet.
	walIDs []string
}

// rotateRoot replaces the access key in the config and returns the new key's ID. At every moment
// AWS accepts the stored key.
//
// It holds configMu while AWS answers, because a config that is written meanwhile would be lost.
// Requests do not wait for it: they use the cached connection.
func (b *backend) rotateRoot(ctx context.Context, req *logical.Request) (id string, err error) {
	defer func() { b.metrics.rotated(rotationRootKey, err) }()
	b.configMu.Lock()
	defer b.configMu.Unlock()

	r := &rootRotation{b: b, req: req}
	if err := r.prepare(ctx); err != nil {
		return "", err
	}
	key, err := r.create(ctx)
	if err == nil {
		err = r.prove(ctx, key)
	}
	if err != nil {
		r.undo(ctx, err)
		return "", err
	}
	return key.ID, r.switchTo(ctx, key)
}

// prepare changes nothing. It requires that the key to replace is the only one of its IAM user: AWS
// allows no third key, and a lost new key could not be told from another one.
func (r *rootRotation) prepare(ctx context.Context) error {
	config, err := getConfig(ctx, r.req.Storage)
	if err != nil {
		return err
	}
	if err := config.requireRootKey(); err != nil {
		return err
	}
	if err := r.b.refuseUnfinished(ctx, r.req.Storage, config); err != nil {
		return err
	}
	if r.keys, err = r.b.newService(r.req, config).AccessKeys(ctx); err != nil {
		return err
	}
	present, err := r.keys.List(ctx)
	if err != nil {
		return err
	}
	r.wal = rootKeyWAL{User: r.keys.User(), Before: *config, Created: r.b.now()}
	return requireOnlyKey(r.keys.User(), config.AccessKeyID, present)
}

func (c *configEntry) requireRootKey() error {
	switch {
	case c.AccessKeyID == "":
		return badRequest("there is no access key to rotate: aws_access_key_id is not set in the config")
	case c.SessionToken != "":
		return badRequest("aws_access_key_id %q cannot be rotated: it is temporary and expires by itself; only the access key of an IAM user can be rotated", c.AccessKeyID)
	}
	return nil
}

// unfinishedRotationError refuses a rotation while the former one is not done.
type unfinishedRotationError struct{ error }

func (e unfinishedRotationError) Unwrap() error { return e.error }

// refuseUnfinished returns an error if the former rotation still has a key to delete.
func (b *backend) refuseUnfinished(ctx context.Context, s logical.Storage, config *configEntry) error {
	ids, err := framework.ListWAL(ctx, s)
	if err != nil {
		return fmt.Errorf("listing the WAL entries: %w", err)
	}
	for _, id := range ids {
		entry, err := framework.GetWAL(ctx, s, id)
		if err != nil {
			return fmt.Errorf("reading a WAL entry: %w", err)
		}
		if entry != nil && entry.Kind == walKindRootKey {
			return unfinishedRotationError{badRequest("aws_access_key_id %q cannot be rotated yet: the former rotation still has an access key to delete, which is done within %s; try again then",
				config.AccessKeyID, cognito.DurationText(2*b.WALRollbackMinAge))}
		}
	}
	return nil
}

func requireOnlyKey(user, own string, present []cognito.AccessKey) error {
	ids := make([]string, 0, len(present))
	for _, key := range present {
		ids = append(ids, key.ID)
	}
	switch {
	case len(present) > 1:
		return badRequest("IAM user %q has the access keys %s, as many as AWS allows: delete the one that is not aws_access_key_id %q",
			user, strings.Join(ids, " and "), own)
	case len(present) == 0 || present[0].ID != own:
		return badRequest("aws_access_key_id %q is not among the access keys of IAM user %q", own, user)
	}
	return nil
}

// create stores the state before and after the call, so that no answer that is lost leaves a key
// behind.
func (r *rootRotation) create(ctx context.Context) (cognito.AccessKey, error) {
	if err := r.putWAL(ctx); err != nil {
		return cognito.AccessKey{}, err
	}
	key, err := r.keys.Create(ctx)
	if err != nil {
		return cognito.AccessKey{}, err
	}
	r.wal.NewKeyID = key.ID
	if err := r.putWAL(ctx); err != nil {
		return cognito.AccessKey{}, err
	}
	// The entry without the ID is no longer needed, and would identify the key by its age only.
	return key, r.deleteWAL(ctx, 1)
}

// prove waits until AWS accepts the key in every region that the mount uses.
func (r *rootRotation) prove(ctx context.Context, key cognito.AccessKey) error {
	regions, err := r.b.regionsInUse(ctx, r.req.Storage, r.wal.Before.Region)
	if err != nil {
		return err
	}
	return r.b.newService(r.req, r.wal.Before.withKey(key)).ProveAccessKey(ctx, regions...)
}

// regionsInUse returns the regions of all roles and static roles other than the config's.
func (b *backend) regionsInUse(ctx context.Context, s logical.Storage, configRegion string) ([]string, error) {
	regions := map[string]bool{}
	roles, err := s.List(ctx, roleStoragePrefix)
	if err != nil {
		return nil, fmt.Errorf("listing the roles: %w", err)
	}
	for _, name := range roles {
		if role, err := b.role(ctx, s, name); err == nil && role != nil { // a damaged role is not used
			regions[role.target(configRegion).Region] = true
		}
	}
	static, err := s.List(ctx, staticRoleStoragePrefix)
	if err != nil {
		return nil, fmt.Errorf("listing the static roles: %w", err)
	}
	for _, name := range static {
		if role, err := b.staticRole(ctx, s, name); err == nil && role != nil {
			regions[role.target(configRegion).Region] = true
		}
	}
	delete(regions, configRegion)
	delete(regions, "")
	return slices.Sorted(maps.Keys(regions)), nil
}

// undo deletes a new key that is not used, even if the request has ended. What fails now is left to
// the roll-back.
func (r *rootRotation) undo(ctx context.Context, failure error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootCleanupTimeout)
	defer cancel()
	if !mayHaveCreatedKey(r.wal, failure) {
		r.deleteAllWAL(ctx)
		return
	}
	found, err := deleteNewKey(ctx, r.keys, r.wal, r.wal.Before.AccessKeyID)
	if found && err == nil {
		r.deleteAllWAL(ctx)
		return
	}
	// If no key was found, the call may still take effect later.
	r.b.Logger().Warn("a new access key that is not used may remain; the roll-back will look for it again", "user", r.wal.User, "error", err)
}

func mayHaveCreatedKey(wal rootKeyWAL, failure error) bool {
	var aws *cognito.Error
	return wal.NewKeyID != "" || errors.As(failure, &aws) && aws.Outcome == cognito.OutcomeUnknown
}

// switchTo stores the new key, even if the request has ended. Requests in flight keep the old one,
// which the roll-back deletes.
func (r *rootRotation) switchTo(ctx context.Context, key cognito.AccessKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootCleanupTimeout)
	defer cancel()

	now := r.b.now()
	config := r.wal.Before.withKey(key)
	config.LastVaultRotation = now
	config.plan(now)
	// After a failure, too: the storage may have taken the config.
	defer r.b.connections.Drop(configStoragePath)
	return putJSON(ctx, r.req.Storage, configStoragePath, config)
}

func (c *configEntry) withKey(key cognito.AccessKey) *configEntry {
	changed := *c
	changed.AccessKeyID, changed.SecretAccessKey = key.ID, key.Secret
	return &changed
}

func (r *rootRotation) putWAL(ctx context.Context) error {
	id, err := framework.PutWAL(ctx, r.req.Storage, walKindRootKey, r.wal)
	if err != nil {
		return fmt.Errorf("writing the WAL entry of a rotation: %w", err)
	}
	r.walIDs = append(r.walIDs, id)
	return nil
}

// deleteWAL deletes the first n entries.
func (r *rootRotation) deleteWAL(ctx context.Context, n int) error {
	for range n {
		if err := dropWAL(ctx, r.req.Storage, r.walIDs[0]); err != nil {
			return err
		}
		r.walIDs = r.walIDs[1:]
	}
	return nil
}

// deleteAllWAL deletes the entries of a rotation that was undone. An entry that remains does no
// harm.
func (r *rootRotation) deleteAllWAL(ctx context.Context) {
	if err := r.deleteWAL(ctx, len(r.walIDs)); err != nil {
		r.b.Logger().Warn("a WAL entry of a rotation that was undone is left to the roll-back", "error", err)
	}
}

// rollbackRootKey leaves the IAM user with the key that is stored: it deletes the old key if the
// new one was stored, and else the new key.
func (b *backend) rollbackRootKey(ctx context.Context, req *logical.Request, data any) error {
	wal, err := decodeRootKeyWAL(data)
	if err != nil {
		b.Logger().Error("dropping a WAL entry that cannot be read; an IAM access key may remain", "error", err)
		return nil
	}
	// Wait for a rotation that is running.
	b.configMu.Lock()
	defer b.configMu.Unlock()
	// An AWS that hangs must not use up the time of a tick.
	ctx, cancel := context.WithTimeout(ctx, rootCleanupTimeout)
	defer cancel()

	err = b.finishRootRotation(ctx, req, wal)
	if err != nil && b.now().Sub(wal.Created) > walGiveUp {
		b.Logger().Error("giving up on an unfinished rotation; delete every access key of the IAM user other than the one in the config",
			"user", wal.User, "old", wal.Before.AccessKeyID, "new", wal.NewKeyID, "error", err)
		return nil
	}
	return err
}

func decodeRootKeyWAL(data any) (rootKeyWAL, error) {
	var wal rootKeyWAL
	raw, err := json.Marshal(data)
	if err != nil {
		return wal, errors.New("the WAL entry of a rotation is damaged")
	}
	// The decoder's error might quote the secret.
	if json.Unmarshal(raw, &wal) != nil || wal.User == "" || wal.Before.AccessKeyID == "" {
		return wal, errors.New("the WAL entry of a rotation is damaged")
	}
	return wal, nil
}

func (b *backend) finishRootRotation(ctx context.Context, req *logical.Request, wal rootKeyWAL) error {
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	if wal.NewKeyID != "" && config.AccessKeyID == wal.NewKeyID {
		return b.deleteOldKey(ctx, req, config, wal)
	}
	current := &wal.Before
	if config.AccessKeyID != "" && !config.LastVaultRotation.Before(wal.Created) {
		current = config // a later rotation has deleted the former key
	}
	keys, err := b.newService(req, current).AccessKeysOf(ctx, wal.User)
	if err != nil {
		return err
	}
	_, err = deleteNewKey(ctx, keys, wal, config.AccessKeyID)
	return err
}

func (b *backend) deleteOldKey(ctx context.Context, req *logical.Request, config *configEntry, wal rootKeyWAL) error {
	keys, err := b.newService(req, config).AccessKeysOf(ctx, wal.User)
	if err != nil {
		return err
	}
	if err := keys.Delete(ctx, wal.Before.AccessKeyID); err != nil {
		return err
	}
	b.Logger().Info("the old root access key was deleted", "aws_access_key_id", wal.Before.AccessKeyID)
	return nil
}

// deleteNewKey deletes the key that a rotation created and reports whether there was one. It never
// deletes the key inUse.
func deleteNewKey(ctx context.Context, keys *cognito.AccessKeys, wal rootKeyWAL, inUse string) (found bool, err error) {
	id := wal.NewKeyID
	if id == "" {
		if id, err = findNewKey(ctx, keys, wal); err != nil {
			return false, err
		}
	}
	if id == "" || id == inUse {
		return false, nil
	}
	return true, keys.Delete(ctx, id)
}

// findNewKey returns the ID of a key whose answer was lost, or "". The user had one key before the
// rotation, so another one that was created during the engine's call is the engine's.
func findNewKey(ctx context.Context, keys *cognito.AccessKeys, wal rootKeyWAL) (string, error) {
	present, err := keys.List(ctx)
	if err != nil {
		return "", err
	}
	first := wal.Created.Add(-rootKeySlack)
	last := wal.Created.Add(wal.Before.requestTimeout() + rootKeySlack)
	for _, key := range present {
		if key.ID != wal.Before.AccessKeyID && key.Created.After(first) && key.Created.Before(last) {
			return key.ID, nil
		}
	}
	return "", nil
}
