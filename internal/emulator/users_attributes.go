// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "slices"

type adminUpdateUserAttributesInput struct {
	userInput
	UserAttributes []attribute
}

func (r *request) adminUpdateUserAttributes(in adminUpdateUserAttributesInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	return empty{}, r.changeAttributes(u, in.UserAttributes)
}

type adminDeleteUserAttributesInput struct {
	userInput
	UserAttributeNames []string
}

func (r *request) adminDeleteUserAttributes(in adminDeleteUserAttributesInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	return empty{}, r.removeAttributes(u, in.UserAttributeNames)
}

// changeAttributes sets attributes that the pool's schema lets change.
func (r *request) changeAttributes(u *user, attributes []attribute) error {
	if err := u.pool.schema.checkUpdate(attributes); err != nil {
		return err
	}
	if err := u.setAttributes(attributes); err != nil {
		return err
	}
	u.modified = r.now
	r.countActive(u)
	return nil
}

// removeAttributes refuses required attributes and those that are the username. No page names the
// code for that; InvalidParameterException is a guess.
func (r *request) removeAttributes(u *user, names []string) error {
	var changes []attribute
	for _, name := range names {
		known, ok := u.pool.schema[name]
		switch {
		case !ok:
			return invalidParameter("user.%s: Attribute does not exist in the schema.", name)
		case !known.mutable():
			return invalidParameter("user.%s: Attribute cannot be updated. (changing an immutable attribute)", name)
		case known.Required, slices.Contains(u.pool.settings.UsernameAttributes, name):
			return invalidParameter("user.%s: Attribute is required and cannot be deleted.", name)
		}
		changes = append(changes, attribute{Name: name})
		if name == attributeEmail || name == attributePhone {
			changes = append(changes, attribute{Name: name + "_verified"})
		}
	}
	u.replaceAttributes(changes)
	u.modified = r.now
	r.countActive(u)
	return nil
}

// setAttributes fails if an alias among the attributes belongs to another user. An empty value
// deletes the attribute.
func (u *user) setAttributes(attributes []attribute) error {
	if err := u.checkAliases(withAttributes(u.attributes, attributes)); err != nil {
		return err
	}
	u.replaceAttributes(attributes)
	return nil
}

// checkAliases fails if a user with these attributes would have another user's alias.
func (u *user) checkAliases(attributes map[string]string) error {
	if u.pool.ownerOfAlias(u, u.pool.aliasesOf(attributes)) == nil {
		return nil
	}
	return newException(codeAliasExists, "An account with the given email, phone number or preferred username already exists.")
}

func (u *user) replaceAttributes(attributes []attribute) {
	u.attributes = withAttributes(u.attributes, attributes)
	u.pool.index(u)
}

// withAttributes returns a copy of old with the changes applied.
func withAttributes(old map[string]string, changes []attribute) map[string]string {
	changed := map[string]string{}
	for name, value := range old {
		changed[name] = value
	}
	for _, a := range changes {
		changed[a.Name] = a.Value
		if a.Value == "" {
			delete(changed, a.Name)
		}
	}
	return changed
}
