// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/rotation"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// shortestPeriod is the interval of the periodic function, which starts rotations.
const shortestPeriod = time.Minute

// timetable says when something is rotated: once per period, or by a cron expression in UTC, within
// a window if one is set. The zero timetable means never.
type timetable struct {
	period   time.Duration
	schedule string
	window   time.Duration
}

func (t timetable) validate() error {
	switch {
	case t.period != 0 && t.schedule != "":
		return badRequest("rotation_period and rotation_schedule are mutually exclusive: also write rotation_period=0 or an empty rotation_schedule")
	case t.period != 0 && t.period < shortestPeriod:
		return badRequest("rotation_period %q is not allowed: it must be %s or more", cognito.DurationText(t.period), cognito.DurationText(shortestPeriod))
	case t.window != 0 && t.schedule == "":
		return badRequest("rotation_window %q is not allowed without rotation_schedule", cognito.DurationText(t.window))
	case t.window != 0 && rotation.DefaultScheduler.ValidateRotationWindow(int(seconds(t.window))) != nil:
		return badRequest("rotation_window %q is not allowed: it must be 1h or more", cognito.DurationText(t.window))
	case hasTimeZone(t.schedule):
		return badRequest("rotation_schedule %q is not allowed: it must not name a time zone, because it is in UTC", t.schedule)
	}
	if next, err := t.next(time.Now()); t.schedule != "" && (err != nil || next.IsZero()) {
		return badRequest("rotation_schedule %q is not allowed: it must be a cron expression of five fields, in UTC, such as \"0 3 * * SAT\"", t.schedule)
	}
	return nil
}

// next returns the first rotation time after a time. It returns an error for a stored schedule that
// a write would refuse.
func (t timetable) next(after time.Time) (time.Time, error) {
	if t.schedule == "" {
		return after.Add(t.period), nil
	}
	if hasTimeZone(t.schedule) {
		return time.Time{}, errors.New("rotation_schedule has a time zone")
	}
	schedule, err := rotation.DefaultScheduler.Parse(t.schedule)
	if err != nil {
		return time.Time{}, errors.New("rotation_schedule cannot be parsed")
	}
	return schedule.Next(after.UTC()), nil
}

// missed reports whether the window of a rotation is over.
func (t timetable) missed(due, now time.Time) bool {
	return t.window != 0 && !now.Before(due.Add(t.window))
}

// hasTimeZone reports whether a schedule names a time zone. The parser panics on one that is only a
// time zone, "TZ=UTC".
func hasTimeZone(schedule string) bool { return strings.Contains(schedule, "=") }
