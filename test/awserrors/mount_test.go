// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package awserrors_test

import (
	"errors"
	"net/http"
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

const (
	ownedUser       = "owned"
	presentPassword = "Present-Password-1"

	pluginKey, pluginSecret = "AKIAPLUGIN", "secret"
)

// mount is a mount of the engine with a Cognito behind it.
type mount struct {
	*backendtest.Mount
	*emulatortest.Cognito
	clock *clock
	// lease is the one that a flow acts on.
	lease *logical.Response
	// clientID is an app client with all flows that sign users in.
	clientID, clientSecret string
	// password is that of the static role, if it has one.
	password string
}

// clock is a clock that tests set forward.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time, which moves with each call: some of the engine's cached values must not be
// young for ever.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newMount(t *testing.T, maxRetries int) *mount {
	t.Helper()
	clock := &clock{now: time.Now().Truncate(time.Second)}
	m := &mount{
		Mount:   backendtest.NewOn(t, &logical.InmemStorage{}, backend.Options{Version: "v1.2.3", Now: clock.Now}),
		Cognito: emulatortest.Start(t),
		clock:   clock,
	}
	m.WriteOK("config", map[string]any{
		"aws_access_key_id": pluginKey, "aws_secret_access_key": pluginSecret, "region": emulatortest.Region,
		"cognito_endpoint": m.Seed.Domain, "sts_endpoint": m.Seed.Domain, "iam_endpoint": m.Seed.Domain,
		"max_retries": maxRetries, "request_timeout": 30,
		// Those that AWS raises are given, too, so that quotas are read by check/ only, and not in
		// the background.
		"rate_limits": map[string]any{
			"UserPoolClientRead": 1000, "UserPoolClientUpdate": 1000, "UserUpdate": 1000, "UserAccountRecovery": 1000,
			"UserAuthentication": 120, "UserCreation": 50, "UserRead": 120, "UserResourceRead": 50, "UserToken": 120,
		},
	})
	m.makeAppClient()
	m.makeOwnedUser()
	return m
}

func (m *mount) makeAppClient() {
	m.T.Helper()
	out, err := m.Admin.CreateUserPoolClient(m.T.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &m.Seed.UserPoolID, ClientName: aws.String("users"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{
			types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth, types.ExplicitAuthFlowsTypeAllowUserPasswordAuth,
		},
	})
	require.NoError(m.T, err)
	m.clientID, m.clientSecret = *out.UserPoolClient.ClientId, *out.UserPoolClient.ClientSecret
}

// makeOwnedUser creates a user for static roles.
func (m *mount) makeOwnedUser() {
	m.T.Helper()
	_, err := m.Admin.AdminCreateUser(m.T.Context(), &cip.AdminCreateUserInput{
		UserPoolId: &m.Seed.UserPoolID, Username: aws.String(ownedUser), MessageAction: types.MessageActionTypeSuppress,
	})
	require.NoError(m.T, err)
	_, err = m.Admin.AdminSetUserPassword(m.T.Context(), &cip.AdminSetUserPasswordInput{
		UserPoolId: &m.Seed.UserPoolID, Username: aws.String(ownedUser), Password: aws.String(presentPassword), Permanent: true,
	})
	require.NoError(m.T, err)
}

// result is what a caller of the engine sees.
type result struct {
	status int
	// text is the error, or all warnings.
	text     string
	warnings bool
	response *logical.Response
}

func (r result) failed() bool { return r.status >= http.StatusBadRequest }

func resultOf(response *logical.Response, err error) result {
	var coded logical.HTTPCodedError
	switch {
	case errors.As(err, &coded):
		return result{status: coded.Code(), text: coded.Error()}
	case err != nil:
		return result{status: http.StatusInternalServerError, text: err.Error()}
	case response.IsError():
		return result{status: http.StatusBadRequest, text: response.Error().Error()}
	case response != nil && len(response.Warnings) > 0:
		return result{status: http.StatusOK, text: response.Warnings[0], warnings: true, response: response}
	default:
		return result{status: http.StatusOK, response: response}
	}
}

func (m *mount) request(op logical.Operation, path string, data map[string]any) result {
	m.T.Helper()
	return resultOf(m.Request(m.T.Context(), op, path, data))
}

func (m *mount) write(path string, data map[string]any) result {
	m.T.Helper()
	return m.request(m.WriteOperation(path), path, data)
}

func (m *mount) read(path string) result {
	m.T.Helper()
	return m.request(logical.ReadOperation, path, nil)
}

// onLease renews or revokes the lease of the flow.
func (m *mount) onLease(op logical.Operation) result {
	m.T.Helper()
	secret := *m.lease.Secret
	return resultOf(m.Backend.HandleRequest(m.T.Context(), &logical.Request{
		Operation: op, Path: "creds/role", Secret: &secret, Storage: m.Storage, MountPoint: "cognito/",
	}))
}

// maskIDs replaces identifiers that differ from run to run.
func (m *mount) maskIDs(text string) string {
	for _, id := range []string{m.Seed.UserPoolID, m.Seed.AppClientID, m.Seed.M2MClientID, m.Seed.PublicClientID, m.clientID} {
		text = strings.ReplaceAll(text, id, fromAWS)
	}
	return text
}

// operations returns the names of the calls that AWS got, in their order.
func (m *mount) operations() []string {
	m.T.Helper()
	var names []string
	calls, err := m.Control.Calls(m.T.Context())
	require.NoError(m.T, err)
	for _, call := range calls.Calls {
		names = append(names, call.Operation)
	}
	return names
}
