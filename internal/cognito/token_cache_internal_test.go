// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestReaderThatComesLate is about one who found no token, or an old one, just
// before the fetch for all others ended.
func TestReaderThatComesLate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	fetches := 0
	fetch := func(context.Context, MachineTokenRequest) (MachineToken, error) {
		fetches++
		return MachineToken{Issued: now, Next: now.Add(45 * time.Minute), Expires: now.Add(time.Hour)}, nil
	}
	c := newTokenCache(t.Context(), fetch, func(RefreshFailure) {})
	c.now = func() time.Time { return now }
	request := MachineTokenRequest{MinTTL: time.Minute}
	arrive := func() {
		result := <-c.start(keyOf(request), request)
		require.NoError(t, result.Err)
		require.Equal(t, now.Add(time.Hour), result.Val.(MachineToken).Expires)
	}

	arrive()
	arrive()
	require.Equal(t, 1, fetches, "the token of the first fetch is good for both")

	now = now.Add(45 * time.Minute)
	arrive()
	require.Equal(t, 2, fetches, "it is time for another")
}
