// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// passwordsTried is how many passwords of a policy are compared with the
	// pool's rules: a policy may meet them by chance only.
	passwordsTried = 10
	passwordMax    = 256 // Cognito's limit

	flowAdminPassword       = "ALLOW_ADMIN_USER_PASSWORD_AUTH"
	flowAdminPasswordLegacy = "ADMIN_NO_SRP_AUTH"
	flowClientToken         = "ALLOW_CLIENT_TOKEN_AUTH"

	attributeEmail = "email"
	attributePhone = "phone_number"

	mfaOff = "OFF"
	mfaOn  = "ON"

	// passwordSymbols are the symbols that count for a pool's password policy.
	// https://docs.aws.amazon.com/cognito/latest/developerguide/managing-users-passwords.html
	passwordSymbols = "^$*.[]{}()?\"!@#%&/\\,><':;|_~`=+-"
)

var (
	emailPattern = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
	phonePattern = regexp.MustCompile(`^\+[0-9]+$`)
)

// userCheck is a check of a role of type user.
type userCheck struct {
	*lookups
	role *roleEntry
	// What the role would make of a user.
	username   lookup[string]
	attributes lookup[map[string]string]
	passwords  lookup[[]string]
	lease      time.Duration
}

func (b *backend) checkUserRole(ctx context.Context, req *logical.Request, name string, role *roleEntry, aws *connection) []finding {
	target := role.target(aws.region)
	pool, err := aws.Pool(ctx, target)
	if err != nil {
		return []finding{failed("aws_identity", err.Error(), "See the AWS settings of Vault's process.")}
	}
	c := &userCheck{lookups: newLookups(), role: role, lease: cmp.Or(role.TTL, b.System().DefaultLeaseTTL())}
	looking := newLookupGroup(ctx)
	looking.askCommon(c.lookups, aws, target, pool, role)
	looking.askGroups(c.lookups, pool, role.Groups)
	if role.mfa() == mfaTOTP {
		ask(looking, &c.softwareTokens, pool.AllowsSoftwareTokens)
	}
	c.makeUp(aws, templateData{RoleName: name, DisplayName: req.DisplayName, MountPoint: req.MountPoint, UserPoolID: role.UserPoolID})
	c.passwords.value, c.passwords.err = b.samplePasswords(ctx, role.passwordPolicy(aws))
	looking.wait()
	return c.findings()
}

func (c *userCheck) makeUp(aws *connection, data templateData) {
	c.username.value, c.username.err = c.role.username(aws, data)
	data.Username = c.username.value
	c.attributes.value, c.attributes.err = c.role.attributes(data)
}

func (b *backend) samplePasswords(ctx context.Context, policy string) ([]string, error) {
	var passwords []string
	for range passwordsTried {
		password, err := b.newPasswordBy(ctx, policy)
		if err != nil {
			return nil, err
		}
		passwords = append(passwords, password)
	}
	return passwords, nil
}

func (c *userCheck) findings() []finding {
	findings := []finding{c.checkIdentity(), c.checkPool(c.role)}
	if c.role.AppClientID != "" {
		findings = append(findings, c.checkClient(c.role), c.checkSecret(c.role))
	}
	if c.signsIn() {
		findings = append(findings, c.checkFlows(), c.checkTokenLife())
	}
	if len(c.role.Groups) > 0 {
		findings = append(findings, c.checkGroups())
	}
	return append(findings, c.checkUsername(), c.checkRequired(), c.checkAttributes(), c.checkPasswords(), c.checkMFA())
}

// signsIn tells whether a read signs the user in.
func (c *userCheck) signsIn() bool { return !c.role.NoTokens || c.role.mfa() == mfaTOTP }

func (c *userCheck) checkFlows() finding {
	const name = "auth_flows"
	flows := c.client.value.AuthFlows
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case slices.Contains(flows, flowAdminPassword):
		return ok(name, "The app client allows "+flowAdminPassword+".")
	case slices.Contains(flows, flowAdminPasswordLegacy):
		return warned(name, "The app client allows "+flowAdminPasswordLegacy+", the older name of the flow.",
			"Replace it by "+flowAdminPassword+"; Cognito does not take both kinds of names in one app client.")
	default:
		return failed(name, "The app client does not allow "+flowAdminPassword+", so users cannot be signed in.",
			"Allow "+flowAdminPassword+" in the app client, or set issue_tokens to false.")
	}
}

// checkTokenLife warns of what revocation does not end: a JWT that is checked
// by its signature alone.
func (c *userCheck) checkTokenLife() finding {
	const name = "token_life"
	life := c.client.value.JWTLife
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case life > c.lease:
		return warned(name, fmt.Sprintf("The access or ID tokens live %s, longer than a lease of %s: until then they are good wherever only their signature is checked.", life, c.lease),
			"Shorten the tokens' validity in the app client, or lengthen the role's ttl.")
	default:
		return ok(name, fmt.Sprintf("The access and ID tokens live %s, no longer than a lease of %s.", life, c.lease))
	}
}

func (c *userCheck) checkGroups() finding {
	const name = "groups"
	if c.broken() != "" {
		return skipped(name, c.broken())
	}
	var absent []string
	var other error
	for i, err := range c.groups {
		switch {
		case err == nil:
		case cognito.KindOf(err) == cognito.KindNotFound:
			absent = append(absent, c.role.Groups[i])
		default:
			other = err
		}
	}
	switch {
	case len(absent) > 0:
		return failed(name, "The user pool has no group "+quoted(absent)+".", "Make it in the pool, or take it out of groups.")
	case other != nil:
		return lookupFailed(name, other, "Mend groups in the role.")
	default:
		return ok(name, "The user pool has every group of the role.")
	}
}

// checkUsername compares what the pool takes for a username with what the role
// makes.
func (c *userCheck) checkUsername() finding {
	const name = "username"
	username, rules := c.username.value, c.rules.value
	switch {
	case !c.username.known():
		return failed(name, c.username.err.Error(), "Mend username_template in the role, or in the mount's config.")
	case !c.rules.known():
		return skipped(name, "user_pool")
	case len(rules.UsernameAttributes) > 0 && !looksLikeAny(username, rules.UsernameAttributes):
		return failed(name, fmt.Sprintf("The usernames of the pool are values of %s, and the role makes %q.", quoted(rules.UsernameAttributes), username),
			"Give the role a dummy_email_domain, or a username_template that makes such values.")
	case looksLikeAny(username, rules.AliasAttributes):
		return failed(name, fmt.Sprintf("The pool has the alias %s, so a username must not look like one, and the role makes %q.", quoted(rules.AliasAttributes), username),
			"Give the role a username_template without an @ or a leading +.")
	default:
		return ok(name, fmt.Sprintf("The pool takes usernames such as %q.", username))
	}
}

func looksLikeAny(username string, attributes []string) bool {
	return slices.Contains(attributes, attributeEmail) && emailPattern.MatchString(username) ||
		slices.Contains(attributes, attributePhone) && phonePattern.MatchString(username)
}

// checkRequired matters because Cognito itself does not demand required
// attributes of users that are made by an administrator.
func (c *userCheck) checkRequired() finding {
	const name = "required_attributes"
	if reason := c.noUser(); reason != "" {
		return skipped(name, reason)
	}
	absent := slices.DeleteFunc(slices.Clone(c.rules.value.Required), c.covers)
	if len(absent) > 0 {
		return failed(name, "The pool requires "+quoted(absent)+", which the role does not give.",
			"Add it to user_attributes, or give the role a dummy_email_domain for email.")
	}
	return ok(name, "The role gives every attribute that the pool requires.")
}

// covers reports whether a user of the role has an attribute: by the role's
// word, or because its username is one.
func (c *userCheck) covers(attribute string) bool {
	fromUsername := slices.Contains(c.rules.value.UsernameAttributes, attribute) && looksLikeAny(c.username.value, []string{attribute})
	return fromUsername || c.attributes.value[attribute] != ""
}

func (c *userCheck) checkAttributes() finding {
	const name = "attributes"
	switch {
	case c.username.known() && !c.attributes.known():
		return failed(name, c.attributes.err.Error(), "Mend user_attributes in the role.")
	case c.noUser() != "":
		return skipped(name, c.noUser())
	}
	strange := slices.DeleteFunc(slices.Sorted(maps.Keys(c.attributes.value)), func(attribute string) bool {
		return slices.Contains(c.rules.value.Attributes, attribute)
	})
	if len(strange) > 0 {
		return failed(name, "The pool has no attribute "+quoted(strange)+".", "Add it to the pool, or take it out of user_attributes.")
	}
	return ok(name, "The pool has every attribute that the role gives.")
}

// noUser names the finding that says why attributes cannot be compared.
func (c *userCheck) noUser() string {
	switch {
	case !c.username.known():
		return "username"
	case !c.attributes.known():
		return "attributes"
	case !c.rules.known():
		return "user_pool"
	default:
		return ""
	}
}

func (c *userCheck) checkPasswords() finding {
	const name = "password"
	if !c.passwords.known() {
		return checkPasswordError(name, c.passwords.err)
	}
	if !c.rules.known() {
		return skipped(name, "user_pool")
	}
	for _, password := range c.passwords.value {
		if flaw := flawOf(password, c.rules.value.Password); flaw != "" {
			return failed(name, "The pool refuses passwords of the role: "+flaw+".",
				"Give the role a password_policy that always meets the pool's.")
		}
	}
	return ok(name, "The role's passwords meet the password policy of the pool.")
}

func checkPasswordError(name string, err error) finding {
	var user *userError
	if errors.As(err, &user) {
		return failed(name, err.Error(), "Make the policy in Vault, or name another.")
	}
	return unknown(name, err.Error(), "Try again later.")
}

// flawOf says what a pool's password policy has against a password, without
// showing it.
func flawOf(password string, rules cognito.PasswordRules) string {
	length := utf8.RuneCountInString(password)
	lacks := func(required bool, class string) bool { return required && !strings.ContainsAny(password, class) }
	switch {
	case length < rules.MinimumLength:
		return fmt.Sprintf("one has %d characters and the pool wants %d", length, rules.MinimumLength)
	case length > passwordMax:
		return fmt.Sprintf("one has %d characters and Cognito allows %d", length, passwordMax)
	case strings.ContainsFunc(password, unicode.IsSpace):
		return "one has a space"
	case lacks(rules.Upper, passwordClasses[0]):
		return "one has no capital letter"
	case lacks(rules.Lower, passwordClasses[1]):
		return "one has no small letter"
	case lacks(rules.Numbers, passwordClasses[2]):
		return "one has no digit"
	case lacks(rules.Symbols, passwordSymbols):
		return "one has no symbol"
	default:
		return ""
	}
}

func (c *userCheck) checkMFA() finding {
	const name = "mfa"
	setting := c.rules.value.MFA
	totp := c.role.mfa() == mfaTOTP
	switch {
	case !c.rules.known():
		return skipped(name, "user_pool")
	case setting == mfaOn && !totp && c.signsIn():
		return failed(name, "The pool requires a second factor and the role gives users none.", "Set mfa=totp in the role, or issue_tokens=false.")
	case setting == mfaOff && totp:
		return failed(name, "The role gives users an authenticator and the pool has MFA off.", "Make MFA optional in the pool, or set mfa=none in the role.")
	case totp && !c.softwareTokens.known():
		return lookupFailed(name, c.softwareTokens.err, "See the MFA settings of the pool.")
	case totp && !c.softwareTokens.value:
		return failed(name, "The role gives users an authenticator and the pool does not allow authenticator apps.", "Allow software tokens in the pool.")
	default:
		return ok(name, fmt.Sprintf("The pool has MFA %s and the role mfa=%s.", setting, c.role.mfa()))
	}
}

func quoted(names []string) string {
	quotes := make([]string, 0, len(names))
	for _, name := range names {
		quotes = append(quotes, fmt.Sprintf("%q", name))
	}
	return strings.Join(quotes, ", ")
}
