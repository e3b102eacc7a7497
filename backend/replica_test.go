// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// away is the region of the replica. The pool ID names the primary region.
const away = "us-east-1"

// newReplica returns a pool with a replica, the region of which is that of the config.
func newReplica(t *testing.T) *pool {
	t.Helper()
	p := newPool(t)
	region := away
	_, err := p.Admin.CreateUserPoolReplica(t.Context(), &cip.CreateUserPoolReplicaInput{UserPoolId: &p.Seed.UserPoolID, RegionName: &region})
	require.NoError(t, err)
	p.WriteOK("config", map[string]any{"region": away, "sts_endpoint": p.Seed.Domain})
	p.OK(logical.PatchOperation, "roles/ci", map[string]any{"region": ""})
	return p
}

// callsIn returns the operations that the engine asked of Cognito in a region.
func (p *pool) callsIn(region string) []string {
	p.T.Helper()
	var operations []string
	for _, call := range p.Calls().Calls {
		if call.Region == region && call.AccessKey == "AKIAPLUGIN" && call.Operation != "GetCallerIdentity" {
			operations = append(operations, call.Operation)
		}
	}
	return operations
}

// TestReplicaRefusesWithTheReason is about what only the primary region allows.
func TestReplicaRefusesWithTheReason(t *testing.T) {
	const reason = "as a replica in a secondary region does not, which only signs users in and issues tokens: " +
		"set region to the primary region of the user pool"

	t.Run("a user", func(t *testing.T) {
		p := newReplica(t)
		err := p.Refused(logical.ReadOperation, "creds/ci", nil)
		require.Contains(t, err, reason)
		require.Empty(t, p.Users())
	})

	t.Run("an app client", func(t *testing.T) {
		p := newReplica(t)
		p.WriteOK("roles/app", map[string]any{"credential_type": "app_client", "user_pool_id": p.Seed.UserPoolID, "cognito_pool_domain": p.Seed.Domain, "scopes": "api/read", "ttl": "1h", "max_ttl": "1h"})
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/app", nil), reason)
	})

	t.Run("a static password", func(t *testing.T) {
		p := newReplica(t)
		_, err := p.Admin.AdminCreateUser(t.Context(), &cip.AdminCreateUserInput{UserPoolId: &p.Seed.UserPoolID, Username: aws.String("ann")})
		require.NoError(t, err)
		says := p.WriteRefused("static-roles/ann", map[string]any{"user_pool_id": p.Seed.UserPoolID, "username": "ann", "rotation_period": "1h"})
		require.Contains(t, says, reason)
	})

	t.Run("check warns before anybody reads", func(t *testing.T) {
		p := newReplica(t)
		c := p.check("ci")
		require.Contains(t, c.of("warn"), "region", c)
		require.Contains(t, c.says("region"), "refuses to create or change users, passwords, groups and app clients")
	})
}

func TestReplicaIssuesTokens(t *testing.T) {
	t.Run("a machine token with a secret that is looked up", func(t *testing.T) {
		p := newReplica(t)
		p.writeMachine(map[string]any{"app_client_secret": "", "user_pool_id": p.Seed.UserPoolID})
		require.NotEmpty(t, p.Read("creds/machine")["access_token"])
		require.Contains(t, p.callsIn(away), "DescribeUserPoolClient")
		require.Empty(t, p.callsIn(p.Seed.Region), "the region in the pool ID is not used where another is named")
	})

	t.Run("a user of the primary region signs in", func(t *testing.T) {
		p := newReplica(t)
		p.OK(logical.PatchOperation, "roles/ci", map[string]any{"region": p.Seed.Region})
		user := p.OK(logical.ReadOperation, "creds/ci", nil)
		require.Empty(t, p.callsIn(away), "the region of the role wins over that of the config")
		p.OK(logical.PatchOperation, "roles/ci", map[string]any{"region": ""})
		tokens := p.OK(logical.UpdateOperation, "tokens/ci", map[string]any{"username": user.Data["username"], "password": user.Data["password"]})
		require.NotEmpty(t, tokens.Data["access_token"])
		require.Contains(t, p.callsIn(away), "AdminInitiateAuth")

		_, err := p.Backend.HandleRequest(context.Background(), &logical.Request{
			Operation: logical.RevokeOperation, Path: "creds/ci", Secret: user.Secret, Storage: p.storage, MountPoint: "cognito/",
		})
		require.NoError(t, err, "the lease ends where its user was created")
		require.Empty(t, p.Users())
	})
}
