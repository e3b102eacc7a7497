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
	// secretProofs and secretProofPause bound how long an attempt waits until
	// Cognito accepts a secret that it has. Each pause is twice the one before.
	secretProofs     = 4
	secretProofPause = 500 * time.Millisecond
)

// ownedSecret is the secret of an app client. The new one is added beside the one
// that is returned, which stays valid until the rotation after that.
type ownedSecret struct {
	*staticRotation

	// proven is set if a token for the pending value settled the rotation.
	proven bool
}

// check finds nothing: adding a secret makes no other one invalid, so proving it
// is the check.
func (s *ownedSecret) check(context.Context) error { return nil }

// propose makes the value here and not at Cognito, which returns a value only
// once: a lost response then loses nothing. It has 52 letters and digits.
func (s *ownedSecret) propose(ctx context.Context) (*pendingValue, error) {
	ids, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	if s.role.SecretID == "" && len(ids) == 1 && s.role.LastRotation.IsZero() {
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

// mustHaveRoom refuses if the app client has as many secrets as it can have and
// none of them may be deleted.
func (s *ownedSecret) mustHaveRoom(ids []string) error {
	if len(ids) < cognito.ClientSecretsMax || s.expendable(ids) {
		return nil
	}
	return s.errNoRoom(ids)
}

// expendable reports whether the previous secret can make room. If the current
// one is gone it cannot, because then it may be the only one that works.
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

// set deletes the previous secret if its place is needed, and adds the pending one.
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

// settle looks for a secret that was not there before. It is the pending one if
// its value gets a token; without a domain to prove that, nothing is decided.
func (s *ownedSecret) settle(ctx context.Context) (cognito.Outcome, error) {
	ids, err := s.list(ctx)
	if err != nil {
		return cognito.OutcomeUnknown, err
	}
	added := slices.DeleteFunc(slices.Clone(ids), s.wasThere)
	if len(added) == 0 {
		return s.setAgain(ctx, ids)
	}
	if err := s.proveAdded(ctx, added); err != nil {
		return s.settleUnproven(ctx, ids, err)
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

// wasThere reports whether a secret cannot be the pending one.
func (s *ownedSecret) wasThere(id string) bool {
	return slices.Contains(s.role.Pending.Before, id) || id == s.role.SecretID || id == s.role.PreviousID
}

// setAgain adds the same value once more, after it certainly was not added.
func (s *ownedSecret) setAgain(ctx context.Context, ids []string) (cognito.Outcome, error) {
	if err := s.mustHaveRoom(ids); err != nil {
		return cognito.OutcomeRefused, err
	}
	s.role.Pending.Before = ids
	return s.set(ctx)
}

// settleUnproven is for a secret that was added meanwhile and that nothing proves
// to be the pending one. It is left alone.
func (s *ownedSecret) settleUnproven(ctx context.Context, ids []string, proof error) (cognito.Outcome, error) {
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

// accept stores the id before the proof, so that a crash does not lose it.
func (s *ownedSecret) accept(ctx context.Context) error {
	if s.role.CognitoPoolDomain == "" || s.proven {
		return s.promoteSecret(ctx)
	}
	s.role.State = staticProving
	if err := s.store(ctx); err != nil {
		s.role.State = staticSetting
		return err
	}
	return s.finish(ctx)
}

// finish proves the secret, unless it was deleted meanwhile.
func (s *ownedSecret) finish(ctx context.Context) error {
	if s.role.CognitoPoolDomain != "" {
		if err := s.prove(ctx); err != nil {
			return s.unproven(ctx, err)
		}
	}
	return s.promoteSecret(ctx)
}

// unproven starts again with another value if the pending secret no longer exists.
func (s *ownedSecret) unproven(ctx context.Context, proof error) error {
	failure := fmt.Errorf("the new secret was added, but no token proves it yet, so the one before is still returned: %w", proof)
	if !cognito.IsInvalidClient(proof) || s.role.Pending.ID == "" {
		return failure
	}
	ids, err := s.list(ctx)
	if err != nil || slices.Contains(ids, s.role.Pending.ID) {
		return failure
	}
	return s.keep(ctx, fmt.Errorf("the new secret %q was deleted before it was proven", s.role.Pending.ID))
}

// promoteSecret also moves the ids on. The previous secret stays the previous one
// if the current one was already gone.
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

// prove requests a token with the pending secret, which Cognito may accept with a delay.
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
