// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
)

func TestLinkLocalAddressesAreRefused(t *testing.T) {
	for _, domain := range []string{"169.254.169.254", "https://[fe80::1]", "https://[fd00:ec2::254]", "https://[fd00:ec2::23]", "https://[::ffff:169.254.170.2]:8443"} {
		t.Run(domain, func(t *testing.T) {
			service := cognito.New(t.Context(), cognito.Settings{RequestTimeout: time.Second})
			_, err := service.MachineToken(t.Context(), machineRequest(domain))
			require.ErrorContains(t, err, "link-local addresses are not allowed")
			require.NotContains(t, err.Error(), clientSecret)
		})
	}
}
