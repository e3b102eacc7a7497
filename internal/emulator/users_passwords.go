// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "time"

const (
	// freeAttempts is how many wrong passwords do not lock the user out.
	freeAttempts = 5
	// longestLockout is also the time without attempts after which earlier ones no longer count.
	longestLockout = 15 * time.Minute
)

// attempts counts wrong passwords. From the fifth on, each one doubles the time of the lock-out.
type attempts struct {
	wrong       int
	last        time.Time
	lockedUntil time.Time
}

func (a *attempts) locked(now time.Time) bool {
	return now.Before(a.lockedUntil)
}

func (a *attempts) fail(now time.Time) {
	if now.Sub(a.last) >= longestLockout {
		a.wrong = 0
	}
	a.wrong++
	a.last = now
	if a.wrong >= freeAttempts {
		a.lockedUntil = now.Add(lockout(a.wrong - freeAttempts))
	}
}

func lockout(doublings int) time.Duration {
	if doublings >= 10 {
		return longestLockout
	}
	return time.Second << doublings
}

// password returns the present password.
func (u *user) password() string {
	return u.passwords[0]
}

// checkPassword checks the password of a sign-in.
func (u *user) checkPassword(password string, now time.Time) error {
	return u.checkProof(password == u.password(), now)
}

// checkProof counts an attempt to sign in whose password was right or wrong. An expired temporary
// password looks like a wrong one.
func (u *user) checkProof(right bool, now time.Time) error {
	if !right {
		u.wrongSignIns = append(u.wrongSignIns, now.UTC())
	}
	if u.attempts.locked(now) {
		return notAuthorized("Password attempts exceeded")
	}
	expired := u.status == statusForceChangePassword && !now.Before(u.temporaryUntil)
	if !right || expired {
		u.attempts.fail(now)
		return incorrectPassword()
	}
	u.attempts = attempts{}
	return nil
}

func incorrectPassword() error {
	return notAuthorized("Incorrect username or password.")
}

// setPassword replaces the password if the pool's policy allows the new one.
func (r *request) setPassword(u *user, password string) error {
	policy := u.pool.settings.passwordPolicy()
	if err := policy.check(password); err != nil {
		return err
	}
	if err := policy.checkHistory(password, u.passwords); err != nil {
		return err
	}
	u.passwords = append([]string{password}, u.passwords...)
	u.modified = r.now
	r.countActive(u)
	return nil
}

type adminSetUserPasswordInput struct {
	userInput
	Password  string
	Permanent bool
}

// adminSetUserPassword does not end the user's sessions.
func (r *request) adminSetUserPassword(in adminSetUserPasswordInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	if err := r.setPassword(u, in.Password); err != nil {
		return nil, err
	}
	u.status = statusConfirmed
	u.recovery = recovery{}
	if !in.Permanent {
		u.status = statusForceChangePassword
		u.temporaryUntil = r.temporaryPasswordEnd(u.pool)
	}
	return empty{}, nil
}

type changePasswordInput struct {
	AccessToken      string
	PreviousPassword string
	ProposedPassword string
}

// changePassword changes the password of the user of an access token.
func (r *request) changePassword(in changePasswordInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	if err := u.checkPassword(in.PreviousPassword, r.now); err != nil {
		return nil, err
	}
	if err := r.setPassword(u, in.ProposedPassword); err != nil {
		return nil, err
	}
	return empty{}, nil
}
