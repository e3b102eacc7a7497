// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// Issuer is a role that creates app clients.
type Issuer struct {
	Target cognito.Target
	// Domain is the role's cognito_pool_domain.
	Domain string
}

// Run compares the role with its user pool. It creates no app client, so whether the pool has the
// role's scopes is not compared.
func (i Issuer) Run(ctx context.Context, aws AWS, pool Pool) []Finding {
	c := &machineCheck{
		lookups: newLookups(Subject{Target: i.Target}),
		request: cognito.MachineTokenRequest{Domain: i.Domain},
		domain:  notRead[cognito.DomainState](), token: notRead[cognito.MachineToken](),
	}
	if pool == nil {
		return []Finding{skipped("user_pool", "role")}
	}
	c.read(ctx, aws, pool)
	findings := []Finding{c.checkIdentity(), c.checkPool()}
	if c.domain.known() || cognito.DeniedAction(c.domain.Err) != "" {
		findings = append(findings, c.checkDomain())
	}
	return findings
}
