// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const scaleMount = "many"

// scale is what a mount with many static roles needs.
type scale struct {
	Roles int
	// Start is the time from the reload of the plugin, with a new process, to the first answer of
	// static-creds.
	Start time.Duration
	// Queue is how long a write that needs the rotation queue waits until all static roles are
	// loaded.
	Queue time.Duration
	// Read is how long 16 clients took to read every static role once, each from storage.
	Read time.Duration
	// Memory is the memory of the plugin's process after its start, with the queue, and with all
	// roles cached.
	Started, Queued, Held int64
}

func measureScale(ctx context.Context, w *setup, roles int) (scale, error) {
	s := scale{Roles: roles}
	if err := w.setLatency(ctx, 0); err != nil {
		return s, err
	}
	if err := w.writeStaticRoles(ctx, roles); err != nil {
		return s, err
	}
	steps := []func() error{
		func() error { return clock(&s.Start, func() error { return w.restartPlugin(ctx) }) },
		func() error { return w.weigh(&s.Started) },
		func() error { return clock(&s.Queue, func() error { return w.needQueue(ctx) }) },
		func() error { return w.weigh(&s.Queued) },
		func() error { return clock(&s.Read, func() error { return w.readStaticRoles(ctx, roles) }) },
		func() error { return w.weigh(&s.Held) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return s, err
		}
	}
	return s, nil
}

func clock(took *time.Duration, do func() error) error {
	began := time.Now()
	err := do()
	*took = time.Since(began)
	return err
}

func staticName(i int) string { return fmt.Sprintf("role-%05d", i) }

// writeStaticRoles writes that many static roles with the passwords that the users have.
func (w *setup) writeStaticRoles(ctx context.Context, roles int) error {
	if err := w.client.write(ctx, "sys/mounts/"+scaleMount, map[string]any{"type": pluginName}); err != nil {
		return err
	}
	if err := w.client.write(ctx, scaleMount+"/config", w.config()); err != nil {
		return err
	}
	return each(ctx, roles, func(ctx context.Context, i int) error {
		if err := w.addUser(ctx, staticName(i)); err != nil {
			return err
		}
		return w.client.write(ctx, scaleMount+"/static-roles/"+staticName(i), map[string]any{
			"credential_type": "user_password", "user_pool_id": w.emulator.Seed.UserPoolID, "username": staticName(i),
			"skip_import_rotation": true, "password": "Bench-0123456789-0123456789-9876", "rotation_period": "24h",
		})
	})
}

// each calls a function for every number, sixteen at a time.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(crowds[len(crowds)-1])
	for i := range n {
		work.Go(func() error { return do(ctx, i) })
	}
	return work.Wait()
}

// restartPlugin returns with the first answer of the new process.
func (w *setup) restartPlugin(ctx context.Context) error {
	if err := w.client.write(ctx, "sys/plugins/reload/backend", map[string]any{"plugin": pluginName}); err != nil {
		return err
	}
	_, err := w.client.get(ctx, scaleMount+"/static-creds/"+staticName(0))
	return err
}

// needQueue writes a static role for a user that does not exist. The write is rejected after the
// queue was loaded, because the queue knows which users are owned.
func (w *setup) needQueue(ctx context.Context) error {
	err := w.client.write(ctx, scaleMount+"/static-roles/nobody", map[string]any{
		"credential_type": "user_password", "user_pool_id": w.emulator.Seed.UserPoolID, "username": "nobody", "rotation_period": "24h",
	})
	if err == nil {
		return errors.New("a static role of a user who is not there was not refused")
	}
	if !strings.Contains(err.Error(), "UserNotFoundException") {
		return err
	}
	return nil
}

func (w *setup) readStaticRoles(ctx context.Context, roles int) error {
	return each(ctx, roles, func(ctx context.Context, i int) error {
		return w.client.read(scaleMount + "/static-creds/" + staticName(i))(ctx)
	})
}

func (w *setup) weigh(bytes *int64) error {
	found, err := findProcesses(w)
	*bytes = residentMemory(found.engine)
	return err
}
