// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Package emulatortest starts emulators for tests. Start returns one that listens on a port;
// Transport reaches one in the same process. It may import the emulator and test libraries only.
package emulatortest

import (
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// adminAccessKey is the access key of Admin.
const adminAccessKey = "AKIAADMIN"

// Region is the region of the seeded pool.
const Region = "eu-west-1"

// SigningKey returns a key that all emulators of a test binary share, because generating one takes
// longer than most tests.
var SigningKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, emulator.SigningKeyBits)
	if err != nil {
		panic(err)
	}
	return key
})

// Cognito is a seeded emulator that listens until its test ends.
type Cognito struct {
	Seed    emulator.Seed
	Control *control.Client
	// Admin calls Cognito's API with administrator rights.
	Admin *cip.Client
	// Contract compares all calls with AWS's model of Cognito.
	Contract *Contract

	t *testing.T
}

// Start starts an emulator for a test.
func Start(t *testing.T) *Cognito {
	t.Helper()
	return StartWith(t, emulator.Options{})
}

// StartWith starts an emulator with options for a test, which shares its key with all others.
func StartWith(t *testing.T, o emulator.Options) *Cognito {
	t.Helper()
	contract := &Contract{}
	o.SigningKey, o.Observe = SigningKey(), contract.Observe
	running, err := emulator.Start(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, running.Close())
		contract.Verify(t)
	})
	seed, err := running.Seed(Region)
	require.NoError(t, err)
	return &Cognito{
		Seed:     seed,
		Control:  control.New(running.URL),
		Contract: contract,
		Admin: cip.New(cip.Options{
			Region: Region, BaseEndpoint: &running.URL, Credentials: credentials.NewStaticCredentialsProvider(adminAccessKey, "s", ""),
		}),
		t: t,
	}
}

// Fault adds a fault.
func (c *Cognito) Fault(fault control.Fault) {
	c.t.Helper()
	require.NoError(c.t, c.Control.Fault(c.t.Context(), fault))
}

// Heal clears all faults.
func (c *Cognito) Heal() {
	c.t.Helper()
	require.NoError(c.t, c.Control.ClearFaults(c.t.Context()))
}

// Deny sets the denied IAM actions and replaces the earlier ones.
func (c *Cognito) Deny(actions ...string) {
	c.t.Helper()
	require.NoError(c.t, c.Control.SetIAM(c.t.Context(), control.IAM{DeniedActions: actions}))
}

// PlantKey gives an IAM user an access key, which is enforced from then on.
func (c *Cognito) PlantKey(user, id, secret string) {
	c.t.Helper()
	require.NoError(c.t, c.Control.PlantAccessKey(c.t.Context(), control.AccessKey{User: user, ID: id, Secret: secret}))
}

// Keys returns the access keys of the planted IAM users.
func (c *Cognito) Keys() []control.AccessKey {
	c.t.Helper()
	keys, err := c.Control.AccessKeys(c.t.Context())
	require.NoError(c.t, err)
	return keys
}

// Users returns the users of all pools.
func (c *Cognito) Users() []control.User {
	c.t.Helper()
	users, err := c.Control.Users(c.t.Context(), "")
	require.NoError(c.t, err)
	return users
}

// Calls returns the calls so far, including those of Admin. It leaves out what QuotaReads returns.
func (c *Cognito) Calls() *control.CallLog {
	c.t.Helper()
	calls := c.allCalls()
	calls.Calls = slices.DeleteFunc(calls.Calls, readsQuota)
	return calls
}

// QuotaReads returns the calls that read the account's quotas. The engine makes them in the
// background, so they can come between any others.
func (c *Cognito) QuotaReads() []control.Call {
	c.t.Helper()
	return slices.DeleteFunc(c.allCalls().Calls, func(call control.Call) bool { return !readsQuota(call) })
}

func readsQuota(call control.Call) bool { return call.Operation == "GetProvisionedLimit" }

func (c *Cognito) allCalls() *control.CallLog {
	c.t.Helper()
	calls, err := c.Control.Calls(c.t.Context())
	require.NoError(c.t, err)
	return calls
}

// MakePool creates another pool with a group "testers".
func (c *Cognito) MakePool(input *cip.CreateUserPoolInput) (poolID string) {
	c.t.Helper()
	input.PoolName = aws.String("another")
	pool, err := c.Admin.CreateUserPool(c.t.Context(), input)
	require.NoError(c.t, err)
	_, err = c.Admin.CreateGroup(c.t.Context(), &cip.CreateGroupInput{UserPoolId: pool.UserPool.Id, GroupName: aws.String("testers")})
	require.NoError(c.t, err)
	return *pool.UserPool.Id
}

// MakeClient creates a confidential app client with admin password sign-in.
func (c *Cognito) MakeClient(poolID string) (id, secret string) {
	c.t.Helper()
	made := c.makeClient(poolID, true)
	return *made.ClientId, *made.ClientSecret
}

// MakePublicClient creates an app client with admin password sign-in and without a secret.
func (c *Cognito) MakePublicClient(poolID string) (id string) {
	c.t.Helper()
	return *c.makeClient(poolID, false).ClientId
}

func (c *Cognito) makeClient(poolID string, secret bool) *types.UserPoolClientType {
	c.t.Helper()
	out, err := c.Admin.CreateUserPoolClient(c.t.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &poolID, ClientName: aws.String("users"), GenerateSecret: secret,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
	})
	require.NoError(c.t, err)
	return out.UserPoolClient
}
