// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
)

// readWait bounds how long a read waits for a running rotation.
const readWait = 10 * time.Second

// readStaticCreds returns the value of a static role. It calls AWS only if the value is in doubt,
// or for tokens that are not cached.
func (b *backend) readStaticCreds(ctx context.Context, req *logical.Request, name string) (*logical.Response, error) {
	role, err := b.currentStaticRole(ctx, req, name)
	if err != nil {
		return nil, err
	}
	if role.Value == "" {
		return nil, badRequest("static role %q has no value yet, because its first rotation has not succeeded; the next attempt is at %s: %s",
			name, timeText(role.nextAttempt(b.now())), role.LastError)
	}
	response := &logical.Response{Data: role.credsData(b.now())}
	b.addWarnings(response, role)
	if role.IssueTokens {
		b.addTokens(ctx, req, response, name, role)
	}
	return response, nil
}

// currentStaticRole returns a role after any running rotation. It resolves an interrupted one if
// that requires no sign-in.
func (b *backend) currentStaticRole(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	role, err := b.existingStaticRole(ctx, req, name)
	if err != nil || role.isSecret() || role.State != staticSetting {
		return role, err
	}
	waiting, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	lock, err := b.staticLocks.acquire(waiting, name)
	if err != nil {
		return role, ctx.Err() // the rotation takes too long: the password is in doubt
	}
	defer lock.release()
	return b.resolveForReader(ctx, req, name)
}

func (b *backend) resolveForReader(ctx context.Context, req *logical.Request, name string) (*staticRole, error) {
	role, err := getStaticRole(ctx, req.Storage, name)
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, noStaticRole(name)
	}
	if role.State != staticSetting || !role.mayResume(b.now()) || !role.resolvesWithoutSignIn(b.now()) {
		return role, nil
	}
	r := &staticRotation{b: b, req: req, name: name, role: role, forReader: true}
	if err := r.run(ctx, readWait); err != nil {
		b.Logger().Warn("a password stays in doubt", "name", name, "error", err)
	}
	return role, nil
}

// resolvesWithoutSignIn reports whether setting the password again may resolve the rotation.
func (r *staticRole) resolvesWithoutSignIn(now time.Time) bool {
	return !r.SelfManaged && (r.AppClientID == "" || r.inWindow(now))
}

func (b *backend) addWarnings(response *logical.Response, role *staticRole) {
	switch {
	case role.inDoubt():
		response.Data["in_doubt"] = true
		response.AddWarning("the password is in doubt: Cognito may not accept it. The next attempt to find out is at " +
			timeText(latest(role.nextAttempt(b.now()), b.now())) + ". " + role.LastError)
	case role.LastError != "":
		response.AddWarning("the last rotation was not completed: " + role.LastError)
	}
}

// addTokens adds tokens of the user, unless the password is in doubt. The password is useful
// without tokens, so a failure is a warning.
func (b *backend) addTokens(ctx context.Context, req *logical.Request, response *logical.Response, name string, role *staticRole) {
	if role.inDoubt() {
		response.AddWarning("there are no tokens, because no user is signed in with a password in doubt")
		return
	}
	tokens, err := b.userTokens(ctx, req, name, role)
	if err != nil {
		response.AddWarning("there are no tokens: " + err.Error())
		return
	}
	maps.Copy(response.Data, tokenData(tokens))
}

func (r *staticRole) credsData(now time.Time) map[string]any {
	data := map[string]any{
		"last_vault_rotation": timeText(r.LastRotation),
		"ttl":                 r.ttl(now),
		"rotation_period":     seconds(r.period()),
	}
	if r.RotationSchedule != "" {
		data["rotation_schedule"] = r.RotationSchedule
		data["rotation_window"] = seconds(r.RotationWindow)
	}
	if r.isSecret() {
		data["app_client_id"], data["app_client_secret"] = r.AppClientID, r.Value
	} else {
		data["username"], data["password"] = r.user(), r.Value
	}
	return data
}
