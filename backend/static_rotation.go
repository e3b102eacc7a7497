// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// The state machine of a static role. The state is stored with the role before
// and after each call that changes something at Cognito, and a read of the role
// shows it. A crash is an event like any other: the next process continues from
// what is stored.
//
//	state     what is certain
//	idle      nothing is under way; the value is in force, as far as Vault knows
//	setting   the new value is stored as pending; Cognito may have it or not
//	proving   Cognito has the new value; a password is returned already, a secret is not
//	rejected  Cognito accepts no value that Vault knows: somebody changed the password
//
//	state     event                                next      stored with it
//	idle      a rotation is due or asked for       setting   the pending value
//	rejected  as for idle                          setting   the pending value
//	proving   as for idle, password                setting   the pending value; the proof is still due if the set is refused
//	setting   the set succeeded, password          proving   pending becomes the value
//	setting   the set succeeded, secret            proving   the id that Cognito named
//	setting   the set was refused                  as before pending is dropped; last_error, retry_at
//	setting   the outcome is unknown               setting   last_error, retry_at
//	setting   settled: the new value is in force   proving   as for success
//	setting   settled: the old value is in force   idle      pending is dropped
//	setting   settled: neither is in force         rejected  pending is dropped
//	proving   password: proven, sessions ended     idle      no error
//	proving   password: proof or sign-out failed   proving   last_error, retry_at; the value stays the new one
//	proving   password: the proof says it is wrong rejected  last_error
//	proving   secret: a token was issued for it    idle      pending becomes the value
//	proving   secret: no token                     proving   last_error, retry_at; the value stays the old one
//	proving   secret: it was deleted meanwhile     idle      pending is dropped; last_error, retry_at
//	any       password written, and it is right    idle      the written value; pending is dropped
//
//	a crash                             leaves    and then
//	before the pending value is stored  idle      Cognito was not called: nothing happened
//	before, during or after the set     setting   the rotation is settled as after a lost response
//	after the promotion                 proving   proof and sign-out are made up for
//
// How each kind of value sets and settles:
//
//	password      AdminSetUserPassword. It is settled by setting the same value again,
//	              which is in force for certain after a success; a refusal because of the
//	              password history proves that it was set. Otherwise, and outside of
//	              rotation_window, a sign-in with each of both values decides.
//	self-managed  Sign-in with the old value, then ChangePassword. It is settled by a
//	              sign-in with the new value, and if that is wrong with the old one.
//	secret        AddUserPoolClientSecret. It is settled by a token for the new value. A
//	              secret is Vault's if the response to the add named its id, or if its
//	              value got a token after a lost response. No other one is deleted.
//
// Sign-ins that may be wrong are counted in static_sign_in.go: two in 15 minutes.

const (
	// valuesMax is how many values one attempt offers to a pool that refuses them.
	valuesMax = 3

	// retryStaticFirst and retryStaticMax bound the pause after a failed attempt.
	retryStaticFirst = 10 * time.Second
	retryStaticMax   = time.Hour
	// retrySettingMax bounds the pause while a password is in doubt.
	retrySettingMax = time.Minute

	// rotationTimeout bounds one attempt that a request makes.
	rotationTimeout = 30 * time.Second
	// storeTimeout bounds the storing of what became of an attempt.
	storeTimeout = 5 * time.Second
)

// errValueRefused is a value that the pool does not accept: another one may be accepted.
var errValueRefused = errors.New("the user pool refused the value")

// ownedValue is what differs between the kinds of values that Vault owns.
type ownedValue interface {
	// check returns what would certainly make the rotation fail.
	check(ctx context.Context) error
	// propose returns a new value. It changes nothing.
	propose(ctx context.Context) (*pendingValue, error)
	// set gives Cognito the pending value.
	set(ctx context.Context) (cognito.Outcome, error)
	// settle finds out what became of a set whose outcome is unknown. Refused means
	// that the old value is in force.
	settle(ctx context.Context) (cognito.Outcome, error)
	// accept continues once Cognito certainly has the pending value.
	accept(ctx context.Context) error
	// finish takes the steps that the state proving has still to take.
	finish(ctx context.Context) error
}

// staticRotation is one attempt to bring a static role to its next value. The caller
// holds the role's lock.
type staticRotation struct {
	*backend
	req  *logical.Request
	name string
	role *staticRole

	// demanded rotates regardless of the schedule.
	demanded bool
	// forReader settles what is in doubt, if that takes no sign-in, and begins nothing.
	forReader bool

	aws   *connection
	pool  *cognito.Pool
	value ownedValue

	// previous is the state in which the new value was begun.
	previous staticState
	// promoted is set once the role has a new value.
	promoted bool
	// warning is what failed after the promotion.
	warning error
}

// run makes the attempt. It ends when timeout is over, and not when the caller
// goes away: a rotation that is cut short leaves a password in doubt.
func (r *staticRotation) run(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := r.attempt(ctx)
	if r.promoted {
		r.metrics.rotated(r.role.CredentialType, nil)
	}
	if err != nil {
		r.metrics.rotated(r.role.CredentialType, err)
		r.postpone(ctx, err)
	}
	return err
}

func (r *staticRotation) attempt(ctx context.Context) error {
	if err := r.connect(ctx); err != nil {
		return err
	}
	if err := r.resume(ctx); err != nil || !r.wanted() {
		return err
	}
	return r.start(ctx)
}

// wanted reports whether a new rotation is to begin.
func (r *staticRotation) wanted() bool {
	if r.promoted || r.forReader {
		return false
	}
	return r.demanded || r.role.due(r.now())
}

func (r *staticRotation) connect(ctx context.Context) error {
	aws, err := r.backend.connect(ctx, r.req)
	if err != nil {
		return err
	}
	r.aws = aws
	if err := r.role.validate(aws.region); err != nil {
		return err // the entry is damaged, or the region is gone from the config
	}
	if r.pool, err = aws.Pool(ctx, r.role.target(aws.region)); err != nil {
		return err
	}
	password := ownedPassword{staticRotation: r, signer: r.newSigner(r.req.Storage, r.pool, r.role)}
	switch {
	case r.role.isSecret():
		r.value = &ownedSecret{staticRotation: r}
	case r.role.SelfManaged:
		r.value = &selfManagedPassword{password}
	default:
		r.value = &adminPassword{password}
	}
	return nil
}

// resume continues what an earlier attempt left unfinished.
func (r *staticRotation) resume(ctx context.Context) error {
	switch {
	case r.role.State == staticSetting:
		outcome, err := r.value.settle(ctx)
		return r.conclude(ctx, outcome, err)
	case r.role.State == staticProving && (r.role.isSecret() || !r.wanted()):
		return r.value.finish(ctx)
	default:
		return nil
	}
}

// start makes a new value. A value that the pool refuses is replaced by another.
func (r *staticRotation) start(ctx context.Context) error {
	if err := r.value.check(ctx); err != nil {
		return err
	}
	for tried := 1; ; tried++ {
		if err := r.begin(ctx); err != nil {
			return err
		}
		outcome, err := r.value.set(ctx)
		err = r.conclude(ctx, outcome, err)
		if !errors.Is(err, errValueRefused) || tried == valuesMax {
			return err
		}
	}
}

// begin stores a new pending value before Cognito is called.
func (r *staticRotation) begin(ctx context.Context) error {
	pending, err := r.value.propose(ctx)
	if err != nil {
		return err
	}
	before := *r.role
	r.previous = before.State
	r.role.State, r.role.Pending, r.role.RetryAt = staticSetting, pending, time.Time{}
	if err := r.store(ctx); err != nil {
		*r.role = before // whether or not it is stored, Cognito does not have it
		return err
	}
	return nil
}

// conclude turns the outcome of a set into the next state.
func (r *staticRotation) conclude(ctx context.Context, outcome cognito.Outcome, err error) error {
	switch outcome {
	case cognito.OutcomeSucceeded:
		return r.value.accept(ctx)
	case cognito.OutcomeRefused:
		return r.keep(ctx, err)
	default:
		return err
	}
}

// keep drops the pending value. The failure, if there is one, is stored by the caller.
func (r *staticRotation) keep(ctx context.Context, failure error) error {
	earlier := r.role.Pending.Earlier
	r.role.State, r.role.Pending = r.unchanged(), nil
	if failure == nil {
		return r.store(ctx)
	}
	if earlier != "" {
		r.role.State, r.role.Pending = staticSetting, &pendingValue{Value: earlier}
	}
	return failure
}

// unchanged returns the state of a role whose value stays.
func (r *staticRotation) unchanged() staticState {
	switch {
	case r.previous == staticRejected:
		return staticRejected
	case r.role.ProofDue || r.role.SignOutDue:
		return staticProving
	default:
		return staticIdle
	}
}

// promote makes the pending value the one that is returned.
func (r *staticRotation) promote(ctx context.Context, next staticState) error {
	promoted := *r.role
	promoted.State, promoted.Value, promoted.Pending = next, r.role.Pending.Value, nil
	promoted.LastRotation, promoted.LastError, promoted.Failures, promoted.RetryAt = r.now(), "", 0, time.Time{}
	if err := promoted.reschedule(r.now()); err != nil {
		return err
	}
	before := *r.role
	*r.role = promoted
	if err := r.store(ctx); err != nil {
		*r.role = before
		return err
	}
	r.promoted = true
	r.staticTokens.Drop(r.name)
	r.dropMachineTokens(r.role)
	r.sendEvent(ctx, "rotate", r.name)
	return nil
}

// reject stores that Cognito accepts no value that Vault knows.
func (r *staticRotation) reject(failure error) error {
	r.role.State, r.role.Pending, r.role.ProofDue = staticRejected, nil, false
	if r.role.RotationWindow == 0 {
		r.role.NextRotation = r.now()
	}
	return failure
}

// postpone stores why an attempt failed and when the next one is made.
func (r *staticRotation) postpone(ctx context.Context, failure error) {
	r.role.RetryAt = r.now().Add(r.pause())
	r.role.Failures++
	var exhausted *signInsExhausted
	if errors.As(failure, &exhausted) {
		r.role.RetryAt = latest(r.role.RetryAt, exhausted.until)
	}
	if exhausted == nil || r.role.LastError == "" {
		r.role.LastError = failure.Error() // no more sign-ins are the consequence of an error that matters more
	}
	if err := r.store(ctx); err != nil {
		r.Logger().Error("the failure of a rotation could not be stored", "name", r.name, "error", err)
	}
	r.sendEvent(ctx, "rotate-fail", r.name)
}

// pause doubles with each failure. Roles that failed together are spread over
// half of it. A password that the user cannot change any more is not tried often.
func (r *staticRotation) pause() time.Duration {
	longest := retryStaticMax
	if r.role.State == staticRejected && r.role.SelfManaged {
		return longest
	}
	if r.role.State == staticSetting && !r.role.isSecret() {
		longest = retrySettingMax
	}
	pause := min(retryStaticFirst<<min(max(r.role.Failures, 0), 16), longest)
	hash := fnv.New32a()
	fmt.Fprint(hash, r.name, r.role.Failures)
	return pause/2 + time.Duration(hash.Sum32())%(pause/2)
}

// store stores the role, also when the time of the attempt is over.
func (r *staticRotation) store(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return r.putStaticRole(ctx, r.req.Storage, r.name, r.role)
}

// inWindow reports whether the attempt may change the value now.
func (r *staticRotation) inWindow() bool { return r.demanded || r.role.inWindow(r.now()) }

// sendEvent sends one of Vault's events. Vault may have none.
func (b *backend) sendEvent(ctx context.Context, what, name string) {
	err := logical.SendEvent(ctx, b, "cognito/static-role-"+what,
		logical.EventMetadataPath, staticRoleStoragePrefix+name,
		logical.EventMetadataDataPath, "static-creds/"+name,
		logical.EventMetadataOperation, what,
		logical.EventMetadataModified, "true",
		"name", name)
	if err != nil && !errors.Is(err, framework.ErrNoEvents) {
		b.Logger().Debug("an event was not sent", "event", what, "name", name, "error", err)
	}
}
