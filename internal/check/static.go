// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// flowUserPassword lets users sign in without any IAM permission.
const flowUserPassword = "ALLOW_USER_PASSWORD_AUTH"

// Rotation is the state of a static role's rotations.
type Rotation struct {
	// LastError is why the last attempt failed, or empty.
	LastError string
	// Started is set while a rotation is not finished.
	Started bool
	// Next is the time of the next rotation, Retry that of the next attempt after a failure.
	Next, Retry time.Time
}

// Finding returns whether rotations succeed.
func (r Rotation) Finding() Finding {
	const name = "rotation"
	switch {
	case r.LastError != "":
		return Failed(name, "The last rotation failed: "+r.LastError+".",
			"Correct the cause. The next attempt is at "+r.Retry.UTC().Format(time.RFC3339)+", or on a write to rotate-role/.")
	case r.Started:
		return Warned(name, "A rotation has started and is not finished.", "The engine finishes it within a minute, or on the next read of static-creds/.")
	default:
		return Passed(name, "The next rotation is at "+r.Next.UTC().Format(time.RFC3339)+".")
	}
}

// StaticPassword is a user whose password Vault owns. AppClient is empty if passwords are not
// proven.
type StaticPassword struct {
	Subject
	Username string
	// SelfManaged is set if the user changes its own password and no IAM permission is used.
	SelfManaged bool
}

type passwordCheck struct {
	StaticPassword
	lookups
	user   Result[cognito.UserState]
	quotas quotaLookup
}

// Run compares the static role with its user pool. It signs in no user, because a wrong password
// counts against the user.
func (s StaticPassword) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	c := &passwordCheck{StaticPassword: s, lookups: newLookups(s.Subject)}
	r := newReader(ctx)
	c.start(r, aws, pool)
	c.quotas.start(r, aws, s.Target)
	read(r, &c.user, func(ctx context.Context) (cognito.UserState, error) { return pool.User(ctx, s.Username) })
	r.wait()
	findings := []Finding{c.checkIdentity(), c.checkPool(), c.checkUser()}
	if c.lookups.AppClient.ID != "" {
		findings = append(findings, c.checkClient(), c.checkSecret(userClientWithoutSecret), c.checkFlows())
	}
	return append(findings, c.quotas.check())
}

// Precheck reads only what can certainly stop a rotation, the user and the app client, and returns
// the user if it could be read.
func (s StaticPassword) Precheck(ctx context.Context, pool Pool) ([]Finding, cognito.UserState) {
	c := &passwordCheck{StaticPassword: s, lookups: newLookups(s.Subject)}
	c.identity, c.rules = Result[string]{}, Result[cognito.PoolRules]{} // the calls below fail if these do
	r := newReader(ctx)
	read(r, &c.user, func(ctx context.Context) (cognito.UserState, error) { return pool.User(ctx, s.Username) })
	if c.lookups.AppClient.ID != "" {
		r.group.Go(func() error {
			c.readClient(r.ctx, pool)
			return nil
		})
	}
	r.wait()
	findings := []Finding{c.checkUser()}
	if c.lookups.AppClient.ID != "" {
		findings = append(findings, c.checkClient(), c.checkSecret(userClientWithoutSecret), c.checkFlows())
	}
	return findings, c.user.Value
}

func (c *passwordCheck) checkUser() Finding {
	const name = "user"
	user := c.user.Value
	switch {
	case c.user.known() && user.Status == cognito.StatusExternalProvider:
		return Failed(name, "The user signs in with an external provider, and a password would end that.", "Delete the static role.")
	case c.user.known() && !user.Enabled:
		return Warned(name, "The user is disabled, so its password is not accepted.", "Enable the user, or delete the static role.")
	case c.user.known():
		return Passed(name, "The user exists, with status "+user.Status+".")
	case c.brokenBy() != "":
		return skipped(name, c.brokenBy())
	default:
		return lookupFailed(name, c.user.Err, "Delete the static role, or create the user again.")
	}
}

func (c *passwordCheck) checkFlows() Finding {
	const name = "auth_flows"
	needed := flowAdminPassword
	if c.SelfManaged {
		needed = flowUserPassword
	}
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case slices.Contains(c.client.Value.AuthFlows, needed):
		return Passed(name, "The app client allows "+needed+".")
	case !c.SelfManaged && slices.Contains(c.client.Value.AuthFlows, flowAdminPasswordLegacy):
		return Passed(name, "The app client allows "+flowAdminPasswordLegacy+", the older name of "+needed+".")
	default:
		return Failed(name, "The app client does not allow "+needed+", which proves a new password.", "Allow it in the app client.")
	}
}

// StaticSecret is an app client whose secret Vault owns.
type StaticSecret struct {
	Target   cognito.Target
	ClientID string
	// SecretID and PreviousID are the ids of the secrets that Vault created.
	SecretID, PreviousID string
	// Request proves the current secret. Its Domain is empty if there is no domain to prove it
	// with.
	Request cognito.MachineTokenRequest
}

type secretCheck struct {
	StaticSecret
	lookups
	ids Result[[]string]
}

// Run compares the static role with its app client, and requests a token with the current secret if
// nothing failed before.
func (s StaticSecret) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	c := &secretCheck{StaticSecret: s, lookups: newLookups(Subject{s.Target, cognito.AppClient{ID: s.ClientID}})}
	r := newReader(ctx)
	c.start(r, aws, pool)
	read(r, &c.ids, func(ctx context.Context) ([]string, error) { return pool.ClientSecretIDs(ctx, s.ClientID) })
	r.wait()
	findings := []Finding{c.checkIdentity(), c.checkPool(), c.checkClient(), c.checkSecrets()}
	if _, failed := FirstFailure(findings); !failed && s.Request.Domain != "" {
		findings = append(findings, c.checkToken(ctx, aws))
	}
	return findings
}

// checkSecrets looks for a secret that leaves no room for the next one.
func (c *secretCheck) checkSecrets() Finding {
	const name = "client_secrets"
	if !c.ids.known() {
		if c.brokenBy() != "" {
			return skipped(name, c.brokenBy())
		}
		return lookupFailed(name, c.ids.Err, "Correct app_client_id in the static role.")
	}
	ids := c.ids.Value
	foreign := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == c.SecretID || id == c.PreviousID })
	switch {
	case !slices.Contains(ids, c.SecretID):
		return Failed(name, fmt.Sprintf("The app client no longer has the secret %q that Vault returns.", c.SecretID), "Rotate the static role.")
	case len(foreign) > 0 && len(ids) == cognito.ClientSecretsMax:
		return Failed(name, "The app client has a secret that Vault did not create, so there is no room for the next one: "+strings.Join(foreign, ", ")+".",
			"Find out what uses that secret; rotation continues when it no longer exists.")
	default:
		return Passed(name, fmt.Sprintf("The app client has %d secrets and room for rotation.", len(ids)))
	}
}

func (c *secretCheck) checkToken(ctx context.Context, aws AWS) Finding {
	if _, err := aws.MachineToken(ctx, c.Request); err != nil {
		return Failed("token", err.Error(), "Correct cognito_pool_domain or scopes; if the secret is refused, rotate the static role.")
	}
	return Passed("token", "Cognito issued a token for the secret.")
}
