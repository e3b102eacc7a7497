// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"vault-plugin-secrets-cognito/internal/check"
	"vault-plugin-secrets-cognito/internal/cognito"
)

// ownedPassword is what both kinds of passwords have in common: they are
// promoted as soon as Cognito has them, and proven after that.
type ownedPassword struct {
	*staticRotation
	signer *signer

	// proven is set if a sign-in with the pending value settled the rotation.
	proven bool
}

func (p *ownedPassword) propose(ctx context.Context) (*pendingValue, error) {
	value, err := p.newPasswordBy(ctx, cmp.Or(p.role.PasswordPolicy, p.aws.passwordPolicy))
	pending := &pendingValue{Value: value}
	if p.role.State == staticSetting {
		pending.Earlier = p.role.Pending.Value
	}
	return pending, err
}

// accept promotes the password. What fails after that is a warning, because the
// old password is of no use any more.
func (p *ownedPassword) accept(ctx context.Context) error {
	p.role.ProofDue, p.role.SignOutDue = p.role.AppClientID != "" && !p.proven, p.role.SignOutOnRotation
	next := staticIdle
	if p.role.ProofDue || p.role.SignOutDue {
		next = staticProving
	}
	if err := p.promote(ctx, next); err != nil || next == staticIdle {
		return err
	}
	if p.warning = p.finish(ctx); p.warning != nil {
		p.postpone(ctx, p.warning)
	}
	return nil
}

// finish proves the password and ends the sessions that the old one opened. The
// sign-out comes last, so that it also ends the session of the proof.
func (p *ownedPassword) finish(ctx context.Context) error {
	if p.forReader {
		return nil
	}
	proof := p.prove(ctx)
	signOut := p.signOut(ctx)
	if err := errors.Join(proof, signOut); err != nil {
		return err
	}
	if p.role.State == staticProving {
		p.role.State, p.role.LastError, p.role.Failures, p.role.RetryAt = staticIdle, "", 0, time.Time{}
	}
	return p.store(ctx)
}

func (p *ownedPassword) prove(ctx context.Context) error {
	if !p.role.ProofDue {
		return nil
	}
	verdict, session, err := p.signer.signIn(ctx, p.role.Value)
	switch verdict {
	case cognito.VerdictRight:
		p.role.ProofDue = false
		return p.identify(session)
	case cognito.VerdictWrong:
		return p.reject(fmt.Errorf("the password that Vault set is not accepted any more, so it was changed by somebody else: %w", err))
	default:
		return fmt.Errorf("the new password is set, but proving it failed: %w", err)
	}
}

func (p *ownedPassword) signOut(ctx context.Context) error {
	if !p.role.SignOutDue {
		return nil
	}
	if err := p.pool.SignOutUser(ctx, p.role.user()); err != nil {
		return fmt.Errorf("the new password is set, but the old sessions are not ended: %w", err)
	}
	p.role.SignOutDue = false
	return nil
}

// identify compares the user who signed in with the one that the role owns. Without
// IAM permissions only a sign-in names the user.
func (p *ownedPassword) identify(session cognito.Session) error {
	if p.role.Sub != "" || session.Sub == "" {
		return sameUser(p.role, cmp.Or(session.Sub, p.role.Sub))
	}
	known := *p.role
	known.Sub, known.CognitoUsername = session.Sub, session.Username
	if err := p.queue.claim(p.name, &known, p.now()); err != nil {
		return err
	}
	*p.role = known
	return nil
}

// sameUser refuses a user that was created under the name of the one that the role owns.
func sameUser(role *staticRole, sub string) error {
	if role.Sub == "" || sub == "" || sub == role.Sub {
		return nil
	}
	return badRequest("user %q is not the one that the static role owns: its sub is %q and was %q", role.Username, sub, role.Sub)
}

// ask finds out by one sign-in per value which of them is in force. It asks only
// if the sign-ins that are left suffice for both values.
func (p *ownedPassword) ask(ctx context.Context, cause error) (cognito.Outcome, error) {
	if p.role.AppClientID == "" || p.forReader {
		return cognito.OutcomeUnknown, cmp.Or(cause, errInDoubt)
	}
	if err := p.signer.mustHave(ctx, signInsMax); err != nil {
		return cognito.OutcomeUnknown, err
	}
	verdict, _, err := p.signer.signIn(ctx, p.role.Pending.Value)
	switch {
	case verdict == cognito.VerdictRight:
		p.proven = true
		return cognito.OutcomeSucceeded, nil
	case verdict == cognito.VerdictUnclear:
		return cognito.OutcomeUnknown, cmp.Or(cause, err)
	case mayStillArrive(cause):
		return cognito.OutcomeUnknown, cause
	case p.role.Value == "":
		return cognito.OutcomeUnknown, p.reject(p.errNeither())
	}
	verdict, _, err = p.signer.signIn(ctx, p.role.Value)
	switch verdict {
	case cognito.VerdictRight:
		return cognito.OutcomeRefused, cause
	case cognito.VerdictWrong:
		return cognito.OutcomeUnknown, p.reject(p.errNeither())
	default:
		return cognito.OutcomeUnknown, cmp.Or(cause, err)
	}
}

// mayStillArrive reports whether the request that failed may take effect later.
func mayStillArrive(err error) bool {
	return err != nil && cognito.OutcomeOf(err) == cognito.OutcomeUnknown
}

var errInDoubt = errors.New("it is not known whether Cognito has the old or the new password")

// errNeither is for a password that somebody else changed.
func (p *ownedPassword) errNeither() error {
	if p.role.SelfManaged {
		return errors.New("neither the old nor the new password is accepted, so it was changed by other means: " + writePresentPassword)
	}
	return errors.New("neither the old nor the new password is accepted, so it was changed by other means: the next attempt sets another one")
}

const writePresentPassword = "write the present password to the field password of the static role"

// adminPassword is set by IAM permissions of the engine.
type adminPassword struct{ ownedPassword }

// check reads the user and the app client. What cannot be read does not stop the
// rotation: Cognito refuses what is really missing.
func (p *adminPassword) check(ctx context.Context) error {
	subject, ok := p.role.subject(p.aws.region).(check.StaticPassword)
	if !ok {
		return nil
	}
	findings, user := subject.Precheck(ctx, p.pool)
	if failure, found := check.FirstFailure(findings); found {
		return badRequest("the password is not rotated: %s %s", failure.Detail, failure.Remedy)
	}
	return sameUser(p.role, user.Sub)
}

// set takes a refusal because of the password history after a lost response for
// success: the value is random, so only this call can have set it.
func (p *adminPassword) set(ctx context.Context) (cognito.Outcome, error) {
	err := p.pool.ReplacePassword(ctx, p.role.user(), p.role.Pending.Value)
	outcome := cognito.OutcomeOf(err)
	switch {
	case cognito.IsPasswordUsed(err) && outcome == cognito.OutcomeUnknown:
		return cognito.OutcomeSucceeded, nil
	case cognito.IsPasswordRefused(err) && outcome == cognito.OutcomeRefused:
		return outcome, fmt.Errorf("%w: %w", errValueRefused, err)
	default:
		return outcome, err
	}
}

// settle sets the same value again. Outside of rotation_window it only asks
// which value is in force, unless there is no app client to ask through.
func (p *adminPassword) settle(ctx context.Context) (cognito.Outcome, error) {
	if !p.inWindow() && p.role.AppClientID != "" {
		return p.ask(ctx, nil)
	}
	err := p.pool.ReplacePassword(ctx, p.role.user(), p.role.Pending.Value)
	switch {
	case err == nil:
		return cognito.OutcomeSucceeded, nil
	case cognito.IsUserGone(err):
		return cognito.OutcomeUnknown, p.reject(err)
	case p.role.AppClientID != "" && cognito.IsPasswordUsed(err):
		// It was set once. The proof finds out whether it was changed since.
		return cognito.OutcomeSucceeded, nil
	case p.role.AppClientID == "" && cognito.IsPasswordRefused(err):
		return p.setAnother(ctx)
	default:
		return p.ask(ctx, err)
	}
}

// setAnother replaces a pending value that cannot be set again, where nothing
// can prove that it is in force.
func (p *adminPassword) setAnother(ctx context.Context) (cognito.Outcome, error) {
	if err := p.begin(ctx); err != nil {
		return cognito.OutcomeUnknown, err
	}
	return p.set(ctx)
}

// selfManagedPassword is changed by the user itself.
type selfManagedPassword struct{ ownedPassword }

// check reads whether a sign-in is allowed. The sign-in before the change fails
// for every reason for which the proof after it would fail.
func (p *selfManagedPassword) check(ctx context.Context) error { return p.signer.mustHave(ctx, 1) }

func (p *selfManagedPassword) set(ctx context.Context) (cognito.Outcome, error) {
	verdict, session, err := p.signer.signIn(ctx, p.role.Value)
	switch {
	case verdict == cognito.VerdictWrong:
		return cognito.OutcomeUnknown, p.reject(fmt.Errorf("the password that Vault has is not accepted: %s: %w", writePresentPassword, err))
	case err != nil:
		return cognito.OutcomeRefused, err
	}
	if err := p.identify(session); err != nil {
		return cognito.OutcomeRefused, err
	}
	err = p.pool.ChangePassword(ctx, session, p.role.Pending.Value)
	if cognito.IsPasswordRefused(err) && cognito.OutcomeOf(err) == cognito.OutcomeRefused {
		err = fmt.Errorf("%w: %w", errValueRefused, err)
	}
	return cognito.OutcomeOf(err), err
}

// settle asks which value is in force, because only who knows the password can change it.
func (p *selfManagedPassword) settle(ctx context.Context) (cognito.Outcome, error) {
	return p.ask(ctx, nil)
}
