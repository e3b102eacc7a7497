// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
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

// tokenUsers decides which users get tokens from tokens/. Both methods make no call to AWS.
type tokenUsers interface {
	// hasName reports whether a user with this username or sub may sign in.
	hasName(ctx context.Context, name string) (bool, error)
	// hasSub reports whether tokens with this sub may be returned.
	hasSub(ctx context.Context, sub string) (bool, error)
}

// issuedUsers are the living users that a role issued.
type issuedUsers struct {
	b    *backend
	s    logical.Storage
	role string
}

func (u issuedUsers) hasName(ctx context.Context, name string) (bool, error) {
	return u.find(ctx, name, func(r *issuedRecord) bool { return name == r.Username || name == r.RequestedName || name == r.Sub })
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

// staticUser is the user of a static role.
type staticUser struct{ role *staticRole }

func (u staticUser) hasName(_ context.Context, name string) (bool, error) {
	return slices.Contains(u.names(), name), nil
}

func (u staticUser) hasSub(_ context.Context, sub string) (bool, error) {
	return u.role.Sub == "" || sub == u.role.Sub, nil
}

func (u staticUser) names() []string {
	return slices.DeleteFunc([]string{u.role.Username, u.role.CognitoUsername, u.role.Sub}, func(name string) bool { return name == "" })
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

func (e restrictedExchange) run(ctx context.Context, pool userPool) (cognito.Tokens, error) {
	if err := e.refusals.allow(e.caller, e.login.Username); err != nil {
		return cognito.Tokens{}, err
	}
	allowed := e.refreshToken != "" && e.login.Username == ""
	if !allowed {
		var err error
		if allowed, err = e.users.hasName(ctx, e.login.Username); err != nil {
			return cognito.Tokens{}, err
		}
	}
	if !allowed {
		return cognito.Tokens{}, e.refuse()
	}
	tokens, err := e.exchange.run(ctx, pool)
	if isWrongCredentials(err) {
		return cognito.Tokens{}, e.refuse()
	}
	if err != nil {
		return cognito.Tokens{}, err
	}
	allowed, err = e.users.hasSub(ctx, tokens.Sub())
	if err == nil && !allowed {
		err = e.refuse()
	}
	if err != nil {
		return cognito.Tokens{}, err
	}
	return tokens, nil
}

// refuse counts an attempt and returns the one answer for all that is not allowed.
func (e restrictedExchange) refuse() error {
	e.refusals.add(e.caller, e.login.Username)
	return badRequest("tokens/%s refused the request: username, password, totp_code or refresh_token is wrong, or the user is not one that %q issued and that still exists; if all requests are refused, read check/%s",
		e.name, e.name, e.name)
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
}

type refusalCount struct {
	n     int
	until time.Time
}

func newRefusals(now func() time.Time) *refusals {
	return &refusals{now: now, counts: map[string]refusalCount{}}
}

func (r *refusals) allow(caller, user string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for key, most := range map[string]int{caller: refusalsPerCaller, caller + "\x00" + user: refusalsPerUser} {
		if count := r.counts[key]; count.n >= most && now.Before(count.until) {
			return logical.CodedError(http.StatusTooManyRequests,
				fmt.Sprintf("too many requests for tokens were refused: try again in %s", durationText(count.until.Sub(now).Round(time.Second))))
		}
	}
	return nil
}

func (r *refusals) add(caller, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if len(r.counts) >= refusalsMax {
		for key, count := range r.counts {
			if !now.Before(count.until) {
				delete(r.counts, key)
			}
		}
	}
	for _, key := range []string{caller, caller + "\x00" + user} {
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
