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
	// callTime is the part of a caller's time that is kept for the calls themselves. The rest may
	// be spent waiting for slots.
	callTime = 10 * time.Second
)

// UserRequest is everything that one issued user is made of.
type UserRequest struct {
	NewUser
	// Password is the permanent one. It must differ from the temporary one, or a pool with a
	// password history refuses it.
	Password string
	// Groups must exist in the pool.
	Groups []string
	// AppClient signs the user in. With an empty ID no tokens are issued, and the password can only
	// be set by AdminSetUserPassword.
	AppClient AppClient
	// NoTokens omits the sign-in, or its tokens.
	NoTokens bool
	// TOTP enrolls the user with an authenticator, which requires an app client.
	TOTP bool
}

// IssuedUser is a confirmed user in its groups, with the tokens of its first sign-in and its
// authenticator, if they were asked for.
type IssuedUser struct {
	User
	Tokens *Tokens
	TOTP   *TOTP
}

// LeftoverError wraps the failure of IssueUser if a user may be left in the pool, because the
// attempt to delete it failed.
type LeftoverError struct {
	// Err is the failure that made it necessary to delete the user.
	Err error
	// Undo is why the deletion failed.
	Undo error
}

func (e *LeftoverError) Error() string { return e.Err.Error() }

// Unwrap returns the failure itself.
func (e *LeftoverError) Unwrap() error { return e.Err }

// IssueUser creates a user in three round trips: it creates the user, sets its password while
// adding it to its groups, and signs it in. It first reserves slots of the rate limits for all
// calls. If they are not available before the deadline of ctx, it fails with KindThrottled and
// creates nothing.
//
// After the end of ctx no further call is started. If a later call fails, the user is deleted
// before IssueUser returns, through the same connection and after all its other calls have ended.
// If the deletion fails, the error is a *LeftoverError. IssueUser returns within RequestTimeout
// plus UndoTimeout after the end of ctx.
func (p *Pool) IssueUser(ctx context.Context, r UserRequest) (*IssuedUser, error) {
	issue := &userIssue{pool: p, request: r, byChallenge: r.AppClient.ID != "" && p.service.denials.recent(p.target, p.service.now())}
	slots, wait, err := issue.reserve(ctx)
	if err != nil {
		return nil, err
	}
	defer slots.Release()
	return issue.run(uninterrupted(wait.countIn(slots.Use(ctx))))
}

// userIssue is one call of IssueUser. Its methods stand in the order in which they are called.
type userIssue struct {
	pool    *Pool
	request UserRequest
	// byChallenge means that IAM denies AdminSetUserPassword. The password is then set by answering
	// the challenge of the first sign-in, as a user would do.
	byChallenge bool
	user        User
	// pending are the groups that the user has yet to join.
	pending []string
	reply   reply
	issued  IssuedUser
}

// reserve reserves a slot for every call.
func (i *userIssue) reserve(ctx context.Context) (*ratelimit.Reservation, *reservationWait, error) {
	if deadline, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(callTime, time.Until(deadline)/2)))
		defer cancel()
	}
	s, target := i.pool.service, i.pool.target
	slots, wait, err := s.reserve(ctx, s.limiterAccount(ctx, s.keyOf(target).assumeRoleARN, target.Region), i.needs())
	if err != nil {
		failure := fail(i.pool.step("creating user", i.request.Username), err)
		failure.Outcome = OutcomeRefused
		return nil, nil, failure
	}
	return slots, wait, nil
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

// run creates the user and makes it usable, or deletes it.
func (i *userIssue) run(ctx context.Context) (*IssuedUser, error) {
	if err := i.create(ctx); err != nil {
		if OutcomeOf(err) == OutcomeRefused {
			return nil, err
		}
		// The user may exist under the requested name.
		return nil, i.undo(ctx, i.request.Username, err)
	}
	if err := i.complete(ctx); err != nil {
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
	ctx, cancel := forUndo(ctx)
	defer cancel()
	if err := i.pool.DeleteNewUser(ctx, username); err != nil {
		return &LeftoverError{failure, err}
	}
	return failure
}

// complete makes the created user usable.
func (i *userIssue) complete(ctx context.Context) error {
	if !i.byChallenge {
		if err := i.setPasswordAndGroups(ctx); err != nil {
			return err
		}
	}
	if i.byChallenge {
		return nameBothActions(i.completeByChallenge(ctx))
	}
	if !i.signsIn() {
		return nil
	}
	if err := i.signIn(ctx); err != nil {
		return err
	}
	return i.completeSignIn(ctx)
}

// setPasswordAndGroups sets the password while the user is added to its groups. If IAM denies that
// and there is an app client, it sets byChallenge.
func (i *userIssue) setPasswordAndGroups(ctx context.Context) error {
	work, denied := newSiblings(ctx), false
	work.run(func(ctx context.Context) error {
		err := retryWhileUnknown(ctx, func() error { return i.pool.SetPassword(ctx, i.user.Username, i.request.Password) })
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
			return retryWhileUnknown(ctx, func() error { return i.pool.AddToGroup(ctx, i.user.Username, group) })
		})
	}
	i.pending = nil
}

// completeByChallenge signs in with the temporary password and replaces it. IAM policies that were
// written for the 2021 plugin allow no other way.
func (i *userIssue) completeByChallenge(ctx context.Context) error {
	if err := i.signInFirst(ctx); err != nil {
		return err
	}
	// Tokens contain the groups, so the challenge is answered when the user is in all of them.
	if err := i.answerChallenge(ctx); err != nil {
		return err
	}
	if !i.signsIn() {
		return nil
	}
	return i.completeSignIn(ctx)
}

// signInFirst signs in with the temporary password while the user is added to its groups.
func (i *userIssue) signInFirst(ctx context.Context) error {
	temporary := Login{Username: i.user.Username, Password: i.request.TemporaryPassword}
	work := newSiblings(ctx)
	work.run(func(ctx context.Context) error {
		return retryWhileUnknown(ctx, func() (err error) {
			i.reply, err = i.pool.startFirstSignIn(ctx, i.request.AppClient, temporary, i.request.ClientMetadata)
			return err
		})
	})
	i.joinGroups(work)
	return work.wait()
}

func (i *userIssue) answerChallenge(ctx context.Context) (err error) {
	i.reply, err = i.pool.answerFirstSignIn(ctx, i.request.AppClient, i.reply, i.login(), i.request.ClientMetadata)
	return err
}

// login returns the credentials that the user is returned with.
func (i *userIssue) login() Login {
	return Login{Username: i.user.Username, Password: i.request.Password}
}

func (i *userIssue) signIn(ctx context.Context) error {
	step := i.pool.step("signing in user", i.user.Username)
	return retryWhileUnknown(ctx, func() (err error) {
		i.reply, err = i.pool.initiate(ctx, step, i.request.AppClient, i.login(), i.request.ClientMetadata)
		return err
	})
}

// completeSignIn enrolls an authenticator, if one is requested, and reads the tokens of the
// sign-in.
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

// nameBothActions adds the other IAM action to the error, if both actions that set a password are
// denied.
func nameBothActions(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == KindDenied && strings.Contains(e.Detail, "AdminRespondToAuthChallenge") {
		e.Detail += " (cognito-idp:AdminSetUserPassword, which would do as well, is denied too)"
	}
	return err
}
