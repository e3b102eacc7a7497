// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

// Olderplugin is a stand-in for the vault-plugin-secrets-cognito of 2021, for the tests of the
// upgrade. It stores config and roles under the same keys and in the same JSON, and issues, renews
// and revokes leases with the same internal data. It validates nothing, issues no tokens and
// creates no users: the request names the user of the lease. Entries are written and read as they
// are stored, with durations in nanoseconds.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/plugin"
)

const secretType = "user"

type config struct {
	AccessKeyID     string `json:"aws_access_key_id"`
	AssumeRoleARN   string `json:"aws_assume_role_arn"`
	SecretAccessKey string `json:"aws_secret_access_key"`
	SessionToken    string `json:"aws_session_token"`
}

type role struct {
	CredentialType    string        `json:"credential_type"`
	CognitoPoolDomain string        `json:"cognito_pool_domain"`
	AppClientSecret   string        `json:"app_client_secret"`
	Region            string        `json:"region"`
	AppClientID       string        `json:"app_client_id"`
	UserPoolID        string        `json:"user_pool_id"`
	Group             string        `json:"group"`
	DummyEmailDomain  string        `json:"dummy_email_domain"`
	TTL               time.Duration `json:"ttl"`
	MaxTTL            time.Duration `json:"max_ttl"`
}

func main() {
	meta := &api.PluginAPIClientMeta{}
	err := meta.FlagSet().Parse(os.Args[1:])
	if err == nil {
		// Serve and not ServeMultiplex: one process per mount, as in 2021.
		err = plugin.Serve(&plugin.ServeOpts{BackendFactoryFunc: factory, TLSProviderFunc: api.VaultPluginTLSProvider(meta.GetTLSConfig())})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// factory creates a backend without a version, like the 2021 plugin.
func factory(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	secret := &framework.Secret{Type: secretType, Renew: renew, Revoke: revoke}
	b := &framework.Backend{
		BackendType: logical.TypeLogical,
		Secrets:     []*framework.Secret{secret},
		Paths: []*framework.Path{
			entryPath[config]("config"),
			entryPath[role]("roles/" + framework.GenericNameRegex("name")),
			{
				Pattern: "creds/" + framework.GenericNameRegex("name"),
				Fields:  map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}, "username": {Type: framework.TypeString}},
				Operations: map[logical.Operation]framework.OperationHandler{
					logical.ReadOperation: &framework.PathOperation{Callback: issuer(secret)},
				},
			},
		},
	}
	return b, b.Setup(ctx, conf)
}

// entryPath stores one kind of entry. The written data is the stored JSON.
func entryPath[T any](pattern string) *framework.Path {
	return &framework.Path{
		Pattern: pattern,
		Fields:  map[string]*framework.FieldSchema{"name": {Type: framework.TypeString}},
		Operations: map[logical.Operation]framework.OperationHandler{
			logical.UpdateOperation: &framework.PathOperation{Callback: writeEntry[T]},
			logical.ReadOperation:   &framework.PathOperation{Callback: readEntry[T]},
		},
	}
}

func writeEntry[T any](ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	entry := new(T)
	if _, err := load(ctx, req.Storage, req.Path, entry); err != nil {
		return nil, err
	}
	if err := convert(req.Data, entry); err != nil {
		return nil, err
	}
	stored, err := logical.StorageEntryJSON(req.Path, entry)
	if err != nil {
		return nil, err
	}
	return nil, req.Storage.Put(ctx, stored)
}

func readEntry[T any](ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	entry := new(T)
	if found, err := load(ctx, req.Storage, req.Path, entry); err != nil || !found {
		return nil, err
	}
	response := &logical.Response{}
	return response, convert(entry, &response.Data)
}

func load(ctx context.Context, s logical.Storage, key string, into any) (found bool, err error) {
	stored, err := s.Get(ctx, key)
	if err != nil || stored == nil {
		return false, err
	}
	return true, stored.DecodeJSON(into)
}

func convert(from, into any) error {
	text, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

func issuer(secret *framework.Secret) framework.OperationFunc {
	return func(ctx context.Context, req *logical.Request, data *framework.FieldData) (*logical.Response, error) {
		name, username := data.Get("name").(string), data.Get("username").(string)
		r, err := roleOf(ctx, req.Storage, name)
		if err != nil {
			return nil, err
		}
		response := secret.Response(map[string]any{"username": username}, map[string]any{"username": username, "role": name})
		response.Secret.TTL, response.Secret.MaxTTL = r.TTL, r.MaxTTL
		return response, nil
	}
}

func renew(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	r, err := roleOf(ctx, req.Storage, req.Secret.InternalData["role"].(string))
	if err != nil {
		return nil, err
	}
	response := &logical.Response{Secret: req.Secret}
	response.Secret.TTL, response.Secret.MaxTTL = r.TTL, r.MaxTTL
	return response, nil
}

// revoke deletes the user from the pool that the role names, because the lease does not name it.
func revoke(ctx context.Context, req *logical.Request, _ *framework.FieldData) (*logical.Response, error) {
	username := req.Secret.InternalData["username"].(string)
	r, err := roleOf(ctx, req.Storage, req.Secret.InternalData["role"].(string))
	if err != nil {
		return nil, err
	}
	var c config
	if _, err := load(ctx, req.Storage, "config", &c); err != nil {
		return nil, err
	}
	keys := credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(r.Region), awsconfig.WithCredentialsProvider(keys))
	if err != nil {
		return nil, err
	}
	_, err = cip.NewFromConfig(cfg).AdminDeleteUser(ctx, &cip.AdminDeleteUserInput{UserPoolId: &r.UserPoolID, Username: &username})
	return nil, err
}

func roleOf(ctx context.Context, s logical.Storage, name string) (*role, error) {
	r := &role{}
	found, err := load(ctx, s, "roles/"+name, r)
	if err == nil && !found {
		err = fmt.Errorf("there is no role %q", name)
	}
	return r, err
}
