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
	// Source says where the token comes from. The endpoint requires Domain, the API requires
	// Target.
	Source TokenSource
	// Domain is the domain of the pool, see ParseDomain.
	Domain string
	// Target is the user pool. Its UserPoolID is required only if AppClient has no secret, which is
	// then looked up.
	Target Target
	// AppClient must be confidential and allow client_credentials.
	AppClient AppClient
	// SecretPool, if set, is the user pool that AppClient.Secret came from. The secret is then sent
	// only to a domain of that pool. A secret that is looked up comes from Target.
	SecretPool *Target
	// Scopes are scopes of resource servers, such as "api/read". None means all that the app client
	// allows.
	Scopes []string
	// ClientMetadata is passed to a pre token generation trigger.
	ClientMetadata map[string]string
	// MinTTL is the requested remaining lifetime. A token in the first quarter of its lifetime
	// satisfies every MinTTL.
	MinTTL time.Duration
	// Fresh requests a token that is at most one minute old, for a client whose token was refused.
	// Concurrent requests share it.
	Fresh bool
	// NoCache requests a new token from Cognito, which AWS bills.
	NoCache bool
	// Partition is the part of the cache to use: the name of the role. Partitions share no tokens
	// and do not evict each other's.
	Partition string
}

// MachineToken is an access token of an app client. Cognito cannot revoke it.
type MachineToken struct {
	AccessToken string
	// Type is the token type: Bearer.
	Type string
	// Issued is when it was fetched.
	Issued time.Time
	// Expires is when it expires: the earlier of the times in the token and in the response.
	Expires time.Time
	// Next is when a newer token can be read.
	Next time.Time
	// Scopes are those that were granted, or nil when the token does not say.
	Scopes []string
	// BelowMinTTL is set if the remaining lifetime is less than MinTTL, because the app client
	// issues shorter tokens or a refresh failed.
	BelowMinTTL bool
}

// MachineToken returns a token, from the cache if possible: AWS bills every new token and counts it
// against a quota of the account.
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

// DropClient drops the cached tokens of an app client, and its secret if it was looked up.
func (s *Service) DropClient(clientID string) {
	s.tokens.dropClient(clientID)
	s.dropSecret(clientID)
}

// DropPartition drops the cached tokens of a partition.
func (s *Service) DropPartition(name string) { s.tokens.dropPartition(name) }

// newToken requests a new token. If a secret that was looked up is refused, it may have been
// rotated, and is looked up again, once.
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
	machine, err := s.toMachineToken(r, token)
	if err == nil {
		s.settings.Observer.Token(r.Partition, machine.life())
	}
	return machine, err
}

// fetched is the response of either source. A life of 0 is unknown.
type fetched struct {
	accessToken, tokenType string
	life                   time.Duration
}

// toMachineToken returns the token of a response, or an error if the response cannot be one.
func (s *Service) toMachineToken(r MachineTokenRequest, f fetched) (MachineToken, error) {
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
