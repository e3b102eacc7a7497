// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	waitTimeout  = 10 * time.Second
	pollInterval = 5 * time.Millisecond
)

func (b *env) fault(fault control.Fault) {
	b.t.Helper()
	require.NoError(b.t, b.control.Fault(b.ctx, fault))
}

func (b *env) tryCreate(ctx context.Context, username string) error {
	_, err := b.cognito.AdminCreateUser(ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &b.seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress,
	})
	return err
}

func (b *env) exists(username string) bool {
	b.t.Helper()
	users, err := b.control.Users(b.ctx, b.seed.UserPoolID)
	require.NoError(b.t, err)
	for _, user := range users {
		if user.Username == username {
			return true
		}
	}
	return false
}

func TestErrorFaults(t *testing.T) {
	tests := map[string]struct {
		fault  control.Fault
		code   string
		status int
		effect bool
	}{
		"an exception is answered with 400": {
			fault: control.Fault{Kind: control.FaultError, Code: "TooManyRequestsException", Message: "Rate exceeded"},
			code:  "TooManyRequestsException", status: 400,
		},
		"an internal error is answered with 500": {
			fault: control.Fault{Kind: control.FaultError, Code: "InternalErrorException"}, code: "InternalErrorException", status: 500,
		},
		"ForbiddenException is answered with 403": {
			fault: control.Fault{Kind: control.FaultError, Code: "ForbiddenException"}, code: "ForbiddenException", status: 403,
		},
		"a status in the fault replaces that of the code": {
			fault: control.Fault{Kind: control.FaultError, Code: "ServiceUnavailable", Status: 503}, code: "ServiceUnavailable", status: 503,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			test.fault.Operation = "AdminCreateUser"
			b.fault(test.fault)
			requireCode(t, b.tryCreate(b.ctx, "ann"), test.code, test.fault.Message)
			require.False(t, b.exists("ann"))
			call := b.calls().Of("AdminCreateUser")[0]
			require.Equal(t, test.status, call.Status)
			require.Equal(t, test.code, call.Code)
			require.Equal(t, "ann", call.Resource)
		})
	}
}

func TestFaultsThatCutTheConnection(t *testing.T) {
	tests := map[string]struct {
		kind   string
		effect bool
		status int
	}{
		"cut_before does not perform the call": {kind: control.FaultCutBefore},
		"cut_after performs the call":          {kind: control.FaultCutAfter, effect: true},
		"cut_body performs the call":           {kind: control.FaultCutBody, effect: true, status: 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			b.fault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind, Times: 1})
			err := b.tryCreate(b.ctx, "ann")
			require.Error(t, err)
			require.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
			require.Equal(t, test.effect, b.exists("ann"))
			calls := b.calls().Of("AdminCreateUser")
			require.Len(t, calls, 1)
			require.Equal(t, test.status, calls[0].Status)
			require.NotZero(t, calls[0].End)

			require.NoError(t, b.tryCreate(b.ctx, "bob"))
		})
	}
}

func TestCutBodyAnnouncesMoreThanItSends(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBody})
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPost, b.url+"/oauth2/token", strings.NewReader(clientCredentials().Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(b.seed.M2MClientID, b.seed.M2MClientSecret)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.NotEmpty(t, body)
	require.Equal(t, resp.ContentLength/2, int64(len(body)))
}

func TestFaultsThatHang(t *testing.T) {
	tests := map[string]struct {
		kind   string
		effect bool
	}{
		"hang does not perform the call": {kind: control.FaultHang},
		"hang_after performs the call":   {kind: control.FaultHangAfter, effect: true},
	}
	for name, test := range tests {
		t.Run(name+" and ends when faults are cleared", func(t *testing.T) {
			b := newEnv(t)
			b.fault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind})
			done := make(chan error, 1)
			go func() { done <- b.tryCreate(b.ctx, "ann") }()
			b.awaitOpenCall("AdminCreateUser")
			require.Eventually(t, func() bool { return b.exists("ann") == test.effect }, waitTimeout, pollInterval)

			require.NoError(t, b.tryGroup(), "other calls are served meanwhile")
			require.NoError(t, b.control.ClearFaults(b.ctx))
			requireCode(t, <-done, "InternalErrorException")
			require.Equal(t, test.effect, b.exists("ann"))
			require.Equal(t, 500, b.calls().Of("AdminCreateUser")[0].Status)
		})
		t.Run(name+" and ends when the client disconnects", func(t *testing.T) {
			b := newEnv(t)
			b.fault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind, Times: 1})
			ctx, cancel := context.WithCancel(b.ctx)
			done := make(chan error, 1)
			go func() { done <- b.tryCreate(ctx, "ann") }()
			b.awaitOpenCall("AdminCreateUser")
			require.Eventually(t, func() bool { return b.exists("ann") == test.effect }, waitTimeout, pollInterval)
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			b.awaitClosedCalls()
			require.Zero(t, b.calls().Of("AdminCreateUser")[0].Status)
			require.Equal(t, test.effect, b.exists("ann"))
		})
	}
}

func (b *env) awaitOpenCall(operation string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		calls := b.calls().Of(operation)
		return len(calls) == 1 && calls[0].End == 0
	}, waitTimeout, pollInterval)
}

func (b *env) awaitClosedCalls() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		for _, call := range b.calls().Calls {
			if call.End == 0 {
				return false
			}
		}
		return true
	}, waitTimeout, pollInterval)
}

func (b *env) tryGroup() error {
	_, err := b.cognito.GetGroup(b.ctx, &cognitoidentityprovider.GetGroupInput{UserPoolId: &b.seed.UserPoolID, GroupName: &b.seed.Group})
	return err
}

func TestFaultMatching(t *testing.T) {
	refuse := func(f control.Fault) control.Fault {
		f.Kind, f.Code = control.FaultError, "TooManyRequestsException"
		return f
	}
	tests := map[string]struct {
		fault control.Fault
		want  []bool // of five calls of GetGroup: whether each one is refused
	}{
		"a fault with times 0 applies to all calls":                            {fault: refuse(control.Fault{Operation: "GetGroup"}), want: []bool{true, true, true, true, true}},
		"a fault with times 1 applies to one call":                             {fault: refuse(control.Fault{Operation: "GetGroup", Times: 1}), want: []bool{true, false, false, false, false}},
		"a fault with times 2 and skip 2 applies to the third and fourth call": {fault: refuse(control.Fault{Operation: "GetGroup", Times: 2, Skip: 2}), want: []bool{false, false, true, true, false}},
		"a fault on a star applies to any operation":                           {fault: refuse(control.Fault{Operation: "*", Times: 1}), want: []bool{true, false, false, false, false}},
		"a fault on another operation does not apply":                          {fault: refuse(control.Fault{Operation: "AdminGetUser"}), want: []bool{false, false, false, false, false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			b.fault(test.fault)
			var got []bool
			for range test.want {
				got = append(got, b.tryGroup() != nil)
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestFaultsApplyInTheirOrder(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: "GetGroup", Kind: control.FaultError, Code: "InternalErrorException", Times: 1})
	b.fault(control.Fault{Operation: "*", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
	requireCode(t, b.tryGroup(), "InternalErrorException")
	requireCode(t, b.tryGroup(), "TooManyRequestsException")
	require.NoError(t, b.tryGroup())
}

func TestRawAnswer(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{
		Operation: control.OperationToken, Kind: control.FaultRaw, Status: 503, ContentType: "text/html", Body: "<html>sorry</html>",
	})
	resp, err := http.Post(b.url+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(clientCredentials().Encode()))
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	require.Equal(t, "text/html", resp.Header.Get("Content-Type"))
	require.Equal(t, "<html>sorry</html>", string(body))
}

func TestFaultsOfTheTokenEndpointAreOAuthErrors(t *testing.T) {
	tests := map[string]struct {
		fault  control.Fault
		status int
	}{
		"an OAuth error is answered with 400":                    {fault: control.Fault{Code: "invalid_client"}, status: 400},
		"throttling is answered with 429":                        {fault: control.Fault{Code: "TooManyRequestsException"}, status: 429},
		"a status in the fault replaces that of the OAuth error": {fault: control.Fault{Code: "temporarily_unavailable", Status: 503}, status: 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			test.fault.Operation, test.fault.Kind = control.OperationToken, control.FaultError
			b.fault(test.fault)
			answer := b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret)
			require.Equal(t, test.status, answer.status)
			require.Equal(t, test.fault.Code, answer.body["error"])
		})
	}
}

func TestFaultsOfSTSAreQueryErrors(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "TooManyRequestsException"})
	_, err := b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	requireCode(t, err, "Throttling")
}

func TestInvalidFaultsAreRefused(t *testing.T) {
	b := newEnv(t)
	for name, fault := range map[string]control.Fault{
		"a fault without an operation is refused":  {Kind: control.FaultHang},
		"a fault of an unknown kind is refused":    {Operation: "GetGroup", Kind: "sulk"},
		"an error fault without a code is refused": {Operation: "GetGroup", Kind: control.FaultError},
	} {
		require.Error(t, b.control.Fault(b.ctx, fault), name)
	}
	resp, err := http.Post(b.url+"/_emulator/faults", "application/json", strings.NewReader(`{"operation":"GetGroup","kind":"hang","whence":1}`))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "an unknown field is refused")
}

func TestClosingTheEmulatorEndsHangingCalls(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultHang})
	done := make(chan error, 1)
	go func() { done <- b.tryCreate(b.ctx, "ann") }()
	b.awaitOpenCall("AdminCreateUser")
	require.NoError(t, b.running.Close())
	require.Error(t, <-done)
}

func TestErrorAfterTheEffect(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	b.fault(control.Fault{
		Operation: "AdminSetUserPassword", Kind: control.FaultErrorAfter, Times: 1,
		Code: "UserLambdaValidationException", Message: "PostConfirmation failed with error no.",
	})
	requireCode(t, b.setPassword(b.seed.UserPoolID, "ann", otherPassword), "UserLambdaValidationException", "PostConfirmation")
	require.True(t, b.running.Server.HasPassword(b.seed.UserPoolID, "ann", otherPassword), "the password has been set")
	require.Equal(t, "UserLambdaValidationException", b.calls().Of("AdminSetUserPassword")[1].Code)
}

func TestThrottlingAfterALostAttempt(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultCutAfter, Times: 1})
	b.fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 2})
	require.ErrorIs(t, b.tryCreate(b.ctx, "ann"), io.EOF)
	for range 2 {
		requireCode(t, b.tryCreate(b.ctx, "ann"), "TooManyRequestsException")
	}
	requireCode(t, b.tryCreate(b.ctx, "ann"), "UsernameExistsException")
}

func TestFaultsOfOneUserOrClient(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	b.createConfirmedUser(b.seed.UserPoolID, "bob")
	annToken, bobToken := b.mustSignIn(b.seededClient(), "ann").AccessToken, b.mustSignIn(b.seededClient(), "bob").AccessToken
	createClient := func(b *env, name string) error {
		_, err := b.cognito.CreateUserPoolClient(b.ctx, &cognitoidentityprovider.CreateUserPoolClientInput{
			UserPoolId: &b.seed.UserPoolID, ClientName: &name,
		})
		return err
	}
	for name, test := range map[string]struct {
		fault control.Fault
		hit   func() error
		miss  func() error
	}{
		"a username in a request": {
			fault: control.Fault{Username: "ann"},
			hit:   func() error { return b.signOut(b.seed.UserPoolID, "ann") },
			miss:  func() error { return b.signOut(b.seed.UserPoolID, "bob") },
		},
		"a username among auth parameters": {
			fault: control.Fault{Username: "ann", Operation: "AdminInitiateAuth"},
			hit:   func() error { _, err := b.signIn(b.seededClient(), "ann", goodPassword); return err },
			miss:  func() error { _, err := b.signIn(b.seededClient(), "bob", goodPassword); return err },
		},
		"a username in an access token": {
			fault: control.Fault{Username: "ann", Operation: "GetUser"},
			hit:   func() error { return b.whoAmI(*annToken) },
			miss:  func() error { return b.whoAmI(*bobToken) },
		},
		"a group": {
			fault: control.Fault{Username: "ann", GroupName: "admins"},
			hit:   func() error { return b.addToGroup(b.seed.UserPoolID, "ann", "admins") },
			miss:  func() error { return b.addToGroup(b.seed.UserPoolID, "ann", "testers") },
		},
		"a client id": {
			fault: control.Fault{ClientID: b.seed.AppClientID},
			hit:   func() error { _, err := b.describeClient(b.seed.AppClientID); return err },
			miss:  func() error { _, err := b.describeClient(b.seed.PublicClientID); return err },
		},
		"a client name": {
			fault: control.Fault{ClientName: "mine"},
			hit:   func() error { return createClient(b, "mine") },
			miss:  func() error { return createClient(b, "another") },
		},
	} {
		t.Run("a fault on "+name+" applies to that only", func(t *testing.T) {
			if test.fault.Operation == "" {
				test.fault.Operation = control.OperationAny
			}
			test.fault.Kind, test.fault.Code = control.FaultError, "ConcurrentModificationException"
			b.fault(test.fault)
			requireCode(t, test.hit(), "ConcurrentModificationException")
			if code := codeOf(test.miss()); code == "ConcurrentModificationException" {
				t.Error("the fault applied to another call")
			}
			require.NoError(t, b.control.ClearFaults(b.ctx))
		})
	}
}

// codeOf returns the AWS code of an error, or "".
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestLostAnswersOfTheTokenEndpoint(t *testing.T) {
	b := newEnv(t)
	b.fault(control.Fault{Operation: control.OperationToken, ClientID: b.seed.M2MClientID, Kind: control.FaultCutAfter, Times: 1})
	_, err := http.PostForm(b.url+"/oauth2/token", clientCredentials("client_id", b.seed.M2MClientID, "client_secret", b.seed.M2MClientSecret))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 200, b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).status)
}
