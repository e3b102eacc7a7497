// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

const (
	// clientQuota is how many app clients a pool has by default. From nearQuota on a check warns.
	// https://docs.aws.amazon.com/cognito/latest/developerguide/quotas.html
	clientQuota = 1000
	nearQuota   = 950
)

// Issuer is a role that creates app clients.
type Issuer struct {
	Target cognito.Target
	// Domain is the role's cognito_pool_domain.
	Domain string
	// Scopes are those that each app client is allowed.
	Scopes []string
}

type issuerCheck struct {
	Issuer
	*machineCheck
	// servers holds the scopes of each resource server that the role's scopes name.
	servers map[string]*Result[[]string]
	clients Result[int]
}

// Run compares the role with its user pool. It creates and deletes no app client, so whether IAM
// allows that is not compared.
func (i Issuer) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	if pool == nil {
		return []Finding{skipped("user_pool", "role")}
	}
	c := &issuerCheck{Issuer: i, servers: map[string]*Result[[]string]{}, clients: notRead[int](), machineCheck: &machineCheck{
		lookups: newLookups(Subject{Target: i.Target}),
		request: cognito.MachineTokenRequest{Domain: i.Domain},
		domain:  notRead[cognito.DomainState](), token: notRead[cognito.MachineToken](),
	}}
	c.read(ctx, aws, pool)
	findings := []Finding{c.checkIdentity(), c.checkPool(), c.checkScopes(), c.checkClients()}
	if c.domain.known() || cognito.DeniedAction(c.domain.Err) != "" {
		findings = append(findings, c.checkDomain())
	}
	return findings
}

func (c *issuerCheck) read(ctx context.Context, aws AWS, pool Pool) {
	r := newReader(ctx)
	for _, scope := range c.Scopes {
		server := resourceServer(scope)
		if server == "" || c.servers[server] != nil {
			continue
		}
		result := notRead[[]string]()
		c.servers[server] = &result
		read(r, &result, func(ctx context.Context) ([]string, error) { return pool.ScopesOf(ctx, server) })
	}
	read(r, &c.clients, func(ctx context.Context) (int, error) { return pool.CountAppClients(ctx, clientQuota) })
	c.machineCheck.read(ctx, aws, pool)
	r.wait()
}

// resourceServer returns the identifier of a scope's resource server, or "" for a scope of no
// server.
func resourceServer(scope string) string { return scope[:max(0, strings.LastIndex(scope, "/"))] }

func (c *issuerCheck) checkScopes() Finding {
	const name = "scopes"
	const remedy = "Correct scopes in the role, or add them to a resource server of the user pool."
	if c.brokenBy() != "" {
		return skipped(name, c.brokenBy())
	}
	var missing []string
	for _, scope := range c.Scopes {
		server := c.servers[resourceServer(scope)]
		switch {
		case server == nil || cognito.IsGone(server.Err):
			missing = append(missing, scope)
		case !server.known():
			return lookupFailed(name, server.Err, remedy)
		case !slices.Contains(server.Value, scope):
			missing = append(missing, scope)
		}
	}
	if len(missing) > 0 {
		return Failed(name, fmt.Sprintf("No resource server of the user pool has the scopes %s.", quoted(missing)), remedy)
	}
	return Passed(name, "The user pool has every scope of the role.")
}

func (c *issuerCheck) checkClients() Finding {
	const name = "app_clients"
	const remedy = "Delete unused app clients, shorten ttl and max_ttl, or raise the quota."
	switch n := c.clients.Value; {
	case c.brokenBy() != "":
		return skipped(name, c.brokenBy())
	case !c.clients.known():
		return lookupFailed(name, c.clients.Err, remedy)
	case n > clientQuota:
		return Passed(name, fmt.Sprintf("The user pool has more than %d app clients, so its quota was raised.", clientQuota))
	case n >= nearQuota:
		return Warned(name, fmt.Sprintf("The user pool has %d app clients, and the quota is %d unless it was raised.", n, clientQuota), remedy)
	default:
		return Passed(name, fmt.Sprintf("The user pool has %d app clients.", n))
	}
}
