// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"testing"

	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// slow is a latency that only ends with the client's context.
const slow = 60_000

// TestChangesOfOneResourceAtATime makes a change while another one is under way.
func TestChangesOfOneResourceAtATime(t *testing.T) {
	deleteClient := func(b *env, id *string) error {
		_, err := b.cognito.DeleteUserPoolClient(b.ctx, &cip.DeleteUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientId: id})
		return err
	}
	updateClient := func(ctx context.Context, b *env) error {
		_, err := b.cognito.UpdateUserPoolClient(ctx, &cip.UpdateUserPoolClientInput{UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.PublicClientID})
		return err
	}
	updatePool := func(ctx context.Context, b *env) error {
		_, err := b.cognito.UpdateUserPool(ctx, &cip.UpdateUserPoolInput{UserPoolId: &b.seed.UserPoolID})
		return err
	}
	for name, test := range map[string]struct {
		slow   string
		first  func(context.Context, *env) error
		second func(*env) error
		code   string
	}{
		"an app client that is being changed is not deleted": {
			slow: "UpdateUserPoolClient", first: updateClient, code: "ConcurrentModificationException",
			second: func(b *env) error { return deleteClient(b, &b.seed.PublicClientID) },
		},
		"another app client is deleted meanwhile": {
			slow: "UpdateUserPoolClient", first: updateClient,
			second: func(b *env) error { return deleteClient(b, &b.seed.M2MClientID) },
		},
		"an app client is read while it is being changed": {
			slow: "UpdateUserPoolClient", first: updateClient,
			second: func(b *env) error { _, err := b.describeClient(b.seed.PublicClientID); return err },
		},
		"the MFA settings of a pool that is being changed are not changed": {
			slow: "UpdateUserPool", first: updatePool, code: "ConcurrentModificationException",
			second: func(b *env) error {
				_, err := b.cognito.SetUserPoolMfaConfig(b.ctx, &cip.SetUserPoolMfaConfigInput{UserPoolId: &b.seed.UserPoolID, MfaConfiguration: types.UserPoolMfaTypeOff})
				return err
			},
		},
		"the domain of a pool that is being changed is not deleted": {
			slow: "UpdateUserPool", first: updatePool, code: "ConcurrentModificationException",
			second: func(b *env) error {
				pool, err := b.describePool(b.seed.UserPoolID)
				require.NoError(b.t, err)
				_, err = b.cognito.DeleteUserPoolDomain(b.ctx, &cip.DeleteUserPoolDomainInput{UserPoolId: &b.seed.UserPoolID, Domain: pool.Domain})
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			require.NoError(t, b.control.SetLatency(b.ctx, control.Latency{Operations: map[string]int{test.slow: slow}}))
			ctx, cancel := context.WithCancel(b.ctx)
			defer cancel()
			first := make(chan error, 1)
			go func() { first <- test.first(ctx, b) }()
			b.awaitOpenCall(test.slow)

			requireOutcome(t, test.second(b), test.code)
			cancel()
			require.ErrorIs(t, <-first, context.Canceled)
			b.awaitClosedCalls()
			require.Empty(t, b.calls().Of(test.slow)[0].Code, "the first change succeeds")
			if test.code != "" {
				require.NoError(t, test.second(b), "the resource is free again")
			}
		})
	}
}

func TestSoftwareTokenIsNotAssociatedTwiceAtATime(t *testing.T) {
	b := newMFAEnv(t)
	session := b.meet(types.ChallengeNameTypeMfaSetup)
	associate := func(ctx context.Context) error {
		_, err := b.cognito.AssociateSoftwareToken(ctx, &cip.AssociateSoftwareTokenInput{Session: session})
		return err
	}
	require.NoError(t, b.control.SetLatency(b.ctx, control.Latency{Operations: map[string]int{"AssociateSoftwareToken": slow}}))
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	go func() { _ = associate(ctx) }() // its outcome is that of a disconnected client
	b.awaitOpenCall("AssociateSoftwareToken")
	require.NoError(t, b.control.SetLatency(b.ctx, control.Latency{}))
	requireCode(t, associate(b.ctx), "ConcurrentModificationException")
}
