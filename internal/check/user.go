// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	flowAdminPassword       = "ALLOW_ADMIN_USER_PASSWORD_AUTH"
	flowAdminPasswordLegacy = "ADMIN_NO_SRP_AUTH"

	mfaOff = "OFF"
	mfaOn  = "ON"
)

var (
	emailPattern = regexp.MustCompile(`^[^@\s]+@[^@\s]+$`)
	phonePattern = regexp.MustCompile(`^\+[0-9]+$`)
)

// User is a role that creates users.
type User struct {
	Subject
	Groups []string
	// SignsIn is set if a read signs the user in.
	SignsIn bool
	// TOTP is set if users get an authenticator.
	TOTP bool
	// Lease is the default lifetime of a user.
	Lease time.Duration

	// Username and Attributes are those of one sample user, rendered from the role's templates.
	Username   Result[string]
	Attributes Result[map[string]string]
	// Passwords are samples of what the role's password policy generates.
	Passwords Result[[]string]
}

type userCheck struct {
	User
	lookups
	softwareTokens Result[bool]
	groups         groupLookups
	quotas         quotaLookup
}

// Run compares the role with its user pool.
func (u User) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	return u.read(ctx, aws, pool).findings()
}

func (u User) read(ctx context.Context, aws AWS, pool Pool) *userCheck {
	c := &userCheck{User: u, lookups: newLookups(u.Subject), softwareTokens: notRead[bool](), groups: newGroupLookups(u.Groups)}
	r := newReader(ctx)
	c.start(r, aws, pool)
	c.groups.start(r, pool)
	c.quotas.start(r, aws, u.Target)
	if u.TOTP {
		read(r, &c.softwareTokens, pool.AllowsSoftwareTokens)
	}
	r.wait()
	return c
}

func (c *userCheck) findings() []Finding {
	findings := []Finding{c.checkIdentity(), c.checkPool()}
	if c.lookups.AppClient.ID != "" {
		findings = append(findings, c.checkClient(), c.checkSecret(userClientWithoutSecret))
	}
	if c.SignsIn {
		findings = append(findings, c.checkFlows(), c.checkTokenLife())
	}
	if len(c.Groups) > 0 {
		findings = append(findings, c.groups.check(&c.lookups))
	}
	return append(findings, c.checkUsername(), c.checkRequired(), c.checkAttributes(), c.checkPasswords(), c.checkMFA(), c.quotas.check())
}

func (c *userCheck) checkFlows() Finding {
	const name = "auth_flows"
	flows := c.client.Value.AuthFlows
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case slices.Contains(flows, flowAdminPassword):
		return Passed(name, "The app client allows "+flowAdminPassword+".")
	case slices.Contains(flows, flowAdminPasswordLegacy):
		return Warned(name, "The app client allows "+flowAdminPasswordLegacy+", the older name of the flow.",
			"Replace it with "+flowAdminPassword+"; Cognito does not allow both kinds of names in one app client.")
	default:
		return Failed(name, "The app client does not allow "+flowAdminPassword+", so users cannot be signed in.",
			"Allow "+flowAdminPassword+" in the app client, or set issue_tokens to false.")
	}
}

// checkTokenLife warns of what revocation does not end: a JWT that is verified by its signature
// only.
func (c *userCheck) checkTokenLife() Finding {
	const name = "token_life"
	life := c.client.Value.JWTLife
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case life > c.Lease:
		return Warned(name, fmt.Sprintf("Access or ID tokens are valid for %s, longer than a lease of %s: after revocation they are still accepted wherever only the signature is verified.", cognito.DurationText(life), cognito.DurationText(c.Lease)),
			"Shorten the validity of the tokens in the app client, or lengthen the role's ttl.")
	default:
		return Passed(name, fmt.Sprintf("Access and ID tokens are valid for %s, no longer than a lease of %s.", cognito.DurationText(life), cognito.DurationText(c.Lease)))
	}
}

// checkUsername compares the usernames that the pool accepts with the one that the role renders.
func (c *userCheck) checkUsername() Finding {
	const name = "username"
	username, rules := c.Username.Value, c.rules.Value
	switch {
	case !c.Username.known():
		return Failed(name, c.Username.Err.Error(), "Correct username_template in the role or in the config.")
	case !c.rules.known():
		return skipped(name, "user_pool")
	case len(rules.UsernameAttributes) > 0 && !matchesAny(username, rules.UsernameAttributes):
		return Failed(name, fmt.Sprintf("Usernames of the pool are values of %s, but the role renders %q.", quoted(rules.UsernameAttributes), username),
			"Set dummy_email_domain, or a username_template that renders such values.")
	case matchesAny(username, rules.AliasAttributes):
		return Failed(name, fmt.Sprintf("The pool has the alias %s, so a username must not look like one, but the role renders %q.", quoted(rules.AliasAttributes), username),
			"Set a username_template without an @ or a leading +.")
	default:
		return Passed(name, fmt.Sprintf("The pool accepts usernames such as %q.", username))
	}
}

func matchesAny(username string, attributes []string) bool {
	return slices.Contains(attributes, "email") && emailPattern.MatchString(username) ||
		slices.Contains(attributes, "phone_number") && phonePattern.MatchString(username)
}

// checkRequired exists because Cognito does not enforce required attributes for users that an
// administrator creates.
func (c *userCheck) checkRequired() Finding {
	const name = "required_attributes"
	if reason := c.sampleUnknown(); reason != "" {
		return skipped(name, reason)
	}
	missing := slices.DeleteFunc(slices.Clone(c.rules.Value.Required), c.sets)
	if len(missing) > 0 {
		return Failed(name, "The pool requires "+quoted(missing)+", which the role does not set.",
			"Add it to user_attributes, or set dummy_email_domain for email.")
	}
	return Passed(name, "The role sets every attribute that the pool requires.")
}

// sets reports whether a user of the role has an attribute: set by the role, or as its username.
func (c *userCheck) sets(attribute string) bool {
	byUsername := slices.Contains(c.rules.Value.UsernameAttributes, attribute) && matchesAny(c.Username.Value, []string{attribute})
	return byUsername || c.Attributes.Value[attribute] != ""
}

func (c *userCheck) checkAttributes() Finding {
	const name = "attributes"
	switch {
	case c.Username.known() && !c.Attributes.known():
		return Failed(name, c.Attributes.Err.Error(), "Correct user_attributes in the role.")
	case c.sampleUnknown() != "":
		return skipped(name, c.sampleUnknown())
	}
	undefined := slices.DeleteFunc(slices.Sorted(maps.Keys(c.Attributes.Value)), func(attribute string) bool {
		return slices.Contains(c.rules.Value.Attributes, attribute)
	})
	if len(undefined) > 0 {
		return Failed(name, "The pool has no attribute "+quoted(undefined)+".", "Add it to the pool, or remove it from user_attributes.")
	}
	return Passed(name, "The pool has every attribute that the role sets.")
}

// sampleUnknown returns the name of the finding because of which attributes cannot be compared.
func (c *userCheck) sampleUnknown() string {
	switch {
	case !c.Username.known():
		return "username"
	case !c.Attributes.known():
		return "attributes"
	case !c.rules.known():
		return "user_pool"
	default:
		return ""
	}
}

func (c *userCheck) checkPasswords() Finding {
	return checkPasswords(c.Passwords, c.rules)
}

func (c *userCheck) checkMFA() Finding {
	const name = "mfa"
	setting := c.rules.Value.MFA
	switch {
	case !c.rules.known():
		return skipped(name, "user_pool")
	case setting == mfaOn && !c.TOTP && c.SignsIn:
		return Failed(name, "The pool requires MFA, but users of the role have no second factor.", "Set mfa=totp in the role, or issue_tokens=false.")
	case setting == mfaOff && c.TOTP:
		return Failed(name, "The role has mfa=totp, but the pool has MFA off.", "Make MFA optional in the pool, or set mfa=none in the role.")
	case c.TOTP && !c.softwareTokens.known():
		return lookupFailed(name, c.softwareTokens.Err, "Check the MFA settings of the pool.")
	case c.TOTP && !c.softwareTokens.Value:
		return Failed(name, "The role has mfa=totp, but the pool does not allow authenticator apps.", "Allow software tokens in the pool.")
	default:
		return Passed(name, fmt.Sprintf("MFA of the pool is %s, which works with the role.", setting))
	}
}
