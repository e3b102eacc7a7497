// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

var newAppClient = cognito.NewAppClient{Name: "vault-shop-1", Scopes: []string{"api/read"}, AccessTokenTTL: 10 * time.Minute}

func TestCreateAppClient(t *testing.T) {
	t.Run("it gets tokens with its scopes and life, and signs in no user", func(t *testing.T) {
		f := newFixture(t, 0)
		client, err := f.pool().CreateAppClient(t.Context(), newAppClient)
		require.NoError(t, err)
		request := f.machineRequest()
		request.AppClient = client
		token, err := f.service.MachineToken(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, []string{"api/read"}, token.Scopes)
		require.WithinDuration(t, token.Issued.Add(10*time.Minute), token.Expires, 5*time.Second)

		rules, err := f.pool().Client(t.Context(), client.ID)
		require.NoError(t, err)
		require.Equal(t, []string{string(types.ExplicitAuthFlowsTypeAllowRefreshTokenAuth)}, rules.AuthFlows)
	})

	t.Run("the default life is Cognito's", func(t *testing.T) {
		f := newFixture(t, 0)
		c := newAppClient
		c.AccessTokenTTL = 0
		client, err := f.pool().CreateAppClient(t.Context(), c)
		require.NoError(t, err)
		rules, err := f.pool().Client(t.Context(), client.ID)
		require.NoError(t, err)
		require.Equal(t, time.Hour, rules.JWTLife)
	})

	t.Run("a lost response is not repeated, and the app client is found by its name", func(t *testing.T) {
		f := newFixture(t, 3)
		f.Fault(control.Fault{Operation: "CreateUserPoolClient", Kind: control.FaultCutAfter})
		_, err := f.pool().CreateAppClient(t.Context(), newAppClient)
		require.Equal(t, cognito.OutcomeUnknown, cognito.OutcomeOf(err))
		require.Len(t, f.Calls().Of("CreateUserPoolClient"), 1)
		found, err := f.pool().FindAppClients(t.Context(), "another", newAppClient.Name)
		require.NoError(t, err)
		require.Len(t, found[newAppClient.Name], 1)
		require.NoError(t, f.pool().DeleteAppClient(t.Context(), found[newAppClient.Name][0]))
	})

	t.Run("a full pool is named", func(t *testing.T) {
		f := newFixture(t, 3)
		f.Fault(control.Fault{Operation: "CreateUserPoolClient", Kind: control.FaultError, Code: "LimitExceededException"})
		_, err := f.pool().CreateAppClient(t.Context(), newAppClient)
		require.ErrorContains(t, err, "as many app clients as its quota allows")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
		require.Equal(t, cognito.OutcomeRefused, cognito.OutcomeOf(err))
	})
}

func TestFindAppClients(t *testing.T) {
	f := newFixture(t, 0)
	f.limit(map[string]float64{"UserPoolClientUpdate": 1e6, "UserPoolClientRead": 1e6})
	for i := range 70 { // more than one page
		c := newAppClient
		c.Name = fmt.Sprintf("vault-%d", i%69)
		_, err := f.pool().CreateAppClient(t.Context(), c)
		require.NoError(t, err)
	}
	found, err := f.pool().FindAppClients(t.Context(), "vault-0", "vault-68", "vault-70")
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Len(t, found["vault-0"], 2, "two of one name")
	require.Len(t, found["vault-68"], 1)
	require.GreaterOrEqual(t, len(f.Calls().Of("ListUserPoolClients")), 2)
}

func TestDeleteAppClient(t *testing.T) {
	f := newFixture(t, 2)
	client, err := f.pool().CreateAppClient(t.Context(), newAppClient)
	require.NoError(t, err)

	t.Run("a lost response is repeated, and the app client that is gone then is no error", func(t *testing.T) {
		f.Fault(control.Fault{Operation: "DeleteUserPoolClient", Kind: control.FaultCutAfter, Times: 1})
		require.NoError(t, f.pool().DeleteAppClient(t.Context(), client.ID))
		require.Len(t, f.Calls().Of("DeleteUserPoolClient"), 2)
	})

	t.Run("a pool that is gone is an error", func(t *testing.T) {
		err := f.poolOf("eu-west-1_missing00").DeleteAppClient(t.Context(), client.ID)
		require.True(t, cognito.IsPoolGone(err), err)
	})
}
