// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/rotation"
)

// shortestPeriod is how often Vault reminds the engine of its tasks.
const shortestPeriod = time.Minute

// timetable says when something is rotated: once in a period, or by a cron
// expression, in UTC, each time within a window if there is one. The zero one
// says never.
type timetable struct {
	period   time.Duration
	schedule string
	window   time.Duration
}

func (t timetable) validate() error {
	switch {
	case t.period != 0 && t.schedule != "":
		return badRequest("rotation_period and rotation_schedule exclude each other: set one of them to nothing")
	case t.period != 0 && t.period < shortestPeriod:
		return badRequest("rotation_period %q is not allowed: it must be %s or more", t.period, shortestPeriod)
	case t.window != 0 && t.schedule == "":
		return badRequest("rotation_window %q is not allowed without rotation_schedule", t.window)
	case t.window != 0 && rotation.DefaultScheduler.ValidateRotationWindow(int(seconds(t.window))) != nil:
		return badRequest("rotation_window %q is not allowed: it must be an hour or more", t.window)
	case hasTimeZone(t.schedule):
		return badRequest("rotation_schedule %q is not allowed: it must not name a time zone, because it is in UTC", t.schedule)
	}
	if next, err := t.next(time.Now()); t.schedule != "" && (err != nil || next.IsZero()) {
		return badRequest("rotation_schedule %q is not allowed: it must be a cron expression of five fields, in UTC, such as \"0 3 * * SAT\"", t.schedule)
	}
	return nil
}

// next is the first time after a point in time. The storage may hold a schedule
// that a write refuses.
func (t timetable) next(after time.Time) (time.Time, error) {
	if t.schedule == "" {
		return after.Add(t.period), nil
	}
	if hasTimeZone(t.schedule) {
		return time.Time{}, errors.New("the rotation_schedule has a time zone")
	}
	schedule, err := rotation.DefaultScheduler.Parse(t.schedule)
	if err != nil {
		return time.Time{}, errors.New("the rotation_schedule cannot be read")
	}
	return schedule.Next(after.UTC()), nil
}

// missed reports that the window which began when a rotation was due is over.
func (t timetable) missed(due, now time.Time) bool {
	return t.window != 0 && !now.Before(due.Add(t.window))
}

// hasTimeZone tells of a schedule what to refuse it for: of one that is a time
// zone and nothing else, "TZ=UTC", the parser panics.
func hasTimeZone(schedule string) bool { return strings.Contains(schedule, "=") }
