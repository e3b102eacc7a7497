// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"fmt"
	"slices"
	"time"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// accessKeysMax is IAM's limit of access keys per user.
const accessKeysMax = 2

// accessKeys holds the access keys of planted IAM users. Any other key belongs to the emulator's
// own user and is not enforced. The lock of iam guards it.
type accessKeys struct {
	users []*iamUser
	// deleted keys stay refused.
	deleted []string
	// delay is how long AWS refuses a new key.
	delay time.Duration
}

type iamUser struct {
	name    string
	id      string
	created time.Time
	keys    []userKey
}

type userKey struct {
	id, secret string
	created    time.Time
	// validFrom is when AWS begins to accept the key.
	validFrom time.Time
}

func (a *accessKeys) user(name string) *iamUser {
	i := slices.IndexFunc(a.users, func(u *iamUser) bool { return u.name == name })
	if i < 0 {
		return nil
	}
	return a.users[i]
}

// owner returns the user of an access key, or nil.
func (a *accessKeys) owner(accessKey string) (*iamUser, userKey) {
	for _, user := range a.users {
		if i := user.index(accessKey); i >= 0 {
			return user, user.keys[i]
		}
	}
	return nil, userKey{}
}

func (u *iamUser) index(accessKey string) int {
	return slices.IndexFunc(u.keys, func(k userKey) bool { return k.id == accessKey })
}

func (a *accessKeys) plant(wanted control.AccessKey, now time.Time) error {
	a.delay = time.Duration(wanted.DelayMS) * time.Millisecond
	if wanted.User == "" && wanted.ID == "" {
		return nil
	}
	if wanted.User == "" || wanted.ID == "" {
		return fmt.Errorf("user %q and access_key %q must be set together", wanted.User, wanted.ID)
	}
	user := a.user(wanted.User)
	if user == nil {
		user = &iamUser{name: wanted.User, id: "AIDA" + wanted.User, created: now}
		a.users = append(a.users, user)
	}
	if owner, _ := a.owner(wanted.ID); owner != nil {
		return fmt.Errorf("access key %q already belongs to user %q", wanted.ID, owner.name)
	}
	user.keys = append(user.keys, userKey{id: wanted.ID, secret: wanted.Secret, created: now, validFrom: now})
	return nil
}

// recognize refuses keys of planted users that are deleted or not yet valid.
func (a *accessKeys) recognize(accessKey string, now time.Time) *exception {
	owner, key := a.owner(accessKey)
	if slices.Contains(a.deleted, accessKey) || owner != nil && now.Before(key.validFrom) {
		return newException("UnrecognizedClientException", invalidKeyMessage)
	}
	return nil
}

func (a *accessKeys) create(user *iamUser, key userKey) *exception {
	if len(user.keys) >= accessKeysMax {
		return &exception{code: "LimitExceeded", message: fmt.Sprintf("Cannot exceed quota for AccessKeysPerUser: %d", accessKeysMax), status: 409}
	}
	key.validFrom = key.created.Add(a.delay)
	user.keys = append(user.keys, key)
	return nil
}

func (a *accessKeys) remove(user *iamUser, accessKey string) *exception {
	i := user.index(accessKey)
	if i < 0 {
		return noSuchEntity("The Access Key with id %s cannot be found.", accessKey)
	}
	user.keys = slices.Delete(user.keys, i, i+1)
	a.deleted = append(a.deleted, accessKey)
	return nil
}

func (a *accessKeys) report() control.AccessKeyList {
	list := control.AccessKeyList{Keys: []control.AccessKey{}}
	for _, user := range a.users {
		for _, key := range user.keys {
			list.Keys = append(list.Keys, control.AccessKey{User: user.name, ID: key.id, Secret: key.secret})
		}
	}
	return list
}

func noSuchEntity(format string, args ...any) *exception {
	return &exception{code: "NoSuchEntity", message: fmt.Sprintf(format, args...), status: 404}
}
