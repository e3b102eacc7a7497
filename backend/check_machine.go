// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Statuses of the domain of a user pool.
const (
	domainActive   = "ACTIVE"
	domainUpdating = "UPDATING"
)

// machineCheck is a check of a role of type client_credentials_grant.
type machineCheck struct {
	*lookups
	role *roleEntry
	// inPool tells whether the role names its pool. Without one neither AWS
	// credentials nor anything but the token endpoint matters.
	inPool  bool
	request cognito.MachineTokenRequest
	token   lookup[cognito.MachineToken]
	// spared names the finding because of which no token was asked for.
	spared string
}

// checkMachineRole asks for a token last, and only where it may get one: every
// token costs.
func (b *backend) checkMachineRole(ctx context.Context, role *roleEntry, aws *connection) []finding {
	request := role.tokenRequest(aws.region)
	c := &machineCheck{lookups: newLookups(), role: role, request: request, token: lookup[cognito.MachineToken]{err: errNotAsked}}
	c.inPool = role.UserPoolID != "" && request.Target.Region != ""
	if c.inPool {
		if err := c.lookUp(ctx, aws); err != nil {
			return []finding{failed("aws_identity", err.Error(), "See the AWS settings of Vault's process.")}
		}
	}
	if c.spared = firstFailure(c.findings()); c.spared == "" {
		c.token.value, c.token.err = aws.MachineToken(ctx, request)
	}
	return c.findings()
}

func (c *machineCheck) lookUp(ctx context.Context, aws *connection) error {
	pool, err := aws.Pool(ctx, c.request.Target)
	if err != nil {
		return err
	}
	looking := newLookupGroup(ctx)
	looking.askCommon(c.lookups, aws, c.request.Target, pool, c.role)
	if host := c.host(); host != "" && cognito.IsDescribable(host) {
		ask(looking, &c.domain, func(ctx context.Context) (cognito.DomainState, error) { return pool.Domain(ctx, host) })
	}
	looking.wait()
	return nil
}

// host is that of the token endpoint, or empty for a role that needs none.
func (c *machineCheck) host() string {
	if c.role.source() != cognito.SourceEndpoint {
		return ""
	}
	domain, err := cognito.ParseDomain(c.role.CognitoPoolDomain)
	if err != nil {
		return ""
	}
	return domain.Hostname()
}

func (c *machineCheck) findings() []finding {
	var findings []finding
	if c.inPool {
		findings = []finding{
			c.optional(c.checkIdentity()), c.optional(c.checkPool(c.role)),
			c.checkClient(c.role), c.checkMachineSecret(), c.checkFlows(),
		}
	}
	return append(findings, c.checkDomain(), c.checkScopes(), c.checkToken())
}

// checkMachineSecret lets a token settle what Cognito does not show.
func (c *machineCheck) checkMachineSecret() finding {
	found := c.checkSecret(c.role)
	if found.status == statusUnknown && c.client.known() && c.secrets.known() && c.hasToken() {
		return ok(found.name, "The role has a secret that Cognito does not show, and got a token with it.")
	}
	return found
}

// optional makes a warning of a failure that keeps no role from its tokens
// that has the app client's secret itself.
func (c *machineCheck) optional(f finding) finding {
	if f.status == statusFail && c.role.AppClientSecret != "" {
		f.status = statusWarn
		f.remedy += " The role gets tokens without it: it has the app client's secret."
	}
	return f
}

func firstFailure(findings []finding) string {
	for _, f := range findings {
		if f.status == statusFail {
			return f.name
		}
	}
	return ""
}

func (c *machineCheck) checkFlows() finding {
	const name = "auth_flows"
	client := c.client.value
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case c.role.source() == cognito.SourceAPI && !slices.Contains(client.AuthFlows, flowClientToken):
		return failed(name, "The app client does not allow "+flowClientToken+", which token_source=api needs.",
			"Allow "+flowClientToken+" alone in the app client, or set token_source=endpoint.")
	case c.role.source() == cognito.SourceEndpoint && !client.ClientCredentials:
		return failed(name, "The app client does not allow the client_credentials grant.",
			"Allow the OAuth flow client_credentials in the app client, or name another in app_client_id.")
	default:
		return ok(name, "The app client allows what token_source="+string(c.role.source())+" needs.")
	}
}

func (c *machineCheck) checkScopes() finding {
	const name = "scopes"
	token := c.token.value
	switch {
	case c.hasToken() && token.Scopes != nil:
		return c.checkGranted(name, refusedScopes(c.request.Scopes, token.Scopes))
	case c.client.known():
		return c.checkGranted(name, refusedScopes(c.role.Scopes, append([]string{}, c.client.value.Scopes...)))
	default:
		return skipped(name, "token")
	}
}

func (c *machineCheck) checkGranted(name string, refused []string) finding {
	if len(refused) > 0 {
		return failed(name, "The app client may not have "+quoted(refused)+".",
			"Allow the scope in the app client, or take it out of the role's scopes.")
	}
	return ok(name, "The app client may have every scope of the role.")
}

func (c *machineCheck) hasToken() bool { return c.token.known() }

// checkDomain goes by what Cognito knows of the domain, or else by whether it
// gave a token.
func (c *machineCheck) checkDomain() finding {
	const name = "domain"
	switch {
	case c.role.source() != cognito.SourceEndpoint:
		return ok(name, "token_source=api needs no domain.")
	case c.domain.known():
		return c.checkDomainState(name, c.domain.value)
	case cognito.DeniedAction(c.domain.err) != "":
		return lookupFailed(name, c.domain.err, "")
	case c.hasToken():
		return ok(name, "The domain gave a token.")
	default:
		return skipped(name, cmp.Or(c.spared, "token"))
	}
}

func (c *machineCheck) checkDomainState(name string, state cognito.DomainState) finding {
	const remedy = "Mend cognito_pool_domain in the role, or the domain in the user pool."
	switch {
	case state.UserPoolID == "":
		return failed(name, fmt.Sprintf("No user pool of the account has the domain %q in this region.", c.role.CognitoPoolDomain), remedy)
	case state.UserPoolID != c.role.UserPoolID:
		return failed(name, fmt.Sprintf("The domain %q is that of user pool %q.", c.role.CognitoPoolDomain, state.UserPoolID), remedy)
	case state.Status == domainUpdating:
		return warned(name, "The domain is being changed.", "Wait until its status is "+domainActive+".")
	case state.Status != domainActive:
		return failed(name, fmt.Sprintf("The domain is not active: its status is %s.", state.Status), "Wait until its status is "+domainActive+", or make it again.")
	default:
		return ok(name, "The domain is active.")
	}
}

// checkToken does not say what the token is.
func (c *machineCheck) checkToken() finding {
	const name = "token"
	switch {
	case c.hasToken():
		return ok(name, fmt.Sprintf("The app client has a token that lives until %s.", c.token.value.Expires.UTC().Format(time.RFC3339)))
	case c.spared != "" || errors.Is(c.token.err, errNotAsked):
		return skipped(name, c.spared)
	case cognito.KindOf(c.token.err) == cognito.KindThrottled:
		return lookupFailed(name, c.token.err, "")
	default:
		return failed(name, c.token.err.Error(), "Reading creds/ fails in the same way: mend what the error names.")
	}
}
