// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/helper/automatedrotationutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/rotation"
)

const (
	// rootRotationTimeout leaves the other tasks of a tick some of their time.
	rootRotationTimeout = 45 * time.Second

	firstRootRetry  = time.Minute
	rarestRootRetry = time.Hour
)

// rootRetries spaces the tries of a scheduled rotation that fails. A new
// process may begin anew.
type rootRetries struct {
	mu       sync.Mutex
	failures int
	again    time.Time
}

func (r *rootRetries) mayTry(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.again)
}

// failed gives the time of the next try: after a minute, two, four, up to an hour.
func (r *rootRetries) failed(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := rarestRootRetry
	if r.failures < 6 {
		pause = firstRootRetry << r.failures
	}
	r.failures++
	r.again = now.Add(pause)
	return r.again
}

func (r *rootRetries) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures, r.again = 0, time.Time{}
}

// rotates reports whether the access key is to be rotated without being asked.
func (c *configEntry) rotates() bool {
	return c.HasNonzeroRotationValues() && !c.DisableAutomatedRotation
}

func (c *configEntry) timetable() timetable {
	return timetable{c.RotationPeriod, c.RotationSchedule, c.RotationWindow}
}

func (c *configEntry) validateRotation() error {
	if err := c.timetable().validate(); err != nil || !c.rotates() {
		return err
	}
	if err := c.mustHaveRootKey(); err != nil {
		return badRequest("rotation_period and rotation_schedule are of no use here: %s", err)
	}
	return nil
}

// plan says when the next rotation is due, counted from a point in time.
func (c *configEntry) plan(from time.Time) {
	c.NextVaultRotation = time.Time{}
	if !c.rotates() {
		return
	}
	if next, err := c.timetable().next(from); err == nil { // it was read before it was stored
		c.NextVaultRotation = next.UTC()
	}
}

// planAfter plans anew where a write changed the key or when to rotate it. Any
// other write must not put off a rotation.
func (c *configEntry) planAfter(before *configEntry, now time.Time) {
	sameKey := c.AccessKeyID == before.AccessKeyID
	if !sameKey {
		c.LastVaultRotation = time.Time{}
	}
	if !sameKey || c.AutomatedRotationParams != before.AutomatedRotationParams {
		c.plan(now)
	}
}

// rotateRootWhenDue is the periodic task for a Vault without a rotation
// manager of its own. Failures are logged here, once for each try.
func (b *backend) rotateRootWhenDue(ctx context.Context, req *logical.Request) error {
	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	b.rootTimes.Store(config.rotationTimes())
	now := b.now()
	if !config.rotates() || config.RotatedByVault || config.NextVaultRotation.IsZero() || now.Before(config.NextVaultRotation) {
		return nil
	}
	if config.timetable().missed(config.NextVaultRotation, now) {
		return b.skipRootRotation(ctx, req)
	}
	if !b.rootRetries.mayTry(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rootRotationTimeout)
	defer cancel()
	_, err = b.rotateRoot(ctx, req)
	b.logRootRotation(err)
	return nil
}

// skipRootRotation waits for the next time that is scheduled, because the
// window of this one is over.
func (b *backend) skipRootRotation(ctx context.Context, req *logical.Request) error {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	missed := config.NextVaultRotation
	config.plan(b.now())
	b.Logger().Warn("the root access key was not rotated within its window", "due", missed, "next_vault_rotation", config.NextVaultRotation)
	b.rootRetries.reset()
	return putJSON(ctx, req.Storage, configStoragePath, config)
}

func (b *backend) logRootRotation(err error) {
	var leftover *leftoverKeyError
	switch {
	case err == nil:
		b.rootRetries.reset()
		b.Logger().Info("the root access key was rotated")
	case errors.As(err, &leftover):
		b.rootRetries.reset()
		b.Logger().Warn("the root access key was rotated", "error", err)
	default:
		b.Logger().Error("the root access key could not be rotated", "error", err, "next_try", b.rootRetries.failed(b.now()))
	}
}

// rotateCredential is what Vault's rotation manager calls. It repeats a
// rotation that answers an error, so one that only left the old key behind
// must not.
func (b *backend) rotateCredential(ctx context.Context, req *logical.Request) error {
	_, err := b.rotateRoot(ctx, req)
	var leftover *leftoverKeyError
	if errors.As(err, &leftover) {
		b.Logger().Warn("the root access key was rotated", "error", err)
		return nil
	}
	return err
}

// registerRotation hands the schedule of a config to Vault's rotation manager,
// or takes it back. Where Vault has none, the periodic task rotates.
func (b *backend) registerRotation(ctx context.Context, req *logical.Request, config *configEntry) error {
	if !config.rotates() {
		return b.deregisterRotation(ctx, req, config)
	}
	info, err := b.System().RegisterRotationJobWithResponse(ctx, &rotation.RotationJobConfigureRequest{
		MountPoint:       req.MountPoint,
		ReqPath:          configStoragePath,
		RotationSchedule: config.RotationSchedule,
		RotationWindow:   config.RotationWindow,
		RotationPeriod:   config.RotationPeriod,
	})
	switch {
	case err == nil:
		config.RotatedByVault = true
		config.NextVaultRotation = info.NextVaultRotation
		return nil
	case unsupported(err, automatedrotationutil.ErrRotationManagerUnsupported):
		config.RotatedByVault = false
		return nil
	default:
		return fmt.Errorf("registering the rotation with Vault: %w", err)
	}
}

func (b *backend) deregisterRotation(ctx context.Context, req *logical.Request, config *configEntry) error {
	if !config.RotatedByVault {
		return nil
	}
	config.RotatedByVault = false
	err := b.System().DeregisterRotationJob(ctx, &rotation.RotationJobDeregisterRequest{
		MountPoint: req.MountPoint, ReqPath: configStoragePath,
	})
	if err != nil {
		return fmt.Errorf("taking the rotation back from Vault: %w", err)
	}
	return nil
}

// unsupported recognizes what this Vault cannot do: because it is not an
// Enterprise one, or because it is older than our SDK and does not know the
// call. Over the plugin boundary only the text of an error is left.
func unsupported(err, inCommunity error) bool {
	text := strings.ToLower(err.Error())
	for _, says := range []string{strings.ToLower(inCommunity.Error()), "unimplemented", "not implemented"} {
		if strings.Contains(text, says) {
			return true
		}
	}
	return false
}
