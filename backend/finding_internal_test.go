// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWorst(t *testing.T) {
	good, warning, open, bad := ok("a", ""), warned("b", "", ""), unknown("c", "", ""), failed("d", "", "")
	require.Equal(t, "ok", worst(nil))
	require.Equal(t, "warn", worst([]finding{good, warning, good}))
	require.Equal(t, "unknown", worst([]finding{open, warning}), "what is unknown may be a failure")
	require.Equal(t, "fail", worst([]finding{bad, open, good}))
}
