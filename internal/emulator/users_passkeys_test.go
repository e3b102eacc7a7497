// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/document"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/stretchr/testify/require"
)

const relyingParty = "auth.example.com"

// withPasskeys lets users of a pool register passkeys.
func withPasskeys(in *cognitoidentityprovider.CreateUserPoolInput) {
	in.Policies = &types.UserPoolPolicyType{SignInPolicy: &types.SignInPolicyType{
		AllowedFirstAuthFactors: []types.AuthFactorType{types.AuthFactorTypePassword, types.AuthFactorTypeWebAuthn},
	}}
}

func newPasskeyHolder(t *testing.T) *holder {
	t.Helper()
	h := newHolder(t, withPasskeys, nil)
	_, err := h.cognito.SetUserPoolMfaConfig(h.ctx, &cognitoidentityprovider.SetUserPoolMfaConfigInput{
		UserPoolId: &h.pool, MfaConfiguration: types.UserPoolMfaTypeOff,
		WebAuthnConfiguration: &types.WebAuthnConfigurationType{RelyingPartyId: aws.String(relyingParty)},
	})
	require.NoError(t, err)
	return h
}

// startPasskey returns the challenge of a registration.
func (h *holder) startPasskey() (string, error) {
	out, err := h.cognito.StartWebAuthnRegistration(h.ctx, &cognitoidentityprovider.StartWebAuthnRegistrationInput{AccessToken: h.access})
	if err != nil {
		return "", err
	}
	var options struct {
		Challenge string `document:"challenge"`
		RP        struct {
			ID string `document:"id"`
		} `document:"rp"`
	}
	require.NoError(h.t, out.CredentialCreationOptions.UnmarshalSmithyDocument(&options))
	require.Equal(h.t, relyingParty, options.RP.ID)
	return options.Challenge, nil
}

// completePasskey answers as a browser at the origin would.
func (h *holder) completePasskey(challenge, origin string) error {
	data, err := json.Marshal(map[string]string{"type": "webauthn.create", "challenge": challenge, "origin": origin})
	require.NoError(h.t, err)
	_, err = h.cognito.CompleteWebAuthnRegistration(h.ctx, &cognitoidentityprovider.CompleteWebAuthnRegistrationInput{
		AccessToken: h.access, Credential: document.NewLazyDocument(map[string]any{
			"id": "cGFzc2tleQ", "rawId": "cGFzc2tleQ", "type": "public-key", "authenticatorAttachment": "platform",
			"response": map[string]any{
				"clientDataJSON":    base64.RawURLEncoding.EncodeToString(data),
				"attestationObject": "o2Nm", "transports": []string{"internal"},
			},
		}),
	})
	return err
}

func TestHolderRegistersAPasskey(t *testing.T) {
	h := newPasskeyHolder(t)
	challenge, err := h.startPasskey()
	require.NoError(t, err)
	requireCode(t, h.completePasskey("another", "https://"+relyingParty), "WebAuthnChallengeNotFoundException")
	requireCode(t, h.completePasskey(challenge, "https://evil.example.org"), "WebAuthnOriginNotAllowedException")
	require.NoError(t, h.completePasskey(challenge, "https://app."+relyingParty))
	requireCode(t, h.completePasskey(challenge, "https://"+relyingParty), "WebAuthnChallengeNotFoundException")

	out, err := h.cognito.ListWebAuthnCredentials(h.ctx, &cognitoidentityprovider.ListWebAuthnCredentialsInput{AccessToken: h.access})
	require.NoError(t, err)
	require.Len(t, out.Credentials, 1)
	require.Equal(t, "cGFzc2tleQ", *out.Credentials[0].CredentialId)
	require.Equal(t, relyingParty, *out.Credentials[0].RelyingPartyId)
	require.Equal(t, []string{"cGFzc2tleQ"}, h.user(h.pool, "ann").Passkeys)

	require.NoError(t, h.setPassword(h.pool, "ann", otherPassword))
	require.NoError(t, h.signOut(h.pool, "ann"))
	require.Equal(t, []string{"cGFzc2tleQ"}, h.user(h.pool, "ann").Passkeys, "no operation of an administrator deletes a passkey")
}

func TestHolderDeletesItsPasskey(t *testing.T) {
	h := newPasskeyHolder(t)
	challenge, err := h.startPasskey()
	require.NoError(t, err)
	require.NoError(t, h.completePasskey(challenge, "https://"+relyingParty))
	remove := func() error {
		_, err := h.cognito.DeleteWebAuthnCredential(h.ctx, &cognitoidentityprovider.DeleteWebAuthnCredentialInput{
			AccessToken: h.access, CredentialId: aws.String("cGFzc2tleQ"),
		})
		return err
	}
	require.NoError(t, remove())
	requireCode(t, remove(), "ResourceNotFoundException")
}

func TestPoolsThatDoNotAllowPasskeys(t *testing.T) {
	t.Run("a pool without the sign-in policy refuses a passkey", func(t *testing.T) {
		h := newHolder(t, nil, nil)
		_, err := h.startPasskey()
		requireCode(t, err, "WebAuthnNotEnabledException")
	})
	t.Run("a pool without a relying party or domain refuses a passkey", func(t *testing.T) {
		h := newHolder(t, withPasskeys, nil)
		_, err := h.startPasskey()
		requireCode(t, err, "WebAuthnConfigurationMissingException")
	})
	t.Run("the Lite tier refuses the sign-in policy", func(t *testing.T) {
		b := newEnv(t)
		in := &cognitoidentityprovider.CreateUserPoolInput{PoolName: aws.String("pool"), UserPoolTier: types.UserPoolTierTypeLite}
		withPasskeys(in)
		_, err := b.cognito.CreateUserPool(b.ctx, in)
		requireCode(t, err, "FeatureUnavailableInTierException")
	})
}

func TestSignInPolicyIsDescribed(t *testing.T) {
	b := newEnv(t)
	for want, change := range map[int]func(*cognitoidentityprovider.CreateUserPoolInput){1: nil, 2: withPasskeys} {
		out, err := b.describePool(b.createPool(change))
		require.NoError(t, err)
		require.Len(t, out.Policies.SignInPolicy.AllowedFirstAuthFactors, want)
	}
}
