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

// ownedPassword has what admin-set and self-managed passwords share. A password is promoted as soon
// as Cognito has it, and proven after that.
type ownedPassword struct {
	*staticRotation
	signer *signer

	// proven is set if resolve signed in with the pending value.
	proven bool
}

func (p *ownedPassword) propose(ctx context.Context) (*pendingValue, error) {
	value, err := p.b.newPasswordBy(ctx, cmp.Or(p.role.PasswordPolicy, p.aws.passwordPolicy))
	pending := &pendingValue{Value: value}
	if p.role.State == staticSetting {
		pending.Earlier = p.role.Pending.Value
	}
	return pending, err
}

// afterSet promotes the password. A later failure is only a warning, because the old password is
// invalid already.
func (p *ownedPassword) afterSet(ctx context.Context) error {
	p.role.ProofDue, p.role.SignOutDue = p.role.AppClientID != "" && !p.proven, p.role.SignOutOnRotation
	next := staticIdle
	if p.role.ProofDue || p.role.SignOutDue {
		next = staticProving
	}
	if err := p.promote(ctx, next); err != nil || next == staticIdle {
		return err
	}
	if p.warning = p.completeProving(ctx); p.warning != nil {
		p.postpone(ctx, p.warning)
	}
	return nil
}

// completeProving proves the password and signs the user out of the sessions of the old password.
// The sign-out comes last, so that it also ends the session of the proof.
func (p *ownedPassword) completeProving(ctx context.Context) error {
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
		return p.reject(fmt.Errorf("the password that Vault set is not accepted any more, so it was changed by other means: %w", err))
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

// identify checks that the user who signed in is the one that the role owns. If the role has no sub
// yet, it stores the sub of the session: without IAM permissions only a sign-in returns it.
func (p *ownedPassword) identify(session cognito.Session) error {
	if p.role.Sub != "" || session.Sub == "" {
		return sameUser(p.role, cmp.Or(session.Sub, p.role.Sub))
	}
	known := *p.role
	known.Sub, known.CognitoUsername = session.Sub, session.Username
	if err := p.b.queue.claim(p.name, &known, p.b.now()); err != nil {
		return err
	}
	*p.role = known
	return nil
}

// sameUser returns an error if another user has the name of the user that the role owns.
func sameUser(role *staticRole, sub string) error {
	if role.Sub == "" || sub == "" || sub == role.Sub {
		return nil
	}
	return badRequest("user %q is not the one that the static role owns: its sub is %q and was %q", role.Username, sub, role.Sub)
}

// trySignIns finds out with one sign-in per value which of them is in force. It starts only if
// sign-ins with both values are allowed.
func (p *ownedPassword) trySignIns(ctx context.Context, cause error) (cognito.Outcome, error) {
	if p.role.AppClientID == "" || p.forReader {
		return cognito.OutcomeUnknown, cmp.Or(cause, errInDoubt)
	}
	if err := p.signer.requireLeft(ctx, signInsMax); err != nil {
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
		return cognito.OutcomeUnknown, p.reject(p.errNeitherAccepted())
	}
	verdict, _, err = p.signer.signIn(ctx, p.role.Value)
	switch verdict {
	case cognito.VerdictRight:
		return cognito.OutcomeRefused, cause
	case cognito.VerdictWrong:
		return cognito.OutcomeUnknown, p.reject(p.errNeitherAccepted())
	default:
		return cognito.OutcomeUnknown, cmp.Or(cause, err)
	}
}

// mayStillArrive reports whether a failed request may take effect later.
func mayStillArrive(err error) bool {
	return err != nil && cognito.OutcomeOf(err) == cognito.OutcomeUnknown
}

var errInDoubt = errors.New("it is not known whether Cognito has the old or the new password")

// errNeitherAccepted returns the error for a password that was changed by other means.
func (p *ownedPassword) errNeitherAccepted() error {
	if p.role.SelfManaged {
		return errors.New("neither the old nor the new password is accepted, so it was changed by other means: " + writePresentPassword)
	}
	return errors.New("neither the old nor the new password is accepted, so it was changed by other means: the next attempt sets another one")
}

const writePresentPassword = "write the present password to the field password of the static role"

// adminPassword is a password that the engine sets with AdminSetUserPassword.
type adminPassword struct{ ownedPassword }

// check reads the user and the app client. A value that cannot be read does not stop the rotation,
// because Cognito refuses what does not exist.
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

// set treats a refusal because of the password history after a lost response as success: the value
// is random, so only an earlier attempt of this call can have set it.
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

// resolve sets the same value again. Outside of rotation_window it signs in instead, if there is an
// app client.
func (p *adminPassword) resolve(ctx context.Context) (cognito.Outcome, error) {
	if !p.inWindow() && p.role.AppClientID != "" {
		return p.trySignIns(ctx, nil)
	}
	err := p.pool.ReplacePassword(ctx, p.role.user(), p.role.Pending.Value)
	switch {
	case err == nil:
		return cognito.OutcomeSucceeded, nil
	case cognito.IsUserGone(err):
		return cognito.OutcomeUnknown, p.reject(err)
	case p.role.AppClientID != "" && cognito.IsPasswordUsed(err):
		// The password was set. The proof finds out whether it was changed since.
		return cognito.OutcomeSucceeded, nil
	case p.role.AppClientID == "" && cognito.IsPasswordRefused(err):
		return p.setAnother(ctx)
	default:
		return p.trySignIns(ctx, err)
	}
}

// setAnother replaces a pending value that cannot be set again and that no sign-in can prove.
func (p *adminPassword) setAnother(ctx context.Context) (cognito.Outcome, error) {
	if err := p.begin(ctx); err != nil {
		return cognito.OutcomeUnknown, err
	}
	return p.set(ctx)
}

// selfManagedPassword is a password that the user changes with its own access token.
type selfManagedPassword struct{ ownedPassword }

// check returns an error if no sign-in is allowed now. set signs in before the change, so it finds
// what would make the proof fail.
func (p *selfManagedPassword) check(ctx context.Context) error { return p.signer.requireLeft(ctx, 1) }

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

// resolve signs in with both values, because only the user can change the password.
func (p *selfManagedPassword) resolve(ctx context.Context) (cognito.Outcome, error) {
	return p.trySignIns(ctx, nil)
}
