// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

type adminUpdateUserAttributesInput struct {
	userInput
	UserAttributes []attribute
}

func (r *request) adminUpdateUserAttributes(in adminUpdateUserAttributesInput) (any, error) {
	u, err := r.findUser(in.userInput)
	if err != nil {
		return nil, err
	}
	if err := u.pool.schema.checkUpdate(in.UserAttributes); err != nil {
		return nil, err
	}
	if err := u.setAttributes(in.UserAttributes); err != nil {
		return nil, err
	}
	u.modified = r.now
	r.countActive(u)
	return empty{}, nil
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
