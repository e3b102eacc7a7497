// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator"
	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	username          = "vault-ci-0123456789abcdef"
	password          = "hush-Permanent-1"
	temporaryPassword = "hush-Temporary-1"
)

// signingKey spares each test the making of one.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, emulator.SigningKeyBits)
	if err != nil {
		panic(err)
	}
	return key
})

// fixture is a seeded emulator and a Service that reaches it.
type fixture struct {
	*testing.T
	seed    emulator.Seed
	control *control.Client
	service *cognito.Service
	admin   *cip.Client
}

// newFixture makes a Service that gives up soon, so that faults do not take long.
func newFixture(t *testing.T, maxRetries int) *fixture {
	t.Helper()
	running, err := emulator.Start(emulator.Options{SigningKey: signingKey()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, running.Close()) })
	seed, err := running.Seed("eu-west-1")
	require.NoError(t, err)
	return &fixture{
		T:       t,
		seed:    seed,
		control: control.New(running.URL),
		service: cognito.New(context.Background(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", CognitoEndpoint: running.URL, STSEndpoint: running.URL,
			MaxRetries: maxRetries, RequestTimeout: 300 * time.Millisecond,
		}),
		admin: cip.New(cip.Options{
			Region: "eu-west-1", BaseEndpoint: aws.String(running.URL),
			Credentials: credentials.NewStaticCredentialsProvider("AKIAADMIN", "s", ""),
		}),
	}
}

func (f *fixture) pool() *cognito.Pool {
	f.Helper()
	return f.poolOf(f.seed.UserPoolID)
}

func (f *fixture) poolOf(id string) *cognito.Pool {
	f.Helper()
	pool, err := f.service.Pool(f.Context(), cognito.Target{UserPoolID: id, Region: "eu-west-1"})
	require.NoError(f, err)
	return pool
}

func (f *fixture) request(groups ...string) cognito.UserRequest {
	return cognito.UserRequest{
		NewUser: cognito.NewUser{
			Username:          username,
			TemporaryPassword: temporaryPassword,
			Attributes:        map[string]string{"email": "a@example.com", "email_verified": "true"},
		},
		Password:  password,
		Groups:    groups,
		AppClient: cognito.AppClient{ID: f.seed.AppClientID, Secret: f.seed.AppClientSecret},
	}
}

func (f *fixture) fault(fault control.Fault) {
	f.Helper()
	require.NoError(f, f.control.Fault(f.Context(), fault))
}

func (f *fixture) users() []control.User {
	f.Helper()
	users, err := f.control.Users(f.Context(), "")
	require.NoError(f, err)
	return users
}

func (f *fixture) calls() *control.CallLog {
	f.Helper()
	calls, err := f.control.Calls(f.Context())
	require.NoError(f, err)
	return calls
}

func (f *fixture) operations() []string {
	f.Helper()
	var names []string
	for _, call := range f.calls().Calls {
		names = append(names, call.Operation)
	}
	return names
}

func (f *fixture) makePool(input *cip.CreateUserPoolInput) string {
	f.Helper()
	input.PoolName = aws.String("another")
	out, err := f.admin.CreateUserPool(f.Context(), input)
	require.NoError(f, err)
	return *out.UserPool.Id
}

func (f *fixture) makeClient(poolID string) cognito.AppClient {
	f.Helper()
	out, err := f.admin.CreateUserPoolClient(f.Context(), &cip.CreateUserPoolClientInput{
		UserPoolId: &poolID, ClientName: aws.String("users"), GenerateSecret: true,
		ExplicitAuthFlows: []types.ExplicitAuthFlowsType{types.ExplicitAuthFlowsTypeAllowAdminUserPasswordAuth},
	})
	require.NoError(f, err)
	return cognito.AppClient{ID: *out.UserPoolClient.ClientId, Secret: *out.UserPoolClient.ClientSecret}
}

func TestIssueUser(t *testing.T) {
	t.Run("the user is confirmed, in its groups, and its tokens say so", func(t *testing.T) {
		f := newFixture(t, 0)
		issued, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		require.Equal(t, username, issued.Username)
		require.Equal(t, "Bearer", issued.Tokens.Type)
		require.Equal(t, time.Hour, issued.Tokens.ExpiresIn)
		require.NotEmpty(t, issued.Tokens.RefreshToken)

		for _, token := range []string{issued.Tokens.AccessToken, issued.Tokens.IDToken} {
			claims := claimsOf(t, token)
			require.Equal(t, issued.Sub, claims["sub"])
			require.ElementsMatch(t, []any{"testers", "admins"}, claims["cognito:groups"])
		}
		users := f.users()
		require.Len(t, users, 1)
		require.Equal(t, "CONFIRMED", users[0].Status)
		require.Equal(t, "true", users[0].Attributes["email_verified"])
		require.Zero(t, users[0].Invitations, "nobody must be sent an invitation")
	})

	t.Run("it takes three round trips, the second one in parallel", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.control.SetLatency(t.Context(), control.Latency{DefaultMS: 100}))
		_, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		log := f.calls()
		require.Len(t, log.Calls, 5)
		require.Equal(t, 3, longestChain(log.Calls), "calls on the critical path: %+v", log.Calls)
	})

	t.Run("no connection is opened while one is idle", func(t *testing.T) {
		f := newFixture(t, 0)
		for i := range 5 {
			request := f.request("testers", "admins")
			request.Username += strings.Repeat("x", i)
			_, err := f.pool().IssueUser(t.Context(), request)
			require.NoError(t, err)
		}
		require.LessOrEqual(t, f.calls().Connections, 3, "only the calls in parallel need connections of their own")
	})

	t.Run("a public client needs no secret", func(t *testing.T) {
		f := newFixture(t, 0)
		request := f.request()
		request.AppClient = cognito.AppClient{ID: f.seed.PublicClientID}
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
	})

	t.Run("without tokens nobody signs in", func(t *testing.T) {
		f := newFixture(t, 0)
		request := f.request()
		request.AppClient, request.NoTokens = cognito.AppClient{}, true
		issued, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.Nil(t, issued.Tokens)
		require.Equal(t, []string{"AdminCreateUser", "AdminSetUserPassword"}, f.operations())
	})

	t.Run("in a pool of e-mail addresses the username is Cognito's own", func(t *testing.T) {
		f := newFixture(t, 0)
		id := f.makePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
		request := f.request()
		request.AppClient = f.makeClient(id)
		request.Username = "a@example.com"
		issued, err := f.poolOf(id).IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.NotEqual(t, "a@example.com", issued.Username)
		require.Equal(t, issued.Sub, issued.Username)
		require.NoError(t, f.poolOf(id).DeleteUser(t.Context(), issued.Username))
		require.Empty(t, f.users())
	})

	t.Run("metadata reaches the triggers", func(t *testing.T) {
		f := newFixture(t, 0)
		request := f.request()
		request.ClientMetadata = map[string]string{"k": "v"}
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"k": "v"}, f.calls().Of("AdminCreateUser")[0].ClientMetadata)
		require.Equal(t, map[string]string{"k": "v"}, f.calls().Of("AdminInitiateAuth")[0].ClientMetadata)
	})

	t.Run("a user that is late to appear is waited for", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.control.LateUsers(t.Context(), 250*time.Millisecond))
		_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
		require.NoError(t, err)
	})
}

// TestIssueUserHalfWay lets each step fail in each way, for good. Whatever
// happens, the caller learns the step and no user stays.
func TestIssueUserHalfWay(t *testing.T) {
	steps := map[string]string{
		"AdminCreateUser":      "creating user",
		"AdminSetUserPassword": "setting the password of user",
		"AdminAddUserToGroup":  `to group "testers"`,
		"AdminInitiateAuth":    "signing in user",
	}
	failures := map[string]struct {
		fault control.Fault
		kind  cognito.Kind
	}{
		"is throttled":        {control.Fault{Kind: control.FaultError, Code: "TooManyRequestsException"}, cognito.KindThrottled},
		"fails at AWS":        {control.Fault{Kind: control.FaultError, Code: "InternalErrorException"}, cognito.KindUnavailable},
		"is refused":          {control.Fault{Kind: control.FaultError, Code: "InvalidParameterException", Message: "no"}, cognito.KindInvalid},
		"misses the pool":     {control.Fault{Kind: control.FaultError, Code: "ResourceNotFoundException", Message: "no pool"}, cognito.KindNotFound},
		"fails in a trigger":  {control.Fault{Kind: control.FaultError, Code: "UserLambdaValidationException", Message: "no guests"}, cognito.KindInvalid},
		"hangs":               {control.Fault{Kind: control.FaultHang}, cognito.KindUnavailable},
		"hangs when done":     {control.Fault{Kind: control.FaultHangAfter}, cognito.KindUnavailable},
		"is cut":              {control.Fault{Kind: control.FaultCutBefore}, cognito.KindUnavailable},
		"is cut when done":    {control.Fault{Kind: control.FaultCutAfter}, cognito.KindUnavailable},
		"answers half":        {control.Fault{Kind: control.FaultCutBody}, cognito.KindUnavailable},
		"answers with a page": {control.Fault{Kind: control.FaultRaw, Status: 502, ContentType: "text/html", Body: "<html>"}, cognito.KindUnavailable},
		"is not understood":   {control.Fault{Kind: control.FaultRaw, Status: 200, ContentType: "text/html", Body: "<html>"}, cognito.KindUnavailable},
	}
	for operation, step := range steps {
		for name, failure := range failures {
			if operation == "AdminAddUserToGroup" && failure.fault.Kind == control.FaultCutBody {
				continue // its answer is empty, so half of it is all of it
			}
			t.Run(operation+" "+name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, 0)
				failure.fault.Operation = operation
				f.fault(failure.fault)
				_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
				require.Error(t, err)
				require.Equal(t, failure.kind, cognito.KindOf(err), err.Error())
				require.Contains(t, err.Error(), step)
				require.NotContains(t, err.Error(), "hush")
				require.Empty(t, f.users())

				require.NoError(t, f.control.ClearFaults(t.Context()))
				_, err = f.pool().IssueUser(t.Context(), f.request("testers"))
				require.NoError(t, err, "the next one must work")
			})
		}
	}
}

// TestIssueUserOverLostAnswers loses one answer of each step. The user is made
// all the same, once.
func TestIssueUserOverLostAnswers(t *testing.T) {
	for _, operation := range []string{"AdminCreateUser", "AdminSetUserPassword", "AdminAddUserToGroup", "AdminInitiateAuth"} {
		for _, kind := range []string{control.FaultHang, control.FaultHangAfter, control.FaultCutBefore, control.FaultCutAfter, control.FaultCutBody} {
			t.Run(operation+" "+kind, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, 1)
				id := f.makePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{
					// With a history Cognito refuses to set the same password again.
					PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(8), PasswordHistorySize: aws.Int32(5)},
				}})
				_, err := f.admin.CreateGroup(t.Context(), &cip.CreateGroupInput{UserPoolId: &id, GroupName: aws.String("testers")})
				require.NoError(t, err)
				request := f.request("testers")
				request.AppClient = f.makeClient(id)
				f.fault(control.Fault{Operation: operation, Kind: kind, Times: 1})
				issued, err := f.poolOf(id).IssueUser(t.Context(), request)
				require.NoError(t, err)
				require.NotEmpty(t, issued.Sub)
				require.Len(t, f.users(), 1)
			})
		}
	}
}

func TestIssueUserLeavesOthersAlone(t *testing.T) {
	t.Run("a user that was there before is not touched", func(t *testing.T) {
		f := newFixture(t, 0)
		_, err := f.pool().CreateUser(t.Context(), f.request().NewUser)
		require.NoError(t, err)
		before := f.users()
		_, err = f.pool().IssueUser(t.Context(), f.request("testers"))
		require.ErrorContains(t, err, "UsernameExistsException")
		var leftover *cognito.LeftoverError
		require.NotErrorAs(t, err, &leftover, "there is nothing of ours to clean up")
		require.Equal(t, before, f.users())
	})

	t.Run("nor when the answer was a throttle first", func(t *testing.T) {
		f := newFixture(t, 1)
		_, err := f.pool().CreateUser(t.Context(), f.request().NewUser)
		require.NoError(t, err)
		f.fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
		_, err = f.pool().IssueUser(t.Context(), f.request("testers"))
		require.ErrorContains(t, err, "UsernameExistsException")
		require.Len(t, f.users(), 1)
	})
}

func TestIssueUserTellsWhatItCouldNotUndo(t *testing.T) {
	f := newFixture(t, 0)
	f.fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultError, Code: "InternalErrorException"})
	f.fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
	_, err := f.pool().IssueUser(t.Context(), f.request())
	var leftover *cognito.LeftoverError
	require.ErrorAs(t, err, &leftover)
	require.ErrorContains(t, err, "signing in user", "the caller wants the first failure, not that of the undoing")
}

func TestIssueUserOutlivesItsCaller(t *testing.T) {
	f := newFixture(t, 0)
	f.fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultHang})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.pool().IssueUser(ctx, f.request())
		done <- err
	}()
	require.Eventually(t, func() bool { return len(f.calls().Of("AdminInitiateAuth")) > 0 }, 5*time.Second, time.Millisecond)
	leave()
	require.Error(t, <-done)
	require.Empty(t, f.users())
}

func TestIssueUserWithoutRightToSetPasswords(t *testing.T) {
	deny := func(t *testing.T, f *fixture, actions ...string) {
		t.Helper()
		require.NoError(t, f.control.SetIAM(t.Context(), control.IAM{DeniedActions: actions}))
	}

	t.Run("the user sets its own password, and the next one does at once", func(t *testing.T) {
		f := newFixture(t, 0)
		deny(t, f, "cognito-idp:AdminSetUserPassword")
		issued, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, issued.Tokens.AccessToken)["cognito:groups"])
		require.Equal(t, "CONFIRMED", f.users()[0].Status)
		_, err = f.pool().SignIn(t.Context(), f.request().AppClient, username, password, nil)
		require.NoError(t, err)

		require.NoError(t, f.control.ResetCalls(t.Context()))
		require.NoError(t, f.control.SetLatency(t.Context(), control.Latency{DefaultMS: 100}))
		second := f.request("testers", "admins")
		second.Username += "-2"
		_, err = f.pool().IssueUser(t.Context(), second)
		require.NoError(t, err)
		require.Empty(t, f.calls().Of("AdminSetUserPassword"), "the denial must be remembered")
		require.Equal(t, 3, longestChain(f.calls().Calls))
	})

	t.Run("a denial is forgotten after a while", func(t *testing.T) {
		f := newFixture(t, 0)
		now := time.Now()
		f.service.SetClock(func() time.Time { return now })
		deny(t, f, "cognito-idp:AdminSetUserPassword")
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.NoError(t, err)
		deny(t, f)
		now = now.Add(cognito.DenialMemory)
		second := f.request()
		second.Username += "-2"
		_, err = f.pool().IssueUser(t.Context(), second)
		require.NoError(t, err)
		require.Len(t, f.calls().Of("AdminSetUserPassword"), 2)
	})

	t.Run("a lost answer to the challenge is settled by signing in", func(t *testing.T) {
		f := newFixture(t, 0)
		deny(t, f, "cognito-idp:AdminSetUserPassword")
		f.fault(control.Fault{Operation: "AdminRespondToAuthChallenge", Kind: control.FaultCutAfter})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.NoError(t, err)
	})

	t.Run("without an app client the missing action is named", func(t *testing.T) {
		f := newFixture(t, 0)
		deny(t, f, "cognito-idp:AdminSetUserPassword")
		request := f.request()
		request.AppClient, request.NoTokens = cognito.AppClient{}, true
		_, err := f.pool().IssueUser(t.Context(), request)
		require.ErrorContains(t, err, "cognito-idp:AdminSetUserPassword")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.Empty(t, f.users())
	})

	t.Run("attributes that the pool demands are named", func(t *testing.T) {
		f := newFixture(t, 0)
		deny(t, f, "cognito-idp:AdminSetUserPassword")
		id := f.makePool(&cip.CreateUserPoolInput{Schema: []types.SchemaAttributeType{
			{Name: aws.String("family_name"), Required: aws.Bool(true), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true)},
		}})
		request := f.request()
		request.AppClient = f.makeClient(id)
		_, err := f.poolOf(id).IssueUser(t.Context(), request)
		require.ErrorContains(t, err, "family_name")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
		require.Empty(t, f.users())
	})
}

func TestSignInNamesTheChallenge(t *testing.T) {
	f := newFixture(t, 0)
	for _, name := range []string{"SMS_MFA", "MFA_SETUP", "CUSTOM_CHALLENGE", "SOMETHING_NEW"} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, f.control.ClearFaults(t.Context()))
			f.fault(control.Fault{
				Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
				Body: `{"ChallengeName":"` + name + `","ChallengeParameters":{},"Session":"hush-session-of-some-length"}`,
			})
			_, err := f.pool().IssueUser(t.Context(), f.request())
			require.ErrorContains(t, err, name)
			require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
			require.Empty(t, f.users())
		})
	}
	t.Run("an answer with neither tokens nor a challenge is an error", func(t *testing.T) {
		require.NoError(t, f.control.ClearFaults(t.Context()))
		f.fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1", Body: `{}`})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "neither tokens nor a challenge")
	})
}

func TestErrorsStayPlain(t *testing.T) {
	t.Run("AWS's own words do not repeat a password", func(t *testing.T) {
		f := newFixture(t, 0)
		f.fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "InvalidPasswordException", Message: "not good: " + password})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "not good: [redacted]")
	})

	t.Run("a denied action is named", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.control.SetIAM(t.Context(), control.IAM{DeniedActions: []string{"cognito-idp:AdminCreateUser"}}))
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "cognito-idp:AdminCreateUser")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})

	t.Run("a role that may not be assumed is told from an action that is denied", func(t *testing.T) {
		f := newFixture(t, 0)
		arn := "arn:aws:iam::123456789012:role/other"
		require.NoError(t, f.control.SetIAM(t.Context(), control.IAM{Roles: map[string]control.Role{arn: {Denied: true}}}))
		pool, err := f.service.Pool(t.Context(), cognito.Target{UserPoolID: f.seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: arn})
		require.NoError(t, err)
		_, err = pool.IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "sts:AssumeRole")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.Empty(t, f.calls().Of("AdminDeleteUser"), "nothing was sent, so nothing is to be undone")
	})

	t.Run("keys that AWS does not take point to the config", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.control.SetIAM(t.Context(), control.IAM{RejectedKeys: []string{"AKIAPLUGIN"}}))
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "the mount's config")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})

	t.Run("an endpoint where nobody listens is unavailable, and nothing is undone", func(t *testing.T) {
		service := cognito.New(context.Background(), cognito.Settings{AccessKeyID: "A", SecretAccessKey: "s", CognitoEndpoint: "http://127.0.0.1:1"})
		pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
		require.NoError(t, err)
		_, err = pool.IssueUser(t.Context(), cognito.UserRequest{NewUser: cognito.NewUser{Username: "u", TemporaryPassword: "p"}})
		require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
		var leftover *cognito.LeftoverError
		require.NotErrorAs(t, err, &leftover)
	})
}

func TestAssumedRole(t *testing.T) {
	f := newFixture(t, 0)
	arn := "arn:aws:iam::123456789012:role/other"
	target := cognito.Target{UserPoolID: f.seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: arn, ExternalID: "abc"}
	for i := range 3 {
		pool, err := f.service.Pool(t.Context(), target)
		require.NoError(t, err)
		request := f.request()
		request.Username += strings.Repeat("x", i)
		_, err = pool.IssueUser(t.Context(), request)
		require.NoError(t, err)
	}
	assumed := f.calls().Of("AssumeRole")
	require.Len(t, assumed, 1, "the credentials of a role are asked for once")
	require.Equal(t, arn, assumed[0].RoleARN)
	require.Equal(t, "abc", assumed[0].ExternalID)
	require.True(t, strings.HasPrefix(f.calls().Of("AdminCreateUser")[0].AccessKey, "ASIA"), "the role's credentials must be used")
}

// longestChain is how many of the calls had to wait for one another: the
// longest row of calls each of which began after the end of the one before.
func longestChain(calls []control.Call) int {
	longest := 0
	for i, call := range calls {
		var before []control.Call
		for _, other := range calls[:i] {
			if other.End != 0 && other.End < call.Begin {
				before = append(before, other)
			}
		}
		longest = max(longest, 1+longestChain(before))
	}
	return longest
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	claims := map[string]any{}
	require.NoError(t, parsed.UnsafeClaimsWithoutVerification(&claims))
	return claims
}
