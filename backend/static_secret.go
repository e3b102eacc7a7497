// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// secretProofs and secretProofPause bound how long a new secret may take to work.
	secretProofs     = 6
	secretProofPause = 200 * time.Millisecond
)

// clientSecretSetter gives an app client a new secret beside the one in use,
// and retires the one before that.
type clientSecretSetter struct {
	pool *cognito.Pool
	aws  *connection
	role *staticRole
}

// newValue is made here and not by Cognito, which shows one only once: an
// answer that gets lost then loses nothing. It has 52 characters of Cognito's
// letters and digits.
func (s *clientSecretSetter) newValue(ctx context.Context) (*pendingValue, error) {
	ids, err := s.pool.ClientSecretIDs(ctx, s.role.AppClientID)
	if err != nil {
		return nil, err
	}
	if err := s.own(ids); err != nil {
		return nil, err
	}
	return &pendingValue{Value: strings.ToLower(rand.Text()) + rand.Text(), Before: ids}, nil
}

// own takes over the one secret that the app client has when Vault becomes its
// owner, and refuses one that came from elsewhere later.
func (s *clientSecretSetter) own(ids []string) error {
	if s.role.SecretID == "" && len(ids) == 1 {
		s.role.SecretID = ids[0]
		return nil
	}
	for _, id := range ids {
		if len(ids) == cognito.ClientSecretsMax && id != s.role.SecretID && id != s.role.PreviousID {
			return badRequest("app client %q has a second secret, %q, that Vault did not make: Cognito allows %d, so delete it or the client cannot be rotated",
				s.role.AppClientID, id, cognito.ClientSecretsMax)
		}
	}
	return nil
}

// set adds the pending secret, unless an earlier try has. Only then is the one
// before the one in use deleted, and only when its place is needed.
func (s *clientSecretSetter) set(ctx context.Context, role *staticRole, retried bool) error {
	id, err := "", error(nil)
	if retried {
		id, err = s.added(ctx, role)
	}
	if err == nil && id == "" {
		id, err = s.add(ctx, role)
	}
	if err != nil {
		return err
	}
	// The ids of the role change only with its value, or a try that goes on from
	// here would retire the secret that is still handed out.
	role.Pending.ID = id
	return s.prove(ctx, role)
}

// added finds the secret that a try with a lost answer added: one that was not
// there before. Where the pool's domain is known, a token tells for certain
// whether it is ours.
func (s *clientSecretSetter) added(ctx context.Context, role *staticRole) (string, error) {
	ids, err := s.pool.ClientSecretIDs(ctx, role.AppClientID)
	if err != nil {
		return "", err
	}
	if slices.Contains(ids, role.Pending.ID) {
		return role.Pending.ID, nil
	}
	for _, id := range ids {
		if slices.Contains(role.Pending.Before, id) || id == role.SecretID || id == role.PreviousID {
			continue
		}
		if err := s.prove(ctx, role); cognito.IsInvalidClient(err) {
			return "", s.own(ids)
		} else if err != nil {
			return "", err
		}
		return id, nil
	}
	return "", nil
}

func (s *clientSecretSetter) add(ctx context.Context, role *staticRole) (string, error) {
	ids, err := s.pool.ClientSecretIDs(ctx, role.AppClientID)
	if err != nil {
		return "", err
	}
	if err := s.own(ids); err != nil {
		return "", err
	}
	if len(ids) == cognito.ClientSecretsMax && role.PreviousID != "" {
		if err := s.pool.DeleteClientSecret(ctx, role.AppClientID, role.PreviousID); err != nil {
			return "", err
		}
		role.Pending.Before = slices.DeleteFunc(role.Pending.Before, func(id string) bool { return id == role.PreviousID })
	}
	id, err := s.pool.AddClientSecret(ctx, role.AppClientID, role.Pending.Value)
	role.Pending.note(err)
	return id, err
}

// prove fetches a token with the pending secret, which Cognito may take a
// moment to know.
func (s *clientSecretSetter) prove(ctx context.Context, role *staticRole) error {
	if role.CognitoPoolDomain == "" {
		return nil
	}
	request := cognito.MachineTokenRequest{
		Domain: role.CognitoPoolDomain, AppClient: cognito.AppClient{ID: role.AppClientID, Secret: role.Pending.Value}, Scopes: role.Scopes, NoCache: true,
	}
	_, err := s.aws.MachineToken(ctx, request)
	for attempt := 1; cognito.IsInvalidClient(err) && attempt < secretProofs; attempt++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(secretProofPause << attempt):
		}
		_, err = s.aws.MachineToken(ctx, request)
	}
	return err
}
