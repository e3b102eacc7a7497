// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestQuotas(t *testing.T) {
	b := newEnv(t)
	require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{"UserPoolResourceRead": 2}))
	require.NoError(t, b.tryGroup())
	require.NoError(t, b.tryGroup())
	requireCode(t, b.tryGroup(), "TooManyRequestsException", "Rate exceeded")
	require.Equal(t, 400, b.calls().Of("GetGroup")[2].Status, "the JSON protocol has no 429")
	require.NoError(t, b.tryCreate(b.ctx, "ann"), "another category is not limited")

	b.clock.Advance(500 * time.Millisecond)
	require.NoError(t, b.tryGroup())
	requireCode(t, b.tryGroup(), "TooManyRequestsException")

	b.clock.Advance(time.Hour)
	for range 2 {
		require.NoError(t, b.tryGroup())
	}
	requireCode(t, b.tryGroup(), "TooManyRequestsException", "Rate exceeded")

	require.NoError(t, b.control.SetQuotas(b.ctx, nil))
	for range 10 {
		require.NoError(t, b.tryGroup())
	}
}

func TestQuotaCategories(t *testing.T) {
	tests := map[string]struct {
		category string
		call     func(b *env) error
	}{
		"AdminCreateUser":        {category: "UserCreation", call: func(b *env) error { return b.tryCreate(b.ctx, "new") }},
		"AdminSetUserPassword":   {category: "UserAccountRecovery", call: func(b *env) error { return b.setPassword(b.seed.UserPoolID, "ann", goodPassword) }},
		"AdminAddUserToGroup":    {category: "UserUpdate", call: func(b *env) error { return b.addToGroup(b.seed.UserPoolID, "ann", b.seed.Group) }},
		"AdminUserGlobalSignOut": {category: "UserUpdate", call: func(b *env) error { return b.signOut(b.seed.UserPoolID, "ann") }},
		"AdminDisableUser":       {category: "UserUpdate", call: func(b *env) error { return b.disableUser(b.seed.UserPoolID, "ann") }},
		"AdminDeleteUser":        {category: "UserUpdate", call: func(b *env) error { return b.deleteUser(b.seed.UserPoolID, "ann") }},
		"AdminInitiateAuth":      {category: "UserAuthentication", call: func(b *env) error { _, err := b.signIn(b.seededClient(), "ann", goodPassword); return err }},
		"AdminGetUser":           {category: "UserRead", call: func(b *env) error { _, err := b.getUser(b.seed.UserPoolID, "ann"); return err }},
		"DescribeUserPool":       {category: "UserPoolRead", call: func(b *env) error { _, err := b.describePool(b.seed.UserPoolID); return err }},
		"DescribeUserPoolClient": {category: "UserPoolClientRead", call: func(b *env) error { _, err := b.describeClient(b.seed.AppClientID); return err }},
		"ListUsers": {category: "UserList", call: func(b *env) error {
			_, err := b.cognito.ListUsers(b.ctx, &cognitoidentityprovider.ListUsersInput{UserPoolId: &b.seed.UserPoolID})
			return err
		}},
	}
	for name, test := range tests {
		t.Run(name+" uses the quota of "+test.category, func(t *testing.T) {
			b := newEnv(t)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{test.category: 0}))
			requireCode(t, test.call(b), "TooManyRequestsException", "Rate exceeded")
			require.NoError(t, b.control.SetQuotas(b.ctx, nil))
			require.NoError(t, test.call(b), "the throttled call had no effect")
		})
	}
}

// TestQuotaCategoryOfNewerOperations needs no valid requests: quotas come before everything else.
func TestQuotaCategoryOfNewerOperations(t *testing.T) {
	b := newEnv(t)
	for operation, category := range map[string]string{
		"AdminDeleteUserAttributes":    "UserUpdate",
		"AdminForgetDevice":            "UserResourceUpdate",
		"AdminListDevices":             "UserResourceRead",
		"AdminRemoveUserFromGroup":     "UserUpdate",
		"AdminResetUserPassword":       "UserAccountRecovery",
		"CompleteWebAuthnRegistration": "UserResourceUpdate",
		"ConfirmDevice":                "UserResourceUpdate",
		"ConfirmForgotPassword":        "UserAccountRecovery",
		"CreateUserPoolClient":         "UserPoolClientUpdate",
		"DeleteUser":                   "UserUpdate",
		"DeleteUserAttributes":         "UserUpdate",
		"DeleteUserPoolClient":         "UserPoolClientUpdate",
		"DeleteUserPoolDomain":         "UserPoolResourceUpdate",
		"DescribeUserPoolDomain":       "UserPoolResourceRead",
		"ForgetDevice":                 "UserResourceUpdate",
		"ForgotPassword":               "UserAccountRecovery",
		"ListDevices":                  "UserResourceRead",
		"ListGroups":                   "UserPoolResourceRead",
		"ListUserPoolClients":          "UserPoolClientRead",
		"ListUsersInGroup":             "UserList",
		"SetUserMFAPreference":         "UserResourceUpdate",
		"StartWebAuthnRegistration":    "UserResourceUpdate",
		"UpdateUserAttributes":         "UserUpdate",
	} {
		t.Run(operation+" uses the quota of "+category, func(t *testing.T) {
			require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{category: 0}))
			status, answer, _ := b.post(operation, "", "{}")
			require.Equal(t, "TooManyRequestsException", answer["__type"])
			require.Equal(t, 400, status)
			require.NoError(t, b.control.SetQuotas(b.ctx, nil))
			_, answer, _ = b.post(operation, "", "{}")
			require.NotEqual(t, "TooManyRequestsException", answer["__type"])
		})
	}
}

func TestTokenEndpointIsThrottledWith429(t *testing.T) {
	b := newEnv(t)
	require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{"ClientAuthentication": 1}))
	require.Equal(t, 200, b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).status)
	require.Equal(t, 429, b.askToken(clientCredentials(), b.seed.M2MClientID, b.seed.M2MClientSecret).status)
}

func TestNewPasswordAnswerUsesTwoQuotas(t *testing.T) {
	for category, rate := range map[string]float64{"UserAccountRecovery": 0, "UserAuthentication": 0} {
		c := newChallenged(t)
		require.NoError(t, c.control.SetQuotas(c.ctx, control.Quotas{category: rate}))
		requireCode(t, c.answer(nil), "TooManyRequestsException")
		require.NoError(t, c.control.SetQuotas(c.ctx, nil))
		require.NoError(t, c.answer(nil))
	}
}

func TestChallengeAnswersHaveThreeTimesTheQuota(t *testing.T) {
	c := newChallenged(t)
	require.NoError(t, c.control.SetQuotas(c.ctx, control.Quotas{"UserAuthentication": 1}))
	for range 3 {
		requireCode(t, c.answer(map[string]string{"NEW_PASSWORD": "weak"}), "InvalidPasswordException")
	}
	requireCode(t, c.answer(nil), "TooManyRequestsException")
	_, err := c.signIn(c.client, "ann", goodPassword)
	require.NoError(t, err, "sign-ins have their own counter")
}

func TestGetProvisionedLimit(t *testing.T) {
	b := newEnv(t)
	get := func(category string) (*types.LimitType, error) {
		out, err := b.cognito.GetProvisionedLimit(b.ctx, &cognitoidentityprovider.GetProvisionedLimitInput{
			LimitDefinition: &types.LimitDefinitionType{LimitClass: types.LimitClassApiCategory, Attributes: map[string]string{"Category": category}},
		})
		if err != nil {
			return nil, err
		}
		return out.Limit, nil
	}
	limit, err := get("UserUpdate")
	require.NoError(t, err)
	require.EqualValues(t, 25, limit.FreeLimitValue)
	require.EqualValues(t, 25, limit.ProvisionedLimitValue)

	require.NoError(t, b.control.SetQuotas(b.ctx, control.Quotas{"UserCreation": 200}))
	limit, err = get("UserCreation")
	require.NoError(t, err)
	require.EqualValues(t, 50, limit.FreeLimitValue)
	require.EqualValues(t, 200, limit.ProvisionedLimitValue)

	_, err = get("CoffeeMaking")
	requireCode(t, err, "ResourceNotFoundException", "CoffeeMaking")
	require.NoError(t, b.control.SetIAM(b.ctx, control.IAM{DeniedActions: []string{"cognito-idp:GetProvisionedLimit"}}))
	_, err = get("UserUpdate")
	requireCode(t, err, "AccessDeniedException")
}

func TestLatency(t *testing.T) {
	tests := map[string]control.Latency{
		"latency of one operation delays it":            {Operations: map[string]int{"GetGroup": 60}},
		"default latency delays every operation":        {DefaultMS: 60},
		"latency of one operation replaces the default": {DefaultMS: 3_600_000, Operations: map[string]int{"GetGroup": 60}},
	}
	for name, latency := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			require.NoError(t, b.control.SetLatency(b.ctx, latency))
			begin := time.Now()
			require.NoError(t, b.tryGroup())
			require.GreaterOrEqual(t, time.Since(begin), 60*time.Millisecond)
		})
	}
}

func TestDelayedCallsDoNotBlockOthers(t *testing.T) {
	b := newEnv(t)
	require.NoError(t, b.control.SetLatency(b.ctx, control.Latency{Operations: map[string]int{"AdminCreateUser": 3_600_000}}))
	ctx, cancel := context.WithCancel(b.ctx)
	done := make(chan error, 1)
	go func() { done <- b.tryCreate(ctx, "ann") }()
	b.awaitOpenCall("AdminCreateUser")
	require.NoError(t, b.tryGroup())
	require.False(t, b.exists("ann"))

	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	b.awaitClosedCalls()
	require.True(t, b.exists("ann"), "a call is performed even if the client disconnects")
	created, read := b.calls().Of("AdminCreateUser")[0], b.calls().Of("GetGroup")[0]
	require.True(t, created.Begin < read.Begin && read.End < created.End, "the two calls overlapped: %+v %+v", created, read)
}
