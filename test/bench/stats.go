// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"math"
	"slices"
	"time"
)

// tally is what was measured of one kind of request.
type tally struct {
	took []time.Duration
	// busy is how long it would have taken to make as many requests at the rate that was reached.
	busy time.Duration
	// calls to AWS.
	calls  int
	cpu    cpuTimes
	sorted bool
}

// add takes in requests that took so long each, and busy all together, as drive gives them.
func (t *tally) add(took []time.Duration, busy time.Duration) {
	t.took, t.sorted = append(t.took, took...), false
	t.busy += busy
}

// quantile is the time that a share of the requests needed at most, by the nearest rank.
func (t *tally) quantile(share float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	if !t.sorted {
		slices.Sort(t.took)
		t.sorted = true
	}
	rank := int(math.Ceil(share * float64(len(t.took))))
	return t.took[max(rank, 1)-1]
}

func (t *tally) perSecond() float64 {
	if t.busy == 0 {
		return 0
	}
	return float64(len(t.took)) / t.busy.Seconds()
}

// each is a share of a sum for one request.
func (t *tally) each(sum float64) float64 {
	if len(t.took) == 0 {
		return 0
	}
	return sum / float64(len(t.took))
}
