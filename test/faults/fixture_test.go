// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package faults

import (
	"encoding/json"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/backend"
	"vault-plugin-secrets-cognito/backend/backendtest"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const (
	staticUser      = "ann"
	presentPassword = "hush-Present-1"
	rootKey         = "AKIAROOT000000000000"
)

// fixture is a mount with an emulated Cognito, a role "ci" that issues users, a user for static
// roles, and a clock that stands still until it is moved.
type fixture struct {
	*backendtest.Mount
	*emulatortest.Cognito
	storage *backendtest.Storage

	mu   sync.Mutex
	time time.Time
	// client is a confidential app client through which a user can sign in in every way.
	client, clientSecret string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	storage := &backendtest.Storage{Storage: &logical.InmemStorage{}}
	f := &fixture{Cognito: emulatortest.Start(t), storage: storage, time: time.Now().Truncate(time.Second)}
	f.Mount = backendtest.NewOn(t, storage, backend.Options{Version: "v1.2.3", Now: f.now})
	f.WriteOK("config", map[string]any{
		"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": "hush-plugin-secret",
		"cognito_endpoint": f.Seed.Domain, "sts_endpoint": f.Seed.Domain, "max_retries": 0,
	})
	f.WriteOK("roles/ci", map[string]any{
		"credential_type": "user", "user_pool_id": f.Seed.UserPoolID, "region": f.Seed.Region, "groups": "testers",
		"app_client_id": f.Seed.AppClientID, "app_client_secret": f.Seed.AppClientSecret, "tokens_for": "any",
	})
	f.addUser(staticUser)
	out, err := f.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &f.Seed.UserPoolID, ClientName: aws.String("users"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{
			types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowUserPasswordAuth,
		},
	})
	require.NoError(t, err)
	f.client, f.clientSecret = *out.UserPoolClient.ClientId, *out.UserPoolClient.ClientSecret
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

// pass moves the clock.
func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(d)
}

func (f *fixture) addUser(username string) {
	f.T.Helper()
	_, err := f.Admin.AdminCreateUser(f.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &f.Seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String("hush-First-1"),
	})
	require.NoError(f.T, err)
	_, err = f.Admin.AdminSetUserPassword(f.T.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &f.Seed.UserPoolID, Username: &username, Password: aws.String(presentPassword), Permanent: true,
	})
	require.NoError(f.T, err)
}

// kinds returns the kinds of static roles by name.
func (f *fixture) kinds() map[string]map[string]any {
	user := map[string]any{
		"credential_type": "user_password", "user_pool_id": f.Seed.UserPoolID, "region": emulatortest.Region, "username": staticUser,
		"app_client_id": f.client, "app_client_secret": f.clientSecret, "rotation_period": "1h",
	}
	own := maps.Clone(user)
	own["self_managed"], own["password"] = true, presentPassword
	return map[string]map[string]any{
		aPassword:    user,
		aSelfManaged: own,
		aSecret: {
			"credential_type": "app_client_secret", "user_pool_id": f.Seed.UserPoolID, "region": emulatortest.Region,
			"app_client_id": f.Seed.M2MClientID, "cognito_pool_domain": f.Seed.Domain, "rotation_period": "1h",
		},
	}
}

// entries returns the keys in the storage directly below a prefix.
func (f *fixture) entries(prefix string) []string {
	f.T.Helper()
	entries, err := f.storage.Storage.List(f.T.Context(), prefix)
	require.NoError(f.T, err)
	return entries
}

func (f *fixture) storedConfig() map[string]any {
	f.T.Helper()
	entry, err := f.storage.Storage.Get(f.T.Context(), "config")
	require.NoError(f.T, err)
	var stored map[string]any
	require.NoError(f.T, json.Unmarshal(entry.Value, &stored))
	return stored
}

func (f *fixture) setMFA(mode types.UserPoolMfaType, softwareTokens bool) {
	f.T.Helper()
	_, err := f.Admin.SetUserPoolMfaConfig(f.T.Context(), &cip.SetUserPoolMfaConfigInput{
		UserPoolId: &f.Seed.UserPoolID, MfaConfiguration: mode,
		SoftwareTokenMfaConfiguration: &types.SoftwareTokenMfaConfigType{Enabled: softwareTokens},
	})
	require.NoError(f.T, err)
}

func (f *fixture) makeAppClient(input cip.CreateUserPoolClientInput) *types.UserPoolClientType {
	f.T.Helper()
	input.UserPoolId, input.ClientName = &f.Seed.UserPoolID, aws.String("tokens")
	out, err := f.Admin.CreateUserPoolClient(f.T.Context(), &input)
	require.NoError(f.T, err)
	return out.UserPoolClient
}

// writeMachine writes role "machine", which requests tokens of the seeded app client.
func (f *fixture) writeMachine(more map[string]any) {
	f.T.Helper()
	role := map[string]any{
		"app_client_id": f.Seed.M2MClientID, "app_client_secret": f.Seed.M2MClientSecret,
		"cognito_pool_domain": f.Seed.Domain, "scopes": "api/read,api/write",
	}
	maps.Copy(role, more)
	f.WriteOK("roles/machine", role)
}
