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
	// rootRotationTimeout bounds a scheduled rotation, which leaves time for the other tasks of a
	// tick.
	rootRotationTimeout = 45 * time.Second

	rootRetryFirst = time.Minute
	rootRetryMax   = time.Hour
)

// rootRetries delays the retries of a scheduled rotation. It is in memory only.
type rootRetries struct {
	mu       sync.Mutex
	failures int
	next     time.Time
}

func (r *rootRetries) allow(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !now.Before(r.next)
}

// backOff returns the time of the next retry: after one minute, then two, four, and so on, up to an
// hour.
func (r *rootRetries) backOff(now time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := rootRetryMax
	if r.failures < 6 {
		pause = rootRetryFirst << r.failures
	}
	r.failures++
	r.next = now.Add(pause)
	return r.next
}

func (r *rootRetries) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures, r.next = 0, time.Time{}
}

// rotates reports whether the access key is rotated on schedule.
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
	if err := c.requireRootKey(); err != nil {
		return badRequest("rotation_period and rotation_schedule are not allowed: %s", err)
	}
	return nil
}

// reschedule sets the time of the next rotation, counted from a time.
func (c *configEntry) reschedule(from time.Time) {
	c.NextVaultRotation = time.Time{}
	if !c.rotates() {
		return
	}
	if next, err := c.timetable().next(from); err == nil { // validated before it was stored
		c.NextVaultRotation = next.UTC()
	}
}

// rescheduleIfChanged sets the next rotation if a write changed the key or its schedule. Any other
// write must not postpone it.
func (c *configEntry) rescheduleIfChanged(before *configEntry, now time.Time) {
	sameKey := c.AccessKeyID == before.AccessKeyID
	if !sameKey {
		c.LastVaultRotation, c.MissedRotation = time.Time{}, time.Time{}
	}
	if !sameKey || c.AutomatedRotationParams != before.AutomatedRotationParams {
		c.reschedule(now)
	}
}

// rotateRootWhenDue is the periodic task for a Vault without a rotation manager. It logs failures,
// once per attempt.
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
	if !b.rootRetries.allow(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, rootRotationTimeout)
	defer cancel()
	_, err = b.rotateRoot(ctx, req)
	b.logRootRotation(err)
	return nil
}

// skipRootRotation schedules the next rotation, because the window of the present one is over.
func (b *backend) skipRootRotation(ctx context.Context, req *logical.Request) error {
	b.configMu.Lock()
	defer b.configMu.Unlock()

	config, err := getConfig(ctx, req.Storage)
	if err != nil {
		return err
	}
	missed := config.NextVaultRotation
	if config.MissedRotation.IsZero() {
		config.MissedRotation = missed
	}
	config.reschedule(b.now())
	b.Logger().Warn("rotation of the root access key was skipped, because its window is over", "due", missed, "next_vault_rotation", config.NextVaultRotation)
	b.rootRetries.reset()
	return b.putConfig(ctx, req.Storage, config)
}

func (b *backend) logRootRotation(err error) {
	var unfinished unfinishedRotationError
	switch {
	case err == nil:
		b.rootRetries.reset()
		b.Logger().Info("the root access key was rotated")
	case errors.As(err, &unfinished):
		// the next tick tries again
	default:
		b.Logger().Error("rotating the root access key failed", "error", err, "next_attempt", b.rootRetries.backOff(b.now()))
	}
}

// rotateCredential is called by Vault's rotation manager, which retries after an error.
func (b *backend) rotateCredential(ctx context.Context, req *logical.Request) error {
	_, err := b.rotateRoot(ctx, req)
	return err
}

// registerRotation registers the schedule of a config with Vault's rotation manager, or deregisters
// it. If Vault has no rotation manager, the periodic task rotates.
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
		return fmt.Errorf("deregistering the rotation from Vault: %w", err)
	}
	return nil
}

// unsupported reports whether this Vault lacks a feature: it is not Vault Enterprise, or it is
// older than the SDK. Errors are compared by text, because only the text crosses the plugin
// boundary.
func unsupported(err, inCommunity error) bool {
	text := strings.ToLower(err.Error())
	for _, says := range []string{strings.ToLower(inCommunity.Error()), "unimplemented", "not implemented"} {
		if strings.Contains(text, says) {
			return true
		}
	}
	return false
}
