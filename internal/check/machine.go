// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	flowClientToken = "ALLOW_CLIENT_TOKEN_AUTH"

	domainActive   = "ACTIVE"
	domainUpdating = "UPDATING"
)

// Machine is a role that issues tokens of an app client.
type Machine struct {
	// Request is what a read of creds/ without parameters requests.
	Request cognito.MachineTokenRequest
}

type machineCheck struct {
	lookups
	request cognito.MachineTokenRequest
	domain  Result[cognito.DomainState]
	token   Result[cognito.MachineToken]
	// tokenSkipped is the name of the failure because of which no token was requested.
	tokenSkipped string
}

// Run compares the role with its user pool. The pool is nil for a role that names none: the token
// alone is checked then. The token comes last and only if nothing failed before, because each token
// costs.
func (m Machine) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	subject := Subject{Target: m.Request.Target, AppClient: m.Request.AppClient}
	c := &machineCheck{
		lookups: newLookups(subject), request: m.Request,
		domain: notRead[cognito.DomainState](), token: notRead[cognito.MachineToken](),
	}
	if pool != nil {
		c.read(ctx, aws, pool)
	}
	if failure, found := FirstFailure(c.findings(pool != nil)); found {
		c.tokenSkipped = failure.Name
	} else {
		c.token = ResultOf(aws.MachineToken(ctx, c.request))
	}
	return c.findings(pool != nil)
}

func (c *machineCheck) read(ctx context.Context, aws AWS, pool Pool) {
	r := newReader(ctx)
	c.start(r, aws, pool)
	if host := c.host(); host != "" && cognito.IsDescribable(host) {
		read(r, &c.domain, func(ctx context.Context) (cognito.DomainState, error) { return pool.Domain(ctx, host) })
	}
	r.wait()
}

// usesAPI reports whether tokens come from GetClientToken and not from the token endpoint.
func (c *machineCheck) usesAPI() bool { return c.request.Source == cognito.SourceAPI }

// host returns the host of the token endpoint, or "" for a role that uses none.
func (c *machineCheck) host() string {
	if c.usesAPI() {
		return ""
	}
	domain, err := cognito.ParseDomain(c.request.Domain)
	if err != nil {
		return ""
	}
	return domain.Hostname()
}

func (c *machineCheck) findings(inPool bool) []Finding {
	var findings []Finding
	if inPool {
		findings = []Finding{
			c.optional(c.checkIdentity()), c.optional(c.checkPool()),
			c.checkClient(), c.checkMachineSecret(), c.checkFlows(),
		}
	}
	return append(findings, c.checkDomain(), c.checkScopes(), c.checkToken())
}

// optional downgrades a failure to a warning if the role stores the client secret.
func (c *machineCheck) optional(f Finding) Finding {
	if f.Status == Fail && c.AppClient.Secret != "" {
		f.Status = Warn
		f.Remedy += " The role still issues tokens, because it stores app_client_secret."
	}
	return f
}

// checkMachineSecret accepts a token as proof of a secret that Cognito does not show.
func (c *machineCheck) checkMachineSecret() Finding {
	found := c.checkSecret(machineClientWithoutSecret)
	if found.Status == Unknown && c.client.known() && c.secrets.known() && c.token.known() {
		return Passed(found.Name, "Cognito does not show app_client_secret, but issued a token for it.")
	}
	return found
}

func machineClientWithoutSecret(name string, client cognito.ClientRules) Finding {
	if client.HasSecret {
		return Passed(name, "The app client's secret is looked up in the user pool.")
	}
	return Failed(name, "Cognito shows no secret of the app client, so it cannot request tokens.",
		"Name an app client with a secret, or write app_client_secret if Cognito does not show it.")
}

func (c *machineCheck) checkFlows() Finding {
	const name = "auth_flows"
	client := c.client.Value
	switch {
	case !c.client.known():
		return skipped(name, "app_client")
	case c.usesAPI() && !slices.Contains(client.AuthFlows, flowClientToken):
		return Failed(name, "The app client does not allow "+flowClientToken+", which token_source=api needs.",
			"Allow only "+flowClientToken+" in the app client, or set token_source=endpoint.")
	case !c.usesAPI() && !client.ClientCredentials:
		return Failed(name, "The app client does not allow the client_credentials grant.",
			"Allow the OAuth flow client_credentials in the app client, or name another one in app_client_id.")
	default:
		return Passed(name, "The app client allows the flow that token_source="+string(cmp.Or(c.request.Source, cognito.SourceEndpoint))+" needs.")
	}
}

func (c *machineCheck) checkScopes() Finding {
	const name = "scopes"
	switch {
	case c.token.known() && c.token.Value.Scopes != nil:
		return c.checkGranted(name, c.token.Value.Scopes)
	case c.client.known():
		return c.checkGranted(name, c.client.Value.Scopes)
	default:
		return skipped(name, "token")
	}
}

func (c *machineCheck) checkGranted(name string, granted []string) Finding {
	refused := slices.DeleteFunc(slices.Clone(c.request.Scopes), func(scope string) bool { return slices.Contains(granted, scope) })
	if len(refused) > 0 {
		return Failed(name, "The app client is not allowed "+quoted(refused)+".",
			"Allow the scope in the app client, or remove it from the role's scopes.")
	}
	return Passed(name, "The app client is allowed every scope of the role.")
}

// checkDomain uses what Cognito says about the domain, and otherwise whether the domain issued a
// token.
func (c *machineCheck) checkDomain() Finding {
	const name = "domain"
	switch {
	case c.usesAPI():
		return Passed(name, "token_source=api needs no domain.")
	case c.domain.known():
		return c.checkDomainState(name, c.domain.Value)
	case cognito.DeniedAction(c.domain.Err) != "":
		return lookupFailed(name, c.domain.Err, "")
	case c.token.known():
		return Passed(name, "The domain issued a token.")
	default:
		return skipped(name, cmp.Or(c.tokenSkipped, "token"))
	}
}

func (c *machineCheck) checkDomainState(name string, state cognito.DomainState) Finding {
	const remedy = "Correct cognito_pool_domain in the role, or the domain of the user pool."
	switch {
	case state.UserPoolID == "":
		return Failed(name, fmt.Sprintf("No user pool of the account has the domain %q in this region.", c.request.Domain), remedy)
	case state.UserPoolID != c.Target.UserPoolID:
		return Failed(name, fmt.Sprintf("The domain %q belongs to user pool %q.", c.request.Domain, state.UserPoolID), remedy)
	case state.Status == domainUpdating:
		return Warned(name, "The domain is being updated.", "Wait until its status is "+domainActive+".")
	case state.Status != domainActive:
		return Failed(name, fmt.Sprintf("The domain is not active: its status is %s.", state.Status), "Wait until its status is "+domainActive+", or create it again.")
	default:
		return Passed(name, "The domain is active.")
	}
}

// checkToken does not show the token.
func (c *machineCheck) checkToken() Finding {
	const name = "token"
	switch {
	case c.token.known():
		return Passed(name, fmt.Sprintf("Cognito issued a token that expires at %s.", c.token.Value.Expires.UTC().Format(time.RFC3339)))
	case errors.Is(c.token.Err, errNotRead):
		return skipped(name, c.tokenSkipped)
	case cognito.KindOf(c.token.Err) == cognito.KindThrottled, cognito.IsInternalError(c.token.Err):
		return lookupFailed(name, c.token.Err, "")
	default:
		return Failed(name, sentence(c.token.Err.Error()), "Reading creds/ fails in the same way: correct what the error names.")
	}
}
