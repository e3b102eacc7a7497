// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/counters"
	"vault-plugin-secrets-cognito/internal/sandbox"
)

// motoVariable names the environment variable with the path of moto_server, which scripts/moto.sh
// installs.
const motoVariable = "MOTO_SERVER"

const absent = "it does not know the operation"

var lacksOfMoto = map[need]string{
	needOwnEnd:       "its server fails on such a token",
	needRefresh:      absent,
	needMachine:      "there is no such path",
	needClientToken:  absent,
	needSecrets:      absent,
	needQuotas:       absent,
	needDevices:      absent,
	needMFA:          "a sign-in does not ask for one that is not set up",
	needSecretHash:   "any hash is taken",
	needEnforcedKeys: "any access key is taken",
}

// startMoto starts a moto for one test, or skips the test if there is none.
func startMoto(t *testing.T) *provider {
	t.Helper()
	binary := os.Getenv(motoVariable)
	if binary == "" {
		counters.Skip(t, motoVariable+" is not set: `make test-moto` installs moto and sets it")
	}
	moto, err := sandbox.StartMoto(t.Context(), sandbox.MotoOptions{Binary: binary})
	require.NoError(t, err)
	t.Cleanup(moto.Stop)
	p := local("moto", moto.Endpoint)
	p.lacks = lacksOfMoto
	p.lasts = true
	p.role.arn, p.role.externalID = "arn:aws:iam::210987654321:role/vault-acceptance", "acceptance"
	p.rootKey = makeRootKey
	return p
}

func TestAcceptanceMoto(t *testing.T) {
	t.Parallel()
	accept(t, startMoto(t))
}

// TestSweepMoto tests on moto the cleanup that real accounts rely on.
func TestSweepMoto(t *testing.T) {
	t.Parallel()
	p := startMoto(t)
	p.lasts = false // the sweep is to do what the cleanup does
	left := &builder{T: t, provider: p}
	left.pool = left.makePool(&cip.CreateUserPoolInput{})
	left.makeDomain()
	_, err := p.cognito().CreateUserPool(t.Context(), &cip.CreateUserPoolInput{PoolName: aws.String("a pool of the account")})
	require.NoError(t, err)

	require.NoError(t, p.sweep(t.Context(), leftoverAge))
	require.Len(t, p.poolNames(t), 2, "what is young belongs to a run that may still go on")
	require.NoError(t, p.sweep(t.Context(), 0))
	require.Equal(t, []string{"a pool of the account"}, p.poolNames(t))
}

func (p *provider) poolNames(t *testing.T) []string {
	t.Helper()
	out, err := p.cognito().ListUserPools(t.Context(), &cip.ListUserPoolsInput{MaxResults: aws.Int32(60)})
	require.NoError(t, err)
	var names []string
	for _, pool := range out.UserPools {
		names = append(names, *pool.Name)
	}
	return names
}
