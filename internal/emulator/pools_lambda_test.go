// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

const functionARN = "arn:aws:lambda:eu-west-1:123456789012:function:trigger"

// withTrigger configures the function as one trigger of the seeded pool.
func (b *env) withTrigger(config *types.LambdaConfigType) {
	b.t.Helper()
	_, err := b.cognito.UpdateUserPool(b.ctx, &cip.UpdateUserPoolInput{UserPoolId: &b.seed.UserPoolID, LambdaConfig: config})
	require.NoError(b.t, err)
}

func (b *env) function(outcome string) {
	b.t.Helper()
	require.NoError(b.t, b.control.SetLambda(b.ctx, control.Lambda{ARN: functionARN, Outcome: outcome, Message: "no guests"}))
}

func TestLambdaOutcomes(t *testing.T) {
	for outcome, want := range map[string]struct{ code, words string }{
		control.LambdaSucceeds:       {},
		control.LambdaThrows:         {"UserLambdaValidationException", "PreSignUp failed with error no guests."},
		control.LambdaAnswersRubbish: {"InvalidLambdaResponseException", "Unrecognizable lambda output"},
		control.LambdaTimesOut:       {"UnexpectedLambdaException", "PreSignUp invocation failed"},
	} {
		t.Run("AdminCreateUser with a function that should "+outcome, func(t *testing.T) {
			b := newEnv(t)
			b.withTrigger(&types.LambdaConfigType{PreSignUp: aws.String(functionARN)})
			b.function(outcome)
			requireOutcome(t, b.tryCreate(b.ctx, "ann"), want.code, want.words)
			require.Equal(t, want.code == "", b.exists("ann"))
		})
	}

	t.Run("a function that does not exist cannot be invoked", func(t *testing.T) {
		b := newEnv(t)
		b.withTrigger(&types.LambdaConfigType{PreSignUp: aws.String(functionARN)})
		requireCode(t, b.tryCreate(b.ctx, "ann"), "UnexpectedLambdaException", "configuration")
	})

	t.Run("an unknown outcome is refused", func(t *testing.T) {
		b := newEnv(t)
		require.ErrorContains(t, b.control.SetLambda(b.ctx, control.Lambda{ARN: functionARN, Outcome: "dance"}), "dance")
		require.ErrorContains(t, b.control.SetLambda(b.ctx, control.Lambda{Outcome: control.LambdaThrows}), "arn")
	})
}

func TestLambdaTriggers(t *testing.T) {
	for name, test := range map[string]struct {
		config types.LambdaConfigType
		// signIn and refresh are whether these fail.
		signIn, refresh bool
	}{
		"PreSignUp lets users sign in":               {config: types.LambdaConfigType{PreSignUp: aws.String(functionARN)}},
		"PreAuthentication refuses sign-ins only":    {config: types.LambdaConfigType{PreAuthentication: aws.String(functionARN)}, signIn: true},
		"PostAuthentication refuses sign-ins only":   {config: types.LambdaConfigType{PostAuthentication: aws.String(functionARN)}, signIn: true},
		"PreTokenGeneration refuses tokens of users": {config: types.LambdaConfigType{PreTokenGeneration: aws.String(functionARN)}, signIn: true, refresh: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(b.seededClient(), "ann")
			b.withTrigger(&test.config)
			b.function(control.LambdaThrows)
			code := map[bool]string{true: "UserLambdaValidationException"}
			_, err := b.signIn(b.seededClient(), "ann", goodPassword)
			requireOutcome(t, err, code[test.signIn])
			_, err = b.refresh(b.seededClient(), *tokens.RefreshToken)
			requireOutcome(t, err, code[test.refresh])
			_, err = b.adminAuth(b.seededClient(), "REFRESH_TOKEN_AUTH", map[string]string{
				"REFRESH_TOKEN": *tokens.RefreshToken, "SECRET_HASH": secretHash(b.seededClient(), "ann"),
			})
			requireOutcome(t, err, code[test.refresh])
		})
	}
}

func TestNewPasswordStaysWhenATriggerRefusesTheTokens(t *testing.T) {
	b := newEnv(t)
	b.createUser(b.seed.UserPoolID, "ann")
	asked, err := b.signIn(b.seededClient(), "ann", goodPassword)
	require.NoError(t, err)
	b.withTrigger(&types.LambdaConfigType{PostAuthentication: aws.String(functionARN)})
	b.function(control.LambdaThrows)
	_, err = b.cognito.AdminRespondToAuthChallenge(b.ctx, &cip.AdminRespondToAuthChallengeInput{
		UserPoolId: &b.seed.UserPoolID, ClientId: &b.seed.AppClientID, Session: asked.Session, ChallengeName: asked.ChallengeName,
		ChallengeResponses: map[string]string{
			"USERNAME": "ann", "NEW_PASSWORD": otherPassword, "SECRET_HASH": secretHash(b.seededClient(), "ann"),
		},
	})
	requireCode(t, err, "UserLambdaValidationException", "PostAuthentication")
	b.function(control.LambdaSucceeds)
	_, err = b.signIn(b.seededClient(), "ann", otherPassword)
	require.NoError(t, err)
}

func TestUpdateUserPoolResetsWhatItLeavesOut(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(func(in *cip.CreateUserPoolInput) {
		in.UsernameAttributes = []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}
		in.UserPoolTags = map[string]string{"team": "mine"}
		in.LambdaConfig = &types.LambdaConfigType{PreSignUp: aws.String(functionARN)}
	})
	described, err := b.describePool(pool)
	require.NoError(t, err)
	require.Equal(t, functionARN, *described.LambdaConfig.PreSignUp)

	_, err = b.cognito.UpdateUserPool(b.ctx, &cip.UpdateUserPoolInput{UserPoolId: &pool, UserPoolTier: types.UserPoolTierTypeLite})
	require.NoError(t, err)
	described, err = b.describePool(pool)
	require.NoError(t, err)
	require.Nil(t, described.LambdaConfig)
	require.Empty(t, described.UserPoolTags)
	require.Equal(t, types.UserPoolTierTypeLite, described.UserPoolTier)
	require.Equal(t, []types.UsernameAttributeType{types.UsernameAttributeTypeEmail}, described.UsernameAttributes, "it cannot be changed")
	require.Equal(t, "pool", *described.Name)
}
