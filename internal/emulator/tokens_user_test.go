// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-cognito/internal/emulator/control"
)

func TestClaimsOfAccessToken(t *testing.T) {
	b := newEnv(t)
	user := b.createConfirmedUser(b.seed.UserPoolID, "ann")
	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", "testers"))
	claims := claimsOf(t, b.mustSignIn(b.seededClient(), "ann").AccessToken)

	now := float64(b.clock.Now().Unix())
	for _, unique := range []string{"jti", "origin_jti", "event_id"} {
		require.NotEmpty(t, claims[unique], unique)
		delete(claims, unique)
	}
	require.Equal(t, map[string]any{
		"sub":            attributeMap(user.Attributes)["sub"],
		"client_id":      b.seed.AppClientID,
		"username":       "ann",
		"token_use":      "access",
		"scope":          "aws.cognito.signin.user.admin",
		"cognito:groups": []any{"testers"},
		"iss":            "https://cognito-idp.eu-west-1.amazonaws.com/" + b.seed.UserPoolID,
		"auth_time":      now,
		"iat":            now,
		"exp":            now + 3600,
	}, claims)
}

func TestClaimsOfIDToken(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(withTestSchema)
	client := b.createClient(pool, nil)
	user := b.createConfirmedUser(pool, "ann", "email", "ann@example.com", "email_verified", "true", "custom:team", "red")
	claims := claimsOf(t, b.mustSignIn(client, "ann").IdToken)

	now := float64(b.clock.Now().Unix())
	for _, unique := range []string{"jti", "origin_jti", "event_id"} {
		require.NotEmpty(t, claims[unique], unique)
		delete(claims, unique)
	}
	require.Equal(t, map[string]any{
		"sub":              attributeMap(user.Attributes)["sub"],
		"aud":              *client.ClientId,
		"cognito:username": "ann",
		"token_use":        "id",
		"email":            "ann@example.com",
		"email_verified":   true,
		"custom:team":      "red",
		"iss":              "https://cognito-idp.eu-west-1.amazonaws.com/" + pool,
		"auth_time":        now,
		"iat":              now,
		"exp":              now + 3600,
	}, claims)
}

func TestIDTokenHasRolesOfGroups(t *testing.T) {
	b := newEnv(t)
	pool := b.createPool(nil)
	client := b.createClient(pool, nil)
	b.createConfirmedUser(pool, "ann")
	for name, precedence := range map[string]*int32{"a-last": nil, "b-second": aws.Int32(2), "c-first": aws.Int32(1)} {
		_, err := b.cognito.CreateGroup(b.ctx, &cognitoidentityprovider.CreateGroupInput{
			UserPoolId: &pool, GroupName: &name, Precedence: precedence, RoleArn: aws.String("arn:aws:iam::123456789012:role/" + name),
		})
		require.NoError(t, err)
		require.NoError(t, b.addToGroup(pool, "ann", name))
	}
	claims := claimsOf(t, b.mustSignIn(client, "ann").IdToken)
	require.Equal(t, "arn:aws:iam::123456789012:role/c-first", claims["cognito:preferred_role"])
	require.Len(t, claims["cognito:roles"], 3)
}

func TestReadAttributesLimitTheIDToken(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.ReadAttributes = []string{"name"}
	})
	b.createConfirmedUser(b.seed.UserPoolID, "ann", "email", "ann@example.com", "name", "Ann")
	claims := claimsOf(t, b.mustSignIn(client, "ann").IdToken)
	require.Equal(t, "Ann", claims["name"])
	require.NotContains(t, claims, "email")
}

func TestTokensHaveTheGroupsAtTheirIssue(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	require.NotContains(t, claimsOf(t, tokens.AccessToken), "cognito:groups")

	require.NoError(t, b.addToGroup(b.seed.UserPoolID, "ann", "testers"))
	refreshed, err := b.refresh(client, *tokens.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, []any{"testers"}, claimsOf(t, refreshed.AccessToken)["cognito:groups"])
	require.Equal(t, []any{"testers"}, claimsOf(t, refreshed.IdToken)["cognito:groups"])
}

func TestTokensAreSignedByTheKeyOfTheKeySet(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(b.seededClient(), "ann")
	for _, path := range []string{"/" + b.seed.UserPoolID + "/.well-known/jwks.json", "/.well-known/jwks.json"} {
		keys := b.keySet(path)
		for _, token := range []*string{tokens.AccessToken, tokens.IdToken} {
			signed, err := jose.ParseSignedCompact(*token, []jose.SignatureAlgorithm{jose.RS256})
			require.NoError(t, err)
			matching := keys.Key(signed.Signatures[0].Header.KeyID)
			require.Len(t, matching, 1)
			_, err = signed.Verify(matching[0])
			require.NoError(t, err)
		}
	}
}

func TestSigningKeyIsReplaced(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	before := b.mustSignIn(b.seededClient(), "ann")
	require.NoError(t, b.control.ReplaceSigningKey(b.ctx, control.SigningKey{Bits: 1024}))
	after := b.mustSignIn(b.seededClient(), "ann")
	keys := b.keySet("/.well-known/jwks.json")
	for token, size := range map[string]int{*before.AccessToken: 2048 / 8, *after.AccessToken: 1024 / 8} {
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
		require.NoError(t, err)
		require.Len(t, signed.Signatures[0].Signature, size)
		_, err = signed.Verify(keys)
		require.NoError(t, err, "tokens of earlier keys are still valid")
		_, err = b.cognito.GetUser(b.ctx, &cognitoidentityprovider.GetUserInput{AccessToken: &token})
		require.NoError(t, err)
	}
	require.ErrorContains(t, b.control.ReplaceSigningKey(b.ctx, control.SigningKey{Bits: 512}), "512 bits")
}

func (b *env) keySet(path string) jose.JSONWebKeySet {
	b.t.Helper()
	resp, err := http.Get(b.url + path)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	require.Equal(b.t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	require.NotContains(b.t, string(body), `"d"`, "the private key is not published")
	var keys jose.JSONWebKeySet
	require.NoError(b.t, json.Unmarshal(body, &keys))
	return keys
}

func TestKeySetOfAnUnknownPool(t *testing.T) {
	b := newEnv(t)
	resp, err := http.Get(b.url + "/eu-west-1_nowhere/.well-known/jwks.json")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
}

func TestTokenLifetimes(t *testing.T) {
	tests := map[string]struct {
		change  func(*cognitoidentityprovider.CreateUserPoolClientInput)
		access  time.Duration
		id      time.Duration
		refresh time.Duration
	}{
		"defaults are an hour, an hour and 30 days": {access: time.Hour, id: time.Hour, refresh: 30 * 24 * time.Hour},
		"lifetimes without units are hours and days": {
			change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.AccessTokenValidity, in.IdTokenValidity, in.RefreshTokenValidity = aws.Int32(2), aws.Int32(3), 4
			},
			access: 2 * time.Hour, id: 3 * time.Hour, refresh: 4 * 24 * time.Hour,
		},
		"lifetimes use their units": {
			change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.AccessTokenValidity, in.IdTokenValidity, in.RefreshTokenValidity = aws.Int32(300), aws.Int32(10), 2
				in.TokenValidityUnits = &types.TokenValidityUnitsType{AccessToken: "seconds", IdToken: "minutes", RefreshToken: "hours"}
			},
			access: 5 * time.Minute, id: 10 * time.Minute, refresh: 2 * time.Hour,
		},
		"units without lifetimes leave the defaults": {
			change: func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
				in.TokenValidityUnits = &types.TokenValidityUnitsType{AccessToken: "days", IdToken: "days", RefreshToken: "minutes"}
			},
			access: time.Hour, id: time.Hour, refresh: 30 * 24 * time.Hour,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.createClient(b.seed.UserPoolID, test.change)
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(client, "ann")
			now := b.clock.Now()
			require.Equal(t, int32(test.access.Seconds()), tokens.ExpiresIn)
			require.Equal(t, float64(now.Add(test.access).Unix()), claimsOf(t, tokens.AccessToken)["exp"])
			require.Equal(t, float64(now.Add(test.id).Unix()), claimsOf(t, tokens.IdToken)["exp"])

			b.clock.Advance(test.refresh - time.Second)
			_, err := b.refresh(client, *tokens.RefreshToken)
			require.NoError(t, err)
			b.clock.Advance(time.Second)
			_, err = b.refresh(client, *tokens.RefreshToken)
			requireCode(t, err, "NotAuthorizedException", "Refresh Token has expired")
		})
	}
}

func TestTokenLifetimesCanBeOverridden(t *testing.T) {
	b := newEnv(t)
	client := b.seededClient()
	require.NoError(t, b.control.SetTokenValidity(b.ctx, controlValidity(*client.ClientId, 5, 6, 7)))
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	require.Equal(t, int32(5), tokens.ExpiresIn)
	require.Equal(t, float64(b.clock.Now().Unix()+6), claimsOf(t, tokens.IdToken)["exp"])
	b.clock.Advance(5 * time.Second)
	requireCode(t, b.whoAmI(*tokens.AccessToken), "NotAuthorizedException", "expired")
	b.clock.Advance(2 * time.Second)
	_, err := b.refresh(client, *tokens.RefreshToken)
	requireCode(t, err, "NotAuthorizedException", "Refresh Token has expired")

	require.Error(t, b.control.SetTokenValidity(b.ctx, controlValidity("nobody", 5, 0, 0)))
}

func TestTokensHaveNoIDsWithoutRevocation(t *testing.T) {
	b := newEnv(t)
	client := b.createClient(b.seed.UserPoolID, func(in *cognitoidentityprovider.CreateUserPoolClientInput) {
		in.EnableTokenRevocation = aws.Bool(false)
	})
	b.createConfirmedUser(b.seed.UserPoolID, "ann")
	tokens := b.mustSignIn(client, "ann")
	require.NotContains(t, claimsOf(t, tokens.AccessToken), "origin_jti")
	require.NoError(t, b.whoAmI(*tokens.AccessToken))
}

func TestWhatEndsAccess(t *testing.T) {
	tests := map[string]struct {
		end     func(b *env, client *types.UserPoolClientType, tokens *types.AuthenticationResultType) error
		refresh string // the words of NotAuthorizedException, or "" when the refresh token still works
		access  bool   // whether the access token still works at Cognito
		signIn  string // the code of a new sign-in
	}{
		"a global sign-out revokes tokens and not the user": {
			end: func(b *env, _ *types.UserPoolClientType, _ *types.AuthenticationResultType) error {
				return b.signOut(b.seed.UserPoolID, "ann")
			},
			refresh: "Refresh Token has been revoked",
		},
		"a revoked refresh token revokes its access tokens": {
			end: func(b *env, client *types.UserPoolClientType, tokens *types.AuthenticationResultType) error {
				_, err := b.cognito.RevokeToken(b.ctx, &cognitoidentityprovider.RevokeTokenInput{
					ClientId: client.ClientId, ClientSecret: client.ClientSecret, Token: tokens.RefreshToken,
				})
				return err
			},
			refresh: "Refresh Token has been revoked",
		},
		"a disabled user has no access": {
			end: func(b *env, _ *types.UserPoolClientType, _ *types.AuthenticationResultType) error {
				return b.disableUser(b.seed.UserPoolID, "ann")
			},
			refresh: "User is disabled.", signIn: "NotAuthorizedException",
		},
		"a deleted user has no access": {
			end: func(b *env, _ *types.UserPoolClientType, _ *types.AuthenticationResultType) error {
				return b.deleteUser(b.seed.UserPoolID, "ann")
			},
			refresh: "Invalid Refresh Token", signIn: "UserNotFoundException",
		},
		"a new password keeps sessions": {
			end: func(b *env, _ *types.UserPoolClientType, _ *types.AuthenticationResultType) error {
				return b.setPassword(b.seed.UserPoolID, "ann", goodPassword)
			},
			access: true,
		},
		"the user's own sign-out revokes tokens": {
			end: func(b *env, _ *types.UserPoolClientType, tokens *types.AuthenticationResultType) error {
				_, err := b.cognito.GlobalSignOut(b.ctx, &cognitoidentityprovider.GlobalSignOutInput{AccessToken: tokens.AccessToken})
				return err
			},
			refresh: "Refresh Token has been revoked",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := newEnv(t)
			client := b.seededClient()
			b.createConfirmedUser(b.seed.UserPoolID, "ann")
			tokens := b.mustSignIn(client, "ann")
			require.NoError(t, test.end(b, client, tokens))

			_, err := b.refresh(client, *tokens.RefreshToken)
			requireOutcome(t, err, codeIf(test.refresh != "", "NotAuthorizedException"), test.refresh)
			requireOutcome(t, b.whoAmI(*tokens.AccessToken), codeIf(!test.access, "NotAuthorizedException"))
			_, err = b.signIn(client, "ann", goodPassword)
			requireOutcome(t, err, test.signIn)
		})
	}
}

func codeIf(refused bool, code string) string {
	if refused {
		return code
	}
	return ""
}

func TestAccessTokensAtCognito(t *testing.T) {
	b := newEnv(t)
	b.createConfirmedUser(b.seed.UserPoolID, "ann", "email", "ann@example.com")
	tokens := b.mustSignIn(b.seededClient(), "ann")
	out, err := b.cognito.GetUser(b.ctx, &cognitoidentityprovider.GetUserInput{AccessToken: tokens.AccessToken})
	require.NoError(t, err)
	require.Equal(t, "ann", *out.Username)
	require.Equal(t, "ann@example.com", attributeMap(out.UserAttributes)["email"])

	requireCode(t, b.whoAmI(*tokens.IdToken), "NotAuthorizedException", "Invalid Access Token")
	requireCode(t, b.whoAmI("made.up.token"), "NotAuthorizedException", "Invalid Access Token")
	requireCode(t, b.whoAmI(*tokens.AccessToken+"x"), "NotAuthorizedException", "Invalid Access Token")
	b.clock.Advance(time.Hour)
	requireCode(t, b.whoAmI(*tokens.AccessToken), "NotAuthorizedException", "Access Token has expired")
}
