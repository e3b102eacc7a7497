// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito/ratelimit"
)

const (
	// UndoTimeout bounds the deletion of a user that could not be finished.
	UndoTimeout = 20 * time.Second
	// callTime is the part of a caller's time that is kept for the calls
	// themselves. The rest may be spent waiting for slots.
	callTime = 10 * time.Second
)

// UserRequest is everything that one issued user is made of.
type UserRequest struct {
	NewUser
	// Password is the permanent one. It must differ from the temporary one, or a
	// pool with a password history refuses it.
	Password string
	// Groups must exist in the pool.
	Groups []string
	// AppClient signs the user in. With an empty ID no tokens are issued, and
	// the password can only be set by AdminSetUserPassword.
	AppClient AppClient
	// NoTokens omits the sign-in, or its tokens.
	NoTokens bool
	// TOTP enrolls the user with an authenticator, which requires an app client.
	TOTP bool
}

// IssuedUser is a confirmed user in its groups, with the tokens of its first
// sign-in and its authenticator, if they were asked for.
type IssuedUser struct {
	User
	Tokens *Tokens
	TOTP   *TOTP
}

// LeftoverError wraps the failure of IssueUser if a user may be left in the
// pool although the attempt to delete it is over.
type LeftoverError struct {
	// Err is the failure that made it necessary to delete the user.
	Err error
	// Undo is why the deletion failed.
	Undo error
}

func (e *LeftoverError) Error() string { return e.Err.Error() }

// Unwrap returns the failure itself.
func (e *LeftoverError) Unwrap() error { return e.Err }

// IssueUser creates a user in three round trips: create it; set its password
// while it joins its groups; sign it in. It begins when all of them have their
// slots of the quotas: if these cannot be had before the deadline of ctx, it
// fails with KindThrottled and nothing was created.
//
// When ctx ends, no call is started any more. A user that was created and not
// finished is deleted before IssueUser returns, through the same connection and
// after all calls for it have ended. If that is not certain, the error is a
// *LeftoverError. IssueUser returns at the latest the sum of RequestTimeout and
// UndoTimeout after the end of ctx.
func (p *Pool) IssueUser(ctx context.Context, r UserRequest) (*IssuedUser, error) {
	issue := &userIssue{pool: p, request: r, byChallenge: r.AppClient.ID != "" && p.service.denials.recent(p.target, p.service.now())}
	slots, err := issue.reserve(ctx)
	if err != nil {
		return nil, err
	}
	defer slots.Release()
	return issue.run(uncut(slots.Use(ctx)))
}

// userIssue is the making of one user. Its methods follow in the order in
// which they are called.
type userIssue struct {
	pool    *Pool
	request UserRequest
	// byChallenge means that IAM denies setting the password, which is set
	// at the first sign-in then, as the user itself would do.
	byChallenge bool
	user        User
	// pending are the groups that the user has yet to join.
	pending []string
	reply   reply
	issued  IssuedUser
}

// reserve reserves a slot for every call.
func (i *userIssue) reserve(ctx context.Context) (*ratelimit.Reservation, error) {
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(callTime, time.Until(deadline)/2)))
		defer cancel()
	}
	s, target := i.pool.service, i.pool.target
	slots, err := s.reserve(ctx, s.limiterAccount(ctx, s.keyOf(target).assumeRoleARN, target.Region), i.needs())
	if err != nil {
		failure := fail(i.pool.step("creating user", i.request.Username), err)
		failure.Outcome = OutcomeRefused
		return nil, failure
	}
	return slots, nil
}

// needs returns how many requests of each quota category the user takes.
func (i *userIssue) needs() map[string]int {
	needs := map[string]int{userCreation: 1, userAccountRecovery: 1, userUpdate: len(i.request.Groups)}
	if i.byChallenge || i.signsIn() {
		needs[userAuthentication]++
	}
	if i.byChallenge {
		needs[challengeAnswers]++
	}
	if i.request.TOTP {
		needs[userResourceUpdate] += totpCalls
		needs[challengeAnswers]++
	}
	return needs
}

func (i *userIssue) signsIn() bool { return i.request.TOTP || !i.request.NoTokens }

// run makes the user, or undoes what it made.
func (i *userIssue) run(ctx context.Context) (*IssuedUser, error) {
	if err := i.create(ctx); err != nil {
		if OutcomeOf(err) == OutcomeRefused {
			return nil, err
		}
		// The user may have been made under the name that was asked for.
		return nil, i.undo(ctx, i.request.Username, err)
	}
	if err := i.finish(ctx); err != nil {
		return nil, i.undo(ctx, i.user.Username, err)
	}
	return &i.issued, nil
}

func (i *userIssue) create(ctx context.Context) (err error) {
	i.user, err = i.pool.CreateUser(ctx, i.request.NewUser)
	i.issued.User, i.pending = i.user, i.request.Groups
	return err
}

// undo deletes the user and returns the failure that made it necessary.
func (i *userIssue) undo(ctx context.Context, username string, failure error) error {
	ctx, cancel := undoContext(ctx)
	defer cancel()
	if err := i.pool.DeleteNewUser(ctx, username); err != nil {
		return &LeftoverError{failure, err}
	}
	return failure
}

// finish makes the created user usable.
func (i *userIssue) finish(ctx context.Context) error {
	if !i.byChallenge {
		if err := i.setPasswordAndGroups(ctx); err != nil {
			return err
		}
	}
	if i.byChallenge {
		return nameBothActions(i.finishByChallenge(ctx))
	}
	if !i.signsIn() {
		return nil
	}
	if err := i.signIn(ctx); err != nil {
		return err
	}
	return i.completeSignIn(ctx)
}

// setPasswordAndGroups sets the password while the user joins its groups. It
// turns to the challenge if IAM denies setting it and the app client allows that.
func (i *userIssue) setPasswordAndGroups(ctx context.Context) error {
	work, denied := newSiblings(ctx), false
	work.run(func(ctx context.Context) error {
		err := overLag(ctx, func() error { return i.pool.SetPassword(ctx, i.user.Username, i.request.Password) })
		if err != nil && KindOf(err) == KindDenied && i.request.AppClient.ID != "" {
			denied = true
			return nil
		}
		return err
	})
	i.joinGroups(work)
	if err := work.wait(); err != nil {
		return err
	}
	if denied {
		i.pool.service.denials.remember(i.pool.target, i.pool.service.now())
		i.byChallenge = true
	}
	return nil
}

func (i *userIssue) joinGroups(work *siblings) {
	for _, group := range i.pending {
		work.run(func(ctx context.Context) error {
			return overLag(ctx, func() error { return i.pool.AddToGroup(ctx, i.user.Username, group) })
		})
	}
	i.pending = nil
}

// finishByChallenge signs in with the temporary password and replaces it.
// Policies that were written for the older plugin allow no other way.
func (i *userIssue) finishByChallenge(ctx context.Context) error {
	if err := i.signInFirst(ctx); err != nil {
		return err
	}
	// Groups are read when tokens are made, so the response waits until the user is in all of them.
	if err := i.answerChallenge(ctx); err != nil {
		return err
	}
	if !i.signsIn() {
		return nil
	}
	return i.completeSignIn(ctx)
}

// signInFirst signs in with the temporary password while the user joins its groups.
func (i *userIssue) signInFirst(ctx context.Context) error {
	temporary := Login{Username: i.user.Username, Password: i.request.TemporaryPassword}
	work := newSiblings(ctx)
	work.run(func(ctx context.Context) error {
		return overLag(ctx, func() (err error) {
			i.reply, err = i.pool.startFirstSignIn(ctx, i.request.AppClient, temporary, i.request.ClientMetadata)
			return err
		})
	})
	i.joinGroups(work)
	return work.wait()
}

func (i *userIssue) answerChallenge(ctx context.Context) (err error) {
	i.reply, err = i.pool.finishFirstSignIn(ctx, i.request.AppClient, i.reply, i.login(), i.request.ClientMetadata)
	return err
}

// login is what the user is handed out with.
func (i *userIssue) login() Login {
	return Login{Username: i.user.Username, Password: i.request.Password}
}

func (i *userIssue) signIn(ctx context.Context) error {
	step := i.pool.step("signing in user", i.user.Username)
	return overLag(ctx, func() (err error) {
		i.reply, err = i.pool.initiate(ctx, step, i.request.AppClient, i.login(), i.request.ClientMetadata)
		return err
	})
}

// completeSignIn enrolls the authenticator, if there is to be one, and takes the tokens.
func (i *userIssue) completeSignIn(ctx context.Context) (err error) {
	if i.request.TOTP {
		i.issued.TOTP, i.reply, err = i.pool.enroll(ctx, i.user, i.request, i.reply)
		if err != nil {
			return err
		}
	}
	tokens, err := i.pool.tokens(i.pool.step("signing in user", i.user.Username), i.reply)
	if err != nil {
		return err
	}
	if !i.request.NoTokens {
		i.issued.Tokens = &tokens
	}
	return nil
}

// nameBothActions names the other IAM action that would do, if both ways to
// set a password are denied.
func nameBothActions(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == KindDenied && strings.Contains(e.Detail, "AdminRespondToAuthChallenge") {
		e.Detail += " (cognito-idp:AdminSetUserPassword, which would do as well, is denied too)"
	}
	return err
}
