// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
)

// callerValueMax is the longest value of a caller in a username or e-mail address. It leaves room
// for 20 random characters and a separator within a local part.
const callerValueMax = 40

// templateData holds what templates can use.
type templateData struct {
	RoleName string
	// DisplayName is that of the caller's token, such as "ldap-anna". Some auth methods let callers
	// choose it.
	DisplayName string
	MountPoint  string
	UserPoolID  string
	// Username is empty in the template of the username itself.
	Username string

	// identity returns the value of an identity template without its braces, such as
	// identity.entity.name.
	identity func(expression string) (string, error)
	// random is nil for true randomness.
	random *randomness
}

// renderData adds the values of the identity templates of one text.
type renderData struct {
	templateData
	Identity []string
}

// templateData returns the data for the templates of a role, for the caller of a request.
func (b *backend) templateData(req *logical.Request, roleName, userPoolID string) templateData {
	known := map[string]string{}
	return templateData{
		RoleName: roleName, DisplayName: req.DisplayName, MountPoint: req.MountPoint, UserPoolID: userPoolID,
		identity: func(expression string) (string, error) {
			if value, found := known[expression]; found {
				return value, nil
			}
			value, err := b.identityValue(req, "{{"+expression+"}}")
			if err == nil {
				known[expression] = value
			}
			return value, err
		},
	}
}

// identityValue returns an identity template with the values of the caller's entity.
func (b *backend) identityValue(req *logical.Request, text string) (string, error) {
	if req.EntityID == "" {
		return "", fmt.Errorf("%s needs an entity, but the caller's token has none", text)
	}
	value, err := framework.PopulateIdentityTemplate(text, req.EntityID, b.System())
	if err != nil {
		return "", fmt.Errorf("%s has no value for the caller's entity: %w", text, err)
	}
	return value, nil
}

// EntityName returns the name of the caller's entity.
func (d templateData) EntityName() (string, error) { return d.identityOf("identity.entity.name") }

func (d templateData) identityOf(expression string) (string, error) {
	if d.identity == nil {
		return "", errors.New("identity templates are not allowed here")
	}
	value, err := d.identity(expression)
	return withoutControls(value), err
}

func (d templateData) randomness() randomness {
	if d.random == nil {
		return trueRandomness()
	}
	return *d.random
}

// identityTemplate matches an identity template.
var identityTemplate = regexp.MustCompile(`{{\s*(identity\.(?:entity|groups)\.[^{}]+?)\s*}}`)

// resolveIdentity replaces each identity template by a reference to its value, which is thereby
// never parsed as a template.
func (d templateData) resolveIdentity(text string) (string, []string, error) {
	var values []string
	var failure error
	text = identityTemplate.ReplaceAllStringFunc(text, func(match string) string {
		value, err := d.identityOf(identityTemplate.FindStringSubmatch(match)[1])
		if err != nil {
			failure = err
		}
		values = append(values, value)
		return fmt.Sprintf("{{index .Identity %d}}", len(values)-1)
	})
	return text, values, failure
}

// safe returns the data with the values of the caller reduced to what is allowed in a username and
// in the local part of an e-mail address.
func (d templateData) safe() templateData {
	d.DisplayName = safeValue(d.DisplayName)
	if identity := d.identity; identity != nil {
		d.identity = func(expression string) (string, error) {
			value, err := identity(expression)
			return safeValue(value), err
		}
	}
	return d
}

// plain returns the data with the values of the caller without control characters.
func (d templateData) plain() templateData {
	d.DisplayName = withoutControls(d.DisplayName)
	return d
}

// unsafeChars matches what a value of the caller must not bring into a username or e-mail address:
// an @ or a dot could make another domain of it.
var unsafeChars = regexp.MustCompile(`[^a-zA-Z0-9_]+`)

func safeValue(value string) string {
	value = unsafeChars.ReplaceAllString(value, "-")
	value = strings.Trim(value[:min(len(value), callerValueMax)], "-")
	if value == "" {
		return "user"
	}
	return value
}

func withoutControls(value string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, value)
}

// trialCallers are values of callers with which each template is tried when a role is written. The
// first one is harmless.
var trialCallers = []string{
	"token-trial", "", "oidc-eve@victim.example", "eve victim.example", "\"eve\"\r\n<b>\x00", "日本語",
	"{{.MountPoint}}", strings.Repeat("long.name@", 50),
}

// trialData returns the data of one trial caller.
func trialData(roleName, mountPoint, userPoolID, caller string) templateData {
	random := fixedRandomness("7")
	return templateData{
		RoleName: roleName, DisplayName: caller, MountPoint: mountPoint, UserPoolID: userPoolID, random: &random,
		identity: func(string) (string, error) { return caller, nil },
	}
}
