// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package model

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/hashicorp/vault/sdk/logical"

	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

// adminTimeout is how long an administrator waits for Cognito.
const adminTimeout = time.Second

// staticStored is a static role as the storage has it.
type staticStored struct {
	State        string    `json:"state"`
	Value        string    `json:"value"`
	SecretID     string    `json:"secret_id"`
	PreviousID   string    `json:"previous_id"`
	LastRotation time.Time `json:"last_vault_rotation"`
	NextRotation time.Time `json:"next_vault_rotation"`
	RetryAt      time.Time `json:"retry_at"`
	LastError    string    `json:"last_error"`
	Pending      *struct {
		Value string `json:"value"`
		ID    string `json:"id"`
	} `json:"pending"`
}

// isInDoubt reports whether a read has to say that the password may be wrong.
func (s *staticStored) isInDoubt() bool { return s.State == "setting" || s.State == "rejected" }

// staticOwned is what one static role owns, and what happened to it.
type staticOwned struct {
	name string
	// fields are those of the role as it is written; pool and username or client name what it owns.
	fields             map[string]any
	pool, user, client string
	// disturbed is set when an administrator changed the value, until Vault's is accepted again.
	disturbed bool
	// written is the password that an administrator told Vault, which a repeated write repeats.
	written string
	// before is what was stored at the last check.
	before *staticStored
}

// GoString shortens what a failed history prints.
func (o *staticOwned) GoString() string { return o.name }

func (o *staticOwned) isSecret() bool { return o.client != "" }

func (o *staticOwned) isSelfManaged() bool { return o.fields["self_managed"] == true }

// hasWindow reports whether the role rotates within a window: at every sixth hour, for an hour.
func (o *staticOwned) hasWindow() bool { return o.fields["rotation_schedule"] != nil }

// staticEnv is a world with users and app clients that Vault owns.
type staticEnv struct {
	*world
	admin *cip.Client
	owned []*staticOwned
	// foreign are the ids of secrets that Vault did not create, and that exist.
	foreign map[string]bool
	serial  int
	// forward is when the clock of Vault was last set forward, by the clock of AWS.
	forward time.Time
}

func newStaticEnv(w *world) *staticEnv {
	e := &staticEnv{world: w, foreign: map[string]bool{}}
	e.admin = cip.New(cip.Options{
		Region: emulatortest.Region, BaseEndpoint: aws.String(emulatortest.Endpoint), Retryer: aws.NopRetryer{},
		HTTPClient:  &http.Client{Transport: emulatortest.Transport(w.cognito)},
		Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", "secret", ""),
	})
	e.must(e.write("config", map[string]any{
		"aws_access_key_id": "AKIAMODEL", "aws_secret_access_key": "secret", "region": emulatortest.Region,
		"cognito_endpoint": emulatortest.Endpoint, "sts_endpoint": emulatortest.Endpoint, "max_retries": 1, "request_timeout": 5,
		"rate_limits": map[string]any{
			"UserAccountRecovery": 1000, "UserAuthentication": 1000, "UserRead": 1000, "UserUpdate": 1000, "UserCreation": 1000, "UserResourceRead": 1000, "UserToken": 1000,
			"UserPoolClientRead": 1000, "UserPoolClientUpdate": 1000, "ClientAuthentication": 1000,
		},
	}))
	e.addPasswords()
	e.addSecrets()
	return e
}

// addPasswords adds users of a pool with a password history.
func (e *staticEnv) addPasswords() {
	pool, err := e.admin.CreateUserPool(context.Background(), &cip.CreateUserPoolInput{
		PoolName: aws.String("static"),
		Policies: &types.UserPoolPolicyType{PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(8), PasswordHistorySize: aws.Int32(3)}},
	})
	e.must(err)
	client, err := e.admin.CreateUserPoolClient(context.Background(), &cip.CreateUserPoolClientInput{
		UserPoolId: pool.UserPool.Id, ClientName: aws.String("users"),
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	e.must(err)
	proven := map[string]any{"app_client_id": *client.UserPoolClient.ClientId, "issue_tokens": true, "sign_out_on_rotation": true, "rotation_period": 3600}
	e.addUser(*pool.UserPool.Id, "proven", proven)
	e.addUser(*pool.UserPool.Id, "unproven", map[string]any{"rotation_period": 3600})
	e.addUser(*pool.UserPool.Id, "windowed", map[string]any{
		"app_client_id": *client.UserPoolClient.ClientId, "rotation_schedule": "0 */6 * * *", "rotation_window": 3600,
	})
	e.addUser(*pool.UserPool.Id, "self", map[string]any{
		"app_client_id": *client.UserPoolClient.ClientId, "self_managed": true, "issue_tokens": true, "rotation_period": 3600,
	})
}

func (e *staticEnv) addUser(pool, name string, fields map[string]any) {
	_, err := e.admin.AdminCreateUser(context.Background(), &cip.AdminCreateUserInput{
		UserPoolId: &pool, Username: &name, MessageAction: types.MessageActionTypeSuppress, TemporaryPassword: aws.String(e.newPassword()),
	})
	e.must(err)
	fields["credential_type"], fields["user_pool_id"], fields["username"] = "user_password", pool, name
	o := &staticOwned{name: name, fields: fields, pool: pool, user: name}
	e.must(e.setPassword(o, e.newPassword()))
	e.owned = append(e.owned, o)
}

func (e *staticEnv) addSecrets() {
	for _, name := range []string{"secret", "mute"} {
		client, err := e.admin.CreateUserPoolClient(context.Background(), &cip.CreateUserPoolClientInput{
			UserPoolId: &e.seed.UserPoolID, ClientName: &name, GenerateSecret: true, AllowedOAuthFlowsUserPoolClient: true,
			AllowedOAuthFlows: []types.OAuthFlowType{types.OAuthFlowTypeClientCredentials}, AllowedOAuthScopes: e.seed.Scopes,
		})
		e.must(err)
		o := &staticOwned{name: name, pool: e.seed.UserPoolID, client: *client.UserPoolClient.ClientId, fields: map[string]any{
			"credential_type": "app_client_secret", "user_pool_id": e.seed.UserPoolID, "app_client_id": *client.UserPoolClient.ClientId, "rotation_period": 3600,
		}}
		if name == "secret" {
			o.fields["cognito_pool_domain"] = e.seed.Domain
		}
		e.owned = append(e.owned, o)
	}
}

func (e *staticEnv) newPassword() string {
	e.serial++
	return fmt.Sprintf("Admin-Password-%d", e.serial)
}

func (e *staticEnv) setPassword(o *staticOwned, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	_, err := e.admin.AdminSetUserPassword(ctx, &cip.AdminSetUserPasswordInput{
		UserPoolId: &o.pool, Username: &o.user, Password: &password, Permanent: true,
	})
	return err
}

// secrets are those that an app client has at Cognito.
func (e *staticEnv) secrets(o *staticOwned) []control.ClientSecret {
	for _, client := range e.cognito.AppClients(o.pool) {
		if client.ClientID == o.client {
			return client.Secrets
		}
	}
	return nil
}

// accepts reports whether Cognito accepts a value now.
func (e *staticEnv) accepts(o *staticOwned, value string) bool {
	if !o.isSecret() {
		return e.cognito.HasPassword(o.pool, o.user, value)
	}
	return slices.ContainsFunc(e.secrets(o), func(s control.ClientSecret) bool { return s.Value == value })
}

// addForeign adds a secret that Vault did not create, if the faults allow it.
func (e *staticEnv) addForeign(o *staticOwned) {
	before := e.secrets(o)
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	_, _ = e.admin.AddUserPoolClientSecret(ctx, &cip.AddUserPoolClientSecretInput{UserPoolId: &o.pool, ClientId: &o.client})
	for _, secret := range e.secrets(o) {
		if !slices.Contains(before, secret) {
			e.foreign[secret.ID] = true
		}
	}
}

// deleteSecret deletes a secret as an administrator.
func (e *staticEnv) deleteSecret(o *staticOwned, id string) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	_, _ = e.admin.DeleteUserPoolClientSecret(ctx, &cip.DeleteUserPoolClientSecretInput{UserPoolId: &o.pool, ClientId: &o.client, ClientSecretId: &id})
	if slices.ContainsFunc(e.secrets(o), func(s control.ClientSecret) bool { return s.ID == id }) {
		return
	}
	delete(e.foreign, id)
	// After a lost answer two secrets can have the value of the role.
	if stored := e.stored(o); stored != nil && (stored.SecretID == id || !e.accepts(o, stored.Value)) {
		o.disturbed = true
	}
}

// stored returns the role in the storage, or nil.
func (e *staticEnv) stored(o *staticOwned) *staticStored {
	entry, err := e.storage.Get(context.Background(), "static-roles/"+o.name)
	e.must(err)
	if entry == nil {
		return nil
	}
	stored := &staticStored{}
	e.must(json.Unmarshal(entry.Value, stored))
	return stored
}

func (e *staticEnv) tick() {
	_, _ = e.request(&logical.Request{Operation: logical.RollbackOperation})
}

func (e *staticEnv) heal() {
	e.cognito.ClearFaults()
	e.cognito.SetIAM(control.IAM{})
	e.life.dieAt(0, false)
}
