// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// refusedMax is how many new passwords one rotation offers to a pool that
	// refuses them.
	refusedMax = 3

	// retryStaticFirst and retryStaticMax bound the pause after a failed rotation.
	retryStaticFirst = 10 * time.Second
	retryStaticMax   = time.Hour
	// retryTouchedMax bounds it where nobody knows which of two values is in
	// force: until the next try, readers may get the one that is not.
	retryTouchedMax = time.Minute
)

// errRefused is a value that the pool does not take: only another one helps.
var errRefused = errors.New("the pool refused the value")

// secretSetter puts a pending value into force at Cognito and proves it. It is
// also called for a value that an earlier try may have put into force already,
// and has to find that out.
type secretSetter interface {
	// newValue makes a value. It changes nothing.
	newValue(ctx context.Context) (*pendingValue, error)
	// set puts the pending value into force. retried says that it was tried
	// before. An error that wraps errRefused asks for another value.
	set(ctx context.Context, role *staticRole, retried bool) error
}

// rotate replaces the value of a role: make a new one and store it as pending;
// set it; prove it; store it as the one. Whatever moment it dies at, the next
// try goes on with the same pending value. The caller holds the role's lock.
//
// A rotation goes to its end even when its caller goes away: cut short, it
// could leave a value in force that is not handed out before the next try.
func (b *backend) rotate(ctx context.Context, req *logical.Request, name string, role *staticRole) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotationTimeout)
	defer cancel()
	setter, err := b.setterOf(ctx, req, role)
	if err == nil {
		err = b.rollForward(ctx, req, name, role, setter)
	}
	if err != nil {
		b.noteStaticFailure(ctx, req, name, role, err)
		return err
	}
	b.sendEvent(ctx, "rotate", name)
	return nil
}

func (b *backend) rollForward(ctx context.Context, req *logical.Request, name string, role *staticRole, setter secretSetter) error {
	for refused := 0; ; refused++ {
		retried := role.Pending != nil
		if err := b.begin(ctx, req, name, role, setter); err != nil {
			return err
		}
		err := setter.set(ctx, role, retried)
		switch {
		case err == nil:
			return b.finishRotation(ctx, req, name, role)
		case errors.Is(err, errRefused) && refused < refusedMax-1:
			role.Pending = nil
		case errors.Is(err, errRefused):
			role.Pending = nil
			return err
		default:
			return err
		}
	}
}

// begin stores a new pending value before Cognito hears of it.
func (b *backend) begin(ctx context.Context, req *logical.Request, name string, role *staticRole, setter secretSetter) error {
	if role.Pending != nil {
		return nil
	}
	pending, err := setter.newValue(ctx)
	if err != nil {
		return err
	}
	role.Pending = pending
	if err := b.putStaticRole(ctx, req.Storage, name, role); err != nil {
		role.Pending = nil // whether or not it is stored, Cognito does not know it
		return err
	}
	return nil
}

// finishRotation makes the pending value the one that is handed out.
func (b *backend) finishRotation(ctx context.Context, req *logical.Request, name string, role *staticRole) error {
	finished := *role
	finished.Value, finished.Pending = role.Pending.Value, nil
	if role.Pending.ID != "" {
		finished.PreviousID, finished.SecretID = role.SecretID, role.Pending.ID
	}
	finished.LastRotation, finished.LastError, finished.Failures, finished.RetryAt = b.now(), "", 0, time.Time{}
	if err := finished.reschedule(b.now()); err != nil {
		return err
	}
	// Cognito has the value, so storing it must not fail for a caller who left.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotationTimeout)
	defer cancel()
	if err := b.putStaticRole(ctx, req.Storage, name, &finished); err != nil {
		return err
	}
	*role = finished
	b.dropMachineTokens(role)
	return nil
}

// noteStaticFailure keeps in the role why it failed and when to try again.
func (b *backend) noteStaticFailure(ctx context.Context, req *logical.Request, name string, role *staticRole, failure error) {
	pause := min(retryStaticFirst<<min(role.Failures, 16), retryStaticMax)
	if role.Pending != nil && role.Pending.Touched {
		pause = min(pause, retryTouchedMax)
	}
	role.LastError = failure.Error()
	role.RetryAt = b.now().Add(pause/2 + rand.N(pause/2)) //nolint:gosec // spreads roles out, hides nothing
	role.Failures++
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rotationTimeout)
	defer cancel()
	if err := b.putStaticRole(ctx, req.Storage, name, role); err != nil {
		b.Logger().Error("the failure of a rotation could not be stored", "name", name, "error", err)
	}
	b.sendEvent(ctx, "rotate-fail", name)
}

// sendEvent tells whoever subscribed to Vault's events. There may be nobody,
// or no events at all.
func (b *backend) sendEvent(ctx context.Context, what, name string) {
	err := logical.SendEvent(ctx, b, "cognito/static-role-"+what,
		logical.EventMetadataPath, staticRoleStoragePrefix+name,
		logical.EventMetadataDataPath, "static-creds/"+name,
		logical.EventMetadataOperation, what,
		logical.EventMetadataModified, "true",
		"name", name)
	if err != nil && !errors.Is(err, framework.ErrNoEvents) {
		b.Logger().Debug("an event was not sent", "event", what, "name", name, "error", err)
	}
}

func (b *backend) setterOf(ctx context.Context, req *logical.Request, role *staticRole) (secretSetter, error) {
	aws, err := b.connect(ctx, req)
	if err != nil {
		return nil, err
	}
	pool, err := aws.Pool(ctx, role.target(aws.region))
	if err != nil {
		return nil, err
	}
	password := func(ctx context.Context) (*pendingValue, error) {
		value, err := b.newPasswordBy(ctx, cmp.Or(role.PasswordPolicy, aws.passwordPolicy))
		return &pendingValue{Value: value}, err
	}
	switch {
	case role.CredentialType == staticTypeSecret:
		return &clientSecretSetter{pool: pool, aws: aws, role: role}, nil
	case role.SelfManaged:
		return &ownPasswordSetter{pool: pool, make: password}, nil
	default:
		return &passwordSetter{pool: pool, make: password}, nil
	}
}

// passwordSetter sets a user's password by the rights of the engine.
type passwordSetter struct {
	pool *cognito.Pool
	make func(context.Context) (*pendingValue, error)
}

func (s *passwordSetter) newValue(ctx context.Context) (*pendingValue, error) { return s.make(ctx) }

// set tells a password that an earlier try has set from one that the pool
// refuses by trying it; where no app client is known, another one settles it.
func (s *passwordSetter) set(ctx context.Context, role *staticRole, _ bool) error {
	err := s.pool.ReplacePassword(ctx, role.Username, role.Pending.Value)
	role.Pending.note(err)
	switch {
	case cognito.IsPasswordUsed(err) && role.AppClientID != "":
		proof := s.prove(ctx, role)
		if cognito.IsWrongPassword(proof) {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if proof != nil {
			return proof
		}
	case cognito.IsPasswordRefused(err):
		return fmt.Errorf("%w: %w", errRefused, err)
	case err != nil:
		return err
	}
	if role.SignOutOnRotation {
		if err := s.pool.SignOutUser(ctx, role.Username); err != nil {
			return err
		}
	}
	return s.prove(ctx, role)
}

// prove signs in, once. A challenge comes after the password, so it proves it.
func (s *passwordSetter) prove(ctx context.Context, role *staticRole) error {
	if role.AppClientID == "" {
		return nil
	}
	_, err := s.pool.SignIn(ctx, role.appClient(), cognito.Login{Username: role.Username, Password: role.Pending.Value}, nil)
	if cognito.IsChallenge(err) {
		return nil
	}
	return err
}

// ownPasswordSetter lets the user change its own password.
type ownPasswordSetter struct {
	pool *cognito.Pool
	make func(context.Context) (*pendingValue, error)
}

func (s *ownPasswordSetter) newValue(ctx context.Context) (*pendingValue, error) { return s.make(ctx) }

// set first asks whether an earlier try did it, because the old password would
// then be a wrong one, and Cognito locks out who offers those.
func (s *ownPasswordSetter) set(ctx context.Context, role *staticRole, retried bool) error {
	if retried {
		if done, err := s.inForce(ctx, role); done || err != nil {
			return err
		}
	}
	old := cognito.Login{Username: role.Username, Password: role.Value}
	err := s.pool.ChangeOwnPassword(ctx, role.appClient(), old, role.Pending.Value, nil)
	role.Pending.note(err)
	switch {
	case cognito.IsPasswordRefused(err):
		return fmt.Errorf("%w: %w", errRefused, err)
	case err != nil && cognito.KindOf(err) != cognito.KindUnavailable:
		return err
	}
	// Proves the change, or settles whether a lost answer stands for one.
	done, proof := s.inForce(ctx, role)
	if done {
		return nil
	}
	return cmp.Or(proof, err, errors.New("the new password was taken but does not let the user sign in"))
}

// inForce tells whether the pending password is the user's. A refusal is a
// clear no, a challenge a clear yes.
func (s *ownPasswordSetter) inForce(ctx context.Context, role *staticRole) (bool, error) {
	_, err := s.pool.SignInSelf(ctx, role.appClient(), cognito.Login{Username: role.Username, Password: role.Pending.Value}, nil)
	switch {
	case err == nil, cognito.IsChallenge(err):
		return true, nil
	case cognito.IsWrongPassword(err):
		return false, nil
	default:
		return false, err
	}
}

// currentStaticRole gives a role as it is when no rotation is under way: it
// waits for one, and finishes one that died half way, because until then the
// stored value may not be the one that Cognito takes.
func (b *backend) currentStaticRole(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	role, err := b.existingStaticRole(ctx, req, name)
	if err != nil {
		return nil, err
	}
	if role.CredentialType == staticTypeSecret && role.Value != "" {
		return role, nil // an app client's secret stays good while the next one comes
	}
	lock := b.queue.lock(name)
	lock.RLock()
	role, err = b.existingStaticRole(ctx, req, name)
	lock.RUnlock()
	if err == nil && role.Pending != nil && !b.now().Before(role.RetryAt) {
		role, err = b.resumeRotation(ctx, req, name)
	}
	if err == nil && role.Value == "" {
		err = badRequest("static role %q has no value yet: its first rotation has not succeeded: %s", name, role.LastError)
	}
	return role, err
}

func (b *backend) resumeRotation(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	lock := b.queue.lock(name)
	lock.Lock()
	defer lock.Unlock()
	role, err := getStaticRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, badRequest("there is no static role %q", name)
	}
	if role.Pending != nil && !b.now().Before(role.RetryAt) {
		if err := b.rotate(ctx, req, name, role); err != nil {
			b.Logger().Error("finishing the rotation of a static role failed", "name", name, "error", err)
		}
	}
	return role, nil
}
