// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	attributeSub               = "sub"
	attributeEmail             = "email"
	attributeEmailVerified     = "email_verified"
	attributePhone             = "phone_number"
	attributePhoneVerified     = "phone_number_verified"
	attributePreferredUsername = "preferred_username"

	typeBoolean = "Boolean"
	typeNumber  = "Number"
	typeString  = "String"

	customPrefix        = "custom:"
	developerPrefix     = "dev:"
	maxCustomNameLength = 20
	maxAttributeLength  = 2048
)

var (
	emailPattern = regexp.MustCompile(`^[^\s@]+@[^\s@]+\.[^\s@]+$`)
	phonePattern = regexp.MustCompile(`^\+\d{1,15}$`)
)

// attribute is an attribute of a user in requests and answers.
type attribute struct {
	Name  string
	Value string
}

// schemaAttribute is the definition of an attribute in a pool.
type schemaAttribute struct {
	Name                       string
	AttributeDataType          string `json:",omitempty"`
	DeveloperOnlyAttribute     bool
	Mutable                    *bool `json:",omitempty"`
	Required                   bool
	StringAttributeConstraints *stringConstraints `json:",omitempty"`
}

// stringConstraints are lengths, which AWS writes as strings.
type stringConstraints struct {
	MinLength string `json:",omitempty"`
	MaxLength string `json:",omitempty"`
}

func (a schemaAttribute) mutable() bool {
	return a.Mutable == nil || *a.Mutable
}

// schema maps names to the attributes that users of a pool may have; custom ones have their prefix.
type schema map[string]schemaAttribute

func standardSchema() schema {
	s := schema{}
	for _, name := range []string{
		"address", "birthdate", attributeEmail, "family_name", "gender", "given_name", "identities", "locale",
		"middle_name", "name", "nickname", attributePhone, "picture", attributePreferredUsername, "profile", "website",
		"zoneinfo",
	} {
		s[name] = schemaAttribute{Name: name, AttributeDataType: typeString}
	}
	for _, name := range []string{attributeEmailVerified, attributePhoneVerified} {
		s[name] = schemaAttribute{Name: name, AttributeDataType: typeBoolean}
	}
	s["updated_at"] = schemaAttribute{Name: "updated_at", AttributeDataType: typeNumber}
	s[attributeSub] = schemaAttribute{Name: attributeSub, AttributeDataType: typeString, Required: true, Mutable: new(bool)}
	return s
}

// newSchema returns the standard attributes with the changes and additions of a CreateUserPool
// request.
func newSchema(wanted []schemaAttribute) (schema, error) {
	s := standardSchema()
	for _, a := range wanted {
		if standard, ok := s[a.Name]; ok {
			s[a.Name] = a.overStandard(standard)
			continue
		}
		if err := a.checkCustom(); err != nil {
			return nil, err
		}
		a.Name = a.customName()
		s[a.Name] = a
	}
	return s, nil
}

func (a schemaAttribute) overStandard(standard schemaAttribute) schemaAttribute {
	if a.AttributeDataType == "" {
		a.AttributeDataType = standard.AttributeDataType
	}
	return a
}

func (a schemaAttribute) checkCustom() error {
	switch {
	case a.Name == "" || utf8.RuneCountInString(a.Name) > maxCustomNameLength:
		return invalidParameter("Custom attribute names have 1 to %d characters, which %q has not.", maxCustomNameLength, a.Name)
	case a.Required:
		return invalidParameter("Required custom attributes are not supported currently.")
	default:
		return nil
	}
}

func (a schemaAttribute) customName() string {
	if a.DeveloperOnlyAttribute {
		return developerPrefix + customPrefix + a.Name
	}
	return customPrefix + a.Name
}

func (s schema) describe() []schemaAttribute {
	all := make([]schemaAttribute, 0, len(s))
	for _, a := range s {
		mutable := a.mutable()
		a.Mutable = &mutable
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b schemaAttribute) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// missing returns, sorted, the required attributes that a user has no value for. Cognito itself
// sets the sub.
func (s schema) missing(attributes map[string]string) []string {
	var names []string
	for name, a := range s {
		if a.Required && name != attributeSub && attributes[name] == "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// check refuses attributes that no user of the pool can have.
func (s schema) check(attributes []attribute) error {
	for _, a := range attributes {
		if err := s.checkOne(a); err != nil {
			return err
		}
	}
	return nil
}

func (s schema) checkOne(a attribute) error {
	known, ok := s[a.Name]
	switch {
	case !ok:
		return invalidParameter("Attributes did not conform to the schema: Type for attribute {%s} could not be determined", a.Name)
	case a.Name == attributeSub:
		return invalidParameter("Cannot modify the non-mutable attribute sub")
	case a.Name == attributeEmail && a.Value != "" && !emailPattern.MatchString(a.Value):
		return invalidParameter("Invalid email address format.")
	case a.Name == attributePhone && a.Value != "" && !phonePattern.MatchString(a.Value):
		return invalidParameter("Invalid phone number format.")
	default:
		return known.checkValue(a.Value)
	}
}

func (a schemaAttribute) checkValue(value string) error {
	if utf8.RuneCountInString(value) > maxAttributeLength {
		return invalidParameter("Attributes did not conform to the schema: %s: The value is longer than %d characters", a.Name, maxAttributeLength)
	}
	switch a.AttributeDataType {
	case typeBoolean:
		return a.checkBoolean(value)
	case typeNumber:
		return a.checkNumber(value)
	default:
		return a.checkLength(value)
	}
}

func (a schemaAttribute) checkBoolean(value string) error {
	if lower := strings.ToLower(value); lower != "true" && lower != "false" {
		return invalidParameter("Attributes did not conform to the schema: %s: The value is not a boolean", a.Name)
	}
	return nil
}

func (a schemaAttribute) checkNumber(value string) error {
	if _, err := strconv.ParseInt(value, 10, 64); err != nil {
		return invalidParameter("Attributes did not conform to the schema: %s: The value is not a number", a.Name)
	}
	return nil
}

func (a schemaAttribute) checkLength(value string) error {
	if a.StringAttributeConstraints == nil {
		return nil
	}
	length := utf8.RuneCountInString(value)
	if shortest, err := strconv.Atoi(a.StringAttributeConstraints.MinLength); err == nil && length < shortest {
		return invalidParameter("Attributes did not conform to the schema: %s: String must be longer than %d characters", a.Name, shortest)
	}
	if longest, err := strconv.Atoi(a.StringAttributeConstraints.MaxLength); err == nil && length > longest {
		return invalidParameter("Attributes did not conform to the schema: %s: String must be no longer than %d characters", a.Name, longest)
	}
	return nil
}

// checkUpdate refuses changes of immutable attributes.
func (s schema) checkUpdate(attributes []attribute) error {
	if err := s.check(attributes); err != nil {
		return err
	}
	for _, a := range attributes {
		if !s[a.Name].mutable() {
			return invalidParameter("user.%s: Attribute cannot be updated. (changing an immutable attribute)", a.Name)
		}
	}
	return nil
}
