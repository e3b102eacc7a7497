// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Values of tokens_for.
const (
	tokensForIssued = "issued"
	tokensForAny    = "any"
)

const (
	// A caller may have so many refused attempts per user, and in all, within refusalWindow.
	refusalsPerUser   = 5
	refusalsPerCaller = 30
	refusalWindow     = 15 * time.Minute

	// issuedNamesMax bounds the cached ids of records.
	issuedNamesMax = 10_000
	// refusalsMax bounds the memory of the limit.
	refusalsMax = 10_000
)

// tokenUsers decides which users get tokens from tokens/.
type tokenUsers interface {
	// mayTry reports whether Cognito may be asked with this login. It makes no call to AWS.
	mayTry(ctx context.Context, login cognito.Login) (bool, error)
	// try asks Cognito.
	try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error)
	// hasSub reports whether tokens with this sub may be returned. It makes no call to AWS.
	hasSub(ctx context.Context, sub string) (bool, error)
}

// issuedUsers are the living users that a role issued.
type issuedUsers struct {
	b    *backend
	s    logical.Storage
	role string
}

func (u issuedUsers) mayTry(ctx context.Context, login cognito.Login) (bool, error) {
	name := login.Username
	return u.find(ctx, name, func(r *issuedRecord) bool { return name == r.Username || name == r.RequestedName || name == r.Sub })
}

func (issuedUsers) try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error) {
	return e.run(ctx, pool)
}

func (u issuedUsers) hasSub(ctx context.Context, sub string) (bool, error) {
	return u.find(ctx, sub, func(r *issuedRecord) bool { return sub == r.Sub })
}

// find looks for the record of a living user. The ids that were found are cached, so that the
// records are searched once per user; a cached id counts only if its record still matches.
func (u issuedUsers) find(ctx context.Context, name string, matches func(*issuedRecord) bool) (bool, error) {
	if name == "" {
		return false, nil
	}
	key := u.role + " " + name
	for range 2 {
		id, err := u.b.issuedNames.Get(ctx, key, nil, func(ctx context.Context) (string, error) { return u.search(ctx, matches) })
		if err != nil || id == "" {
			return false, err
		}
		record, err := getRecord(ctx, u.s, u.role, id)
		if err != nil || record.isLiving() && matches(record) {
			return err == nil, err
		}
		u.b.issuedNames.Drop(key)
	}
	return false, nil
}

// search returns the id of the newest record that matches, or "".
func (u issuedUsers) search(ctx context.Context, matches func(*issuedRecord) bool) (string, error) {
	ids, err := listRecordIDs(ctx, u.s, u.role)
	if err != nil {
		return "", err
	}
	for _, id := range slices.Backward(ids) {
		record, err := getRecord(ctx, u.s, u.role, id)
		if err != nil {
			return "", err
		}
		if record.isLiving() && matches(record) {
			return id, nil
		}
	}
	return "", nil
}

// isLiving reports whether a record is that of a user that was returned and has not been ended.
func (r *issuedRecord) isLiving() bool {
	return r != nil && r.Kind == kindUser && (r.State == stateDelivered || r.State == stateConfirmed)
}

// staticUser is the user of a static role. Vault knows its password, so another one is not tried at Cognito,
// which would lock the user out.
type staticUser struct {
	signer *signer
	name   string
}

func (u staticUser) mayTry(_ context.Context, login cognito.Login) (bool, error) {
	role := u.signer.role
	switch {
	case !slices.Contains(u.names(), login.Username):
		return false, nil
	case login.Password == "": // it comes with a refresh token
		return true, nil
	case role.inDoubt():
		return false, badRequest("static role %q signs nobody in now, because its password is in doubt: see static-roles/%[1]s", u.name)
	default:
		return subtle.ConstantTimeCompare([]byte(login.Password), []byte(role.Value)) == 1, nil
	}
}

// try counts the sign-in, because somebody else may have changed the password. One at a time is made, or
// those under way would be counted as wrong. Where the counts cannot be stored, on a performance secondary,
// refusals are still limited per caller.
func (u staticUser) try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error) {
	if e.refreshToken != "" || !u.signer.mayWrite() {
		return e.run(ctx, pool)
	}
	unlock, err := u.signer.tokenSignIns.lock(ctx, u.name)
	if err != nil {
		return cognito.Tokens{}, err
	}
	defer unlock()
	return counted(ctx, u.signer, func() (cognito.Tokens, error) {
		return pool.SignInOnce(ctx, e.role.appClient(), e.login, e.role.ClientMetadata)
	})
}

func (u staticUser) hasSub(_ context.Context, sub string) (bool, error) {
	return u.signer.role.Sub == "" || sub == u.signer.role.Sub, nil
}

func (u staticUser) names() []string {
	role := u.signer.role
	return slices.DeleteFunc([]string{role.Username, role.CognitoUsername, role.Sub}, func(name string) bool { return name == "" })
}

// restrictedExchange returns tokens to the users of a role only. Unknown users, wrong credentials
// and users that are not allowed get one answer, so that it says nothing about the users of the
// pool.
type restrictedExchange struct {
	exchange
	users    tokenUsers
	refusals *refusals
	caller   string
	name     string
}

func (e restrictedExchange) run(ctx context.Context, pool userPool) (tokens cognito.Tokens, err error) {
	leave, err := e.refusals.enter(ctx, e.caller, e.login)
	if err != nil {
		return cognito.Tokens{}, err
	}
	refused := false
	defer func() { leave(refused) }()
	tokens, refused, err = e.ask(ctx, pool)
	if refused {
		err = badRequest("tokens/%s refused the request: username, password, totp_code or refresh_token is wrong, or the user is not one that %q issued and that still exists; if all requests are refused, read check/%s",
			e.name, e.name, e.name)
	}
	if err != nil {
		return cognito.Tokens{}, err
	}
	return tokens, nil
}

// ask returns tokens, or that they are refused, for which there is one answer.
func (e restrictedExchange) ask(ctx context.Context, pool userPool) (tokens cognito.Tokens, refused bool, err error) {
	if e.refreshToken == "" || e.login.Username != "" {
		if allowed, err := e.users.mayTry(ctx, e.login); err != nil || !allowed {
			return cognito.Tokens{}, err == nil, err
		}
	}
	tokens, err = e.users.try(ctx, e.exchange, pool)
	if isWrongCredentials(err) {
		return cognito.Tokens{}, true, nil
	}
	if err != nil {
		return cognito.Tokens{}, false, err
	}
	allowed, err := e.users.hasSub(ctx, tokens.Sub())
	return tokens, err == nil && !allowed, err
}

// isWrongCredentials reports whether Cognito refused a sign-in because of what the caller sent.
func isWrongCredentials(err error) bool {
	var aws *cognito.Error
	return errors.As(err, &aws) && slices.Contains([]string{
		"NotAuthorizedException", "UserNotFoundException", "UserNotConfirmedException", "PasswordResetRequiredException",
		"CodeMismatchException", "ExpiredCodeException", "RefreshTokenReuseException", "EnableSoftwareTokenMFAException",
	}, aws.Code) && !strings.Contains(aws.Detail, "ecret")
}

// refusals limits refused attempts per caller. It is in memory: each node counts its own.
type refusals struct {
	now    func() time.Time
	mu     sync.Mutex
	counts map[string]refusalCount
	// passwords counts the sign-ins by password that are under way and may be refused, and left is closed
	// when one of them ends.
	passwords map[string]int
	left      chan struct{}
}

type refusalCount struct {
	n     int
	until time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, counts: map[string]refusalCount{}, passwords: map[string]int{}, left: make(chan struct{})}
}

// refusalLimits returns how many attempts may be refused for each key.
func refusalLimits(caller, user string) map[string]int {
	return map[string]int{caller: refusalsPerCaller, caller + "\x00" + user: refusalsPerUser}
}

// enter begins an attempt, which leave ends. Attempts at once could exceed the limit together, so one by
// password waits until those under way leave room for it. Refresh tokens cannot be guessed.
func (r *refusals) enter(ctx context.Context, caller string, login cognito.Login) (leave func(refused bool), err error) {
	limits := refusalLimits(caller, login.Username)
	byPassword := login.Password != ""
	for {
		left, err := r.tryEnter(limits, byPassword)
		if err != nil {
			return nil, err
		}
		if left == nil {
			return func(refused bool) { r.leave(limits, byPassword, refused) }, nil
		}
		select {
		case <-left:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryEnter returns a channel to wait for if too many attempts are under way.
func (r *refusals) tryEnter(limits map[string]int, byPassword bool) (left <-chan struct{}, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for key, most := range limits {
		count := r.counts[key]
		if !now.Before(count.until) {
			count.n = 0
		}
		if count.n >= most {
			return nil, logical.CodedError(http.StatusTooManyRequests,
				fmt.Sprintf("too many requests for tokens were refused: try again in %s", cognito.DurationText(count.until.Sub(now).Round(time.Second))))
		}
		if byPassword && count.n+r.passwords[key] >= most {
			left = r.left
		}
	}
	if left == nil && byPassword {
		for key := range limits {
			r.passwords[key]++
		}
	}
	return left, nil
}

func (r *refusals) leave(limits map[string]int, byPassword, refused bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused {
		r.count(limits)
	}
	if !byPassword {
		return
	}
	for key := range limits {
		if r.passwords[key]--; r.passwords[key] == 0 {
			delete(r.passwords, key)
		}
	}
	close(r.left)
	r.left = make(chan struct{})
}

// count counts a refused attempt. The caller holds mu.
func (r *refusals) count(limits map[string]int) {
	now := r.now()
	if len(r.counts) >= refusalsMax {
		for key, count := range r.counts {
			if !now.Before(count.until) {
				delete(r.counts, key)
			}
		}
	}
	for key := range limits {
		count := r.counts[key]
		if !now.Before(count.until) {
			count = refusalCount{until: now.Add(refusalWindow)}
		}
		count.n++
		if _, known := r.counts[key]; known || len(r.counts) < 2*refusalsMax {
			r.counts[key] = count
		}
	}
}

// callerOf identifies the caller of a request: its entity, else its token.
func callerOf(req *logical.Request) string {
	return cmp.Or(req.EntityID, req.ClientTokenAccessor, req.DisplayName)
}
