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
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const (
	patience = 10 * time.Second
	glance   = 5 * time.Millisecond
)

func (b *bench) fault(fault control.Fault) {
	b.t.Helper()
	require.NoError(b.t, b.control.Fault(b.ctx, fault))
}

func (b *bench) tryCreate(ctx context.Context, username string) error {
	_, err := b.cognito.AdminCreateUser(ctx, &cognitoidentityprovider.AdminCreateUserInput{
		UserPoolId: &b.seed.UserPoolID, Username: &username, MessageAction: types.MessageActionTypeSuppress,
	})
	return err
}

func (b *bench) exists(username string) bool {
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

func TestFaultsThatAnswer(t *testing.T) {
	tests := map[string]struct {
		fault  control.Fault
		code   string
		status int
		effect bool
	}{
		"an exception is a 400": {
			fault: control.Fault{Kind: control.FaultError, Code: "TooManyRequestsException", Message: "Rate exceeded"},
			code:  "TooManyRequestsException", status: 400,
		},
		"an internal error is a 500": {
			fault: control.Fault{Kind: control.FaultError, Code: "InternalErrorException"}, code: "InternalErrorException", status: 500,
		},
		"a forbidden call is a 403": {
			fault: control.Fault{Kind: control.FaultError, Code: "ForbiddenException"}, code: "ForbiddenException", status: 403,
		},
		"a status can be chosen": {
			fault: control.Fault{Kind: control.FaultError, Code: "ServiceUnavailable", Status: 503}, code: "ServiceUnavailable", status: 503,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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
		"cut_before has no effect": {kind: control.FaultCutBefore},
		"cut_after has its effect": {kind: control.FaultCutAfter, effect: true},
		"cut_body has its effect":  {kind: control.FaultCutBody, effect: true, status: 200},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
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
	b := newBench(t)
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
		"hang has no effect":        {kind: control.FaultHang},
		"hang_after has its effect": {kind: control.FaultHangAfter, effect: true},
	}
	for name, test := range tests {
		t.Run(name+" when it is released", func(t *testing.T) {
			b := newBench(t)
			b.fault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind})
			done := make(chan error, 1)
			go func() { done <- b.tryCreate(b.ctx, "ann") }()
			b.awaitOpenCall("AdminCreateUser")
			require.Eventually(t, func() bool { return b.exists("ann") == test.effect }, patience, glance)

			require.NoError(t, b.tryGroup(), "others are served meanwhile")
			require.NoError(t, b.control.ClearFaults(b.ctx))
			requireCode(t, <-done, "InternalErrorException")
			require.Equal(t, test.effect, b.exists("ann"))
			require.Equal(t, 500, b.calls().Of("AdminCreateUser")[0].Status)
		})
		t.Run(name+" when the client goes away", func(t *testing.T) {
			b := newBench(t)
			b.fault(control.Fault{Operation: "AdminCreateUser", Kind: test.kind, Times: 1})
			ctx, cancel := context.WithCancel(b.ctx)
			done := make(chan error, 1)
			go func() { done <- b.tryCreate(ctx, "ann") }()
			b.awaitOpenCall("AdminCreateUser")
			require.Eventually(t, func() bool { return b.exists("ann") == test.effect }, patience, glance)
			cancel()
			require.ErrorIs(t, <-done, context.Canceled)
			b.awaitClosedCalls()
			require.Zero(t, b.calls().Of("AdminCreateUser")[0].Status)
			require.Equal(t, test.effect, b.exists("ann"))
		})
	}
}

func (b *bench) awaitOpenCall(operation string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		calls := b.calls().Of(operation)
		return len(calls) == 1 && calls[0].End == 0
	}, patience, glance)
}

func (b *bench) awaitClosedCalls() {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		for _, call := range b.calls().Calls {
			if call.End == 0 {
				return false
			}
		}
		return true
	}, patience, glance)
}

func (b *bench) tryGroup() error {
	_, err := b.cognito.GetGroup(b.ctx, &cognitoidentityprovider.GetGroupInput{UserPoolId: &b.seed.UserPoolID, GroupName: &b.seed.Group})
	return err
}

func TestWhichCallsAFaultCatches(t *testing.T) {
	refuse := func(f control.Fault) control.Fault {
		f.Kind, f.Code = control.FaultError, "TooManyRequestsException"
		return f
	}
	tests := map[string]struct {
		fault control.Fault
		want  []bool // of five calls of GetGroup: whether each one is refused
	}{
		"zero times is for ever":        {fault: refuse(control.Fault{Operation: "GetGroup"}), want: []bool{true, true, true, true, true}},
		"once is once":                  {fault: refuse(control.Fault{Operation: "GetGroup", Times: 1}), want: []bool{true, false, false, false, false}},
		"twice after two":               {fault: refuse(control.Fault{Operation: "GetGroup", Times: 2, Skip: 2}), want: []bool{false, false, true, true, false}},
		"a star is for any operation":   {fault: refuse(control.Fault{Operation: "*", Times: 1}), want: []bool{true, false, false, false, false}},
		"another operation is no match": {fault: refuse(control.Fault{Operation: "AdminGetUser"}), want: []bool{false, false, false, false, false}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fault(test.fault)
			var got []bool
			for range test.want {
				got = append(got, b.tryGroup() != nil)
			}
			require.Equal(t, test.want, got)
		})
	}
}

func TestFaultsAreMetInTheirOrder(t *testing.T) {
	b := newBench(t)
	b.fault(control.Fault{Operation: "GetGroup", Kind: control.FaultError, Code: "InternalErrorException", Times: 1})
	b.fault(control.Fault{Operation: "*", Kind: control.FaultError, Code: "TooManyRequestsException", Times: 1})
	requireCode(t, b.tryGroup(), "InternalErrorException")
	requireCode(t, b.tryGroup(), "TooManyRequestsException")
	require.NoError(t, b.tryGroup())
}

func TestRawAnswer(t *testing.T) {
	b := newBench(t)
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

func TestFaultsOfTheTokenEndpointSpeakOAuth(t *testing.T) {
	tests := map[string]struct {
		fault  control.Fault
		status int
	}{
		"an OAuth error is a 400":    {fault: control.Fault{Code: "invalid_client"}, status: 400},
		"throttling is a 429":        {fault: control.Fault{Code: "TooManyRequestsException"}, status: 429},
		"a status can be chosen too": {fault: control.Fault{Code: "temporarily_unavailable", Status: 503}, status: 503},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			test.fault.Operation, test.fault.Kind = control.OperationToken, control.FaultError
			b.fault(test.fault)
			answer := b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret)
			require.Equal(t, test.status, answer.status)
			require.Equal(t, test.fault.Code, answer.body["error"])
		})
	}
}

func TestFaultsOfSTSSpeakXML(t *testing.T) {
	b := newBench(t)
	b.fault(control.Fault{Operation: "GetCallerIdentity", Kind: control.FaultError, Code: "TooManyRequestsException"})
	_, err := b.sts.GetCallerIdentity(b.ctx, &sts.GetCallerIdentityInput{})
	requireCode(t, err, "Throttling")
}

func TestFaultsThatMakeNoSense(t *testing.T) {
	b := newBench(t)
	for name, fault := range map[string]control.Fault{
		"without an operation":      {Kind: control.FaultHang},
		"of an unknown kind":        {Operation: "GetGroup", Kind: "sulk"},
		"an error that has no code": {Operation: "GetGroup", Kind: control.FaultError},
	} {
		require.Error(t, b.control.Fault(b.ctx, fault), name)
	}
	resp, err := http.Post(b.url+"/_emulator/faults", "application/json", strings.NewReader(`{"operation":"GetGroup","kind":"hang","whence":1}`))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusBadRequest, resp.StatusCode, "an unknown field is a mistake")
}

func TestClosingTheEmulatorEndsHangingCalls(t *testing.T) {
	b := newBench(t)
	b.fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultHang})
	done := make(chan error, 1)
	go func() { done <- b.tryCreate(b.ctx, "ann") }()
	b.awaitOpenCall("AdminCreateUser")
	require.NoError(t, b.running.Close())
	require.Error(t, <-done)
}
