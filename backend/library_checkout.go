// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// libraryWaitMax bounds how long a check-out waits for a free user.
	libraryWaitMax = 30 * time.Second
	// brokenUsersMax is how many users of one check-out may be refused a sign-in: more of them
	// point to the set-up.
	brokenUsersMax = 2
)

// checkOut is one request for a user of a set. Its methods are called in their order: prepare, then
// for each user that is tried read, signIn and lend.
type checkOut struct {
	b    *backend
	req  *logical.Request
	name string
	in   input

	set    *librarySet
	role   *roleEntry
	aws    *connection
	pool   *cognito.Pool
	ttl    time.Duration
	until  time.Time
	times  leaseTimes
	broken int
	// isUnfit says that the user that is tried must be reset before it can be lent.
	isUnfit bool

	user     *libraryUser
	creation *creation
	tokens   *cognito.Tokens
}

func (c *checkOut) run(ctx context.Context) (*logical.Response, error) {
	began := c.b.now()
	err := c.prepare(ctx)
	for err == nil && c.creation == nil {
		err = c.try(ctx)
	}
	if err != nil {
		c.b.metrics.failed(stepCheckOut, err)
		return toResponse(err)
	}
	c.b.metrics.issued(string(kindLibrary), c.set.Role, c.b.now().Sub(began), nil)
	return c.response(), nil
}

// prepare does everything that can fail before a user is claimed.
func (c *checkOut) prepare(ctx context.Context) (err error) {
	if err = c.b.refuseSecondary(c.name); err != nil {
		return err
	}
	if err = c.readSet(ctx); err != nil {
		return err
	}
	if err = c.readFields(); err != nil {
		return err
	}
	return c.b.loadLibraries(ctx, c.req.Storage)
}

// readSet reads the set and its role, which may change while the request waits.
func (c *checkOut) readSet(ctx context.Context) (err error) {
	if c.set, err = c.b.existingLibrarySet(ctx, c.req.Storage, c.name); err != nil {
		return err
	}
	if c.role, c.aws, err = c.b.usableRole(ctx, c.req, c.set.Role); err != nil {
		return err
	}
	c.pool, err = c.aws.Pool(ctx, c.role.target(c.aws.region))
	return err
}

func (c *checkOut) readFields() (err error) {
	if err := c.in.checkSizes(); err != nil {
		return err
	}
	if c.ttl, err = c.b.requestedTTL(c.in, c.role); err != nil {
		return err
	}
	var wait time.Duration
	setDuration(c.in, "wait", &wait)
	if wait > libraryWaitMax {
		return badRequest("wait %s is not allowed: it must not be longer than %s", cognito.DurationText(wait), cognito.DurationText(libraryWaitMax))
	}
	c.until = c.b.now().Add(wait)
	return nil
}

// try lends one user. It leaves creation nil if the user turned out to be unusable.
func (c *checkOut) try(ctx context.Context) error {
	id, err := c.b.checkOuts.claim(ctx, c.name, c.until.Sub(c.b.now()), c.b.now())
	if err != nil {
		return err
	}
	if id == "" {
		return c.noneFree()
	}
	defer c.maintainUnfit() // after the next two, because nothing works on a user that is claimed or locked
	defer c.b.checkOuts.release(c.name, id)
	unlock, err := c.b.lockLibraryUser(ctx, c.name, id)
	if err != nil {
		return err
	}
	defer unlock()
	if free, err := c.read(ctx, id); err != nil || !free {
		return err
	}
	return c.lendUser(ctx)
}

// maintainUnfit starts work on the user that was tried, if it turned out to need it.
func (c *checkOut) maintainUnfit() {
	if c.isUnfit {
		c.isUnfit = false
		c.b.maintainSoon(c.req)
	}
}

// read reads the claimed user, and reports whether it is free and as the role says.
func (c *checkOut) read(ctx context.Context, id string) (free bool, err error) {
	if err := c.readSet(ctx); err != nil {
		return false, err
	}
	c.times = c.b.leaseTimes(c.role, c.ttl)
	beat, err := c.b.watch.current(ctx, c.req.Storage)
	if err != nil {
		return false, err
	}
	u, err := getLibraryUser(ctx, c.req.Storage, c.name, id)
	if err == nil && u != nil && u.State == libraryAvailable && u.belongsTo(c.set) && !u.Retire && u.Watch == beat.Watch && u.Shape == c.role.userShape(c.set.Role) {
		c.user = u
		return true, nil
	}
	c.b.checkOuts.invalidate(c.name, id, c.b.now())
	c.isUnfit = true
	return false, err
}

func (c *checkOut) lendUser(ctx context.Context) error {
	attempt := c.newCreation()
	lending, err := attempt.open(ctx)
	if err != nil {
		return err
	}
	defer attempt.done()
	if err := c.signIn(lending); err != nil {
		attempt.fail(lending, true, err, nil)
		return c.handleRefusal(lending, err)
	}
	if err := c.lend(lending, attempt); err != nil {
		// The user may be stored as lent, with or without the record: it is reset.
		attempt.fail(lending, true, err, nil)
		c.b.checkOuts.invalidate(c.name, c.user.ID, c.b.now())
		c.isUnfit = true
		return err
	}
	c.creation = attempt
	return nil
}

func (c *checkOut) newCreation() *creation {
	return &creation{b: c.b, storage: c.req.Storage, max: c.role.MaxIssued, record: &issuedRecord{
		Kind:          kindLibrary,
		Role:          c.set.Role,
		place:         c.user.place,
		Library:       c.name,
		LibraryUser:   c.user.ID,
		Username:      c.user.Username,
		RequestedName: c.user.RequestedName,
		Sub:           c.user.Sub,
		DisplayName:   c.req.DisplayName,
		EntityID:      c.req.EntityID,
	}}
}

// signIn gets the tokens of the user, if the role says so. The password was set when the user came
// back, so this is the only call to Cognito.
func (c *checkOut) signIn(ctx context.Context) error {
	if c.role.NoTokens {
		return nil
	}
	u := c.user
	login := cognito.Login{Username: u.Username, Password: u.Password}
	if u.TOTPSecret != "" {
		var err error
		if login.TOTPCode, u.TOTPStep, err = c.pool.NextCode(u.TOTPSecret, u.TOTPStep); err != nil {
			return err
		}
	}
	tokens, err := c.pool.SignIn(ctx, c.role.appClient(), login, c.role.ClientMetadata)
	if err != nil {
		return err
	}
	c.tokens = &tokens
	return nil
}

// handleRefusal decides what a refused sign-in means. If it is about the user, the user is reset,
// and another one is tried.
func (c *checkOut) handleRefusal(ctx context.Context, refusal error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout) // the caller may be gone
	defer cancel()
	u := c.user
	if !isWrongCredentials(refusal) && !cognito.IsChallenge(refusal) {
		if u.TOTPSecret != "" { // the one-time code may be used up
			refusal = errors.Join(refusal, c.b.putLibraryUser(ctx, c.req.Storage, u))
		}
		return roleError(c.set.Role, refusal)
	}
	c.broken++
	u.State, u.LastError, u.FailingSince = libraryResetting, refusal.Error(), c.b.now().Round(0)
	if err := c.b.putLibraryUser(ctx, c.req.Storage, u); err != nil {
		return err
	}
	c.b.Logger().Warn("a user of a library set could not sign in and is reset", "library", c.name, "username", u.Username, "error", refusal)
	c.b.checkOuts.schedule(c.name, u.ID, c.b.now())
	c.isUnfit = true
	if c.broken >= brokenUsersMax {
		return roleError(c.set.Role, refusal)
	}
	return nil
}

// lend stores who has the user, and the record of the check-out. The order does not matter: one
// without the other is repaired, see library.go.
func (c *checkOut) lend(ctx context.Context, attempt *creation) error {
	u, now := c.user, c.b.now().Round(0)
	u.State, u.CheckOut, u.RecordRole = libraryLent, attempt.record.ID, attempt.record.Role
	u.BorrowerEntityID, u.BorrowerToken = c.req.EntityID, tokenDigest(c.req)
	u.CheckedOut, u.Due = now, now.Add(firstOf(c.times))
	var stores errgroup.Group
	stores.Go(func() error { return c.b.putLibraryUser(ctx, c.req.Storage, u) })
	stores.Go(func() error { return attempt.storeDelivered(ctx, c.times) })
	return stores.Wait()
}

// firstOf returns how long a lease lasts that is not renewed.
func firstOf(times leaseTimes) time.Duration { return cmp.Or(times.first, times.longest) }

// tokenDigest identifies the token of a request. Vault has hashed the token already.
func tokenDigest(req *logical.Request) string {
	if req.ClientToken == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("borrower " + req.ClientToken))
	return hex.EncodeToString(sum[:])
}

// noneFree returns the error for a set without a free user, with the time when to come back.
func (c *checkOut) noneFree() error {
	next, lent, all := c.b.checkOuts.nextDue(c.name)
	text := fmt.Sprintf("library set %q has no free user: %d of its %d users are checked out", c.name, lent, all)
	if lent < all {
		text += fmt.Sprintf(", and the others are being prepared or broken, see library/%s/status", c.name)
	}
	if !next.IsZero() {
		text += "; the next one is due at " + timeText(next)
	}
	return logical.CodedError(http.StatusConflict, text)
}

func (c *checkOut) response() *logical.Response {
	u := c.user
	data := map[string]any{
		"library":       c.name,
		"username":      u.Username,
		"password":      u.Password,
		"sub":           u.Sub,
		"user_pool_id":  u.UserPoolID,
		"region":        u.Region,
		"app_client_id": c.role.AppClientID,
	}
	if u.Email != "" {
		data["email"] = u.Email
	}
	if u.TOTPSecret != "" {
		data["totp_secret"], data["totp_url"] = u.TOTPSecret, u.TOTPURL
	}
	if c.tokens != nil {
		maps.Copy(data, tokenData(*c.tokens))
	}
	return c.b.leaseResponse(c.creation.record, c.ttl, c.times, data)
}
