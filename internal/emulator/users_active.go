// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"maps"
	"slices"
	"strings"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// monthLayout is how a calendar month in UTC is written.
const monthLayout = "2006-01"

// activeUsers holds the subs of a pool's monthly active users by month. Deleted users stay in it,
// because AWS has counted them.
type activeUsers map[string]map[string]bool

// countActive counts the user as active in the present month.
//
// A user is active with any identity operation that concerns it: creation by an administrator,
// sign-in, token refresh, sign-out, a password that is set or reset, attributes that are read or
// changed (page "Quotas in Amazon Cognito" of the developer guide; AdminGetUser's reference says so
// for itself). ListUsers does not count. For deleting, disabling, enabling and group memberships no
// page decides; that they do not count is a guess.
func (r *request) countActive(u *user) {
	month := r.now.UTC().Format(monthLayout)
	if u.pool.active[month] == nil {
		u.pool.active[month] = map[string]bool{}
	}
	u.pool.active[month][u.sub] = true
}

// report returns the number of active users by month.
func (a activeUsers) report(poolID string) []control.MonthlyActiveUsers {
	counts := []control.MonthlyActiveUsers{}
	for _, month := range slices.SortedFunc(maps.Keys(a), strings.Compare) {
		counts = append(counts, control.MonthlyActiveUsers{UserPoolID: poolID, Month: month, Users: len(a[month])})
	}
	return counts
}
