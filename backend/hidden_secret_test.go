// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"
)

// hideSecret replaces the secret that the machine app client was created with, so that Cognito
// shows none.
func (p *pool) hideSecret() {
	p.T.Helper()
	client := &cip.ListUserPoolClientSecretsInput{UserPoolId: &p.Seed.UserPoolID, ClientId: &p.Seed.M2MClientID}
	listed, err := p.Admin.ListUserPoolClientSecrets(p.T.Context(), client)
	require.NoError(p.T, err)
	_, err = p.Admin.AddUserPoolClientSecret(p.T.Context(), &cip.AddUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecret: aws.String("anotherSecretOf32Characters12345"),
	})
	require.NoError(p.T, err)
	_, err = p.Admin.DeleteUserPoolClientSecret(p.T.Context(), &cip.DeleteUserPoolClientSecretInput{
		UserPoolId: client.UserPoolId, ClientId: client.ClientId, ClientSecretId: listed.ClientSecrets[0].ClientSecretId,
	})
	require.NoError(p.T, err)
}

// ownMachine makes Vault the owner of the machine app client's secret.
func (p *pool) ownMachine(more map[string]any) {
	p.T.Helper()
	role := map[string]any{
		"credential_type": "app_client_secret", "user_pool_id": p.Seed.UserPoolID, "region": p.Seed.Region,
		"app_client_id": p.Seed.M2MClientID, "cognito_pool_domain": p.Seed.Domain, "rotation_period": "24h",
	}
	for field, value := range more {
		role[field] = value
	}
	p.WriteOK("static-roles/owner", role)
}

func TestSecretThatCognitoDoesNotShow(t *testing.T) {
	newPool := func(t *testing.T) *pool {
		t.Helper()
		p := newPool(t)
		p.WriteOK("config", map[string]any{"sts_endpoint": p.Seed.Domain})
		return p
	}
	lookedUp := func(p *pool) map[string]any {
		return map[string]any{"app_client_secret": "", "user_pool_id": p.Seed.UserPoolID, "region": p.Seed.Region}
	}

	t.Run("an error names both ways out", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(lookedUp(p))
		p.hideSecret()
		text := p.Refused(logical.ReadOperation, "creds/machine", nil)
		require.Contains(t, text, "Cognito shows none of the app client's secrets")
		require.Contains(t, text, "app_client_secret")
		require.Contains(t, text, "static_role")
	})

	t.Run("a check does not call it absent", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(lookedUp(p))
		p.hideSecret()
		response := p.OK(logical.ReadOperation, "check/machine", nil)
		require.Equal(t, "fail", response.Data["status"])
		require.Contains(t, response.Data["problems"].([]string)[0], "Cognito shows none of")
	})

	t.Run("the static role that owns it is used without being named", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(lookedUp(p))
		p.ownMachine(nil)
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		shown, err := p.Admin.DescribeUserPoolClient(t.Context(), &cip.DescribeUserPoolClientInput{
			UserPoolId: &p.Seed.UserPoolID, ClientId: &p.Seed.M2MClientID,
		})
		require.NoError(t, err)
		require.Nil(t, shown.UserPoolClient.ClientSecret)
		require.NotEmpty(t, p.Read("creds/machine")["access_token"])
		require.Empty(t, p.OK(logical.ReadOperation, "check/machine", nil).Data["problems"])
	})

	t.Run("a static role that reaches the pool in another way is not used", func(t *testing.T) {
		p := newPool(t)
		p.ownMachine(map[string]any{"aws_assume_role_arn": "arn:aws:iam::123456789012:role/pools"})
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		p.writeMachine(lookedUp(p))
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/machine", nil), "Cognito shows none of")
	})

	t.Run("once the static role is gone it is not used any more", func(t *testing.T) {
		p := newPool(t)
		p.writeMachine(lookedUp(p))
		p.ownMachine(nil)
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		p.OK(logical.UpdateOperation, "rotate-role/owner", nil)
		p.Read("creds/machine")
		p.OK(logical.DeleteOperation, "static-roles/owner", nil)
		require.Contains(t, p.Refused(logical.ReadOperation, "creds/machine", map[string]any{"scopes": "api/read"}), "Cognito shows none of")
	})
}
