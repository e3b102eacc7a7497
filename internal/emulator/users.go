// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	statusConfirmed           = "CONFIRMED"
	statusExternalProvider    = "EXTERNAL_PROVIDER"
	statusUnconfirmed         = "UNCONFIRMED"
	statusResetRequired       = "RESET_REQUIRED"
	statusForceChangePassword = "FORCE_CHANGE_PASSWORD"
)

// userStatuses returns the values that a user's status may have.
func userStatuses() []string {
	return []string{
		statusConfirmed, statusExternalProvider, statusForceChangePassword, statusResetRequired, statusUnconfirmed,
		"ARCHIVED", "COMPROMISED", "UNKNOWN",
	}
}

// user is a user of a pool.
type user struct {
	pool       *pool
	username   string
	sub        string
	attributes map[string]string
	status     string
	disabled   bool
	groups     map[string]bool
	mfa        mfa

	// passwords are the present one and the earlier ones, newest first.
	passwords []string
	// temporaryUntil is when a temporary password expires.
	temporaryUntil time.Time
	recovery       recovery
	devices        []*device
	passkeys       passkeys
	attempts       attempts
	// wrongSignIns are the times of all sign-ins with a wrong password.
	wrongSignIns []time.Time

	invitations int
	created     time.Time
	modified    time.Time
	// visibleFrom is when operations other than AdminCreateUser begin to see the user.
	visibleFrom time.Time
	// signIns are all sign-ins, including revoked ones.
	signIns []*signIn
	// indexed are the keys in the pool's aliases that point to the user.
	indexed []string
}

type userInput struct {
	UserPoolId string
	Username   string
}

// userDescription is a user in the answers of AdminCreateUser and ListUsers.
type userDescription struct {
	Username             string
	Attributes           []attribute
	UserCreateDate       epoch
	UserLastModifiedDate epoch
	Enabled              bool
	UserStatus           string
}

func (u *user) describe() userDescription {
	return userDescription{
		Username:             u.username,
		Attributes:           u.attributeList(),
		UserCreateDate:       epoch(u.created),
		UserLastModifiedDate: epoch(u.modified),
		Enabled:              !u.disabled,
		UserStatus:           u.status,
	}
}

// attributeList returns the attributes by name, including the sub.
func (u *user) attributeList() []attribute {
	list := []attribute{{Name: attributeSub, Value: u.sub}}
	for name, value := range u.attributes {
		list = append(list, attribute{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b attribute) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// groupNames returns the sorted names of the user's groups.
func (u *user) groupNames() []string {
	names := make([]string, 0, len(u.groups))
	for name := range u.groups {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// report returns the user as the control API shows it.
func (u *user) report(now time.Time) control.User {
	attributes := map[string]string{}
	for _, a := range u.attributeList() {
		attributes[a.Name] = a.Value
	}
	return control.User{
		UserPoolID:       u.pool.id,
		Username:         u.username,
		Sub:              u.sub,
		Status:           u.status,
		Enabled:          !u.disabled,
		Groups:           u.groupNames(),
		Attributes:       attributes,
		Invitations:      u.invitations,
		Created:          u.created.UTC(),
		Sessions:         u.sessions(now),
		WrongSignIns:     slices.Clone(u.wrongSignIns),
		LockedUntil:      u.attempts.lockedUntil,
		MFA:              slices.Clone(u.mfa.factors),
		PreferredMFA:     u.mfa.first,
		Devices:          u.deviceKeys(),
		Passkeys:         u.passkeys.ids(),
		ConfirmationCode: u.recovery.code,
	}
}

// findUser returns a visible user of a pool in the region of the request.
func (r *request) findUser(in userInput) (*user, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := checkUsername(in.Username); err != nil {
		return nil, err
	}
	u := r.visibleUser(p, in.Username)
	if u == nil {
		return nil, userNotFound()
	}
	return u, nil
}

func (r *request) visibleUser(p *pool, name string) *user {
	u := p.userBy(name)
	if u == nil || r.now.Before(u.visibleFrom) {
		return nil
	}
	return u
}

// changeUser finds a user and applies a change.
func (r *request) changeUser(in userInput, change func(*user)) (any, error) {
	u, err := r.findUser(in)
	if err != nil {
		return nil, err
	}
	change(u)
	u.modified = r.now
	return empty{}, nil
}

type adminGetUserOutput struct {
	Username             string
	UserAttributes       []attribute
	UserCreateDate       epoch
	UserLastModifiedDate epoch
	Enabled              bool
	UserStatus           string
	PreferredMfaSetting  string   `json:",omitempty"`
	UserMFASettingList   []string `json:",omitempty"`
}

func (r *request) adminGetUser(in userInput) (any, error) {
	u, err := r.findUser(in)
	if err != nil {
		return nil, err
	}
	r.countActive(u)
	return adminGetUserOutput{
		Username:             u.username,
		UserAttributes:       u.attributeList(),
		UserCreateDate:       epoch(u.created),
		UserLastModifiedDate: epoch(u.modified),
		Enabled:              !u.disabled,
		UserStatus:           u.status,
		PreferredMfaSetting:  u.mfa.first,
		UserMFASettingList:   slices.Clone(u.mfa.factors),
	}, nil
}

func (r *request) adminDeleteUser(in userInput) (any, error) {
	return r.changeUser(in, r.deleteUser)
}

func (r *request) deleteUser(u *user) {
	u.pool.unindex(u)
	r.deleteSignIns(u)
}

func (r *request) adminDisableUser(in userInput) (any, error) {
	return r.changeUser(in, func(u *user) {
		u.disabled = true
		u.revokeSignIns()
	})
}

func (r *request) adminEnableUser(in userInput) (any, error) {
	return r.changeUser(in, func(u *user) { u.disabled = false })
}

func (r *request) adminUserGlobalSignOut(in userInput) (any, error) {
	return r.changeUser(in, func(u *user) {
		u.revokeSignIns()
		r.countActive(u)
	})
}
