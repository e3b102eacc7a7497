// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"strings"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/smithy-go"
)

// Verdict is what a sign-in shows about the password that it was made with.
type Verdict int

const (
	// VerdictUnclear means that Cognito did not compare the password, or that its
	// response is not known.
	VerdictUnclear Verdict = iota
	// VerdictRight means that it is the user's password.
	VerdictRight
	// VerdictWrong means that it is not the user's password, or that there is no such user.
	VerdictWrong
)

// VerdictOf returns what the error of TrySignIn shows about the password. A
// challenge comes after the password, so it proves the password.
func VerdictOf(err error) Verdict {
	var api smithy.APIError
	switch {
	case err == nil, IsChallenge(err):
		return VerdictRight
	case IsUserGone(err):
		return VerdictWrong
	case IsWrongPassword(err) && errors.As(err, &api) && strings.Contains(api.ErrorMessage(), "Incorrect username or password"):
		return VerdictWrong
	default:
		return VerdictUnclear
	}
}

// MayCountAsWrong reports whether Cognito may have counted the sign-in as one
// with a wrong password, after some of which it locks the user out.
func MayCountAsWrong(err error) bool {
	return err != nil && !IsChallenge(err) && (IsWrongPassword(err) || OutcomeOf(err) != OutcomeRefused)
}

// Session is a sign-in of a user whose password Vault owns.
type Session struct {
	// Tokens are empty if the user has a temporary password.
	Tokens Tokens
	// Sub and Username are those of the access token, or empty.
	Sub, Username string

	app   AppClient
	login Login
	// demand is the challenge to replace a temporary password.
	demand reply
}

// TrySignIn signs a user in with one attempt: after a lost response nothing is
// repeated, because Cognito may have counted a wrong password. self needs no
// IAM permission, but ALLOW_USER_PASSWORD_AUTH of the app client in place of
// ALLOW_ADMIN_USER_PASSWORD_AUTH.
func (p *Pool) TrySignIn(ctx context.Context, app AppClient, c Login, self bool) (Session, error) {
	step := p.step("signing in user", c.Username)
	answer, err := p.tryOnce(ctx, step, app, c, self)
	if err != nil {
		return Session{}, err
	}
	session := Session{app: app, login: c}
	if answer.challenge == types.ChallengeNameTypeNewPasswordRequired && self {
		session.demand = answer
		return session, nil
	}
	if session.Tokens, err = p.tokens(step, answer); err != nil {
		return Session{}, err
	}
	if claims, ok := readClaims(session.Tokens.AccessToken); ok {
		session.Sub, session.Username = claims.Subject, claims.Username
	}
	return session, nil
}

func (p *Pool) tryOnce(ctx context.Context, step string, app AppClient, c Login, self bool) (reply, error) {
	if self {
		return p.initiateSelf(ctx, step, app, c, nil)
	}
	return p.initiate(ctx, step, app, c, nil, p.once)
}

// ChangePassword lets the user of a session replace its own password, which
// requires no IAM permission. It also replaces a temporary password.
func (p *Pool) ChangePassword(ctx context.Context, s Session, password string) error {
	step := p.step("changing the password of user", s.login.Username)
	if s.demand.challenge != "" {
		return p.replaceTemporary(ctx, step, s, password)
	}
	_, err := p.api.ChangePassword(ctx, &cip.ChangePasswordInput{
		AccessToken: &s.Tokens.AccessToken, PreviousPassword: &s.login.Password, ProposedPassword: &password,
	}, p.once, unsigned)
	if err != nil {
		return fail(step, err, s.login.Password, password, s.Tokens.AccessToken)
	}
	return nil
}

func (p *Pool) replaceTemporary(ctx context.Context, step string, s Session, password string) error {
	_, err := p.api.RespondToAuthChallenge(ctx, &cip.RespondToAuthChallengeInput{
		ClientId:           &s.app.ID,
		ChallengeName:      s.demand.challenge,
		Session:            &s.demand.session,
		ChallengeResponses: s.app.authenticated(s.demand.username(s.login.Username), map[string]string{"NEW_PASSWORD": password}),
	}, p.once, unsigned)
	if err != nil {
		return fail(step, err, password, s.app.Secret, s.demand.session)
	}
	return nil
}
