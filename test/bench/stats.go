// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"math"
	"slices"
	"time"
)

// samples holds the measurements of one kind of request.
type samples struct {
	took []time.Duration
	// busy is how long the requests would have taken at the rate that was reached.
	busy time.Duration
	// calls to AWS.
	calls  int
	cpu    cpuTimes
	sorted bool
}

// add adds requests with their durations and busy time, as returned by drive.
func (t *samples) add(took []time.Duration, busy time.Duration) {
	t.took, t.sorted = append(t.took, took...), false
	t.busy += busy
}

// quantile returns the time that a share of the requests took at most, by the nearest rank.
func (t *samples) quantile(share float64) time.Duration {
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

func (t *samples) perSecond() float64 {
	if t.busy == 0 {
		return 0
	}
	return float64(len(t.took)) / t.busy.Seconds()
}

// each returns the share of a sum per request.
func (t *samples) each(sum float64) float64 {
	if len(t.took) == 0 {
		return 0
	}
	return sum / float64(len(t.took))
}
