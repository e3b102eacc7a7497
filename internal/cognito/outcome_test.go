// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// change is one kind of change at Cognito.
type change struct {
	operation string
	// prepare makes what the change needs. It is called before any fault.
	prepare func(f *fixture) (apply func(ctx context.Context) error)
}

// changes are all calls whose outcome the engine has to know.
func changes() map[string]change {
	withUser := func(apply func(f *fixture, ctx context.Context) error) func(*fixture) func(context.Context) error {
		return func(f *fixture) func(context.Context) error {
			request := f.request()
			request.AppClient = cognito.AppClient{ID: f.Seed.PublicClientID}
			request.NoTokens = true
			_, err := f.pool().IssueUser(f.Context(), request)
			require.NoError(f, err)
			return func(ctx context.Context) error { return apply(f, ctx) }
		}
	}
	return map[string]change{
		"creating a user": {"AdminCreateUser", func(f *fixture) func(context.Context) error {
			return func(ctx context.Context) error {
				_, err := f.pool().CreateUser(ctx, f.request().NewUser)
				return err
			}
		}},
		"setting a password": {"AdminSetUserPassword", withUser(func(f *fixture, ctx context.Context) error {
			return f.pool().ReplacePassword(ctx, username, password+"2")
		})},
		"changing the own password": {"ChangePassword", withUser(func(f *fixture, ctx context.Context) error {
			session, err := f.pool().TrySignIn(ctx, f.selfServiceClient(), cognito.Login{Username: username, Password: password}, true)
			if err != nil {
				return err
			}
			return f.pool().ChangePassword(ctx, session, password+"2")
		})},
		"deleting a user": {"AdminDeleteUser", withUser(func(f *fixture, ctx context.Context) error { return f.pool().DeleteUser(ctx, username) })},
		"joining a group": {"AdminAddUserToGroup", withUser(func(f *fixture, ctx context.Context) error { return f.pool().AddToGroup(ctx, username, "testers") })},
		"adding a secret": {"AddUserPoolClientSecret", addSecret},
		"deleting a secret": {"DeleteUserPoolClientSecret", func(f *fixture) func(context.Context) error {
			id, err := f.pool().AddClientSecret(f.Context(), f.Seed.AppClientID, "hushAnotherSecretOfTheClient")
			require.NoError(f, err)
			return func(ctx context.Context) error { return f.pool().DeleteClientSecret(ctx, f.Seed.AppClientID, id) }
		}},
		"creating an access key": {"CreateAccessKey", func(f *fixture) func(context.Context) error {
			f.PlantKey("vault", "AKIAPLUGIN", "hush")
			keys, err := f.service.AccessKeys(f.Context())
			require.NoError(f, err)
			return func(ctx context.Context) error {
				_, err := keys.Create(ctx)
				return err
			}
		}},
	}
}

// selfServiceClient makes an app client whose users sign in by themselves.
func (f *fixture) selfServiceClient() cognito.AppClient {
	f.Helper()
	out, err := f.Admin.CreateUserPoolClient(f.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &f.Seed.UserPoolID, ClientName: aws.String("self"),
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowUserPasswordAuth},
	})
	require.NoError(f, err)
	return cognito.AppClient{ID: *out.UserPoolClient.ClientId}
}

func addSecret(f *fixture) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := f.pool().AddClientSecret(ctx, f.Seed.AppClientID, "hushAnotherSecretOfTheClient")
		return err
	}
}

func eachChange(t *testing.T, retries int, timeout time.Duration, test func(f *fixture, operation string, apply func(context.Context) error)) {
	t.Helper()
	for name, c := range changes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 0)
			f.service = cognito.New(t.Context(), f.settings(retries, timeout))
			test(f, c.operation, c.prepare(f))
		})
	}
}

// returnsNothing reports that the body of an operation's response does not matter.
func returnsNothing(operation string) bool {
	return operation == "AdminAddUserToGroup" || operation == "AdminDeleteUser"
}

func TestOutcome(t *testing.T) {
	const throttled = "TooManyRequestsException"
	for name, c := range map[string]struct {
		faults []control.Fault
		want   cognito.Outcome
	}{
		"a refusal has no effect":                        {[]control.Fault{{Kind: control.FaultError, Code: "InvalidParameterException"}}, cognito.OutcomeRefused},
		"throttles have no effect":                       {[]control.Fault{{Kind: control.FaultError, Code: throttled}}, cognito.OutcomeRefused},
		"a lost response may have had an effect":         {[]control.Fault{{Kind: control.FaultCutAfter}}, cognito.OutcomeUnknown},
		"a cut response may have had an effect":          {[]control.Fault{{Kind: control.FaultCutBody}}, cognito.OutcomeUnknown},
		"a hanging call may have had an effect":          {[]control.Fault{{Kind: control.FaultHang}}, cognito.OutcomeUnknown},
		"an internal error may have had an effect":       {[]control.Fault{{Kind: control.FaultError, Code: "InternalErrorException"}}, cognito.OutcomeUnknown},
		"a Lambda error may have had an effect":          {[]control.Fault{{Kind: control.FaultError, Code: "UnexpectedLambdaException"}}, cognito.OutcomeUnknown},
		"a failed delivery may have had an effect":       {[]control.Fault{{Kind: control.FaultError, Code: "CodeDeliveryFailureException"}}, cognito.OutcomeUnknown},
		"a throttle after a lost response hides nothing": {[]control.Fault{{Kind: control.FaultCutAfter, Times: 1}, {Kind: control.FaultError, Code: throttled}}, cognito.OutcomeUnknown},
		"a lost response after a throttle hides nothing": {[]control.Fault{{Kind: control.FaultError, Code: throttled, Times: 1}, {Kind: control.FaultCutAfter}}, cognito.OutcomeUnknown},
		"a throttle that passes is a success":            {[]control.Fault{{Kind: control.FaultError, Code: throttled, Times: 1}}, cognito.OutcomeSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := 10 * time.Second
			if c.faults[0].Kind == control.FaultHang {
				timeout = 300 * time.Millisecond
			}
			eachChange(t, c.faults[0].Times, timeout, func(f *fixture, operation string, apply func(context.Context) error) {
				for _, fault := range c.faults {
					fault.Operation = operation
					f.Fault(fault)
				}
				err := apply(f.Context())
				if c.faults[0].Kind == control.FaultCutBody && returnsNothing(operation) {
					require.NoError(f, err)
					return
				}
				require.Equal(f, c.want, cognito.OutcomeOf(err), err)
			})
		})
	}
}

func TestOutcomeWithoutARequest(t *testing.T) {
	t.Run("a denied AssumeRole has no effect", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("sts:AssumeRole")
		pool, err := f.service.Pool(t.Context(), cognito.Target{
			UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: "arn:aws:iam::111111111111:role/a",
		})
		require.NoError(t, err)
		require.Equal(t, cognito.OutcomeRefused, cognito.OutcomeOf(pool.ReplacePassword(t.Context(), username, password)))
	})

	t.Run("a refused connection has no effect", func(t *testing.T) {
		service := cognito.New(t.Context(), cognito.Settings{AccessKeyID: "A", SecretAccessKey: "s", CognitoEndpoint: "http://127.0.0.1:1"})
		pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
		require.NoError(t, err)
		require.Equal(t, cognito.OutcomeRefused, cognito.OutcomeOf(pool.ReplacePassword(t.Context(), username, password)))
	})

	t.Run("an error from elsewhere is unknown", func(t *testing.T) {
		require.Equal(t, cognito.OutcomeUnknown, cognito.OutcomeOf(errors.New("?")))
	})
}
