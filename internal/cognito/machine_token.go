// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// TokenSource says where machine tokens come from.
type TokenSource string

const (
	// SourceEndpoint is the token endpoint on the domain of the pool.
	SourceEndpoint TokenSource = "endpoint"
	// SourceAPI is the operation GetClientToken, which needs no domain.
	SourceAPI TokenSource = "api"
)

// codeInvalidClient is the code of RFC 6749 for a wrong id or secret of a client.
const codeInvalidClient = "invalid_client"

// MachineTokenRequest asks for an access token of an app client.
type MachineTokenRequest struct {
	// Source decides what else is required: a Domain, or a Target.
	Source TokenSource
	// Domain is the domain of the pool, see ParseDomain.
	Domain string
	// Target is where the pool is. Its UserPoolID is required only if AppClient
	// has no secret, which is looked up then.
	Target Target
	// AppClient must be confidential and allow client_credentials.
	AppClient AppClient
	// SecretPool, if set, is the user pool that AppClient.Secret came from. The secret is then sent
	// only to a domain of that pool. A secret that is looked up comes from Target.
	SecretPool *Target
	// Scopes of resource servers, such as "api/read"; none means all that the client allows.
	Scopes []string
	// ClientMetadata reaches a pre token generation trigger.
	ClientMetadata map[string]string
	// MinTTL is how long a token should still live. A token in the first quarter
	// of its life satisfies every MinTTL.
	MinTTL time.Duration
	// Fresh asks for a token that is at most one minute old, for a client whose
	// token was refused. All who ask for one share it.
	Fresh bool
	// NoCache buys a token of its own for this request.
	NoCache bool
	// Partition is the part of the cache to use: the name of the role. Requests
	// in different partitions share no token and evict none of each other's.
	Partition string
}

// MachineToken is an access token of an app client. Cognito cannot revoke it.
type MachineToken struct {
	AccessToken string
	// Type is how to present it: Bearer.
	Type string
	// Issued is when it was fetched.
	Issued time.Time
	// Expires is when it expires: what the token itself says or the response
	// says, whichever is earlier.
	Expires time.Time
	// Next is from when on the next one can be had.
	Next time.Time
	// Scopes are those that were granted, or nil when the token does not say.
	Scopes []string
	// BelowMinTTL means that the token lives less than MinTTL, because its app
	// client's tokens do, or because it could not be replaced.
	BelowMinTTL bool
}

// MachineToken returns a token, a cached one if possible: every token that
// Cognito makes is paid for and counts against a quota of the whole account.
func (s *Service) MachineToken(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	get := s.tokens.get
	if r.NoCache {
		get = s.newToken
	}
	token, err := get(ctx, r)
	if err != nil {
		return MachineToken{}, err
	}
	token.BelowMinTTL = token.left(s.now()) < r.MinTTL
	return token, nil
}

func (t MachineToken) life() time.Duration { return t.Expires.Sub(t.Issued) }

func (t MachineToken) left(now time.Time) time.Duration { return t.Expires.Sub(now) }

// DropClient removes what is cached of an app client: its tokens, and its
// secret if it was looked up.
func (s *Service) DropClient(clientID string) {
	s.tokens.dropClient(clientID)
	s.dropSecret(clientID)
}

// DropPartition removes the cached tokens of a partition.
func (s *Service) DropPartition(name string) { s.tokens.dropPartition(name) }

// newToken fetches a token. A secret that was looked up may have been rotated
// since, so if it is refused it is read again, once.
func (s *Service) newToken(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	if pool, needed := r.secretPool(); needed {
		if err := s.ConfirmDomain(ctx, pool, r.Domain); err != nil {
			return MachineToken{}, err
		}
	}
	if r.AppClient.Secret != "" {
		return s.fetchToken(ctx, r)
	}
	token, err := s.fetchWithLookup(ctx, r)
	if IsInvalidClient(err) {
		s.dropSecret(r.AppClient.ID)
		return s.fetchWithLookup(ctx, r)
	}
	return token, err
}

func (s *Service) fetchWithLookup(ctx context.Context, r MachineTokenRequest) (MachineToken, error) {
	secret, err := s.lookUpSecret(ctx, r.Target, r.AppClient.ID)
	if err != nil {
		return MachineToken{}, err
	}
	r.AppClient.Secret = secret
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
	machine, err := s.read(r, token)
	if err == nil {
		s.settings.Observer.Token(r.Partition, machine.life())
	}
	return machine, err
}

// fetched is what either source returns. A life of 0 is unknown.
type fetched struct {
	accessToken, tokenType string
	life                   time.Duration
}

// read accepts a response only if it can be a token.
func (s *Service) read(r MachineTokenRequest, f fetched) (MachineToken, error) {
	if !strings.EqualFold(f.tokenType, "Bearer") || strings.ContainsAny(f.accessToken, " \t\r\n") {
		return MachineToken{}, notATokenEndpoint(r.step())
	}
	now := s.now()
	token := MachineToken{AccessToken: f.accessToken, Type: "Bearer", Issued: now, Expires: expiryOf(f.accessToken, f.life, now)}
	if claims, ok := readClaims(f.accessToken); ok {
		token.Scopes = claims.scopes()
	}
	if token.left(now) < leastLife {
		return MachineToken{}, &Error{Step: r.step(), Kind: KindUnavailable, Detail: "the token does not say when it expires, or has expired already"}
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
