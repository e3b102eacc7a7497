// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"golang.org/x/sync/errgroup"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// issueTimeout bounds the making of a user. It must end, undoing included,
// before the roll-back may think that the request died.
const issueTimeout = 90 * time.Second

// userIssue is one request for a user.
type userIssue struct {
	name   string
	role   *roleEntry
	aws    *connection
	target cognito.Target
	input  input
}

// issueUser makes a user for a lease. The WAL entry and the handover go first:
// from the moment that a user may exist, there is always something that ends
// it.
func (b *backend) issueUser(ctx context.Context, req *logical.Request, i userIssue) (*logical.Response, error) {
	if err := refuseFields(i.input, i.role, "scopes", "min_ttl"); err != nil {
		return toResponse(err)
	}
	ttl, err := b.requestedTTL(i)
	if err != nil {
		return toResponse(err)
	}
	request, err := b.userRequest(ctx, req, i)
	if err != nil {
		return toResponse(err)
	}
	pool, err := b.userPool(ctx, req, i.target)
	if err != nil {
		return toResponse(err)
	}
	lease := userLease{userRef: newUserRef(request.Username, i.target), role: i.name, created: b.now(), ttl: ttl, revocation: i.role.revocation()}
	walID, err := b.note(ctx, req.Storage, &lease, i.role)
	if err != nil {
		return nil, err
	}
	issued, err := b.issueWithin(ctx, pool, request)
	if err != nil {
		b.settleFailure(ctx, req, walID, lease.handover, err)
		return toResponse(fmt.Errorf("role %q: %w", i.name, err))
	}
	lease.Username, lease.created = issued.Username, b.now() // Cognito's own, where the one that was sent is an address
	if err := dropWAL(ctx, req.Storage, walID); err != nil {
		return nil, b.deleteUndelivered(ctx, req, lease, err)
	}
	return b.userResponse(i, request, issued, lease), nil
}

// note writes down what deletes a user that is not finished, and what ends one
// that is. It is the first thing that happens.
func (b *backend) note(ctx context.Context, s logical.Storage, lease *userLease, role *roleEntry) (walID string, err error) {
	h := handover{userRef: lease.userRef, Created: lease.created, Due: b.dueAfter(b.firstTTL(lease, role)), Revocation: lease.revocation}
	lease.handover = h.newID()
	var both errgroup.Group
	both.Go(func() error { return putJSON(ctx, s, handoverStoragePrefix+lease.handover, h) })
	both.Go(func() (err error) {
		walID, err = framework.PutWAL(ctx, s, walKindUser, userWAL{lease.userRef, lease.created, lease.handover})
		return err
	})
	if err := both.Wait(); err != nil {
		b.forget(ctx, s, walID, lease.handover)
		return "", fmt.Errorf("noting that a user is about to be made: %w", err)
	}
	return walID, nil
}

// firstTTL is how long a lease lasts that nobody renews, at the most.
func (b *backend) firstTTL(lease *userLease, role *roleEntry) time.Duration {
	ttl := cmp.Or(lease.ttl, role.TTL)
	if ttl == 0 {
		ttl = b.System().DefaultLeaseTTL()
	}
	return min(ttl, cmp.Or(role.MaxTTL, ttl))
}

// forget drops the notes about a user that is not there. The caller may have
// gone away, but they must not stay for that.
func (b *backend) forget(ctx context.Context, s logical.Storage, walID, handover string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cognito.UndoTimeout)
	defer cancel()
	if err := errors.Join(dropWAL(ctx, s, walID), dropHandover(ctx, s, handover)); err != nil {
		b.Logger().Warn("the next roll-back will look for a user that is not there", "error", err)
	}
}

// issueWithin ends well before the WAL entry may be rolled back.
func (b *backend) issueWithin(ctx context.Context, pool userPool, request cognito.UserRequest) (*cognito.IssuedUser, error) {
	ctx, cancel := context.WithTimeout(ctx, b.issueLimit())
	defer cancel()
	return pool.IssueUser(ctx, request)
}

func (b *backend) issueLimit() time.Duration { return min(issueTimeout, b.WALRollbackMinAge/2) }

// settleFailure forgets a user when it is certain that none is left.
func (b *backend) settleFailure(ctx context.Context, req *logical.Request, walID, handover string, failure error) {
	var leftover *cognito.LeftoverError
	if errors.As(failure, &leftover) {
		b.Logger().Warn("a user may be left in its pool until the next roll-back", "error", failure, "deleting_it", leftover.Undo)
		return
	}
	b.forget(ctx, req.Storage, walID, handover)
}

// deleteUndelivered deletes a user that cannot be handed out. What is left behind when
// that fails is rolled back, or ends like any handover.
func (b *backend) deleteUndelivered(ctx context.Context, req *logical.Request, lease userLease, reason error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cognito.UndoTimeout)
	defer cancel()
	err := b.deleteUser(ctx, req, lease.userRef, lease.created)
	if err == nil {
		err = dropHandover(ctx, req.Storage, lease.handover)
	}
	if err != nil {
		b.Logger().Warn("a user that could not be handed over may be left in its pool for now", "username", lease.Username, "error", err)
	}
	return reason
}

// requestedTTL is the lease that the request asks for, or zero. It can only be
// shorter than what a read without it would give.
func (b *backend) requestedTTL(i userIssue) (time.Duration, error) {
	var ttl time.Duration
	setDuration(i.input, "ttl", &ttl)
	if ttl == 0 {
		return 0, nil
	}
	longest := cmp.Or(i.role.TTL, b.System().DefaultLeaseTTL())
	if ttl > longest {
		return 0, badRequest("ttl %s is not allowed: it must not be longer than %s, the lease that the role gives", ttl, longest)
	}
	return ttl, nil
}

func (b *backend) userRequest(ctx context.Context, req *logical.Request, i userIssue) (cognito.UserRequest, error) {
	data := templateData{RoleName: i.name, DisplayName: req.DisplayName, MountPoint: req.MountPoint, UserPoolID: i.target.UserPoolID}
	user, err := renderUser(i.aws, i.role, data)
	if err != nil {
		return cognito.UserRequest{}, err
	}
	password, temporary, err := b.newPasswords(ctx, i.role.passwordPolicy(i.aws))
	if err != nil {
		return cognito.UserRequest{}, err
	}
	user.TemporaryPassword = temporary
	return cognito.UserRequest{
		NewUser:   user,
		Password:  password,
		Groups:    i.role.Groups,
		AppClient: i.role.appClient(),
		NoTokens:  i.role.NoTokens,
		TOTP:      i.role.mfa() == mfaTOTP,
	}, nil
}

func (b *backend) userResponse(i userIssue, request cognito.UserRequest, issued *cognito.IssuedUser, lease userLease) *logical.Response {
	data := map[string]any{
		"username":      issued.Username,
		"password":      request.Password,
		"sub":           issued.Sub,
		"user_pool_id":  i.target.UserPoolID,
		"region":        i.target.Region,
		"app_client_id": i.role.AppClientID,
	}
	if email := request.Attributes[attributeEmail]; email != "" {
		data["email"] = email
	}
	if issued.TOTP != nil {
		data["totp_secret"] = issued.TOTP.Secret
		data["totp_url"] = issued.TOTP.URL
	}
	if issued.Tokens != nil {
		maps.Copy(data, tokenData(*issued.Tokens))
	}
	response := b.Secret(secretTypeUser).Response(data, lease.internalData())
	response.Secret.TTL, response.Secret.MaxTTL = cmp.Or(lease.ttl, i.role.TTL), i.role.MaxTTL
	return response
}
