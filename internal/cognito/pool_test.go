// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/cognito"
	"vault-plugin-secrets-cognito/internal/emulator/control"
	"vault-plugin-secrets-cognito/internal/emulator/emulatortest"
)

const (
	username          = "vault-ci-0123456789abcdef"
	password          = "hush-Permanent-1"
	temporaryPassword = "hush-Temporary-1"
)

// fixture is a Cognito and a Service that reaches it.
type fixture struct {
	*testing.T
	*emulatortest.Cognito
	service *cognito.Service
}

// newFixture makes a Service that gives up soon, so that faults do not take long.
func newFixture(t *testing.T, maxRetries int) *fixture {
	t.Helper()
	f := &fixture{T: t, Cognito: emulatortest.Start(t)}
	f.service = cognito.New(context.Background(), f.settings(maxRetries, time.Second))
	return f
}

// settings give all limits, the default ones, so that no quotas are read between the calls of a
// test.
func (f *fixture) settings(maxRetries int, timeout time.Duration) cognito.Settings {
	return cognito.Settings{
		AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", CognitoEndpoint: f.Seed.Domain, STSEndpoint: f.Seed.Domain, IAMEndpoint: f.Seed.Domain,
		MaxRetries: maxRetries, RequestTimeout: timeout, RateLimits: cognito.RateLimits(nil),
	}
}

func (f *fixture) pool() *cognito.Pool {
	f.Helper()
	return f.poolOf(f.Seed.UserPoolID)
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
		AppClient: cognito.AppClient{ID: f.Seed.AppClientID, Secret: f.Seed.AppClientSecret},
	}
}

func (f *fixture) operations() []string {
	f.Helper()
	var names []string
	for _, call := range f.Calls().Calls {
		names = append(names, call.Operation)
	}
	return names
}

func (f *fixture) clientOf(poolID string) cognito.AppClient {
	f.Helper()
	id, secret := f.MakeClient(poolID)
	return cognito.AppClient{ID: id, Secret: secret}
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
		users := f.Users()
		require.Len(t, users, 1)
		require.Equal(t, "CONFIRMED", users[0].Status)
		require.Equal(t, "true", users[0].Attributes["email_verified"])
		require.Zero(t, users[0].Invitations, "no invitation must be sent")
	})

	t.Run("it takes three round trips, the second one in parallel", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.Control.SetLatency(t.Context(), control.Latency{DefaultMS: 100}))
		_, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		log := f.Calls()
		require.Len(t, log.Calls, 5)
		require.Equal(t, 3, longestChain(log.Calls), "calls on the critical path: %+v", log.Calls)
	})

	t.Run("no connection is opened while one is idle", func(t *testing.T) {
		f := newFixture(t, 0)
		f.service = cognito.New(t.Context(), cognito.Settings{
			AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush", CognitoEndpoint: f.Seed.Domain,
			RateLimits: cognito.RateLimits(map[string]float64{"UserAccountRecovery": 1e6, "UserRead": 1e6, "UserUpdate": 1e6}),
		})
		_, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		for range 200 { // one after the other, so that one connection is enough
			_, err := f.pool().User(t.Context(), username)
			require.NoError(t, err)
			require.NoError(t, f.pool().SetPassword(t.Context(), username, password))
			require.NoError(t, f.pool().AddToGroup(t.Context(), username, "testers"))
		}
		require.LessOrEqual(t, f.Calls().Connections, 3, "only the calls in parallel need connections of their own")
	})

	t.Run("a public client needs no secret", func(t *testing.T) {
		f := newFixture(t, 0)
		request := f.request()
		request.AppClient = cognito.AppClient{ID: f.Seed.PublicClientID}
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
	})

	t.Run("without tokens no user is signed in", func(t *testing.T) {
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
		id := f.MakePool(&cip.CreateUserPoolInput{UsernameAttributes: []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}})
		request := f.request()
		request.AppClient = f.clientOf(id)
		request.Username = "a@example.com"
		issued, err := f.poolOf(id).IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.NotEqual(t, "a@example.com", issued.Username)
		require.Equal(t, issued.Sub, issued.Username)
		require.NoError(t, f.poolOf(id).DeleteUser(t.Context(), issued.Username))
		require.Empty(t, f.Users())
	})

	t.Run("metadata reaches the triggers", func(t *testing.T) {
		f := newFixture(t, 0)
		request := f.request()
		request.ClientMetadata = map[string]string{"k": "v"}
		_, err := f.pool().IssueUser(t.Context(), request)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"k": "v"}, f.Calls().Of("AdminCreateUser")[0].ClientMetadata)
		require.Equal(t, map[string]string{"k": "v"}, f.Calls().Of("AdminInitiateAuth")[0].ClientMetadata)
	})

	t.Run("a user that is late to appear is waited for", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.Control.LateUsers(t.Context(), 250*time.Millisecond))
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
				f.Fault(failure.fault)
				_, err := f.pool().IssueUser(t.Context(), f.request("testers"))
				require.Error(t, err)
				require.Equal(t, failure.kind, cognito.KindOf(err), err.Error())
				require.Contains(t, err.Error(), step)
				require.NotContains(t, err.Error(), "hush")
				require.Empty(t, f.Users())

				f.Heal()
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
				id := f.MakePool(&cip.CreateUserPoolInput{Policies: &types.UserPoolPolicyType{
					// With a history Cognito refuses to set the same password again.
					PasswordPolicy: &types.PasswordPolicyType{MinimumLength: aws.Int32(8), PasswordHistorySize: aws.Int32(5)},
				}})
				request := f.request("testers")
				request.AppClient = f.clientOf(id)
				f.Fault(control.Fault{Operation: operation, Kind: kind, Times: 1})
				issued, err := f.poolOf(id).IssueUser(t.Context(), request)
				require.NoError(t, err)
				require.NotEmpty(t, issued.Sub)
				require.Len(t, f.Users(), 1)
			})
		}
	}
}

func TestIssueUserLeavesOthersAlone(t *testing.T) {
	t.Run("a user that was there before is not touched", func(t *testing.T) {
		f := newFixture(t, 0)
		_, err := f.pool().CreateUser(t.Context(), f.request().NewUser)
		require.NoError(t, err)
		before := f.Users()
		_, err = f.pool().IssueUser(t.Context(), f.request("testers"))
		require.ErrorContains(t, err, "UsernameExistsException")
		var leftover *cognito.LeftoverError
		require.NotErrorAs(t, err, &leftover, "there is nothing to clean up")
		require.Equal(t, before, f.Users())
	})

	t.Run("nor when the answer was a throttle first", func(t *testing.T) {
		f := newFixture(t, 1)
		_, err := f.pool().CreateUser(t.Context(), f.request().NewUser)
		require.NoError(t, err)
		f.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
		_, err = f.pool().IssueUser(t.Context(), f.request("testers"))
		require.ErrorContains(t, err, "UsernameExistsException")
		require.Len(t, f.Users(), 1)
	})
}

func TestIssueUserTellsWhatItCouldNotUndo(t *testing.T) {
	f := newFixture(t, 0)
	f.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultError, Code: "InternalErrorException"})
	f.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
	_, err := f.pool().IssueUser(t.Context(), f.request())
	var leftover *cognito.LeftoverError
	require.ErrorAs(t, err, &leftover)
	require.ErrorContains(t, err, "signing in user", "the caller wants the first failure, not that of the undoing")
}

func TestIssueUserOutlivesItsCaller(t *testing.T) {
	f := newFixture(t, 0)
	f.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultHang})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := f.pool().IssueUser(ctx, f.request())
		done <- err
	}()
	require.Eventually(t, func() bool { return len(f.Calls().Of("AdminInitiateAuth")) > 0 }, 5*time.Second, time.Millisecond)
	leave()
	require.Error(t, <-done)
	require.Empty(t, f.Users())
}

func TestIssueUserWithoutRightToSetPasswords(t *testing.T) {
	t.Run("the user sets its own password, and the next one does at once", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword")
		issued, err := f.pool().IssueUser(t.Context(), f.request("testers", "admins"))
		require.NoError(t, err)
		require.ElementsMatch(t, []any{"testers", "admins"}, claimsOf(t, issued.Tokens.AccessToken)["cognito:groups"])
		require.Equal(t, "CONFIRMED", f.Users()[0].Status)
		_, err = f.pool().SignIn(t.Context(), f.request().AppClient, cognito.Login{Username: username, Password: password}, nil)
		require.NoError(t, err)

		require.NoError(t, f.Control.ResetCalls(t.Context()))
		require.NoError(t, f.Control.SetLatency(t.Context(), control.Latency{DefaultMS: 100}))
		second := f.request("testers", "admins")
		second.Username += "-2"
		_, err = f.pool().IssueUser(t.Context(), second)
		require.NoError(t, err)
		require.Empty(t, f.Calls().Of("AdminSetUserPassword"), "the denial must be remembered")
		require.Equal(t, 3, longestChain(f.Calls().Calls))
	})

	t.Run("a denial is forgotten after a while", func(t *testing.T) {
		f := newFixture(t, 0)
		now := time.Now()
		settings := f.settings(0, time.Second)
		settings.Now = func() time.Time { return now }
		f.service = cognito.New(t.Context(), settings)
		f.Deny("cognito-idp:AdminSetUserPassword")
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.NoError(t, err)
		f.Deny()
		now = now.Add(cognito.DenialMemory)
		second := f.request()
		second.Username += "-2"
		_, err = f.pool().IssueUser(t.Context(), second)
		require.NoError(t, err)
		require.Len(t, f.Calls().Of("AdminSetUserPassword"), 2)
	})

	t.Run("a lost response to the challenge is resolved by a sign-in", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword")
		f.Fault(control.Fault{Operation: "AdminRespondToAuthChallenge", Kind: control.FaultCutAfter})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.NoError(t, err)
	})

	t.Run("without an app client the missing action is named", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword")
		request := f.request()
		request.AppClient, request.NoTokens = cognito.AppClient{}, true
		_, err := f.pool().IssueUser(t.Context(), request)
		require.ErrorContains(t, err, "cognito-idp:AdminSetUserPassword")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.Empty(t, f.Users())
	})

	t.Run("attributes that the pool demands are named", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword")
		id := f.MakePool(&cip.CreateUserPoolInput{Schema: []types.SchemaAttributeType{
			{Name: aws.String("family_name"), Required: aws.Bool(true), AttributeDataType: types.AttributeDataTypeString, Mutable: aws.Bool(true)},
		}})
		request := f.request()
		request.AppClient = f.clientOf(id)
		_, err := f.poolOf(id).IssueUser(t.Context(), request)
		require.ErrorContains(t, err, "family_name")
		require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
		require.Empty(t, f.Users())
	})
}

func TestSignInNamesTheChallenge(t *testing.T) {
	f := newFixture(t, 0)
	for _, name := range []string{"SMS_MFA", "MFA_SETUP", "CUSTOM_CHALLENGE", "SOMETHING_NEW"} {
		t.Run(name, func(t *testing.T) {
			f.Heal()
			f.Fault(control.Fault{
				Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
				Body: `{"ChallengeName":"` + name + `","ChallengeParameters":{},"Session":"hush-session-of-some-length"}`,
			})
			_, err := f.pool().IssueUser(t.Context(), f.request())
			require.ErrorContains(t, err, name)
			require.Equal(t, cognito.KindInvalid, cognito.KindOf(err))
			require.Empty(t, f.Users())
		})
	}
	t.Run("an answer with neither tokens nor a challenge is an error", func(t *testing.T) {
		f.Heal()
		f.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1", Body: `{}`})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "neither tokens nor a challenge")
	})
}

func TestErrorsStayPlain(t *testing.T) {
	t.Run("AWS's own words do not repeat a password", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "AdminSetUserPassword", Kind: control.FaultError, Code: "InvalidPasswordException", Message: "not good: " + password})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "not good: [redacted]")
	})

	t.Run("a denied action is named", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminCreateUser")
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "cognito-idp:AdminCreateUser")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})

	t.Run("a role that may not be assumed is told from an action that is denied", func(t *testing.T) {
		f := newFixture(t, 0)
		arn := "arn:aws:iam::123456789012:role/other"
		require.NoError(t, f.Control.SetIAM(t.Context(), control.IAM{Roles: map[string]control.Role{arn: {Denied: true}}}))
		pool, err := f.service.Pool(t.Context(), cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: arn})
		require.NoError(t, err)
		_, err = pool.IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "sts:AssumeRole")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.Empty(t, f.Calls().Of("AdminDeleteUser"), "nothing was sent, so nothing is to be undone")
	})

	t.Run("keys that AWS does not take point to the config", func(t *testing.T) {
		f := newFixture(t, 0)
		require.NoError(t, f.Control.SetIAM(t.Context(), control.IAM{RejectedKeys: []string{"AKIAPLUGIN"}}))
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "the mount's config")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})

	t.Run("so do keys whose time is over", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "ExpiredTokenException", Message: "The security token included in the request is expired"})
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "the mount's config")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
	})

	t.Run("an engine without credentials says so, and nothing is undone", func(t *testing.T) {
		for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"} {
			t.Setenv(name, "")
		}
		t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
		t.Setenv("HOME", t.TempDir())
		f := newFixture(t, 0)
		service := cognito.New(t.Context(), cognito.Settings{CognitoEndpoint: f.Seed.Domain})
		pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1"})
		require.NoError(t, err)
		_, err = pool.IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "the engine has no AWS credentials: set them in the mount's config or in the environment of Vault")
		require.NotContains(t, strings.ToLower(err.Error()), "imds", "an error must not show the SDK's internals")
		require.Equal(t, cognito.KindDenied, cognito.KindOf(err))
		require.Empty(t, f.Calls().Calls)
	})

	t.Run("an app client that does not allow the sign-in is told what it lacks", func(t *testing.T) {
		f := newFixture(t, 0)
		out, err := f.Admin.CreateUserPoolClient(t.Context(), &cip.CreateUserPoolClientInput{UserPoolId: &f.Seed.UserPoolID, ClientName: aws.String("default")})
		require.NoError(t, err)
		request := f.request()
		request.AppClient = cognito.AppClient{ID: *out.UserPoolClient.ClientId}
		_, err = f.pool().IssueUser(t.Context(), request)
		require.ErrorContains(t, err, "ALLOW_ADMIN_USER_PASSWORD_AUTH")
	})

	t.Run("both rights that would do are named when neither is given", func(t *testing.T) {
		f := newFixture(t, 0)
		f.Deny("cognito-idp:AdminSetUserPassword", "cognito-idp:AdminRespondToAuthChallenge")
		_, err := f.pool().IssueUser(t.Context(), f.request())
		require.ErrorContains(t, err, "cognito-idp:AdminSetUserPassword")
		require.ErrorContains(t, err, "cognito-idp:AdminRespondToAuthChallenge")
		require.Empty(t, f.Users())
	})

	t.Run("an endpoint that refuses connections is unavailable, and nothing is undone", func(t *testing.T) {
		service := cognito.New(context.Background(), cognito.Settings{AccessKeyID: "A", SecretAccessKey: "s", CognitoEndpoint: "http://127.0.0.1:1"})
		pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: "eu-west-1_x", Region: "eu-west-1"})
		require.NoError(t, err)
		_, err = pool.IssueUser(t.Context(), cognito.UserRequest{NewUser: cognito.NewUser{Username: "u", TemporaryPassword: "p"}})
		require.Equal(t, cognito.KindUnavailable, cognito.KindOf(err))
		var leftover *cognito.LeftoverError
		require.NotErrorAs(t, err, &leftover)
	})
}

func TestEndpointOfTheEnvironment(t *testing.T) {
	f := newFixture(t, 0)
	t.Setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", f.Seed.Domain)
	service := cognito.New(t.Context(), cognito.Settings{AccessKeyID: "AKIAPLUGIN", SecretAccessKey: "hush"})
	pool, err := service.Pool(t.Context(), cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1"})
	require.NoError(t, err)
	_, err = pool.IssueUser(t.Context(), f.request())
	require.NoError(t, err)
}

func TestAssumedRole(t *testing.T) {
	f := newFixture(t, 0)
	arn := "arn:aws:iam::123456789012:role/other"
	target := cognito.Target{UserPoolID: f.Seed.UserPoolID, Region: "eu-west-1", AssumeRoleARN: arn, ExternalID: "abc"}
	for i := range 3 {
		pool, err := f.service.Pool(t.Context(), target)
		require.NoError(t, err)
		request := f.request()
		request.Username += strings.Repeat("x", i)
		_, err = pool.IssueUser(t.Context(), request)
		require.NoError(t, err)
	}
	assumed := f.Calls().Of("AssumeRole")
	require.Len(t, assumed, 1, "the credentials of a role are asked for once")
	require.Equal(t, arn, assumed[0].RoleARN)
	require.Equal(t, "abc", assumed[0].ExternalID)
	require.True(t, strings.HasPrefix(f.Calls().Of("AdminCreateUser")[0].AccessKey, "ASIA"), "the role's credentials must be used")
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
