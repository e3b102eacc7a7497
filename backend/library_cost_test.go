// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// TestLibraryCosts requires what docs/faq.md says of the price of a library set: its users are
// billed once, and a check-in takes one request of UserAccountRecovery and one of UserUpdate.
func TestLibraryCosts(t *testing.T) {
	const users, jobs, runners = 20, 1000, 20
	l := newLender(t, hourly(), map[string]any{"size": users})
	l.WriteOK("config", map[string]any{"rate_limits": map[string]any{
		"UserUpdate": 1e6, "UserCreation": 1e6, "UserAccountRecovery": 1e6, "UserAuthentication": 1e6, "UserRead": 1e6, "UserResourceRead": 1e6,
	}})
	require.NoError(t, l.Control.ResetCalls(t.Context()))
	var work errgroup.Group
	for runner := range runners {
		work.Go(func() error {
			for range jobs / runners {
				lent, err := l.as(fmt.Sprint("job-", runner), "library/e2e/check-out", map[string]any{"wait": 10})
				if err != nil {
					return err
				}
				if err := l.revoke(lent.Secret); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, work.Wait())

	active, err := l.Control.MonthlyActiveUsers(t.Context(), l.Seed.UserPoolID)
	require.NoError(t, err)
	require.Len(t, active, 1)
	require.Equal(t, users, active[0].Users, "the jobs share the users of the set")
	calls := map[string]int{}
	for _, call := range l.Calls().Calls {
		calls[call.Operation]++
	}
	require.Equal(t, map[string]int{
		"AdminInitiateAuth":    jobs, // UserAuthentication
		"AdminSetUserPassword": jobs, // UserAccountRecovery
		// UserUpdate
		"AdminUserGlobalSignOut": jobs,
		// UserRead and UserResourceRead
		"AdminGetUser": jobs, "AdminListGroupsForUser": jobs, "AdminListDevices": jobs,
	}, calls)
}
