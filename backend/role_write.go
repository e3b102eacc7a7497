// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// roleWrite is one write of a role. Its methods are called in their order. The role is locked.
type roleWrite struct {
	b    *backend
	req  *logical.Request
	name string
	in   input

	aws *connection
	// stored is the role before the write, or nil.
	stored *roleEntry
	role   *roleEntry
}

// load reads what is stored. A patch changes an existing role only.
func (w *roleWrite) load(ctx context.Context) (err error) {
	if w.stored, err = getRole(ctx, w.req.Storage, w.name); err != nil {
		return err
	}
	switch {
	case w.stored != nil:
		changed := *w.stored
		w.role = &changed
	case w.req.Operation == logical.PatchOperation:
		return notFound("role", w.name)
	default:
		w.role = &roleEntry{CredentialType: credentialTypeClientCredentials}
	}
	w.aws, err = w.b.connect(ctx, w.req)
	return err
}

// change applies the fields of the request. The role remembers where its users may be, and how long
// their leases may be.
func (w *roleWrite) change() error {
	before := w.target()
	if err := w.role.update(w.in); err != nil {
		return err
	}
	w.role.addFormerPool(before, w.target())
	if w.stored != nil {
		w.role.rememberMaxTTL(w.stored.longestTTL())
	}
	return nil
}

func (w *roleWrite) target() cognito.Target { return w.role.target(w.aws.region) }

// check refuses a role that cannot work, or that a library set could not use any more.
func (w *roleWrite) check(ctx context.Context) error {
	if err := w.b.refuseForSets(ctx, w.req.Storage, w.aws, w.name, w.req.MountPoint, w.stored, w.role); err != nil {
		return err
	}
	if err := w.role.validate(w.aws.region); err != nil {
		return err
	}
	return w.b.dryRunRole(ctx, w.aws, w.name, w.req.MountPoint, w.role)
}

// store stores the role. Caches drop it also after a failure, because the storage may have taken
// it.
func (w *roleWrite) store(ctx context.Context) error {
	defer func() {
		w.b.dropCachedRole(w.name)
		if w.stored != nil {
			w.b.refitLibraries(ctx, w.req, w.name)
		}
	}()
	return putRole(ctx, w.req.Storage, w.name, w.role)
}
