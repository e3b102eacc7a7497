// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// createAttempts bounds the attempts of a create whose response was lost.
const createAttempts = 3

// pageSize is the largest page that Cognito returns.
const pageSize = 60

// Pool is one user pool, reached with one role. Each of its methods is one call to Cognito or a
// few; IssueUser combines those of a new user.
type Pool struct {
	target  Target
	api     *cip.Client
	service *Service
}

// NewUser describes a user that is to be created.
type NewUser struct {
	// Username is the requested one; the pool may choose another.
	Username string
	// TemporaryPassword is valid until the permanent one is set.
	TemporaryPassword string
	// Attributes are by name, custom ones with the prefix "custom:".
	Attributes map[string]string
	// ClientMetadata is passed to the pool's Lambda triggers.
	ClientMetadata map[string]string
}

// User identifies a user of a pool.
type User struct {
	// Username is Cognito's own: in pools that sign in by e-mail or phone number it is the Sub.
	Username string
	Sub      string
}

// UserState is the state of a user.
type UserState struct {
	User
	Enabled bool
	// Status is a UserStatusType of Cognito's API, such as CONFIRMED.
	Status string
	// MFA are the second factors of the user, as Cognito names them, such as SOFTWARE_TOKEN_MFA.
	MFA []string
	// Attributes are all that the user has, by name.
	Attributes map[string]string
}

// IsNamed reports whether a name that found the user is its own: its username, its sub, or, in
// pools that sign in by e-mail or phone number, an address that is verified. Cognito also finds
// users by an alias that is none of these, such as a preferred_username, which users may choose
// themselves.
func (u UserState) IsNamed(name string) bool {
	if strings.EqualFold(u.Username, name) || u.Sub == name {
		return true
	}
	for _, attribute := range []string{"email", "phone_number"} {
		if u.Username == u.Sub && strings.EqualFold(u.Attributes[attribute], name) && u.Attributes[attribute+"_verified"] == "true" {
			return true
		}
	}
	return false
}

// CreateUser creates a user without sending an invitation. An attempt whose response was lost is
// repeated, and a user of that name then counts as created here; before that such a user is another
// one, and the error's Code is UsernameExistsException.
func (p *Pool) CreateUser(ctx context.Context, u NewUser) (User, error) {
	lost := false
	for attempt := 1; ; attempt++ {
		user, err := p.createOnce(ctx, u)
		switch {
		case err == nil:
			return user, nil
		case lost && hasCode(err, codeUsernameExists):
			return p.adopt(ctx, u.Username)
		}
		failure := fail(p.step("creating user", u.Username), err, u.TemporaryPassword)
		lost = lost || failure.Outcome == OutcomeUnknown
		if lost && attempt < createAttempts && wait(ctx, backoff(attempt-1, lagDelay)) {
			continue
		}
		if lost {
			failure.Outcome = OutcomeUnknown
		}
		return User{}, failure
	}
}

// IsUsernameTaken reports whether CreateUser found another user of the name.
func IsUsernameTaken(err error) bool { return hasCode(err, codeUsernameExists) }

func (p *Pool) createOnce(ctx context.Context, u NewUser) (User, error) {
	out, err := p.api.AdminCreateUser(ctx, &cip.AdminCreateUserInput{
		UserPoolId:        &p.target.UserPoolID,
		Username:          &u.Username,
		TemporaryPassword: &u.TemporaryPassword,
		UserAttributes:    attributes(u.Attributes),
		ClientMetadata:    u.ClientMetadata,
		// Without this Cognito sends the user an invitation.
		MessageAction: types.MessageActionTypeSuppress,
	}, p.once)
	if err != nil {
		return User{}, err
	}
	if out.User == nil || aws.ToString(out.User.Username) == "" {
		return User{}, errors.New("the response names no user")
	}
	return User{Username: *out.User.Username, Sub: attribute(out.User.Attributes, "sub")}, nil
}

// adopt reads the user that a create with a lost response made.
func (p *Pool) adopt(ctx context.Context, username string) (User, error) {
	var state UserState
	err := retryWhileUnknown(ctx, func() (err error) {
		state, err = p.User(ctx, username)
		return err
	})
	if err == nil {
		return state.User, nil
	}
	failure := fail(p.step("adopting user", username), err)
	failure.Outcome = OutcomeUnknown
	return User{}, failure
}

// User reads the state of a user.
func (p *Pool) User(ctx context.Context, username string) (UserState, error) {
	out, err := p.api.AdminGetUser(ctx, &cip.AdminGetUserInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return UserState{}, fail(p.step("reading user", username), err)
	}
	return UserState{
		User:       User{Username: aws.ToString(out.Username), Sub: attribute(out.UserAttributes, "sub")},
		Enabled:    out.Enabled,
		Status:     string(out.UserStatus),
		MFA:        out.UserMFASettingList,
		Attributes: attributeMap(out.UserAttributes),
	}, nil
}

// SetPassword sets the permanent password of a user that was just created.
func (p *Pool) SetPassword(ctx context.Context, username, password string) error {
	err := p.ReplacePassword(ctx, username, password)
	if IsPasswordUsed(err) {
		// The user is new and its only other password differs, so an attempt with a lost response
		// has set this one.
		return nil
	}
	return err
}

// DeleteUser deletes a user and ends its sessions. JWTs stay valid until they expire for those who
// do not ask Cognito. A missing user or pool is an error, see IsUserGone and IsPoolGone.
func (p *Pool) DeleteUser(ctx context.Context, username string) error {
	_, err := p.api.AdminDeleteUser(ctx, &cip.AdminDeleteUserInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return fail(p.step("deleting user", username), err)
	}
	return nil
}

// DisableUser prevents sign-ins of a user and ends its sessions. A disabled user stays disabled.
func (p *Pool) DisableUser(ctx context.Context, username string) error {
	_, err := p.api.AdminDisableUser(ctx, &cip.AdminDisableUserInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return fail(p.step("disabling user", username), err)
	}
	return p.SignOutUser(ctx, username)
}

// DeleteNewUser deletes a user that was just created. It repeats the call for a while before it
// accepts that there is no such user.
func (p *Pool) DeleteNewUser(ctx context.Context, username string) error {
	return retryWhileUnknown(ctx, func() error { return p.DeleteUser(ctx, username) })
}

func (p *Pool) step(doing, username string) string {
	return fmt.Sprintf("%s %q in user pool %q", doing, username, p.target.UserPoolID)
}

func attributes(values map[string]string) []types.AttributeType {
	list := make([]types.AttributeType, 0, len(values))
	for name, value := range values {
		list = append(list, types.AttributeType{Name: &name, Value: &value})
	}
	return list
}

func attribute(list []types.AttributeType, name string) string {
	for _, a := range list {
		if aws.ToString(a.Name) == name {
			return aws.ToString(a.Value)
		}
	}
	return ""
}

func attributeMap(list []types.AttributeType) map[string]string {
	values := make(map[string]string, len(list))
	for _, a := range list {
		values[aws.ToString(a.Name)] = aws.ToString(a.Value)
	}
	return values
}
