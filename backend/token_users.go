// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Values of tokens_for.
const (
	tokensForIssued = "issued"
	tokensForAny    = "any"
)

// issuedNamesMax bounds the cached ids of records.
const issuedNamesMax = 10_000

// tokenUsers decides which users get tokens from tokens/.
type tokenUsers interface {
	// mayTry reports whether the login may be sent to Cognito. It makes no call to AWS.
	mayTry(ctx context.Context, login cognito.Login) (bool, error)
	// try requests tokens from Cognito.
	try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error)
	// knowsPassword reports whether mayTry lets only the right password pass.
	knowsPassword() bool
	// hasSub reports whether tokens with this sub may be returned. It makes no call to AWS.
	hasSub(ctx context.Context, sub string) (bool, error)
}

// issuedUsers are the users that a role issued and whose lease has not ended.
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

func (issuedUsers) knowsPassword() bool { return false }

func (u issuedUsers) hasSub(ctx context.Context, sub string) (bool, error) {
	return u.find(ctx, sub, func(r *issuedRecord) bool { return sub == r.Sub })
}

// find reports whether a user with a matching record exists. Record ids are cached, so that the
// records of a user are searched once; a cached id counts only if its record still matches.
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

// staticUser is the user of a static role. A password other than the stored one is not sent to
// Cognito, which would lock the user out after a few.
type staticUser struct {
	signer *signer
	name   string
}

func (u staticUser) mayTry(_ context.Context, login cognito.Login) (bool, error) {
	role := u.signer.role
	switch {
	case !slices.Contains(u.names(), login.Username):
		return false, nil
	case login.Password == "": // the request has a refresh token
		return true, nil
	case role.inDoubt():
		return false, badRequest("static role %q cannot sign in its user now, because its password is in doubt: see static-roles/%[1]s", u.name)
	default:
		return subtle.ConstantTimeCompare([]byte(login.Password), []byte(role.Value)) == 1, nil
	}
}

// try counts the sign-in, because the password may have been changed by other means. Sign-ins of
// one user do not run concurrently, because each would count as wrong until it ends. On a
// performance secondary, which cannot store the counts, only refusals limit the attempts.
func (u staticUser) try(ctx context.Context, e exchange, pool userPool) (cognito.Tokens, error) {
	if e.refreshToken != "" || !u.signer.b.mayWrite() {
		return e.run(ctx, pool)
	}
	unlock, err := u.signer.b.tokenSignIns.lock(ctx, u.name)
	if err != nil {
		return cognito.Tokens{}, err
	}
	defer unlock()
	return countedSignIn(ctx, u.signer, func() (cognito.Tokens, error) {
		return pool.SignInOnce(ctx, e.role.appClient(), e.login, e.role.ClientMetadata)
	})
}

func (staticUser) knowsPassword() bool { return true }

func (u staticUser) hasSub(_ context.Context, sub string) (bool, error) {
	return u.signer.role.Sub == "" || sub == u.signer.role.Sub, nil
}

func (u staticUser) names() []string {
	role := u.signer.role
	return slices.DeleteFunc([]string{role.Username, role.CognitoUsername, role.Sub}, func(name string) bool { return name == "" })
}

// restrictedExchange returns tokens only to the users of a role. Unknown users, wrong credentials
// and users that are not allowed get the same error, so that it says nothing about the users of the
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
	tokens, refused, err = e.exchangeTokens(ctx, pool)
	if refused {
		err = badRequest("tokens/%s refused the request: username, password, totp_code or refresh_token is wrong, or the user is not one that %q issued and that still exists; if all requests are refused, read check/%s",
			e.name, e.name, e.name)
	}
	if err != nil {
		return cognito.Tokens{}, err
	}
	return tokens, nil
}

// exchangeTokens returns tokens, or refused for every reason that gets the same error.
func (e restrictedExchange) exchangeTokens(ctx context.Context, pool userPool) (tokens cognito.Tokens, refused bool, err error) {
	if e.refreshToken == "" || e.login.Username != "" {
		if allowed, err := e.users.mayTry(ctx, e.login); err != nil || !allowed {
			return cognito.Tokens{}, err == nil, err
		}
	}
	tokens, err = e.users.try(ctx, e.exchange, pool)
	if isWrongCredentials(err) && !e.mayTellWhy(err) {
		return cognito.Tokens{}, true, nil
	}
	if err != nil {
		return cognito.Tokens{}, false, err
	}
	allowed, err := e.users.hasSub(ctx, tokens.Sub())
	return tokens, err == nil && !allowed, err
}

// mayTellWhy reports whether an error is about the state of a user whose right password was sent.
// Who has that may learn why it does not work.
func (e restrictedExchange) mayTellWhy(err error) bool {
	var aws *cognito.Error
	return e.refreshToken == "" && e.users.knowsPassword() && errors.As(err, &aws) &&
		slices.Contains([]string{"UserNotConfirmedException", "PasswordResetRequiredException"}, aws.Code)
}

// isWrongCredentials reports whether Cognito refused a sign-in because of the caller's credentials.
func isWrongCredentials(err error) bool {
	var aws *cognito.Error
	return errors.As(err, &aws) && slices.Contains([]string{
		"NotAuthorizedException", "UserNotFoundException", "UserNotConfirmedException", "PasswordResetRequiredException",
		"CodeMismatchException", "ExpiredCodeException", "RefreshTokenReuseException", "EnableSoftwareTokenMFAException",
	}, aws.Code) && !strings.Contains(aws.Detail, "ecret")
}
