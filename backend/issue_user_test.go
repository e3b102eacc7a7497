// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package backend_test

import (
	"fmt"
	"strings"
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

// pool is a mount with a Cognito behind it and a role "ci".
type pool struct {
	*backendtest.Mount
	*emulatortest.Cognito
	storage *backendtest.Storage
}

func newPool(t *testing.T) *pool {
	t.Helper()
	return newPoolOn(t, backend.Options{})
}

func newPoolOn(t *testing.T, options backend.Options) *pool {
	t.Helper()
	options.Version = "v1.2.3"
	if options.WALMinAge == 0 {
		options.WALMinAge = time.Minute
	}
	storage := &backendtest.Storage{Storage: &logical.InmemStorage{}}
	p := &pool{
		Mount:   backendtest.NewOn(t, storage, options),
		Cognito: emulatortest.Start(t),
		storage: storage,
	}
	p.WriteOK("config", map[string]any{
		"aws_access_key_id": "AKIAPLUGIN", "aws_secret_access_key": "hush-plugin-secret", "cognito_endpoint": p.Seed.Domain,
		"max_retries": 0, "request_timeout": 1,
	})
	p.WriteOK("roles/ci", userRole(map[string]any{
		"user_pool_id": p.Seed.UserPoolID, "app_client_id": p.Seed.AppClientID, "app_client_secret": p.Seed.AppClientSecret, "groups": "testers",
	}))
	return p
}

func (p *pool) disable(username string) {
	p.T.Helper()
	_, err := p.Admin.AdminDisableUser(p.T.Context(), &cip.AdminDisableUserInput{UserPoolId: &p.Seed.UserPoolID, Username: &username})
	require.NoError(p.T, err)
}

// makeRotatingClient makes a public app client whose refresh tokens serve once.
func (p *pool) makeRotatingClient() string {
	p.T.Helper()
	out, err := p.Admin.CreateUserPoolClient(p.T.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &p.Seed.UserPoolID, ClientName: aws.String("rotating"),
		ExplicitAuthFlows:    []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
		RefreshTokenRotation: &types.RefreshTokenRotationType{Feature: types.FeatureTypeEnabled, RetryGracePeriodSeconds: aws.Int32(0)},
	})
	require.NoError(p.T, err)
	return *out.UserPoolClient.ClientId
}

// rollBack does what Vault does each minute, without regard to age.
func (p *pool) rollBack() error {
	p.T.Helper()
	response, err := p.Request(p.T.Context(), logical.RollbackOperation, "", map[string]any{"immediate": true})
	if err == nil && response.IsError() {
		return response.Error()
	}
	return err
}

func (p *pool) walEntries() []string {
	p.T.Helper()
	return p.entries("wal/")
}

// entries are the keys in the storage under a prefix.
func (p *pool) entries(prefix string) []string {
	p.T.Helper()
	entries, err := p.storage.Storage.List(p.T.Context(), prefix)
	require.NoError(p.T, err)
	return entries
}

// lease makes the request that Vault makes for a lease.
func (p *pool) lease(op logical.Operation, secret *logical.Secret) (*logical.Response, error) {
	p.T.Helper()
	return p.Backend.HandleRequest(p.T.Context(), &logical.Request{
		Operation: op, Path: "creds/ci", Secret: secret, Storage: p.storage, MountPoint: "cognito/",
	})
}

// records are the ids of the issued records of role "ci".
func (p *pool) records() []string {
	p.T.Helper()
	var ids []string
	for _, batch := range p.entries("issued/records/ci/") {
		for _, random := range p.entries("issued/records/ci/" + batch) {
			ids = append(ids, strings.TrimSuffix(batch, "/")+"-"+random)
		}
	}
	return ids
}

func TestStorageFailsAtEveryCall(t *testing.T) {
	p := newPool(t)
	p.storage.Repair()
	p.Read("creds/ci")
	calls := p.storage.Calls()
	require.NotEmpty(t, calls)

	for i, call := range calls {
		t.Run(fmt.Sprintf("call %d, %s", i+1, call), func(t *testing.T) {
			p := newPool(t)
			p.storage.Fail(backendtest.StorageFault{At: i + 1})
			_, err := p.Request(t.Context(), logical.ReadOperation, "creds/ci", nil)
			require.Error(t, err)
			require.Empty(t, p.Users(), "no response named a user, so there must be none")

			p.storage.Repair()
			require.NoError(t, p.rollBack())
			p.Read("creds/ci")
			require.Len(t, p.Users(), 1)
		})
	}
}

func TestLeaseOfTheOlderPlugin(t *testing.T) {
	issue := func(t *testing.T) (*pool, *logical.Secret) {
		t.Helper()
		p := newPool(t)
		secret := p.OK(logical.ReadOperation, "creds/ci", nil).Secret
		secret.InternalData = map[string]any{
			"secret_type": "user", "username": secret.InternalData["username"], "role": "ci",
		}
		return p, secret
	}

	t.Run("is renewed and revoked through its role", func(t *testing.T) {
		p, secret := issue(t)
		p.WriteOK("roles/ci", map[string]any{"ttl": "9m"})
		renewed, err := p.lease(logical.RenewOperation, secret)
		require.NoError(t, err)
		require.Equal(t, 9*time.Minute, renewed.Secret.TTL)
		_, err = p.lease(logical.RevokeOperation, secret)
		require.NoError(t, err)
		require.Empty(t, p.Users())
	})

	t.Run("finds its user also when the role has moved to another pool", func(t *testing.T) {
		p, secret := issue(t)
		another := p.MakePool(&cip.CreateUserPoolInput{})
		p.WriteOK("roles/ci", map[string]any{"user_pool_id": another, "app_client_secret": p.Seed.AppClientSecret, "ttl": "9m"})
		renewed, err := p.lease(logical.RenewOperation, secret)
		require.NoError(t, err)
		require.Equal(t, 9*time.Minute, renewed.Secret.TTL)
		_, err = p.lease(logical.RevokeOperation, secret)
		require.NoError(t, err)
		require.Empty(t, p.Users())
	})

	t.Run("says what to do when its role is gone", func(t *testing.T) {
		p, secret := issue(t)
		p.OK(logical.DeleteOperation, "roles/ci", nil)
		_, err := p.lease(logical.RevokeOperation, secret)
		require.ErrorContains(t, err, "write the role again")
	})
}

func TestDamagedLease(t *testing.T) {
	p := newPool(t)
	for name, data := range map[string]map[string]any{
		"nothing":               {"secret_type": "user"},
		"numbers for strings":   {"secret_type": "user", "username": 7.0, "role": 7.0},
		"a time that is none":   {"secret_type": "user", "username": "u", "user_pool_id": "p", "created": "today"},
		"a length that is none": {"secret_type": "user", "username": "u", "user_pool_id": "p", "ttl": "long"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, op := range []logical.Operation{logical.RenewOperation, logical.RevokeOperation} {
				_, err := p.lease(op, &logical.Secret{InternalData: data})
				require.Error(t, err)
			}
		})
	}
}

func TestInvalidation(t *testing.T) {
	p := newPool(t)
	p.Read("creds/ci")
	// Another node writes the config; this one only hears of it.
	require.NoError(t, p.storage.Put(t.Context(), &logical.StorageEntry{Key: "config", Value: fmt.Appendf(nil,
		`{"aws_access_key_id":"AKIANEW","aws_secret_access_key":"s","cognito_endpoint":%q,"max_retries":0}`, p.Seed.Domain)}))
	lastKey := func() string {
		calls := p.Calls()
		return calls.Calls[len(calls.Calls)-1].AccessKey
	}
	p.Read("creds/ci")
	require.Equal(t, "AKIAPLUGIN", lastKey(), "the connection is kept while nothing changes")
	p.Backend.InvalidateKey(t.Context(), "config")
	p.Read("creds/ci")
	require.Equal(t, "AKIANEW", lastKey())
}

// TestConfigWrittenWhileUsersAreIssued is for the race detector, and for a
// connection that would outlive the config it was made of.
func TestConfigWrittenWhileUsersAreIssued(t *testing.T) {
	p := newPool(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			if i%2 == 0 {
				p.Read("creds/ci")
				return
			}
			p.WriteOK("config", map[string]any{"aws_access_key_id": fmt.Sprintf("AKIA%d", i), "aws_secret_access_key": "s"})
		})
	}
	group.Wait()
	p.WriteOK("config", map[string]any{"aws_access_key_id": "AKIALAST", "aws_secret_access_key": "s"})
	require.NoError(t, p.Control.ResetCalls(t.Context()))
	p.Read("creds/ci")
	calls := p.Calls()
	for _, call := range calls.Calls {
		require.Equal(t, "AKIALAST", call.AccessKey)
	}
}

func TestUnusableRoles(t *testing.T) {
	p := newPool(t)
	for name, c := range map[string]struct{ stored, says string }{
		"an older role without a pool":   {`{"credential_type":"user","region":"eu-west-1","app_client_id":"c","group":"g"}`, "user_pool_id is required"},
		"an older role without a domain": {`{"credential_type":"client_credentials_grant","app_client_id":"c","app_client_secret":"s"}`, "cognito_pool_domain is required"},
		"a role of no type":              {`{"credential_type":"access_token"}`, "app_client_id is required"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, p.storage.Put(t.Context(), &logical.StorageEntry{Key: "roles/old", Value: []byte(c.stored)}))
			text := p.Refused(logical.ReadOperation, "creds/old", nil)
			require.Contains(t, text, `role "old" cannot be used: `)
			require.Contains(t, text, c.says)
			require.NotNil(t, p.Read("roles/old"))
			p.OK(logical.DeleteOperation, "roles/old", nil)
		})
	}
	t.Run("a damaged role can still be deleted", func(t *testing.T) {
		require.NoError(t, p.storage.Put(t.Context(), &logical.StorageEntry{Key: "roles/old", Value: []byte(`{"ttl":"hush`)}))
		_, err := p.Request(t.Context(), logical.ReadOperation, "creds/old", nil)
		require.ErrorContains(t, err, "damaged")
		require.NotContains(t, err.Error(), "hush")
		p.OK(logical.DeleteOperation, "roles/old", nil)
	})
}
