// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

// TestHalfWay makes each step of a read fail in each way. The error names the step, no user is
// left, and the next read works.
func TestHalfWay(t *testing.T) {
	t.Parallel()
	steps := map[string]string{
		"AdminCreateUser":      "creating user",
		"AdminSetUserPassword": "setting the password of user",
		"AdminAddUserToGroup":  "to group",
		"AdminInitiateAuth":    "signing in user",
	}
	failures := map[string]control.Fault{
		"fails":         {Kind: control.FaultError, Code: "InternalErrorException", Message: "oops"},
		"hangs":         {Kind: control.FaultHang},
		"is cut before": {Kind: control.FaultCutBefore},
		"is cut after":  {Kind: control.FaultCutAfter},
	}
	for operation, step := range steps {
		for name, fault := range failures {
			t.Run("a read leaves no user if "+operation+" "+name, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				fault.Operation = operation
				e.Fault(fault)
				_, err := e.tryRead("creds/ci")
				status, text := e.refusal(err)
				require.Equal(t, http.StatusBadGateway, status, text)
				require.Contains(t, text, step)
				require.Empty(t, e.Users())

				e.Heal()
				secret := e.read("creds/ci")
				require.Len(t, e.Users(), 1)
				e.revoke(secret.LeaseID)
			})
		}
	}
}

// TestStatuses shows that each kind of failure keeps its status across the plugin boundary.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(e *env)
		path    string
		status  int
		says    string
	}{
		"a missing role": {func(*env) {}, "creds/nobody", 400, `there is no role "nobody"`},
		"a missing group": {func(e *env) { e.writeRole("ci", map[string]any{"groups": "nobodys"}) },
			"creds/ci", 400, `to group "nobodys"`},
		"a missing pool": {func(e *env) { e.writeRole("ci", map[string]any{"user_pool_id": "eu-west-1_Nowhere"}) },
			"creds/ci", 400, "eu-west-1_Nowhere"},
		"a missing app client": {func(e *env) { e.writeRole("ci", map[string]any{"app_client_id": "nobody", "app_client_secret": ""}) },
			"creds/ci", 400, "signing in user"},
		"a wrong client secret": {func(e *env) { e.writeRole("ci", map[string]any{"app_client_secret": "hush-wrong"}) },
			"creds/ci", 400, "signing in user"},
		"a denied action": {func(e *env) {
			e.Deny("cognito-idp:AdminCreateUser")
		}, "creds/ci", 403, "cognito-idp:AdminCreateUser"},
		"an exceeded quota": {func(e *env) {
			e.Fault(control.Fault{Operation: "AdminCreateUser", Kind: control.FaultError, Code: "TooManyRequestsException"})
		}, "creds/ci", 429, "TooManyRequestsException"},
		"a Cognito that cannot be reached": {func(e *env) { e.configure(map[string]any{"cognito_endpoint": "http://127.0.0.1:1"}) },
			"creds/ci", 502, "connection refused"},
		"an unsupported challenge": {func(e *env) {
			e.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultRaw, ContentType: "application/x-amz-json-1.1",
				Body: `{"ChallengeName":"SMS_MFA","ChallengeParameters":{},"Session":"hush-session-of-some-length"}`})
		}, "creds/ci", 400, "SMS_MFA"},
		"a domain that cannot be reached": {func(e *env) {
			e.writeMachineRole("machine", map[string]any{"cognito_pool_domain": "http://127.0.0.1:1"})
		},
			"creds/machine", 502, "connection refused"},
		"a domain that does not exist": {func(e *env) { e.writeMachineRole("machine", map[string]any{"cognito_pool_domain": "nobody.invalid"}) },
			"creds/machine", 502, "nobody.invalid"},
		"a wrong secret of a machine client": {func(e *env) { e.writeMachineRole("machine", map[string]any{"app_client_secret": "hush-wrong"}) },
			"creds/machine", 400, "invalid_client"},
		"a scope that the client does not have": {func(e *env) { e.writeMachineRole("machine", map[string]any{"scopes": "api/delete"}) },
			"creds/machine", 400, "invalid_scope"},
		"a token endpoint that throttles": {func(e *env) {
			e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultRaw, Status: 429})
		},
			"creds/machine", 429, "throttles"},
		"a token endpoint that fails": {func(e *env) {
			e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultRaw, Status: 503})
		},
			"creds/machine", 502, "503"},
		"a token endpoint that hangs": {func(e *env) { e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultHang}) },
			"creds/machine", 502, "no answer in time"},
		"a token endpoint that cuts the connection": {func(e *env) {
			e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBefore})
		},
			"creds/machine", 502, "no answer"},
		"a token endpoint that cuts its answer": {func(e *env) { e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultCutBody}) },
			"creds/machine", 502, "not a token endpoint's"},
		"a token endpoint that is a web page": {func(e *env) {
			e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultRaw, Status: 200, ContentType: "text/html", Body: "<html>"})
		}, "creds/machine", 502, "not a token endpoint's"},
		"a token endpoint that answers nothing": {func(e *env) {
			e.Fault(control.Fault{Operation: control.OperationToken, Kind: control.FaultRaw, Status: 200, ContentType: "application/json"})
		}, "creds/machine", 502, "not a token endpoint's"},
	} {
		t.Run(fmt.Sprintf("%s is a %d", name, c.status), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			c.prepare(e)
			_, err := e.tryRead(c.path)
			status, text := e.refusal(err)
			require.Equal(t, c.status, status, text)
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "hush")
			require.Empty(t, e.Users())
			require.Empty(t, e.leases("creds/ci"))
		})
	}
}

// TestPluginDiesHalfWay kills the plugin while it creates a user. No client receives that user, so
// the engine has to delete it.
func TestPluginDiesHalfWay(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"AdminCreateUser", "AdminSetUserPassword", "AdminInitiateAuth"} {
		t.Run("a user is rolled back if the plugin is killed in "+operation, func(t *testing.T) {
			t.Parallel()
			e := newIsolatedEnv(t)
			// The first attempt hangs after the user was created. The server repeats the request
			// with the next process.
			e.Fault(control.Fault{Operation: operation, Kind: control.FaultHangAfter, Times: 1})
			read := make(chan *api.Secret, 1)
			go func() {
				secret, _ := e.tryRead("creds/ci")
				read <- secret
			}()
			e.awaitCall(operation)
			require.Eventually(t, func() bool { return len(e.Users()) == 1 }, 10*time.Second, 5*time.Millisecond)
			orphan := e.Users()[0].Username
			e.killPlugin()
			returned := ""
			if secret := <-read; secret != nil {
				returned = secret.Data["username"].(string)
			}
			require.NotEqual(t, orphan, returned)

			// The age limit is five seconds in this build, and the engine looks once a minute: at
			// its second look at the latest.
			require.Eventually(t, func() bool { return !containsUser(e.Users(), orphan) }, 150*time.Second, 100*time.Millisecond)
			if returned != "" {
				require.True(t, containsUser(e.Users(), returned), "the user of the second attempt has a lease and must stay")
			}
		})
	}
}

// TestUnmountHalfWay removes the mount while an unfinished user is too young for the roll-back.
func TestUnmountHalfWay(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.Fault(control.Fault{Operation: "AdminInitiateAuth", Kind: control.FaultError, Code: "InternalErrorException"})
	e.Fault(control.Fault{Operation: "AdminDeleteUser", Kind: control.FaultError, Code: "InternalErrorException"})
	_, err := e.tryRead("creds/ci")
	require.Error(t, err)
	require.Len(t, e.Users(), 1, "the user cannot be deleted while Cognito is down")
	e.Heal()
	require.NoError(t, e.client.Sys().UnmountWithContext(t.Context(), e.mount))
	require.Empty(t, e.Users())
}
