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

// # The state machine of a static role
//
// The state is stored with the role before and after each call that changes something at Cognito,
// and a read of the role returns it. After a crash the next process continues from the stored
// state.
//
// Terms: to set a value is to give it to Cognito. To resolve a set whose outcome is unknown is to
// find out whether it took effect. To prove a value is to sign in or to get a token with it. To
// promote the pending value is to make it the value that static-creds returns.
//
//	state     what is certain
//	idle      nothing is under way; the value is in force, as far as Vault knows
//	setting   the new value is stored as pending; Cognito may have it or not
//	proving   Cognito has the new value; a password is promoted already, a secret is not
//	rejected  Cognito accepts no value that Vault knows: the password was changed by other means
//
//	state     event                                next      stored with it
//	idle      a rotation is due or requested       setting   the pending value
//	rejected  as for idle                          setting   the pending value
//	proving   as for idle, password                setting   the pending value; the proof is still due if the set is refused
//	setting   the set succeeded, password          proving   pending becomes the value
//	setting   the set succeeded, secret            proving   the id that Cognito named
//	setting   the set was refused                  as before pending is dropped; last_error, retry_at
//	setting   the outcome is unknown               setting   last_error, retry_at
//	setting   resolved: the new value is in force  proving   as for success
//	setting   resolved: the old value is in force  idle      pending is dropped
//	setting   resolved: neither is in force        rejected  pending is dropped
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
//	before, during or after the set     setting   the set is resolved as after a lost response
//	after the promotion                 proving   proof and sign-out follow
//
// How each kind of value is set and resolved:
//
//	password      AdminSetUserPassword. To resolve it, the same value is set again: after a success it
//	              is certainly in force, and a refusal because of the password history proves that it
//	              was set. Otherwise, and outside of rotation_window, a sign-in with each of both
//	              values decides.
//	self-managed  Sign-in with the old value, then ChangePassword. A sign-in with the new value
//	              resolves it, and if that is wrong one with the old value.
//	secret        AddUserPoolClientSecret. A token for the new value resolves it. A secret is Vault's
//	              if the response to the add named its id, or if its value got a token after a lost
//	              response. No other secret is deleted.
//
// Sign-ins that may have used a wrong password are limited to two in 15 minutes, see
// static_sign_in.go.

const (
	// valuesMax is how many new values one attempt tries if the pool refuses them.
	valuesMax = 3

	// retryStaticFirst and retryStaticMax bound the pause after a failed attempt.
	retryStaticFirst = 10 * time.Second
	retryStaticMax   = time.Hour
	// retrySettingMax bounds the pause while a password is in doubt.
	retrySettingMax = time.Minute

	// rotationTimeout bounds one attempt that a request makes.
	rotationTimeout = 30 * time.Second
	// storeTimeout bounds a write to the storage after an attempt.
	storeTimeout = 5 * time.Second
)

// errValueRefused says that the pool does not accept the value. It may accept another one.
var errValueRefused = errors.New("the user pool refused the value")

// ownedValue is a value that Vault owns. Its methods are what differs between the kinds of values.
type ownedValue interface {
	// check returns an error if the rotation would certainly fail.
	check(ctx context.Context) error
	// propose returns a new value. It changes nothing.
	propose(ctx context.Context) (*pendingValue, error)
	// set sets the pending value at Cognito.
	set(ctx context.Context) (cognito.Outcome, error)
	// resolve finds out whether a set with an unknown outcome took effect. OutcomeRefused means
	// that the old value is in force.
	resolve(ctx context.Context) (cognito.Outcome, error)
	// afterSet continues the rotation after Cognito certainly has the pending value.
	afterSet(ctx context.Context) error
	// completeProving takes the remaining steps of the state proving.
	completeProving(ctx context.Context) error
}

// staticRotation is one attempt to rotate the value of a static role, or to continue a rotation.
// The caller holds the role's lock.
type staticRotation struct {
	b    *backend
	req  *logical.Request
	name string
	role *staticRole

	// isNew is set until the role is stored for the first time.
	isNew bool
	// manual is set if the rotation was requested. It then ignores the schedule.
	manual bool
	// forReader is set for a read of static-creds: the attempt only resolves an earlier set, and
	// only without a sign-in.
	forReader bool

	aws   *connection
	pool  *cognito.Pool
	value ownedValue

	// previous is the state before the new value was stored as pending.
	previous staticState
	// promoted is set once the role has a new value.
	promoted bool
	// warning is what failed after the promotion.
	warning error
}

// run makes the attempt. The end of the request does not cancel it, because a canceled rotation
// would leave a password in doubt.
func (r *staticRotation) run(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	err := r.attempt(ctx)
	if r.promoted {
		r.b.metrics.rotated(r.role.CredentialType, nil)
	}
	if err != nil {
		r.b.metrics.rotated(r.role.CredentialType, err)
		r.postpone(ctx, err)
	}
	return err
}

func (r *staticRotation) attempt(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.resume(ctx); err != nil || !r.mayStart() {
		return err
	}
	return r.start(ctx)
}

// mayStart reports whether the attempt may start a new rotation.
func (r *staticRotation) mayStart() bool {
	if r.promoted || r.forReader {
		return false
	}
	return r.manual || r.role.due(r.b.now())
}

// prepare connects to the pool, and selects how the value is set, resolved and proven.
func (r *staticRotation) prepare(ctx context.Context) error {
	aws, err := r.b.connect(ctx, r.req)
	if err != nil {
		return err
	}
	r.aws = aws
	if err := r.role.validate(aws.region); err != nil {
		return err // the entry is damaged, or the config has no region any more
	}
	if r.pool, err = aws.Pool(ctx, r.role.target(aws.region)); err != nil {
		return err
	}
	password := ownedPassword{staticRotation: r, signer: r.b.newSigner(r.req.Storage, r.pool, r.role)}
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

// resume continues what an earlier attempt did not complete.
func (r *staticRotation) resume(ctx context.Context) error {
	switch {
	case r.role.State == staticSetting:
		outcome, err := r.value.resolve(ctx)
		return r.applyOutcome(ctx, outcome, err)
	case r.role.State == staticProving && (r.role.isSecret() || !r.mayStart()):
		return r.value.completeProving(ctx)
	default:
		return nil
	}
}

// start starts a rotation. If the pool refuses a new value, start tries another one.
func (r *staticRotation) start(ctx context.Context) error {
	if err := r.value.check(ctx); err != nil {
		return err
	}
	for tried := 1; ; tried++ {
		if err := r.begin(ctx); err != nil {
			return err
		}
		outcome, err := r.value.set(ctx)
		err = r.applyOutcome(ctx, outcome, err)
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
		*r.role = before // Cognito does not have the value, even if the role was stored
		return err
	}
	r.isNew = false
	return nil
}

// applyOutcome moves the role to the state that follows from the outcome of a set.
func (r *staticRotation) applyOutcome(ctx context.Context, outcome cognito.Outcome, err error) error {
	switch outcome {
	case cognito.OutcomeSucceeded:
		return r.value.afterSet(ctx)
	case cognito.OutcomeRefused:
		return r.dropPending(ctx, err)
	default:
		return err
	}
}

// dropPending drops the pending value, or restores the earlier pending value that it replaced. The
// caller stores the failure, if there is one.
func (r *staticRotation) dropPending(ctx context.Context, failure error) error {
	earlier := r.role.Pending.Earlier
	r.role.State, r.role.Pending = r.stateWithoutPending(), nil
	if failure == nil {
		return r.store(ctx)
	}
	if earlier != "" {
		r.role.State, r.role.Pending = staticSetting, &pendingValue{Value: earlier}
	}
	return failure
}

// stateWithoutPending returns the state of a role whose pending value is dropped.
func (r *staticRotation) stateWithoutPending() staticState {
	switch {
	case r.previous == staticRejected:
		return staticRejected
	case r.role.ProofDue || r.role.SignOutDue:
		return staticProving
	default:
		return staticIdle
	}
}

// promote makes the pending value the value that static-creds returns.
func (r *staticRotation) promote(ctx context.Context, next staticState) error {
	promoted := *r.role
	promoted.State, promoted.Value, promoted.Pending = next, r.role.Pending.Value, nil
	promoted.LastRotation, promoted.Missed = r.b.now(), time.Time{}
	promoted.LastError, promoted.Failures, promoted.RetryAt = "", 0, time.Time{}
	if err := promoted.reschedule(r.b.now()); err != nil {
		return err
	}
	before := *r.role
	*r.role = promoted
	if err := r.store(ctx); err != nil {
		*r.role = before
		return err
	}
	r.promoted = true
	r.b.staticTokens.Drop(r.name)
	r.b.dropMachineTokens(r.role)
	r.b.sendEvent(ctx, "rotate", r.name)
	return nil
}

// reject stores that Cognito accepts no value that Vault knows.
func (r *staticRotation) reject(failure error) error {
	r.role.State, r.role.Pending, r.role.ProofDue = staticRejected, nil, false
	if r.role.RotationWindow == 0 {
		r.role.NextRotation = r.b.now()
	}
	return failure
}

// postpone stores why an attempt failed and when the next one is made.
func (r *staticRotation) postpone(ctx context.Context, failure error) {
	r.role.RetryAt = r.b.now().Add(r.pause())
	r.role.Failures++
	var exhausted *signInsExhausted
	if errors.As(failure, &exhausted) {
		r.role.RetryAt = latest(r.role.RetryAt, exhausted.until)
	}
	if exhausted == nil || r.role.LastError == "" {
		r.role.LastError = failure.Error() // signInsExhausted is the consequence of an earlier error, which is more useful
	}
	r.storeFailure(ctx)
	r.b.sendEvent(ctx, "rotate-fail", r.name)
}

// storeFailure stores the role with its failure. A new role without a value is not stored: it would
// be one if the process died before the request could discard it.
func (r *staticRotation) storeFailure(ctx context.Context) {
	if r.isNew {
		return
	}
	if err := r.store(ctx); err != nil {
		r.b.Logger().Error("the failure of a rotation could not be stored", "name", r.name, "error", err)
	}
}

// pause returns the time until the next attempt. It doubles with each failure, and half of it
// depends on the role, so that roles that failed together do not retry together. A self-managed
// password that Vault does not have is retried rarely.
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

// store stores the role, even after the end of the attempt.
func (r *staticRotation) store(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	return r.b.putStaticRole(ctx, r.req.Storage, r.name, r.role)
}

// inWindow reports whether the attempt may change the value now.
func (r *staticRotation) inWindow() bool { return r.manual || r.role.inWindow(r.b.now()) }

// sendEvent sends an event to Vault's event system, if there is one.
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

// rotateStaticRole rotates regardless of the schedule. Requests that wait for the same rotation
// share its result.
func (b *backend) rotateStaticRole(ctx context.Context, req *logical.Request, name string) ([]string, error) {
	lock, err := b.staticLocks.acquire(ctx, name)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	if ended, err := lock.newResult(); ended {
		return nil, err
	}
	role, err := getStaticRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, noStaticRole(name)
	}
	r := &staticRotation{b: b, req: req, name: name, role: role, manual: true}
	err = r.run(ctx, rotationTimeout)
	lock.setResult(err)
	if r.warning != nil {
		return []string{r.warning.Error()}, err
	}
	return nil, err
}
