// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// UndoTimeout bounds the deletion of a user whose making failed.
	UndoTimeout = 20 * time.Second
	// parallelWrites keeps below Cognito's limit of ten writes a second for one user.
	parallelWrites = 8
)

// UserRequest is everything that one issued user is made of.
type UserRequest struct {
	NewUser
	// Password is the permanent one. It must differ from the temporary one,
	// or a pool with a password history refuses it.
	Password string
	// Groups must exist in the pool.
	Groups []string
	// AppClient signs the user in. With an empty ID no tokens are issued, and
	// the password can only be set by AdminSetUserPassword.
	AppClient AppClient
	// NoTokens leaves the sign-in out, or its tokens.
	NoTokens bool
	// TOTP enrols the user with an authenticator, which takes an app client.
	TOTP bool
}

// IssuedUser is a confirmed user in its groups, with the tokens of its first
// sign-in and its authenticator where they were asked for.
type IssuedUser struct {
	User
	Tokens *Tokens
	TOTP   *TOTP
}

// LeftoverError wraps the failure of IssueUser when a user may be left in the
// pool although the attempt to delete it is over.
type LeftoverError struct {
	// Err is the failure that made it necessary to delete the user.
	Err error
	// Undo is why that did not work.
	Undo error
}

func (e *LeftoverError) Error() string { return e.Err.Error() }

// Unwrap gives the failure itself.
func (e *LeftoverError) Unwrap() error { return e.Err }

// IssueUser makes a user in three round trips: create it; set its password
// while it joins its groups; sign it in. A user that it made and could not
// finish is deleted before it returns, even when the caller has gone away;
// when that is not certain the error is a *LeftoverError.
func (p *Pool) IssueUser(ctx context.Context, r UserRequest) (*IssuedUser, error) {
	user, err := p.CreateUser(ctx, r.NewUser)
	if err != nil {
		return nil, p.undoCreate(ctx, r.Username, err)
	}
	issued, err := p.finish(ctx, user, r)
	if err != nil {
		return nil, p.undo(ctx, user.Username, err)
	}
	return issued, nil
}

// undoCreate deletes a user that an unsettled create may have made, by the
// name that was asked for. That there is none proves nothing yet: the create
// may still be on its way.
func (p *Pool) undoCreate(ctx context.Context, username string, failure error) error {
	if OutcomeOf(failure) == OutcomeRefused {
		return failure
	}
	return p.undo(ctx, username, failure)
}

// undo deletes a user and gives the failure that made it necessary.
func (p *Pool) undo(ctx context.Context, username string, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), UndoTimeout)
	defer cancel()
	if err := p.DeleteNewUser(ctx, username); err != nil {
		return &LeftoverError{failure, err}
	}
	return failure
}

// finish is all between the create and the answer.
func (p *Pool) finish(ctx context.Context, user User, r UserRequest) (*IssuedUser, error) {
	if r.AppClient.ID != "" && p.service.denials.recent(p.target, p.service.now()) {
		issued, err := p.finishByChallenge(ctx, user, r, r.Groups)
		return issued, nameBoth(err)
	}
	denied, err := p.prepare(ctx, user, r)
	if err != nil {
		return nil, err
	}
	if denied {
		issued, err := p.finishByChallenge(ctx, user, r, nil)
		return issued, nameBoth(err)
	}
	if r.NoTokens && !r.TOTP {
		return &IssuedUser{User: user}, nil
	}
	answer, err := p.signInNew(ctx, user, r)
	if err != nil {
		return nil, err
	}
	return p.signedIn(ctx, user, r, answer)
}

// nameBoth tells which other right would do, when neither way to set a
// password is allowed.
func nameBoth(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == KindDenied && strings.Contains(e.Detail, "AdminRespondToAuthChallenge") {
		e.Detail += " (cognito-idp:AdminSetUserPassword, which would do as well, is denied too)"
	}
	return err
}

// prepare sets the password while the user joins its groups. It reports
// whether IAM denies setting it and the app client can do so in another way.
func (p *Pool) prepare(ctx context.Context, user User, r UserRequest) (denied bool, err error) {
	work, ctx := together(ctx)
	work.Go(func() error {
		err := overLag(ctx, func() error { return p.SetPassword(ctx, user.Username, r.Password) })
		if err != nil && KindOf(err) == KindDenied && r.AppClient.ID != "" {
			denied = true
			return nil
		}
		return err
	})
	p.joinGroups(ctx, work, user, r.Groups)
	if err := work.Wait(); err != nil {
		return false, err
	}
	if denied {
		p.service.denials.remember(p.target, p.service.now())
	}
	return denied, nil
}

// finishByChallenge sets the password as the user itself would: it signs in
// with the temporary one and is told to choose another. Policies that were
// written for the older plugin allow no other way.
func (p *Pool) finishByChallenge(ctx context.Context, user User, r UserRequest, groups []string) (*IssuedUser, error) {
	var demand reply
	temporary := Credentials{Username: user.Username, Password: r.TemporaryPassword}
	work, workCtx := together(ctx)
	work.Go(func() error {
		return overLag(workCtx, func() (err error) {
			demand, err = p.startFirstSignIn(workCtx, r.AppClient, temporary, r.ClientMetadata)
			return err
		})
	})
	p.joinGroups(workCtx, work, user, groups)
	if err := work.Wait(); err != nil {
		return nil, err
	}
	// Groups are read when tokens are made, so the answer waits for all of them.
	answer, err := p.finishFirstSignIn(ctx, r.AppClient, demand, r.permanent(user), r.ClientMetadata)
	if err != nil {
		return nil, err
	}
	if r.NoTokens && !r.TOTP {
		return &IssuedUser{User: user}, nil
	}
	return p.signedIn(ctx, user, r, answer)
}

// permanent are the credentials that the user is handed out with.
func (r UserRequest) permanent(user User) Credentials {
	return Credentials{Username: user.Username, Password: r.Password}
}

// together starts work for one user; the first failure ends the rest.
func together(ctx context.Context) (*errgroup.Group, context.Context) {
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(parallelWrites)
	return work, ctx
}

func (p *Pool) joinGroups(ctx context.Context, work *errgroup.Group, user User, groups []string) {
	for _, group := range groups {
		work.Go(func() error {
			return overLag(ctx, func() error { return p.JoinGroup(ctx, user.Username, group) })
		})
	}
}

func (p *Pool) signInNew(ctx context.Context, user User, r UserRequest) (answer reply, err error) {
	err = overLag(ctx, func() error {
		answer, err = p.initiate(ctx, p.step("signing in user", user.Username), r.AppClient, r.permanent(user), r.ClientMetadata)
		return err
	})
	return answer, err
}

// signedIn turns Cognito's reply to the first sign-in into what was asked for.
func (p *Pool) signedIn(ctx context.Context, user User, r UserRequest, answer reply) (*IssuedUser, error) {
	issued := &IssuedUser{User: user}
	if r.TOTP {
		totp, enrolled, err := p.enrol(ctx, user, r, answer)
		if err != nil {
			return nil, err
		}
		issued.TOTP, answer = totp, enrolled
	}
	tokens, err := answer.tokens(p.step("signing in user", user.Username))
	if err != nil {
		return nil, err
	}
	if !r.NoTokens {
		issued.Tokens = &tokens
	}
	return issued, nil
}
