// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package check

import (
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func TestQuotas(t *testing.T) {
	for name, c := range map[string]struct {
		quotas       []cognito.Quota
		err          error
		status, says string
	}{
		"what the account has": {
			[]cognito.Quota{{Category: "UserCreation", Quota: 200, Limit: 100}, {Category: "UserRead", Quota: 120, Limit: 7.5}}, nil,
			OK, "UserCreation 100 of 200, UserRead 7.5 of 120",
		},
		"a limit above the quota": {
			[]cognito.Quota{{Category: "UserCreation", Quota: 50, Limit: 60}, {Category: "UserRead", Quota: 120, Limit: 60}}, nil,
			Warn, "rate_limits of the config exceeds what AWS allows the account: UserCreation 60 of 50.",
		},
		"no answer":                 {nil, errSilent, OK, "half of AWS's default quotas"},
		"no category that it knows": {nil, nil, OK, "half of AWS's default quotas"},
	} {
		t.Run(name, func(t *testing.T) {
			lookup := quotaLookup{ResultOf(c.quotas, c.err)}
			require.Equal(t, c.status, lookup.check().Status)
			require.Contains(t, lookup.check().Detail, c.says)
		})
	}
}
