// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// staticWrite is one write of a static role. The caller holds the role's lock.
type staticWrite struct {
	b    *backend
	req  *logical.Request
	name string
	in   input
	role *staticRole

	aws      *connection
	pool     *cognito.Pool
	warnings []string
}

// writeStaticRole creates or changes a static role, and returns warnings.
func (b *backend) writeStaticRole(ctx context.Context, req *logical.Request, name string, in input) ([]string, error) {
	lock, err := b.staticLocks.acquire(ctx, name)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	stored, err := getStaticRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	w := &staticWrite{b: b, req: req, name: name, in: in}
	if stored == nil {
		err = w.create(ctx)
	} else {
		err = w.change(ctx, stored)
	}
	return w.warnings, err
}

// create makes Vault the owner of a value that exists at Cognito.
func (w *staticWrite) create(ctx context.Context) error {
	if w.in.patch {
		return notFound("static role", w.name)
	}
	w.role = &staticRole{CredentialType: staticTypePassword, State: staticIdle}
	if err := w.readFields(ctx); err != nil {
		return err
	}
	skip, err := w.readPresentValue()
	if err != nil {
		return err
	}
	if err := w.b.loadQueue(ctx, w.req.Storage); err != nil {
		return err
	}
	if err := w.identifyUser(ctx); err != nil {
		return err
	}
	if err := w.b.queue.claim(w.name, w.role, w.b.now()); err != nil {
		return err
	}
	// A library set checks in the other order: it stores its users, and then looks for static
	// roles.
	if err := w.refuseLibraryUser(ctx); err != nil {
		w.b.queue.remove(w.name)
		return err
	}
	if err := w.setFirstValue(ctx, skip); err != nil {
		return w.discard(ctx, err)
	}
	w.b.sendEvent(ctx, "create", w.name)
	return nil
}

// readFields sets the fields of the role from the request, validates them, and connects to the
// pool.
func (w *staticWrite) readFields(ctx context.Context) error {
	aws, err := w.b.connect(ctx, w.req)
	if err != nil {
		return err
	}
	w.aws = aws
	if err := w.role.update(w.in); err != nil {
		return err
	}
	if err := w.role.validate(aws.region); err != nil {
		return err
	}
	if w.in.has("cognito_pool_domain") {
		if err := w.role.confirmDomain(ctx, aws); err != nil {
			return err
		}
	}
	if w.role.PasswordPolicy != "" {
		if _, err := w.b.newPasswordBy(ctx, w.role.PasswordPolicy); err != nil {
			return err
		}
	}
	w.pool, err = aws.Pool(ctx, w.role.target(aws.region))
	return err
}

// readPresentValue reads the present value and skip_import_rotation from the request.
func (w *staticWrite) readPresentValue() (skip bool, err error) {
	field := w.role.presentValueField()
	setField(w.in, field, &w.role.Value)
	setField(w.in, "skip_import_rotation", &skip)
	if w.role.Value == "" && (skip || w.role.SelfManaged) {
		return false, requiredField(field, "the present one, which skip_import_rotation and self_managed need")
	}
	if !w.role.isSecret() {
		w.role.setWrittenDigest(w.role.Value)
	}
	return skip, nil
}

// identifyUser reads the name and sub of the user whose password the role owns. Those of a
// self-managed user are read at its first sign-in, which requires no IAM permission.
func (w *staticWrite) identifyUser(ctx context.Context) error {
	if w.role.isSecret() || w.role.SelfManaged {
		return nil
	}
	user, err := w.pool.User(ctx, w.role.Username)
	if err != nil {
		return err
	}
	if user.Status == cognito.StatusExternalProvider {
		return badRequest("username %q is not allowed: the user signs in with another provider, and a password would end that", w.role.Username)
	}
	w.role.CognitoUsername, w.role.Sub = user.Username, user.Sub
	return nil
}

// refuseLibraryUser returns an error if a library set owns the user.
func (w *staticWrite) refuseLibraryUser(ctx context.Context) error {
	if w.role.isSecret() {
		return nil
	}
	owner, err := libraryOwner(ctx, w.req.Storage, "", w.role.UserPoolID, w.role.Sub, w.role.CognitoUsername, w.role.Username)
	if err == nil && owner != "" {
		err = badRequest("username %q is not allowed: library set %q has the user", w.role.Username, owner)
	}
	return err
}

// setFirstValue rotates the value, or with skip proves and stores the present one.
func (w *staticWrite) setFirstValue(ctx context.Context, skip bool) error {
	if !skip {
		r := &staticRotation{b: w.b, req: w.req, name: w.name, role: w.role, isNew: true, manual: true}
		err := r.run(ctx, rotationTimeout)
		if r.warning != nil {
			w.warnings = append(w.warnings, r.warning.Error())
		}
		return err
	}
	prove := w.provePassword
	if w.role.isSecret() {
		prove = w.proveSecret
	}
	if err := prove(ctx, w.role.Value); err != nil {
		return err
	}
	w.role.LastRotation, w.role.Missed = w.b.now(), time.Time{}
	if err := w.role.reschedule(w.b.now()); err != nil {
		return err
	}
	return w.store(ctx)
}

// provePassword signs in with the password of the request, if the role has an app client.
func (w *staticWrite) provePassword(ctx context.Context, password string) error {
	if w.role.AppClientID == "" {
		return nil
	}
	owned := ownedPassword{staticRotation: &staticRotation{b: w.b, req: w.req, name: w.name, role: w.role}}
	verdict, session, err := w.b.newSigner(w.req.Storage, w.pool, w.role).signIn(ctx, password)
	if verdict == cognito.VerdictRight {
		return owned.identify(session)
	}
	return fmt.Errorf("proving the password that was written: %w", err)
}

// proveSecret requests a token with the secret of the request, if the role has a domain. The secret
// must be the app client's only one, because otherwise its id is not known.
func (w *staticWrite) proveSecret(ctx context.Context, secret string) error {
	owned := ownedSecret{staticRotation: &staticRotation{b: w.b, req: w.req, name: w.name, role: w.role, aws: w.aws, pool: w.pool}}
	ids, err := owned.list(ctx)
	if err != nil {
		return err
	}
	if len(ids) > 1 {
		return owned.errNoRoom(ids)
	}
	w.role.SecretID = strings.Join(ids, "")
	if w.role.CognitoPoolDomain == "" {
		return nil
	}
	_, err = w.aws.MachineToken(ctx, cognito.MachineTokenRequest{
		Domain: w.role.CognitoPoolDomain, AppClient: cognito.AppClient{ID: w.role.AppClientID, Secret: secret}, Scopes: w.role.Scopes, NoCache: true,
		SecretPool: w.role.secretPool(w.aws.region),
	})
	return err
}

// discard deletes a new role whose first rotation certainly did not take effect. If Cognito may
// have the new value, the role is kept, because the value would be lost.
func (w *staticWrite) discard(ctx context.Context, failure error) error {
	if w.role.State == staticSetting || w.role.State == staticProving {
		w.b.Logger().Warn("a new static role is stored although its first rotation failed: the new value may be in force", "name", w.name, "error", failure)
		return fmt.Errorf("%w; the static role is stored, because Cognito may have the new value: the engine finds out by itself", failure)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	defer w.b.staticRoles.Drop(w.name)
	if err := w.req.Storage.Delete(ctx, staticRoleStoragePrefix+w.name); err != nil {
		w.b.Logger().Error("a static role whose first rotation failed could not be deleted", "name", w.name, "error", err)
		return failure
	}
	w.b.queue.remove(w.name)
	return failure
}

// change updates an existing role. A write that changes nothing stores nothing.
func (w *staticWrite) change(ctx context.Context, stored *staticRole) error {
	changed := *stored
	w.role = &changed
	if err := w.readFields(ctx); err != nil {
		return err
	}
	if err := w.refuseOtherUser(ctx, stored); err != nil {
		return err
	}
	if err := w.updatePresentValue(ctx); err != nil {
		return err
	}
	if reflect.DeepEqual(w.role, stored) {
		return nil
	}
	return w.storeChange(ctx, stored)
}

// storeChange stores a changed role. A changed schedule counts from now, and a failed rotation is
// retried soon.
func (w *staticWrite) storeChange(ctx context.Context, stored *staticRole) error {
	if w.role.timetable() != stored.timetable() {
		if err := w.role.reschedule(w.b.now()); err != nil {
			return err
		}
	}
	w.role.RetryAt, w.role.Failures = time.Time{}, 0
	defer w.b.staticTokens.Drop(w.name)
	return w.store(ctx)
}

// refuseOtherUser returns an error if the write names another owner of the value. Another name of
// the same user is allowed: in pools that sign in by e-mail a user has several.
func (w *staticWrite) refuseOtherUser(ctx context.Context, stored *staticRole) error {
	if err := w.role.refuseOtherOwned(stored); err != nil {
		return err
	}
	if w.role.Username == stored.Username || w.role.Username == stored.CognitoUsername || w.role.Username == stored.Sub {
		return nil
	}
	if stored.SelfManaged {
		return cannotChange()
	}
	user, err := w.pool.User(ctx, w.role.Username)
	if err != nil {
		return err
	}
	if user.Username != stored.user() || sameUser(stored, user.Sub) != nil {
		return cannotChange()
	}
	w.role.CognitoUsername, w.role.Sub = user.Username, user.Sub
	return nil
}

// updatePresentValue adopts a password of the request as the present one. A password that an
// earlier write contained is ignored, unless the present one is in doubt: tools repeat all fields
// in each write.
func (w *staticWrite) updatePresentValue(ctx context.Context) error {
	field, value := w.role.presentValueField(), ""
	setField(w.in, field, &value)
	switch {
	case value == "" || value == w.role.Value && !w.role.inDoubt():
		return nil
	case w.role.isSecret():
		w.warnings = append(w.warnings, field+" is ignored: Vault owns the secret since the static role was first written")
		return nil
	}
	repeated := w.role.wasWritten(value)
	if repeated && (!w.role.inDoubt() || w.role.AppClientID == "") {
		return nil
	}
	if err := w.provePassword(ctx, value); err != nil {
		if repeated {
			w.warnings = append(w.warnings, "password is ignored, because Cognito does not accept it: "+err.Error())
			return nil
		}
		return err
	}
	w.setPresentPassword(value)
	return nil
}

// setPresentPassword makes a password the present one. The schedule does not change.
func (w *staticWrite) setPresentPassword(password string) {
	w.role.setWrittenDigest(password)
	w.role.Value, w.role.Pending, w.role.State = password, nil, staticIdle
	w.role.ProofDue, w.role.SignOutDue, w.role.LastError = false, false, ""
	w.role.LastRotation, w.role.Missed = w.b.now(), time.Time{}
}

func (w *staticWrite) store(ctx context.Context) error {
	return w.b.putStaticRole(ctx, w.req.Storage, w.name, w.role)
}

// setWrittenDigest stores the salted digest of a password that a write contained.
func (r *staticRole) setWrittenDigest(password string) {
	salt := rand.Text()
	r.WrittenDigest = salt + ":" + digest(salt, password)
}

func (r *staticRole) wasWritten(password string) bool {
	salt, written, _ := strings.Cut(r.WrittenDigest, ":")
	return written != "" && digest(salt, password) == written
}

func digest(salt, password string) string {
	sum := sha256.Sum256([]byte(salt + password))
	return hex.EncodeToString(sum[:])
}

// deleteStaticRole deletes a static role. It is refused while a password is in doubt, because the
// one in force may be one that was never returned.
func (b *backend) deleteStaticRole(ctx context.Context, req *logical.Request, name string) (bool, error) {
	lock, err := b.staticLocks.acquire(ctx, name)
	if err != nil {
		return false, err
	}
	defer lock.release()
	role, err := getStaticRole(ctx, req.Storage, name)
	var damaged *damagedEntry
	switch {
	case errors.As(err, &damaged):
		role = &staticRole{} // a damaged role can be deleted, too
	case err != nil || role == nil:
		return false, err
	}
	if role.State == staticSetting && !role.isSecret() {
		return false, badRequest("static role %q cannot be deleted now: it is not known which of two passwords is in force, and Vault alone has both; "+
			"delete it when a read of it shows another state than %q, or write the present password to it; the next attempt to find out is at %s",
			name, staticSetting, timeText(latest(role.nextAttempt(b.now()), b.now())))
	}
	defer b.staticRoles.Drop(name)
	defer b.staticTokens.Drop(name)
	if err := req.Storage.Delete(ctx, staticRoleStoragePrefix+name); err != nil {
		return false, fmt.Errorf("deleting static role %q: %w", name, err)
	}
	b.queue.remove(name)
	b.sendEvent(ctx, "delete", name)
	return true, nil
}
