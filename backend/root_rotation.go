// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
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

	// rootCleanupTimeout bounds the work of a rotation after its request ended, and a roll-back.
	rootCleanupTimeout = 30 * time.Second

	// rootKeySlack is the tolerated difference between the clocks of AWS and Vault where a key is
	// identified by its creation time.
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
// The switch is a single write of the config. The roll-back deletes the old key minutes later: by
// then no request and no other node uses it, and the new key is known everywhere in AWS. The entry
// holds the config before the rotation, because a later write may change or delete the config.
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

// rotateRoot replaces the access key in the config and returns the id of the new key. At every
// moment AWS accepts the stored key.
//
// It holds configMu during calls to AWS, because it would overwrite a config that is written
// meanwhile. Requests do not wait for that lock: they use the cached connection.
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

// prepare reads the config and requires that its key is the only one of its IAM user. AWS allows no
// third key, and a new key whose id was lost could not be distinguished from another one.
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

// unfinishedRotationError is the error for a rotation while the previous one has a key to delete.
type unfinishedRotationError struct{ error }

func (e unfinishedRotationError) Unwrap() error { return e.error }

// refuseUnfinished returns an error if the previous rotation still has a key to delete.
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

// create stores the state before and after the call, so that a key whose id was lost is deleted.
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
	// The entry without the id is no longer needed, and would identify the key by its age only.
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

// regionsInUse returns the regions of all roles and static roles, except the region of the config.
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

// undo deletes a new key that is not used, even if the request has ended. If that fails, the
// roll-back repeats it.
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
	// If no key was found, the call to create one may still take effect later.
	r.b.Logger().Warn("a new access key that is not used may remain; the roll-back will look for it again", "user", r.wal.User, "error", err)
}

func mayHaveCreatedKey(wal rootKeyWAL, failure error) bool {
	var aws *cognito.Error
	return wal.NewKeyID != "" || errors.As(failure, &aws) && aws.Outcome == cognito.OutcomeUnknown
}

// switchTo stores the new key, even if the request has ended. Running requests keep the old key,
// which the roll-back deletes.
func (r *rootRotation) switchTo(ctx context.Context, key cognito.AccessKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootCleanupTimeout)
	defer cancel()

	now := r.b.now()
	config := r.wal.Before.withKey(key)
	config.LastVaultRotation, config.MissedRotation = now, time.Time{}
	config.reschedule(now)
	// Also after a failure, because the storage may have the new config.
	defer r.b.connections.Drop(configStoragePath)
	return r.b.putConfig(ctx, r.req.Storage, config)
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

// deleteWAL deletes the first n WAL entries of the rotation.
func (r *rootRotation) deleteWAL(ctx context.Context, n int) error {
	for range n {
		if err := framework.DeleteWAL(ctx, r.req.Storage, r.walIDs[0]); err != nil {
			return fmt.Errorf("deleting a WAL entry: %w", err)
		}
		r.walIDs = r.walIDs[1:]
	}
	return nil
}

// deleteAllWAL deletes all WAL entries of a rotation that was undone. An entry that remains is
// harmless.
func (r *rootRotation) deleteAllWAL(ctx context.Context) {
	if err := r.deleteWAL(ctx, len(r.walIDs)); err != nil {
		r.b.Logger().Warn("a WAL entry of a rotation that was undone is left to the roll-back", "error", err)
	}
}
