// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// flowUserPassword lets users sign in with no right of IAM's.
const flowUserPassword = "ALLOW_USER_PASSWORD_AUTH"

// ownedInspector looks at what a static role owns.
type ownedInspector interface {
	inspector
	User(ctx context.Context, username string) (cognito.UserState, error)
	ClientSecretIDs(ctx context.Context, clientID string) ([]string, error)
}

var _ ownedInspector = (*cognito.Pool)(nil)

// staticCheck is a check of a static role.
type staticCheck struct {
	*lookups
	static *staticRole
	// role is the like of it that the findings about pool and client read.
	role      *roleEntry
	user      lookup[cognito.UserState]
	secretIDs lookup[[]string]
}

// checkStaticRole looks at a static role. It signs nobody in, because a wrong
// password counts against the user.
func (b *backend) checkStaticRole(ctx context.Context, static *staticRole, aws *connection) []finding {
	if err := static.validate(aws.region); err != nil {
		return []finding{failed("role", err.Error(), "Write the static role again, with the field mended.")}
	}
	c := &staticCheck{lookups: newLookups(), static: static, role: static.likeness()}
	if err := c.lookUp(ctx, aws); err != nil {
		return []finding{failed("aws_identity", err.Error(), "See the AWS settings of Vault's process.")}
	}
	findings := append([]finding{b.checkRotation(static)}, c.findings()...)
	if static.CredentialType == staticTypeSecret && static.CognitoPoolDomain != "" && firstFailure(findings) == "" {
		findings = append(findings, c.checkToken(ctx, aws))
	}
	return findings
}

// likeness is a role with the same pool and app client.
func (r *staticRole) likeness() *roleEntry {
	role := &roleEntry{
		CredentialType: credentialTypeUser, UserPoolID: r.UserPoolID, Region: r.Region, AssumeRoleARN: r.AssumeRoleARN, ExternalID: r.ExternalID,
		AppClientID: r.AppClientID, AppClientSecret: r.AppClientSecret,
	}
	if r.CredentialType == staticTypeSecret {
		role.CredentialType, role.AppClientSecret = credentialTypeClientCredentials, ""
	}
	return role
}

func (c *staticCheck) lookUp(ctx context.Context, aws *connection) error {
	target := c.static.target(aws.region)
	var pool ownedInspector
	pool, err := aws.Pool(ctx, target)
	if err != nil {
		return err
	}
	looking := newLookupGroup(ctx)
	looking.askCommon(c.lookups, aws, target, pool, c.role)
	if c.static.CredentialType == staticTypeSecret {
		ask(looking, &c.secretIDs, func(ctx context.Context) ([]string, error) { return pool.ClientSecretIDs(ctx, c.static.AppClientID) })
	} else {
		ask(looking, &c.user, func(ctx context.Context) (cognito.UserState, error) { return pool.User(ctx, c.static.Username) })
	}
	looking.wait()
	return nil
}

func (c *staticCheck) findings() []finding {
	findings := []finding{c.checkIdentity(), c.checkPool(c.role)}
	if c.static.CredentialType == staticTypeSecret {
		return append(findings, c.checkClient(c.role), c.checkSecrets())
	}
	findings = append(findings, c.checkUser())
	if c.static.AppClientID != "" {
		findings = append(findings, c.checkClient(c.role), c.checkSecret(c.role), c.checkSignInFlow())
	}
	return findings
}

// checkRotation tells how the rotations go.
func (b *backend) checkRotation(static *staticRole) finding {
	const name = "rotation"
	switch {
	case static.LastError != "":
		return failed(name, "The last rotation failed: "+static.LastError, "Mend the cause; it is tried again at "+timeText(static.RetryAt)+", or at once by rotate-role/.")
	case static.Pending != nil:
		return warned(name, "A rotation has begun and is not finished.", "It is finished within a minute, or when the credentials are read.")
	default:
		return ok(name, "The next rotation is at "+timeText(static.NextRotation)+".")
	}
}

func (c *staticCheck) checkUser() finding {
	const name = "user"
	user := c.user.value
	switch {
	case c.user.known() && user.Status == cognito.StatusExternalProvider:
		return failed(name, "The user signs in with another provider, and a password would end that.", "Delete the static role.")
	case c.user.known() && !user.Enabled:
		return warned(name, "The user is disabled: its password works for nobody.", "Enable the user, or delete the static role.")
	case c.user.known():
		return ok(name, "The user is there, and its status is "+user.Status+".")
	case c.broken() != "":
		return skipped(name, c.broken())
	default:
		return lookupFailed(name, c.user.err, "Delete the static role, or make the user again.")
	}
}

func (c *staticCheck) checkSignInFlow() finding {
	const name = "auth_flows"
	needed := flowAdminPassword
	if c.static.SelfManaged {
		needed = flowUserPassword
	}
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case slices.Contains(c.client.value.AuthFlows, needed):
		return ok(name, "The app client allows "+needed+".")
	default:
		return failed(name, "The app client does not allow "+needed+", by which a new password is proven.", "Allow it in the app client.")
	}
}

// checkSecrets looks for a secret that takes the place of the next one.
func (c *staticCheck) checkSecrets() finding {
	const name = "client_secrets"
	const remedy = "Delete the secret that Vault did not make, or the app client cannot be rotated."
	if !c.secretIDs.known() {
		if c.broken() != "" {
			return skipped(name, c.broken())
		}
		return lookupFailed(name, c.secretIDs.err, remedy)
	}
	ids := c.secretIDs.value
	foreign := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id == c.static.SecretID || id == c.static.PreviousID })
	switch {
	case !slices.Contains(ids, c.static.SecretID):
		return failed(name, fmt.Sprintf("The app client no longer has the secret %q that Vault hands out.", c.static.SecretID), "Rotate the static role.")
	case len(foreign) > 0 && len(ids) == cognito.ClientSecretsMax:
		return failed(name, "The app client has a secret that Vault did not make: "+strings.Join(foreign, ", ")+".", remedy)
	default:
		return ok(name, fmt.Sprintf("The app client has %d secrets, all Vault's.", len(ids)))
	}
}

func (c *staticCheck) checkToken(ctx context.Context, aws *connection) finding {
	_, err := aws.MachineToken(ctx, cognito.MachineTokenRequest{
		Domain: c.static.CognitoPoolDomain, AppClient: cognito.AppClient{ID: c.static.AppClientID, Secret: c.static.Value}, Scopes: c.static.Scopes,
	})
	if err != nil {
		return failed("token", err.Error(), "Mend cognito_pool_domain or scopes; or rotate the static role if the secret is refused.")
	}
	return ok("token", "A token was had with the secret.")
}
