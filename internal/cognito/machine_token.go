// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// TokenSource is where machine tokens come from.
type TokenSource string

const (
	// SourceEndpoint is the token endpoint on the domain of the pool.
	SourceEndpoint TokenSource = "endpoint"
	// SourceAPI is the operation GetClientToken, which needs no domain.
	SourceAPI TokenSource = "api"
)

// codeInvalidClient is RFC 6749's word for a client whose id or secret is wrong.
const codeInvalidClient = "invalid_client"

// MachineTokenRequest asks for an access token of an app client.
type MachineTokenRequest struct {
	// Source decides what else is needed: a Domain, or a Target.
	Source TokenSource
	// Domain is the pool's, as ParseDomain reads it.
	Domain string
	// Target is where the pool is. Its UserPoolID is needed only to look up
	// the secret of an AppClient that comes without.
	Target Target
	// AppClient must be confidential and allow client_credentials.
	AppClient AppClient
	// SecretPool, if set, is the user pool that AppClient.Secret came from. The secret is then sent only to
	// a domain of that pool. A secret that is looked up comes from Target.
	SecretPool *Target
	// Scopes of resource servers, such as "api/read"; none means all that the client may have.
	Scopes []string
	// ClientMetadata reaches a pre token generation trigger.
	ClientMetadata map[string]string
	// MinTTL is how long a token must still live to be of use.
	MinTTL time.Duration
	// NoCache buys a token of its own for this request.
	NoCache bool

	// key is set by Prepared.
	key *tokenKey
}

// MachineToken is an access token of an app client. Cognito cannot revoke it.
type MachineToken struct {
	AccessToken string
	// Type is how to present it: Bearer.
	Type string
	// Issued is when it was fetched.
	Issued time.Time
	// Expires is when it ends: the token's own word where it is a JWT.
	Expires time.Time
	// Next is from when on the next one can be had.
	Next time.Time
	// Scopes are those that were granted, or nil when the token does not say.
	Scopes []string
}

// MachineToken gives a token that lives for at least MinTTL, from memory where
// it can: every one that Cognito makes is paid for and counts against a quota
// of the whole account.
func (s *Service) MachineToken(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	r.MinTTL = max(r.MinTTL, time.Second) // one that is about to end is of no use to anybody
	get := s.tokens.get
	if r.NoCache {
		get = s.buyToken
	}
	token, err := get(ctx, r)
	if err != nil {
		return MachineToken{}, err
	}
	return longEnough(r, token, s.now())
}

// longEnough refuses a token that ends too soon, although it is the newest.
func longEnough(r MachineTokenRequest, token MachineToken, now time.Time) (MachineToken, error) {
	if token.Expires.Sub(now) < r.MinTTL {
		return MachineToken{}, &Error{Step: r.step(), Kind: KindInvalid, Detail: fmt.Sprintf(
			"its tokens live %s, which is less than the %s that they must have left", token.life().Round(time.Second), r.MinTTL)}
	}
	return token, nil
}

func (t MachineToken) life() time.Duration { return t.Expires.Sub(t.Issued) }

// ForgetMachineTokens drops what is held in memory of an app client: tokens,
// and the secret where it was looked up.
func (s *Service) ForgetMachineTokens(clientID string) {
	s.tokens.forget(clientID)
	s.secrets.forget(clientID)
}

// buyToken fetches a token. A secret that was looked up may have been rotated
// since, so when it is refused it is read again, once.
func (s *Service) buyToken(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	if pool, needed := r.secretPool(); needed {
		if err := s.ConfirmDomain(ctx, pool, r.Domain); err != nil {
			return MachineToken{}, err
		}
	}
	if r.AppClient.Secret != "" {
		return s.fetchToken(ctx, r)
	}
	secret, err := s.clientSecret(ctx, r.Target, r.AppClient.ID)
	if err != nil {
		return MachineToken{}, err
	}
	r.AppClient.Secret = secret
	token, err := s.fetchToken(ctx, r)
	if err == nil || !hasCode(err, codeInvalidClient) {
		return token, err
	}
	s.secrets.forget(r.AppClient.ID)
	if r.AppClient.Secret, err = s.clientSecret(ctx, r.Target, r.AppClient.ID); err != nil {
		return MachineToken{}, err
	}
	return s.fetchToken(ctx, r)
}

func (s *Service) fetchToken(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	fetch := s.fetchFromEndpoint
	if r.Source == SourceAPI {
		fetch = s.fetchFromAPI
	}
	token, err := fetch(ctx, r)
	if err != nil {
		return MachineToken{}, err
	}
	return s.read(r, token)
}

// fetched is what either source answers.
type fetched struct {
	accessToken, tokenType string
	expires                time.Time
}

// read takes the answer for a token only when it can be one, and believes what
// the token itself says more than what was said about it: a cache on the way
// repeats an old expires_in.
func (s *Service) read(r MachineTokenRequest, f fetched) (MachineToken, error) {
	if !strings.EqualFold(f.tokenType, "Bearer") || strings.ContainsAny(f.accessToken, " \t\r\n") {
		return MachineToken{}, notATokenEndpoint(r.step())
	}
	now := s.now()
	token := MachineToken{AccessToken: f.accessToken, Type: "Bearer", Issued: now, Expires: f.expires}
	if claims, ok := readClaims(f.accessToken); ok {
		token.Scopes = claims.scopes()
		token.Expires = claims.expires(token.Expires)
	}
	if !token.Expires.After(now) {
		return MachineToken{}, &Error{Step: r.step(), Kind: KindUnavailable, Detail: "the token does not say when it ends, or has ended already"}
	}
	token.Next = now.Add(s.tokens.refreshAfter(token.life()))
	return token, nil
}

// step names the app client and where its token comes from.
func (r MachineTokenRequest) step() string {
	if r.Source == SourceAPI {
		return fmt.Sprintf("fetching a token of app client %q from Cognito's API in %s", r.AppClient.ID, r.Target.Region)
	}
	return fmt.Sprintf("fetching a token of app client %q from %q", r.AppClient.ID, r.Domain)
}
