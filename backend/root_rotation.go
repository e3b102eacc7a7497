// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	walKindRootKey = "root_key"

	// rootCleanupTimeout bounds what a rotation still does after its caller
	// went away or one of its steps failed.
	rootCleanupTimeout = 30 * time.Second

	// rootKeySlack is how far AWS's clock and ours may differ when a key is
	// told from others by its age.
	rootKeySlack = time.Minute
)

// rootKeyWAL is written before an access key is made and once more when its id
// is known, and dropped when the user has one key again. It holds the config
// as it was, because that may change or go before a roll-back.
type rootKeyWAL struct {
	User     string      `json:"user"`
	Before   configEntry `json:"before"`
	NewKeyID string      `json:"new_key_id,omitempty"`
	Created  time.Time   `json:"created"`
}

// leftoverKeyError is a rotation that took place but for the end of the key
// that it replaced. The roll-back sees to that.
type leftoverKeyError struct{ err error }

func (e *leftoverKeyError) Error() string { return e.err.Error() }

func (e *leftoverKeyError) Unwrap() error { return e.err }

// rootRotation is one rotation on its way.
type rootRotation struct {
	b    *backend
	req  *logical.Request
	keys *cognito.AccessKeys
	wal  rootKeyWAL
	// walIDs are the entries of the rotation that are not dropped yet.
	walIDs []string
}

// rotateRoot replaces the access key of the config and gives the new one's id.
// At every moment the key in storage is one that AWS takes: the new one is
// stored when it is proven, and the old one deleted when that is done.
//
// It holds configMu while AWS answers, or a config written meanwhile would be
// overwritten. Only those who write the config wait for it: requests take the
// config from memory.
func (b *backend) rotateRoot(ctx context.Context, req *logical.Request) (string, error) {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	rotation, err := b.newRootRotation(ctx, req)
	if err != nil {
		return "", err
	}
	key, err := rotation.makeKey(ctx)
	if err != nil {
		return "", rotation.undo(ctx, err)
	}
	return key.ID, rotation.moveTo(ctx, key)
}

// newRootRotation changes nothing yet. It sees to it that the key to replace
// is the only one of its user: of two, AWS would allow no third, and the
// roll-back could not tell ours from the other.
func (b *backend) newRootRotation(ctx context.Context, req *logical.Request) (*rootRotation, error) {
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return nil, err
	}
	if err := config.mustHaveRootKey(); err != nil {
		return nil, err
	}
	keys, err := b.newService(req, config).AccessKeys(ctx)
	if err != nil {
		return nil, err
	}
	present, err := keys.List(ctx)
	if err != nil {
		return nil, err
	}
	if err := mustBeOnlyKey(keys.User(), config.AccessKeyID, present); err != nil {
		return nil, err
	}
	return &rootRotation{b: b, req: req, keys: keys, wal: rootKeyWAL{User: keys.User(), Before: *config}}, nil
}

func (c *configEntry) mustHaveRootKey() error {
	switch {
	case c.AccessKeyID == "":
		return badRequest("there is no access key to rotate: aws_access_key_id is not set in the config")
	case c.SessionToken != "":
		return badRequest("aws_access_key_id %q cannot be rotated: it is a temporary one, which ends by itself; only the access key of an IAM user can be", c.AccessKeyID)
	}
	return nil
}

func mustBeOnlyKey(user, own string, present []cognito.AccessKey) error {
	ids := make([]string, 0, len(present))
	for _, key := range present {
		ids = append(ids, key.ID)
	}
	switch {
	case len(present) > 1:
		return badRequest("IAM user %q has the access keys %s, as many as AWS allows: delete the one that is not aws_access_key_id %q; one that an unfinished rotation left behind goes by itself within minutes",
			user, strings.Join(ids, " and "), own)
	case len(present) == 0 || present[0].ID != own:
		return badRequest("aws_access_key_id %q is not among the access keys of IAM user %q", own, user)
	}
	return nil
}

// makeKey makes a key and proves it.
func (r *rootRotation) makeKey(ctx context.Context) (cognito.AccessKey, error) {
	r.wal.Created = r.b.now()
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
	// The entry without the id would have to guess which key it is about.
	if err := r.dropWAL(ctx, 1); err != nil {
		return cognito.AccessKey{}, err
	}
	return key, r.b.newService(r.req, r.wal.Before.withKey(key)).ProveAccessKey(ctx)
}

// undo deletes a key that was made in vain, even when the caller has gone
// away, and gives the failure that made it necessary. What cannot be settled
// now is left to the roll-back.
func (r *rootRotation) undo(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootCleanupTimeout)
	defer cancel()
	if !mayHaveMadeKey(r.wal, failure) {
		r.dropAllWAL(ctx)
		return failure
	}
	found, err := deleteNewKey(ctx, r.keys, r.wal, r.wal.Before.AccessKeyID)
	if found && err == nil {
		r.dropAllWAL(ctx)
		return failure
	}
	// No key may also mean that the call is still on its way.
	r.b.Logger().Warn("an access key that was made in vain may be left; the roll-back will look again", "user", r.wal.User, "error", err)
	return failure
}

func mayHaveMadeKey(wal rootKeyWAL, failure error) bool {
	var aws *cognito.Error
	return wal.NewKeyID != "" || errors.As(failure, &aws) && aws.Outcome == cognito.OutcomeUnknown
}

// moveTo stores the new key and deletes the old one. From here on it goes to
// the end even when the caller goes away.
func (r *rootRotation) moveTo(ctx context.Context, key cognito.AccessKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rootCleanupTimeout)
	defer cancel()

	now := r.b.now()
	config := r.wal.Before.withKey(key)
	config.LastVaultRotation = now
	config.plan(now)
	// Dropped even after a failure: the storage may have taken the config all
	// the same, and so neither key is deleted then. The roll-back decides by
	// what it finds stored.
	defer r.b.disconnect()
	if err := putJSON(ctx, r.req.Storage, configStoragePath, config); err != nil {
		return err
	}
	if err := r.b.deleteOldKey(ctx, r.req, config, r.wal); err != nil {
		return &leftoverKeyError{fmt.Errorf("the new access key %q is stored and in use, but the old one %q is not gone yet, which is tried again: %w",
			key.ID, r.wal.Before.AccessKeyID, err)}
	}
	r.dropAllWAL(ctx)
	return nil
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

// dropWAL drops the first n entries.
func (r *rootRotation) dropWAL(ctx context.Context, n int) error {
	for range n {
		if err := dropWAL(ctx, r.req.Storage, r.walIDs[0]); err != nil {
			return err
		}
		r.walIDs = r.walIDs[1:]
	}
	return nil
}

// dropAllWAL is for when all is settled: an entry that stays does no harm.
func (r *rootRotation) dropAllWAL(ctx context.Context) {
	if err := r.dropWAL(ctx, len(r.walIDs)); err != nil {
		r.b.Logger().Warn("a WAL entry of a finished rotation is left to the roll-back", "error", err)
	}
}

// deleteNewKey deletes the key that a rotation made and reports whether there
// was one, with the key that was to be replaced. It never deletes inUse.
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

// findNewKey finds a key whose id was lost with IAM's answer. There was one
// key before the rotation, so one that is not it and was made within the time
// of our one call can be nobody else's.
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

func (b *backend) deleteOldKey(ctx context.Context, req *logical.Request, config *configEntry, wal rootKeyWAL) error {
	keys, err := b.newService(req, config).AccessKeysOf(ctx, wal.User)
	if err != nil {
		return err
	}
	return keys.Delete(ctx, wal.Before.AccessKeyID)
}

// rollbackRootKey leaves the user with one key: the one that is stored. Where
// the new one was stored it goes forward and deletes the old one, else it goes
// back and deletes the new one.
func (b *backend) rollbackRootKey(ctx context.Context, req *logical.Request, data any) error {
	wal, err := decodeRootKeyWAL(data)
	if err != nil {
		b.Logger().Error("dropping a WAL entry that cannot be read; an IAM access key may be left", "error", err)
		return nil
	}
	// A rotation that is still running is waited for.
	b.configMu.Lock()
	defer b.configMu.Unlock()
	// An AWS that hangs must not take all the time of a tick.
	ctx, cancel := context.WithTimeout(ctx, rootCleanupTimeout)
	defer cancel()

	err = b.settleRootKey(ctx, req, wal)
	if err != nil && b.now().Sub(wal.Created) > walGiveUp {
		b.Logger().Error("giving up on an unfinished rotation; see to it by hand that the IAM user has no access key but the one in the config",
			"user", wal.User, "old", wal.Before.AccessKeyID, "new", wal.NewKeyID, "error", err)
		return nil
	}
	return err
}

func (b *backend) settleRootKey(ctx context.Context, req *logical.Request, wal rootKeyWAL) error {
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	if wal.NewKeyID != "" && config.AccessKeyID == wal.NewKeyID {
		return b.deleteOldKey(ctx, req, config, wal)
	}
	reach := &wal.Before
	if config.AccessKeyID != "" && !config.LastVaultRotation.Before(wal.Created) {
		reach = config // a later rotation has deleted the key of before
	}
	keys, err := b.newService(req, reach).AccessKeysOf(ctx, wal.User)
	if err != nil {
		return err
	}
	_, err = deleteNewKey(ctx, keys, wal, config.AccessKeyID)
	return err
}

func decodeRootKeyWAL(data any) (rootKeyWAL, error) {
	var wal rootKeyWAL
	raw, err := json.Marshal(data)
	if err != nil {
		return wal, errors.New("the WAL entry of a rotation is damaged")
	}
	// The decoder's own words might quote the secret.
	if json.Unmarshal(raw, &wal) != nil || wal.User == "" || wal.Before.AccessKeyID == "" {
		return wal, errors.New("the WAL entry of a rotation is damaged")
	}
	return wal, nil
}
