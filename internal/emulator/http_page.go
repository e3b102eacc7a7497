// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import "strconv"

const maxPage = 60

// page returns one page of a list. The token for the next page is the index at which that begins.
func page[T any](all []T, limit *int, token string) (rest []T, next string, err error) {
	size := maxPage
	if limit != nil && *limit != 0 {
		size = *limit
	}
	if size < 1 || size > maxPage {
		return nil, "", invalidParameter("1 validation error detected: Value '%d' at 'limit' failed to satisfy constraint: "+
			"Member must have value less than or equal to %d", size, maxPage)
	}
	start := 0
	if token != "" {
		if start, err = strconv.Atoi(token); err != nil || start < 0 || start > len(all) {
			return nil, "", invalidParameter("Invalid pagination token.")
		}
	}
	end := min(start+size, len(all))
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return all[start:end], next, nil
}
