// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// changeStaticRole changes all but what the role owns. A changed schedule
// counts from now.
func (b *backend) changeStaticRole(ctx context.Context, req *logical.Request, name string, role *staticRole, in input) error {
	if err := b.updateStatic(ctx, req, role, in, false); err != nil {
		return err
	}
	if in.has("rotation_period") || in.has("rotation_schedule") {
		if err := role.reschedule(b.now()); err != nil {
			return err
		}
	}
	defer b.staticTokens.drop(name)
	return b.putStaticRole(ctx, req.Storage, name, role)
}

func (b *backend) updateStatic(ctx context.Context, req *logical.Request, role *staticRole, in input, isNew bool) error {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return err
	}
	if err := role.update(in, isNew); err != nil {
		return err
	}
	if err := role.validate(aws.region); err != nil {
		return err
	}
	if role.PasswordPolicy != "" {
		_, err = b.newPasswordBy(ctx, role.PasswordPolicy)
	}
	return err
}

// onboard makes Vault the owner of what is at Cognito already.
func (b *backend) onboard(ctx context.Context, req *logical.Request, name string, in input) error {
	role := &staticRole{CredentialType: staticTypePassword}
	if err := b.updateStatic(ctx, req, role, in, true); err != nil {
		return err
	}
	skip, err := role.setPresentValue(in)
	if err != nil {
		return err
	}
	if err := b.loadQueue(ctx, req.Storage); err != nil {
		return err
	}
	if err := b.checkOwned(ctx, req, role); err != nil {
		return err
	}
	if err := b.queue.claim(name, role); err != nil {
		return err
	}
	if err := b.importValue(ctx, req, name, role, skip); err != nil {
		b.discardOnboarding(ctx, req, name, role)
		return err
	}
	b.sendEvent(ctx, "create", name)
	return nil
}

// setPresentValue reads the value that is in force now, where the write gives it.
func (r *staticRole) setPresentValue(in input) (skip bool, err error) {
	field := r.presentValueField()
	setField(in, field, &r.Value)
	setField(in, "skip_import_rotation", &skip)
	if r.Value == "" && (skip || r.SelfManaged) {
		return false, requiredField(field, "the present one, which Vault has to know for skip_import_rotation and self_managed")
	}
	return skip, nil
}

// checkOwned sees to it that a user is there and has a password of the pool's
// own. A self-managed one proves that by signing in.
func (b *backend) checkOwned(ctx context.Context, req *logical.Request, role *staticRole) error {
	if role.CredentialType == staticTypeSecret || role.SelfManaged {
		return nil
	}
	aws, err := b.connect(ctx, req)
	if err != nil {
		return err
	}
	pool, err := aws.Pool(ctx, role.target(aws.region))
	if err != nil {
		return err
	}
	user, err := pool.User(ctx, role.Username)
	if err != nil {
		return err
	}
	if user.Status == cognito.StatusExternalProvider {
		return badRequest("username %q is not allowed: the user signs in with another provider, and a password would end that", role.Username)
	}
	role.Username = user.Username
	return nil
}

// importValue rotates at once, or stores the present value as it is.
func (b *backend) importValue(ctx context.Context, req *logical.Request, name string, role *staticRole, skip bool) error {
	if !skip {
		return b.rotate(ctx, req, name, role)
	}
	if role.CredentialType == staticTypeSecret {
		setter, err := b.setterOf(ctx, req, role)
		if err != nil {
			return err
		}
		if _, err := setter.newValue(ctx); err != nil { // takes the secret's id over
			return err
		}
	}
	role.LastRotation = b.now()
	if err := role.reschedule(b.now()); err != nil {
		return err
	}
	return b.putStaticRole(ctx, req.Storage, name, role)
}

// discardOnboarding drops a role whose first rotation failed. When Cognito may have
// taken the new value all the same, the role stays, or the value would be lost.
func (b *backend) discardOnboarding(ctx context.Context, req *logical.Request, name string, role *staticRole) {
	if role.Pending != nil && role.Pending.Touched {
		b.Logger().Warn("a new static role was stored although its first rotation failed: the new value may be in force", "name", name)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotationTimeout)
	defer cancel()
	defer b.staticRoles.Drop(name)
	if err := req.Storage.Delete(ctx, staticRoleStoragePrefix+name); err != nil {
		b.Logger().Error("a static role whose first rotation failed could not be removed", "name", name, "error", err)
		return
	}
	b.queue.remove(name)
}
