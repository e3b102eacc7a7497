// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// rollbackRootKey deletes the key that the config does not use: the old one after the switch, and
// else the new one.
func (b *backend) rollbackRootKey(ctx context.Context, req *logical.Request, data any) error {
	wal, err := decodeRootKeyWAL(data)
	if err != nil {
		b.Logger().Error("dropping a WAL entry that cannot be read; an IAM access key may remain", "error", err)
		return nil
	}
	// A running rotation holds the lock.
	b.configMu.Lock()
	defer b.configMu.Unlock()
	// A slow AWS must not use up the time of a tick.
	ctx, cancel := context.WithTimeout(ctx, rootCleanupTimeout)
	defer cancel()

	err = b.deleteUnusedKey(ctx, req, wal)
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
	// The error of the decoder might quote the secret.
	if json.Unmarshal(raw, &wal) != nil || wal.User == "" || wal.Before.AccessKeyID == "" {
		return wal, errors.New("the WAL entry of a rotation is damaged")
	}
	return wal, nil
}

func (b *backend) deleteUnusedKey(ctx context.Context, req *logical.Request, wal rootKeyWAL) error {
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	if wal.NewKeyID != "" && config.AccessKeyID == wal.NewKeyID {
		return b.deleteOldKey(ctx, req, config, wal)
	}
	current := &wal.Before
	if config.AccessKeyID != "" && !config.LastVaultRotation.Before(wal.Created) {
		current = config // a later rotation has deleted the previous key
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

// findNewKey returns the id of a key whose id was lost with the response, or "". The user had one
// key before the rotation, so another key that was created during the call is the engine's.
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
