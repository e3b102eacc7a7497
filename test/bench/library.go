// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// setSizes has the number of users of each library set by mount. A slice of the measurement lends
// most of the users of the first mount.
var setSizes = map[string]int{engineMount: 500, watchedMount: 25}

// ownedUsers is the number of users that stay: those of two static roles and of all library sets.
var ownedUsers = 2 + len(lentKinds)*(setSizes[engineMount]+setSizes[watchedMount])

// prepareLimit is how long it may take to prepare the users of a set.
const prepareLimit = 5 * time.Minute

// awaitFree waits until all users of the sets of a mount are free.
func (w *setup) awaitFree(ctx context.Context, mount string) error {
	for _, k := range lentKinds {
		path := mount + "/library/" + string(k) + "/status"
		for began := time.Now(); ; <-time.After(20 * time.Millisecond) {
			status, err := w.client.get(ctx, path)
			if err != nil {
				return err
			}
			if free, isNumber := status.Data["available"].(float64); isNumber && int(free) == setSizes[mount] {
				break
			}
			if time.Since(began) > prepareLimit {
				return fmt.Errorf("%s: the users are not free: %v of %d are", path, status.Data["available"], setSizes[mount])
			}
		}
	}
	return nil
}

// checkOut borrows a user. It returns errNothingLeft if none is free.
func (m *meter) checkOut(ctx context.Context, mount string, k kind) error {
	var answer bytes.Buffer
	path := mount + "/library/" + string(k) + "/check-out"
	err := m.client.do(ctx, http.MethodPut, path, bytes.NewBufferString("{}"), &answer)
	if refused := (*refusal)(nil); errors.As(err, &refused) && refused.status == http.StatusConflict {
		return errNothingLeft
	}
	if err != nil {
		return err
	}
	var lent secret
	if err := json.Unmarshal(answer.Bytes(), &lent); err != nil {
		return err
	}
	if lent.LeaseID == "" || lent.Data["password"] == "" || (lent.Data["access_token"] != nil) != (k == kindLent) {
		return fmt.Errorf("%s: the answer lacks a lease, a password or tokens", path)
	}
	m.lent.add(lent.LeaseID)
	return nil
}

// atMost makes a request a number of times, so that a slice has as many as one of check-outs.
func atMost(number int, request func(context.Context) error) func(context.Context) error {
	var made atomic.Int64
	return func(ctx context.Context) error {
		if made.Add(1) > int64(number) {
			return errNothingLeft
		}
		return request(ctx)
	}
}

// lendAll measures leases and check-outs. What was lent is returned after each slice, without being
// measured and with AWS close by.
func (m *meter) lendAll(ctx context.Context, slice, latency time.Duration) error {
	for _, k := range append([]kind{kindFloorLease}, lentKinds...) {
		for _, clients := range crowds {
			if err := m.measure(ctx, subject{k, clients}, slice); err != nil {
				return err
			}
			if err := m.returnAll(ctx, latency); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *meter) returnAll(ctx context.Context, latency time.Duration) error {
	if err := m.setLatency(ctx, 0); err != nil {
		return err
	}
	ids := m.lent.takeAll()
	if err := each(ctx, len(ids), func(ctx context.Context, i int) error { return m.client.revoke(ctx, ids[i]) }); err != nil {
		return err
	}
	return errors.Join(m.awaitFree(ctx, engineMount), m.setLatency(ctx, latency))
}
