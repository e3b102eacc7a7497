// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
)

// docs/acceptance.md explains these variables and the permissions that they need.
const (
	accVariable           = "VAULT_ACC"
	accIAMVariable        = "VAULT_ACC_IAM"
	accRoleVariable       = "VAULT_ACC_ROLE_ARN"
	accExternalIDVariable = "VAULT_ACC_EXTERNAL_ID"
)

// TestAcceptanceAWS runs the table on the AWS account of the environment. It creates everything
// that it needs there, and deletes it again.
func TestAcceptanceAWS(t *testing.T) {
	accept(t, realAWS(t))
}

// TestSecondOpinionAWS asks AWS where the emulator and moto disagree and where the documentation
// leaves a question open, and prints all answers.
func TestSecondOpinionAWS(t *testing.T) {
	account, emulator := makeFixture(t, realAWS(t)), makeFixture(t, emulatedForProbes(t))
	asked := slices.Clone(probes)
	for _, p := range openPoints {
		asked = append(asked, p.probe)
	}
	for _, p := range asked {
		t.Run(p.asks, func(t *testing.T) {
			if why := account.lacks[p.needs]; why != "" {
				counters.Skip(t, why)
			}
			theirs, ours := p.answer(newProber(t, account)), p.answer(newProber(t, emulator))
			t.Logf("AWS answers %q, the emulator %q", theirs, ours)
			require.Equal(t, theirs, ours, "the emulator has to be corrected")
		})
	}
}

var lacksOfAWS = map[need]string{
	needAccounts:  "the role may be of the same account",
	needPromptIAM: "they take seconds",
}

// realAWS returns the AWS account of the environment after it has deleted what older runs left
// there, or skips the test. AWS_ENDPOINT_URL replaces AWS by a stand-in.
func realAWS(t *testing.T) *provider {
	t.Helper()
	if os.Getenv(accVariable) != "1" {
		counters.Skip(t, accVariable+"=1 is not set: docs/acceptance.md says how to run this on a real AWS account")
	}
	account, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, account.Region, "AWS_REGION is not set")
	p := &provider{name: "AWS", config: account, lacks: maps.Clone(lacksOfAWS)}
	p.lasts = p.endpoint() == ""
	p.tokenHost = func(domain string) string {
		return cmp.Or(p.endpoint(), "https://"+domain+".auth."+account.Region+".amazoncognito.com")
	}
	p.optional(t)
	if p.lasts {
		require.NoError(t, p.sweep(t.Context(), leftoverAge))
	}
	return p
}

// optional reads which features the account allows.
func (p *provider) optional(t *testing.T) {
	t.Helper()
	p.role.arn, p.role.externalID = os.Getenv(accRoleVariable), os.Getenv(accExternalIDVariable)
	if p.role.arn == "" {
		p.lacks[needRole] = accRoleVariable + " is not set"
	}
	p.rootKey = makeRootKey
	if os.Getenv(accIAMVariable) != "1" {
		p.lacks[needRootKey] = accIAMVariable + "=1 is not set"
	}
}
