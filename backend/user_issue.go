// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"errors"
	"maps"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// userIssue is one request for a user. Its methods are called in their order: prepare, begin,
// create, deliver, response.
type userIssue struct {
	issueRequest

	request cognito.UserRequest
	user    *cognito.IssuedUser
}

// issue creates a user for a lease. It stores the record first, so that whenever a user may exist
// there is a record that the reconciler can end it by.
func (i *userIssue) issue(ctx context.Context) error {
	if err := i.prepare(ctx); err != nil {
		return err
	}
	creating, err := i.begin(ctx)
	if err != nil {
		return err
	}
	defer i.creation.done()
	if err := i.create(creating); err != nil {
		return roleError(i.name, err)
	}
	return i.deliver(creating)
}

// prepare does everything that can fail before anything is stored or created.
func (i *userIssue) prepare(ctx context.Context) error {
	if err := i.readFields(); err != nil {
		return err
	}
	if err := i.render(ctx); err != nil {
		return err
	}
	return i.connect(ctx)
}

// render renders the username and the attributes, and generates the passwords.
func (i *userIssue) render(ctx context.Context) error {
	data := i.b.templateData(i.req, i.name, i.target.UserPoolID)
	user, err := renderUser(i.aws, i.role, data)
	if err != nil {
		return err
	}
	password, temporary, err := i.b.newPasswords(ctx, i.role.passwordPolicy(i.aws))
	if err != nil {
		return err
	}
	user.TemporaryPassword = temporary
	i.request = cognito.UserRequest{
		NewUser:   user,
		Password:  password,
		Groups:    i.role.Groups,
		AppClient: i.role.appClient(),
		NoTokens:  i.role.NoTokens,
		TOTP:      i.role.mfa() == mfaTOTP,
	}
	return nil
}

// begin stores the record of the user. The calls that create the user use the returned context.
func (i *userIssue) begin(ctx context.Context) (context.Context, error) {
	record, err := i.newRecord(ctx, kindUser)
	if err != nil {
		return nil, err
	}
	record.Username, record.RequestedName = i.request.Username, i.request.Username
	record.Revocation = i.role.revocation()
	return i.storeRecord(ctx, record)
}

// create creates the user. If that fails and no user is left for certain, the record is deleted.
func (i *userIssue) create(ctx context.Context) error {
	user, err := i.pool.IssueUser(ctx, i.request)
	if err == nil {
		i.user = user
		return nil
	}
	var leftover *cognito.LeftoverError
	if errors.As(err, &leftover) {
		i.creation.fail(ctx, false, err, leftover.Undo)
	} else {
		i.creation.fail(ctx, true, err, nil)
	}
	return err
}

// deliver stores Cognito's names of the user, and that the user is about to be returned. If that
// fails, it deletes the user.
func (i *userIssue) deliver(ctx context.Context) error {
	record := i.creation.record
	record.Username, record.Sub = i.user.Username, i.user.Sub
	err := i.storeDelivered(ctx)
	if err != nil {
		i.deleteUndelivered(ctx, err)
	}
	return err
}

// deleteUndelivered deletes the user through the connection that created it. If that fails, the
// reconciler ends the user.
func (i *userIssue) deleteUndelivered(ctx context.Context, reason error) {
	ctx, cancel := undoContext(ctx)
	defer cancel()
	err := i.pool.DeleteNewUser(ctx, i.user.Username)
	i.creation.fail(ctx, err == nil || cognito.IsUserGone(err), reason, err)
}

func (i *userIssue) response() (*logical.Response, error) {
	data := map[string]any{
		"username":      i.user.Username,
		"password":      i.request.Password,
		"sub":           i.user.Sub,
		"user_pool_id":  i.target.UserPoolID,
		"region":        i.target.Region,
		"app_client_id": i.role.AppClientID,
	}
	if email := i.request.Attributes[attributeEmail]; email != "" {
		data["email"] = email
	}
	if i.user.TOTP != nil {
		data["totp_secret"] = i.user.TOTP.Secret
		data["totp_url"] = i.user.TOTP.URL
	}
	if i.user.Tokens != nil {
		maps.Copy(data, tokenData(*i.user.Tokens))
	}
	return i.leaseResponse(data), nil
}
