// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"vault-plugin-secrets-cognito/test/bench/watch"
)

// effort is what the plugin's process does for one read, including gRPC.
type effort struct {
	Objects, Bytes, CallsBack float64
}

// effortReads is the number of reads that an effort is averaged over.
var effortReads = map[kind]int{
	kindFloor: 1000, kindToken: 1000, kindPassword: 1000, kindSecret: 1000, kindUncached: 20, kindUser0: 20, kindUser2: 20, kindUser5: 20,
	kindFloorLease: 20, kindLent: 20, kindLentBare: 20,
}

// measureEfforts reads sequentially through the plugins that can be watched.
func measureEfforts(ctx context.Context, w *setup) (map[kind]effort, error) {
	m := &meter{setup: w}
	efforts := map[kind]effort{}
	for k, reads := range effortReads {
		found, err := m.effort(ctx, k, reads)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", titles[k], err)
		}
		efforts[k] = found
	}
	for _, lease := range append(m.leases.takeAll(), m.lent.takeAll()...) {
		if err := w.client.revoke(ctx, lease); err != nil {
			return nil, err
		}
	}
	return efforts, nil
}

func (m *meter) effort(ctx context.Context, k kind, reads int) (effort, error) {
	request := m.watchedRequest(k)
	if err := request(ctx); err != nil { // the first read fills the caches
		return effort{}, err
	}
	address, err := m.watchedAddress(k)
	if err != nil {
		return effort{}, err
	}
	before, err := countsAt(ctx, address)
	if err != nil {
		return effort{}, err
	}
	for range reads {
		if err := request(ctx); err != nil {
			return effort{}, err
		}
	}
	after, err := countsAt(ctx, address)
	if err != nil {
		return effort{}, err
	}
	each := func(now, then uint64) float64 { return float64(now-then) / float64(reads) }
	return effort{
		Objects: each(after.Objects, before.Objects), Bytes: each(after.Bytes, before.Bytes),
		CallsBack: float64(after.CallsBack-before.CallsBack) / float64(reads),
	}, nil
}

func (m *meter) watchedRequest(k kind) func(context.Context) error {
	path := pathOf(k, watchedMount)
	switch k {
	case kindUser0, kindUser2, kindUser5:
		return func(ctx context.Context) error { return m.issue(ctx, path) }
	case kindLent, kindLentBare:
		return func(ctx context.Context) error { return m.checkOut(ctx, watchedMount, k) }
	default:
		return m.client.read(path)
	}
}

func (w *setup) watchedAddress(k kind) (string, error) {
	name := watchedName
	if k == kindFloor || k == kindFloorLease {
		name = floorName
	}
	pids, err := w.vault.PluginPIDs(name)
	if err != nil {
		return "", err
	}
	if len(pids) != 1 {
		return "", fmt.Errorf("%s: %w: %d run", name, errNoProcess, len(pids))
	}
	return watch.Address(w.dir, pids[0])
}

func countsAt(ctx context.Context, address string) (watch.Counts, error) {
	var counts watch.Counts
	body, err := fetch(ctx, address+"/counts", "")
	if err != nil {
		return counts, err
	}
	defer body.Close()
	return counts, json.NewDecoder(body).Decode(&counts)
}

func fetch(ctx context.Context, url, token string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("GET %s: %s", req.URL.Path, resp.Status), resp.Body.Close())
	}
	return resp.Body, nil
}

// profileSeconds is the duration of a profile.
const profileSeconds = 5

// writeProfiles profiles the server and the plugin while 16 clients read.
func writeProfiles(ctx context.Context, w *setup, o options) error {
	if o.profiles == "" {
		return nil
	}
	if err := os.MkdirAll(o.profiles, 0o700); err != nil {
		return err
	}
	m := &meter{setup: w}
	for _, k := range []kind{kindFloor, kindToken, kindPassword, kindUser2} {
		if err := m.profile(ctx, k, o.profiles); err != nil {
			return fmt.Errorf("%s: %w", titles[k], err)
		}
	}
	return nil
}

func (m *meter) profile(ctx context.Context, k kind, dir string) error {
	address, err := m.watchedAddress(k)
	if err != nil {
		return err
	}
	seconds := fmt.Sprintf("?seconds=%d", profileSeconds)
	saved := make(chan error, 2)
	go func() {
		saved <- save(ctx, address+"/profile"+seconds, "", filepath.Join(dir, string(k)+"-plugin.pprof"))
	}()
	go func() {
		saved <- save(ctx, m.client.base+"sys/pprof/profile"+seconds, m.client.token, filepath.Join(dir, string(k)+"-vault.pprof"))
	}()
	_, _, err = drive(ctx, crowds[1], (profileSeconds+1)*time.Second, m.watchedRequest(k))
	err = errors.Join(err, <-saved, <-saved)
	for lease, left := m.leases.take(); left; lease, left = m.leases.take() {
		err = errors.Join(err, m.client.revoke(ctx, lease))
	}
	return err
}

func save(ctx context.Context, url, token, path string) (err error) {
	body, err := fetch(ctx, url, token)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, body)
	return err
}
