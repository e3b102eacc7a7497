// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import "time"

func (r *staticRole) timetable() timetable {
	return timetable{r.RotationPeriod, r.RotationSchedule, r.RotationWindow}
}

func (r *staticRole) validateSchedule() error {
	if r.RotationPeriod == 0 && r.RotationSchedule == "" {
		return requiredField("rotation_period", "how often to rotate, 60s at least; or give a rotation_schedule")
	}
	return r.timetable().validate()
}

// reschedule sets the next rotation, counted from now.
func (r *staticRole) reschedule(now time.Time) error {
	next, err := r.timetable().next(now)
	r.NextRotation = next
	return err
}

// nextAttempt returns when the engine will work on the role next. A rotation that has begun
// continues regardless of the window; a new one waits for it.
func (r *staticRole) nextAttempt(now time.Time) time.Time {
	if r.State == staticSetting || r.State == staticProving && r.isSecret() {
		return r.RetryAt
	}
	if r.State == staticProving && r.RetryAt.Before(r.NextRotation) {
		return r.RetryAt
	}
	at := r.NextRotation
	if r.RetryAt.After(at) {
		at = r.RetryAt
	}
	if !r.missed(latest(at, now)) {
		return at
	}
	next, err := r.timetable().next(latest(at, now))
	if err != nil {
		return at
	}
	return next
}

// due reports whether a new rotation may begin now.
func (r *staticRole) due(now time.Time) bool {
	return !now.Before(r.NextRotation) && !now.Before(r.RetryAt) && !r.missed(now)
}

// mayResume reports whether a rotation that has begun may be continued now.
func (r *staticRole) mayResume(now time.Time) bool {
	return (r.State == staticSetting || r.State == staticProving) && !now.Before(r.RetryAt)
}

// missed reports whether the window of the next rotation is over.
func (r *staticRole) missed(now time.Time) bool { return r.timetable().missed(r.NextRotation, now) }

// inWindow reports whether the schedule allows a change at Cognito now.
func (r *staticRole) inWindow(now time.Time) bool {
	return r.RotationWindow == 0 || !now.Before(r.NextRotation) && !r.missed(now)
}

// aheadOfClock reports whether the times of the role are too far ahead, because the clock was set
// back.
func (r *staticRole) aheadOfClock(now time.Time) bool {
	longest := retryStaticMax
	if r.State == staticSetting && !r.isSecret() {
		longest = signInWindow
	}
	next, err := r.timetable().next(now)
	return err == nil && r.NextRotation.After(next) || r.RetryAt.Sub(now) > longest
}

// wakeTime returns when the periodic task must process the role.
func (r *staticRole) wakeTime(now time.Time) time.Time {
	if r.aheadOfClock(now) {
		return now
	}
	at := r.nextAttempt(now)
	if end := r.NextRotation.Add(r.RotationWindow); r.RotationWindow != 0 && r.State != staticSetting && end.Before(at) {
		return end // the periodic task then schedules the next rotation
	}
	return at
}

// ttl returns the seconds until a newer value is expected: until the next attempt, and at least one
// second.
func (r *staticRole) ttl(now time.Time) int64 { return max(1, secondsUp(r.nextAttempt(now).Sub(now))) }

// period returns the time between two rotations, also for a schedule.
func (r *staticRole) period() time.Duration {
	if r.RotationSchedule == "" {
		return r.RotationPeriod
	}
	after, err := r.timetable().next(r.NextRotation)
	if err != nil {
		return 0
	}
	return after.Sub(r.NextRotation)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
