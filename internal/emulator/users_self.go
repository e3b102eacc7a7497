// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"slices"
	"strings"
)

// The operations in this file are those of a signed-in user on itself. An access token authorizes
// them; they need no AWS credentials.

type getUserOutput struct {
	Username            string
	UserAttributes      []attribute
	PreferredMfaSetting string   `json:",omitempty"`
	UserMFASettingList  []string `json:",omitempty"`
}

func (r *request) getUser(in accessTokenInput) (any, error) {
	s, err := r.signInOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	r.countActive(s.user)
	return getUserOutput{
		Username:            s.user.username,
		UserAttributes:      s.user.attributeList(),
		PreferredMfaSetting: s.user.mfa.first,
		UserMFASettingList:  slices.Clone(s.user.mfa.factors),
	}, nil
}

func (r *request) globalSignOut(in accessTokenInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	u.revokeSignIns()
	r.countActive(u)
	return empty{}, nil
}

func (r *request) deleteOwnUser(in accessTokenInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	r.deleteUser(u)
	return empty{}, nil
}

type updateUserAttributesInput struct {
	AccessToken    string
	UserAttributes []attribute
}

type updateUserAttributesOutput struct {
	CodeDeliveryDetailsList []codeDelivery
}

// updateUserAttributes marks a changed e-mail address or phone number as unverified. It sends no
// code for the new one.
func (r *request) updateUserAttributes(in updateUserAttributesInput) (any, error) {
	s, err := r.signInOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	for _, a := range in.UserAttributes {
		if !s.client.mayWrite(a.Name) {
			return nil, attributeNotWritable()
		}
	}
	if err := r.changeAttributes(s.user, s.user.unverifyChanged(in.UserAttributes)); err != nil {
		return nil, err
	}
	return updateUserAttributesOutput{CodeDeliveryDetailsList: []codeDelivery{}}, nil
}

func attributeNotWritable() error {
	return notAuthorized("A client attempted to write unauthorized attribute")
}

// mayWrite reports whether users of the app client may change an attribute. Without WriteAttributes
// those are the standard attributes (reference of CreateUserPoolClient). Whether an e-mail address
// or phone number is verified is never a user's to say.
func (c *client) mayWrite(attribute string) bool {
	switch {
	case attribute == attributeEmailVerified || attribute == attributePhoneVerified:
		return false
	case len(c.settings.WriteAttributes) > 0:
		return slices.Contains(c.settings.WriteAttributes, attribute)
	default:
		return !strings.Contains(attribute, customPrefix)
	}
}

// unverifyChanged adds that changed e-mail addresses and phone numbers are not verified.
func (u *user) unverifyChanged(attributes []attribute) []attribute {
	changes := slices.Clone(attributes)
	for _, a := range attributes {
		if (a.Name == attributeEmail || a.Name == attributePhone) && a.Value != u.attributes[a.Name] {
			changes = append(changes, attribute{Name: a.Name + "_verified", Value: "false"})
		}
	}
	return changes
}

type deleteUserAttributesInput struct {
	AccessToken        string
	UserAttributeNames []string
}

func (r *request) deleteUserAttributes(in deleteUserAttributesInput) (any, error) {
	s, err := r.signInOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	for _, name := range in.UserAttributeNames {
		if !s.client.mayWrite(name) {
			return nil, attributeNotWritable()
		}
	}
	return empty{}, r.removeAttributes(s.user, in.UserAttributeNames)
}

type ownMFAPreferenceInput struct {
	AccessToken string
	mfaPreference
}

func (r *request) setUserMFAPreference(in ownMFAPreferenceInput) (any, error) {
	u, err := r.userOf(in.AccessToken)
	if err != nil {
		return nil, err
	}
	return empty{}, u.setMFAPreference(in.mfaPreference)
}
