// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"context"
	"fmt"
	"strings"

	"vault-plugin-secrets-cognito/internal/cognito"
)

// quotaLookup is what AWS allows the account in the categories that it raises for some accounts.
type quotaLookup struct {
	quotas Result[[]cognito.Quota]
}

func (q *quotaLookup) start(r *reader, aws AWS, target cognito.Target) {
	read(r, &q.quotas, func(ctx context.Context) ([]cognito.Quota, error) { return aws.Quotas(ctx, target) })
}

// check is a warning only if the engine's own limit does not keep it under a quota. Nothing depends
// on reading them, so the missing permission is no flaw of the role.
func (q *quotaLookup) check() Finding {
	const name = "quotas"
	if action := cognito.DeniedAction(q.quotas.Err); action != "" {
		return Passed(name, "The engine uses half of AWS's default quotas, or rate_limits of the config. Where "+action+
			" is allowed to it, it uses half of those that the account has.")
	}
	if !q.quotas.known() || len(q.quotas.Value) == 0 {
		return Passed(name, "The engine uses half of AWS's default quotas, or rate_limits of the config: AWS did not tell those of the account.")
	}
	if over := texts(q.quotas.Value, func(q cognito.Quota) bool { return q.Limit > q.Quota }); len(over) > 0 {
		return Warned(name, "rate_limits of the config exceeds what AWS allows the account: "+strings.Join(over, ", ")+".",
			"Lower these categories in rate_limits, or have the quota raised.")
	}
	all := texts(q.quotas.Value, func(cognito.Quota) bool { return true })
	return Passed(name, "Requests per second that the engine uses, of those that AWS allows the account: "+strings.Join(all, ", ")+".")
}

func texts(quotas []cognito.Quota, wanted func(cognito.Quota) bool) []string {
	var texts []string
	for _, q := range quotas {
		if wanted(q) {
			texts = append(texts, fmt.Sprintf("%s %g of %g", q.Category, q.Limit, q.Quota))
		}
	}
	return texts
}
