// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errNothingLeft ends a client early without being a failure.
var errNothingLeft = errors.New("nothing is left to be done")

// clientLoad is the result of one client.
type clientLoad struct {
	took    []time.Duration
	elapsed time.Duration
	err     error
}

// drive runs clients that send requests one after the other for span. It returns how long each
// request took, and how long all of them would have taken at the rate that was reached. The rate is
// measured per client, so that a client does not count as idle while another finishes its last
// request.
func drive(ctx context.Context, clients int, span time.Duration, request func(context.Context) error) ([]time.Duration, time.Duration, error) {
	loads := make([]clientLoad, clients)
	var group sync.WaitGroup
	for i := range loads {
		group.Go(func() { loads[i] = repeat(ctx, span, request) })
	}
	group.Wait()
	return combine(loads)
}

// combine adds up the results of the clients.
func combine(loads []clientLoad) (took []time.Duration, busy time.Duration, err error) {
	rate := 0.0
	for _, load := range loads {
		took = append(took, load.took...)
		err = errors.Join(err, load.err)
		if load.elapsed > 0 {
			rate += float64(len(load.took)) / load.elapsed.Seconds()
		}
	}
	if rate > 0 {
		busy = time.Duration(float64(len(took)) / rate * float64(time.Second))
	}
	return took, busy, err
}

func repeat(ctx context.Context, span time.Duration, request func(context.Context) error) clientLoad {
	var load clientLoad
	begin := time.Now()
	for last := begin; last.Sub(begin) < span; {
		err := request(ctx)
		now := time.Now()
		if errors.Is(err, errNothingLeft) {
			return load
		}
		if err != nil {
			load.err = err
			return load
		}
		load.took = append(load.took, now.Sub(last))
		load.elapsed, last = now.Sub(begin), now
	}
	return load
}
