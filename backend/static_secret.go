// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// secretProofs and secretProofPause bound how long an attempt waits until Cognito accepts a new
	// secret. Each pause is twice as long as the previous one.
	secretProofs     = 4
	secretProofPause = 500 * time.Millisecond
)

// ownedSecret is the secret of an app client. A rotation adds a new secret. The old one stays valid
// until the next rotation.
type ownedSecret struct {
	*staticRotation

	// proven is set if resolve got a token for the pending value.
	proven bool
}

// check returns nil: adding a secret does not invalidate another one, and the proof shows whether
// it works.
func (s *ownedSecret) check(context.Context) error { return nil }

// propose generates the value here. A value that Cognito generates is returned only once and could
// be lost with the response. It has 52 letters and digits.
func (s *ownedSecret) propose(ctx context.Context) (*pendingValue, error) {
	ids, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	if s.isNew && len(ids) == 1 {
		s.role.SecretID = ids[0] // the secret that the client has when Vault becomes its owner
	}
	if err := s.mustHaveRoom(ids); err != nil {
		return nil, err
	}
	return &pendingValue{Value: strings.ToLower(rand.Text()) + rand.Text(), Before: ids}, nil
}

func (s *ownedSecret) list(ctx context.Context) ([]string, error) {
	return s.pool.ClientSecretIDs(ctx, s.role.AppClientID)
}

// mustHaveRoom returns an error if the app client has as many secrets as Cognito allows and none of
// them may be deleted.
func (s *ownedSecret) mustHaveRoom(ids []string) error {
	if len(ids) < cognito.ClientSecretsMax || s.expendable(ids) {
		return nil
	}
	return s.errNoRoom(ids)
}

// expendable reports whether the previous secret may be deleted. If the current secret no longer
// exists, it may not, because it may be the only one that works.
func (s *ownedSecret) expendable(ids []string) bool {
	return s.role.PreviousID != "" && slices.Contains(ids, s.role.PreviousID) && slices.Contains(ids, s.role.SecretID)
}

func (s *ownedSecret) errNoRoom(ids []string) error {
	foreign := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == s.role.SecretID || id == s.role.PreviousID })
	return badRequest("app client %q has %d secrets, as many as Cognito allows, and Vault did not create %s: "+
		"rotation continues by itself once there is room; Vault deletes no secret that may be in use",
		s.role.AppClientID, len(ids), strings.Join(quotedAll(foreign), ", "))
}

func quotedAll(texts []string) []string {
	quoted := make([]string, 0, len(texts))
	for _, text := range texts {
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	return quoted
}

// set deletes the previous secret if the app client has no room, and adds the pending one.
func (s *ownedSecret) set(ctx context.Context) (cognito.Outcome, error) {
	if err := s.makeRoom(ctx); err != nil {
		return cognito.OutcomeRefused, err
	}
	id, err := s.pool.AddClientSecret(ctx, s.role.AppClientID, s.role.Pending.Value)
	if err == nil {
		s.role.Pending.ID = id
	}
	return cognito.OutcomeOf(err), err
}

func (s *ownedSecret) makeRoom(ctx context.Context) error {
	if len(s.role.Pending.Before) < cognito.ClientSecretsMax {
		return nil
	}
	if err := s.pool.DeleteClientSecret(ctx, s.role.AppClientID, s.role.PreviousID); err != nil {
		return err
	}
	s.role.Pending.Before = slices.DeleteFunc(s.role.Pending.Before, func(id string) bool { return id == s.role.PreviousID })
	return nil
}

// resolve looks for a secret that was added since the rotation began. It is the pending one if its
// value gets a token. Without a domain the outcome stays unknown.
func (s *ownedSecret) resolve(ctx context.Context) (cognito.Outcome, error) {
	ids, err := s.list(ctx)
	if err != nil {
		return cognito.OutcomeUnknown, err
	}
	added := slices.DeleteFunc(slices.Clone(ids), s.wasThere)
	if len(added) == 0 {
		return s.setAgain(ctx, ids)
	}
	if err := s.proveAdded(ctx, added); err != nil {
		return s.resolveUnproven(ctx, ids, err)
	}
	if len(added) == 1 {
		s.role.Pending.ID = added[0]
	}
	s.proven = true
	return cognito.OutcomeSucceeded, nil
}

var errNoProof = errors.New("nothing proves a secret without cognito_pool_domain")

func (s *ownedSecret) proveAdded(ctx context.Context, added []string) error {
	if s.role.CognitoPoolDomain != "" {
		return s.prove(ctx)
	}
	return fmt.Errorf("the response to adding a secret to app client %q was lost, and it is not known whether %s is that secret: "+
		"write cognito_pool_domain, so that a token can prove it; the secret that static-creds returns stays valid: %w",
		s.role.AppClientID, strings.Join(quotedAll(added), ", "), errNoProof)
}

// wasThere reports whether a secret existed before the pending one.
func (s *ownedSecret) wasThere(id string) bool {
	return slices.Contains(s.role.Pending.Before, id) || id == s.role.SecretID || id == s.role.PreviousID
}

// setAgain adds the pending value once more, after it certainly was not added.
func (s *ownedSecret) setAgain(ctx context.Context, ids []string) (cognito.Outcome, error) {
	if err := s.mustHaveRoom(ids); err != nil {
		return cognito.OutcomeRefused, err
	}
	s.role.Pending.Before = ids
	return s.set(ctx)
}

// resolveUnproven handles a secret that was added meanwhile but not proven to be the pending one.
// It is not deleted.
func (s *ownedSecret) resolveUnproven(ctx context.Context, ids []string, proof error) (cognito.Outcome, error) {
	unproven := cognito.IsInvalidClient(proof) || errors.Is(proof, errNoProof)
	switch {
	case unproven && len(ids) < cognito.ClientSecretsMax:
		return s.setAgain(ctx, ids)
	case cognito.IsInvalidClient(proof):
		return cognito.OutcomeUnknown, errors.Join(s.errNoRoom(ids), proof)
	default:
		return cognito.OutcomeUnknown, proof
	}
}

// afterSet stores the id of the secret before the proof, so that a crash does not lose it.
func (s *ownedSecret) afterSet(ctx context.Context) error {
	if s.role.CognitoPoolDomain == "" || s.proven {
		return s.promoteSecret(ctx)
	}
	s.role.State = staticProving
	if err := s.store(ctx); err != nil {
		s.role.State = staticSetting
		return err
	}
	return s.completeProving(ctx)
}

// completeProving proves the secret and promotes it.
func (s *ownedSecret) completeProving(ctx context.Context) error {
	if s.role.CognitoPoolDomain != "" {
		if err := s.prove(ctx); err != nil {
			return s.proofFailed(ctx, err)
		}
	}
	return s.promoteSecret(ctx)
}

// proofFailed returns the failure of a proof. If the pending secret no longer exists, it drops it,
// so that the next attempt adds another one.
func (s *ownedSecret) proofFailed(ctx context.Context, proof error) error {
	failure := fmt.Errorf("the new secret was added, but no token proves it yet, so the one before is still returned: %w", proof)
	if !cognito.IsInvalidClient(proof) || s.role.Pending.ID == "" {
		return failure
	}
	ids, err := s.list(ctx)
	if err != nil || slices.Contains(ids, s.role.Pending.ID) {
		return failure
	}
	return s.dropPending(ctx, fmt.Errorf("the new secret %q was deleted before it was proven", s.role.Pending.ID))
}

// promoteSecret promotes the pending value and the ids. If the current secret no longer exists, the
// previous secret stays the previous one.
func (s *ownedSecret) promoteSecret(ctx context.Context) error {
	before := *s.role
	if slices.Contains(s.role.Pending.Before, s.role.SecretID) {
		s.role.PreviousID = s.role.SecretID
	}
	s.role.SecretID = s.role.Pending.ID
	if err := s.promote(ctx, staticIdle); err != nil {
		*s.role = before
		return err
	}
	return nil
}

// prove requests a token with the pending secret. Cognito may accept a new secret with a delay.
func (s *ownedSecret) prove(ctx context.Context) error {
	request := cognito.MachineTokenRequest{
		Domain: s.role.CognitoPoolDomain, AppClient: cognito.AppClient{ID: s.role.AppClientID, Secret: s.role.Pending.Value}, Scopes: s.role.Scopes, NoCache: true,
		SecretPool: s.role.secretPool(s.aws.region),
	}
	_, err := s.aws.MachineToken(ctx, request)
	for attempt := 1; cognito.IsInvalidClient(err) && attempt < secretProofs; attempt++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(secretProofPause << (attempt - 1)):
		}
		_, err = s.aws.MachineToken(ctx, request)
	}
	return err
}
