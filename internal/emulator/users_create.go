// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"time"
)

const (
	actionResend   = "RESEND"
	actionSuppress = "SUPPRESS"
)

type adminCreateUserInput struct {
	userInput
	UserAttributes     []attribute
	TemporaryPassword  string
	MessageAction      string
	ForceAliasCreation bool
}

type adminCreateUserOutput struct {
	User userDescription
}

func (r *request) adminCreateUser(in adminCreateUserInput) (any, error) {
	p, err := r.findPool(in.UserPoolId)
	if err != nil {
		return nil, err
	}
	if err := in.check(p); err != nil {
		return nil, err
	}
	if in.MessageAction == actionResend {
		return r.resendInvitation(p, in)
	}
	u, err := r.newUser(p, in)
	if err != nil {
		return nil, err
	}
	if err := r.invoke(p, triggerPreSignUp); err != nil {
		return nil, err
	}
	p.index(u)
	r.countActive(u)
	return adminCreateUserOutput{u.describe()}, nil
}

func (in adminCreateUserInput) check(p *pool) error {
	if err := checkUsername(in.Username); err != nil {
		return err
	}
	switch in.MessageAction {
	case "", actionResend, actionSuppress:
	default:
		return invalidParameter("1 validation error detected: Value '%s' at 'messageAction' failed to satisfy constraint: "+
			"Member must satisfy enum value set: [RESEND, SUPPRESS]", in.MessageAction)
	}
	if err := p.schema.check(in.UserAttributes); err != nil {
		return err
	}
	if in.TemporaryPassword == "" {
		return nil
	}
	return p.settings.passwordPolicy().check(in.TemporaryPassword)
}

// resendInvitation restarts the validity of the temporary password.
func (r *request) resendInvitation(p *pool, in adminCreateUserInput) (any, error) {
	u := r.visibleUser(p, in.Username)
	if u == nil {
		return nil, userNotFound()
	}
	if u.status != statusForceChangePassword {
		return nil, newException("UnsupportedUserStateException", "Resend not possible. %s status is not %s", u.username, statusForceChangePassword)
	}
	u.invitations++
	r.countActive(u)
	u.temporaryUntil = r.temporaryPasswordEnd(p)
	if in.TemporaryPassword != "" {
		u.passwords = append([]string{in.TemporaryPassword}, u.passwords...)
	}
	return adminCreateUserOutput{u.describe()}, nil
}

// newUser returns a user whose names are free. In pools where usernames are attributes, its
// username is its sub.
func (r *request) newUser(p *pool, in adminCreateUserInput) (*user, error) {
	u := &user{
		pool:           p,
		username:       p.fold(in.Username),
		sub:            r.server.random.uuid(),
		attributes:     withAttributes(nil, in.UserAttributes),
		status:         statusForceChangePassword,
		groups:         map[string]bool{},
		passwords:      []string{r.temporaryPassword(in)},
		temporaryUntil: r.temporaryPasswordEnd(p),
		created:        r.now,
		modified:       r.now,
		visibleFrom:    r.now.Add(r.lateUsers),
	}
	if in.MessageAction != actionSuppress {
		u.invitations = 1
	}
	if p.namesAreAttributes() {
		return u, u.nameByAttribute(in.Username)
	}
	return u, u.nameByUsername(in.Username, in.ForceAliasCreation)
}

// temporaryPassword returns the requested password, or a random one that is never returned.
func (r *request) temporaryPassword(in adminCreateUserInput) string {
	if in.TemporaryPassword != "" {
		return in.TemporaryPassword
	}
	return "Aa1!" + r.server.random.text(alphanumeric, 28)
}

func (r *request) temporaryPasswordEnd(p *pool) time.Time {
	return r.now.AddDate(0, 0, p.settings.passwordPolicy().TemporaryPasswordValidityDays)
}

func (u *user) nameByAttribute(name string) error {
	attribute, err := u.pool.nameAttribute(name)
	if err != nil {
		return err
	}
	if given, ok := u.attributes[attribute]; ok && given != name {
		return invalidParameter("The %s in the user attributes is not the one in the username.", attribute)
	}
	u.attributes[attribute] = name
	u.username = u.sub
	if u.pool.ownerOfAlias(u, u.pool.aliasesOf(u.attributes)) != nil {
		return newException(codeUsernameExists, "An account with the given %s already exists.", attribute)
	}
	return nil
}

func (u *user) nameByUsername(name string, takeAlias bool) error {
	if err := u.pool.checkNotAlias(name); err != nil {
		return err
	}
	if _, exists := u.pool.users[u.pool.fold(name)]; exists {
		return newException(codeUsernameExists, "User account already exists")
	}
	if takeAlias {
		u.takeAliases()
	}
	return u.checkAliases(u.attributes)
}

// takeAliases marks the new user's verified e-mail address or phone number as unverified at its
// present owner, who can then no longer sign in with it.
func (u *user) takeAliases() {
	for _, name := range []string{attributeEmail, attributePhone} {
		if !slices.Contains(u.pool.settings.AliasAttributes, name) || !verified(name, u.attributes) {
			continue
		}
		owner := u.pool.ownerOfAlias(u, []string{u.pool.fold(u.attributes[name])})
		if owner != nil {
			owner.replaceAttributes([]attribute{{Name: name + "_verified", Value: "false"}})
		}
	}
}
