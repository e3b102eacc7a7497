// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"encoding/base32"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
	"github.com/pquerna/otp/totp"
)

// deviceName is the name of the authenticator in Cognito.
const deviceName = "Vault"

// totpCalls is how many calls of UserResourceUpdate it takes to enroll a user, at most.
const totpCalls = 3

// TOTP is an authenticator by RFC 6238, with the parameters of Cognito: SHA-1, six
// digits and 30 seconds.
type TOTP struct {
	// Secret is in base32, as Cognito returned it.
	Secret string
	// URL is the otpauth URL that authenticator apps read.
	URL string
}

// enroll sets up an authenticator for a user that has just signed in. If the pool
// requires one, the reply is the challenge to set it up and the tokens follow;
// otherwise the reply has the tokens already.
// https://docs.aws.amazon.com/cognito/latest/developerguide/user-pool-settings-mfa-totp.html
func (p *Pool) enroll(ctx context.Context, user User, r UserRequest, answer reply) (*TOTP, reply, error) {
	switch answer.challenge {
	case types.ChallengeNameTypeMfaSetup:
		return p.enrollByChallenge(ctx, user, r, answer)
	case "":
		secret, err := p.enrollSignedIn(ctx, user, answer)
		return secret, answer, err
	default:
		return nil, reply{}, unexpected(p.step("signing in user", user.Username), answer.challenge)
	}
}

func (p *Pool) enrollByChallenge(ctx context.Context, user User, r UserRequest, demand reply) (*TOTP, reply, error) {
	if offered := demand.parameters["MFAS_CAN_SETUP"]; offered != "" && !strings.Contains(offered, string(types.ChallengeNameTypeSoftwareTokenMfa)) {
		return nil, reply{}, &Error{Step: p.enrollStep(user), Kind: KindInvalid, Code: codeChallenge, Detail: fmt.Sprintf(
			"the pool requires a second factor and offers only %s, which cannot be set up without a person", offered)}
	}
	authenticator, session, err := p.associate(ctx, user, cip.AssociateSoftwareTokenInput{Session: &demand.session})
	if err != nil {
		return nil, reply{}, err
	}
	verified, err := p.verify(ctx, user, authenticator, cip.VerifySoftwareTokenInput{Session: &session})
	if err != nil {
		return nil, reply{}, err
	}
	demand.session = verified
	answer, err := p.respond(ctx, p.enrollStep(user), r.AppClient, demand, user.Username, map[string]string{}, r.ClientMetadata)
	return authenticator, answer, err
}

func (p *Pool) enrollSignedIn(ctx context.Context, user User, signedIn reply) (*TOTP, error) {
	tokens, err := p.tokens(p.enrollStep(user), signedIn)
	if err != nil {
		return nil, err
	}
	authenticator, _, err := p.associate(ctx, user, cip.AssociateSoftwareTokenInput{AccessToken: &tokens.AccessToken})
	if err != nil {
		return nil, err
	}
	if _, err := p.verify(ctx, user, authenticator, cip.VerifySoftwareTokenInput{AccessToken: &tokens.AccessToken}); err != nil {
		return nil, err
	}
	// If a second factor is optional, Cognito requires only the preferred one at a sign-in.
	_, err = p.api.AdminSetUserMFAPreference(ctx, &cip.AdminSetUserMFAPreferenceInput{
		UserPoolId: &p.target.UserPoolID, Username: &user.Username,
		SoftwareTokenMfaSettings: &types.SoftwareTokenMfaSettingsType{Enabled: true, PreferredMfa: true},
	})
	if err != nil {
		return nil, fail(p.enrollStep(user), err)
	}
	return authenticator, nil
}

// associate returns a new authenticator, and the next session if the input has one.
func (p *Pool) associate(ctx context.Context, user User, input cip.AssociateSoftwareTokenInput) (*TOTP, string, error) {
	out, err := p.api.AssociateSoftwareToken(ctx, &input, p.once, unsigned)
	if err != nil {
		return nil, "", fail(p.enrollStep(user), err, aws.ToString(input.Session), aws.ToString(input.AccessToken))
	}
	authenticator, err := newTOTP(p.target.UserPoolID, user.Username, aws.ToString(out.SecretCode))
	if err != nil {
		return nil, "", &Error{Step: p.enrollStep(user), Kind: KindUnavailable, Detail: "Cognito's secret for the authenticator is not base32"}
	}
	return authenticator, aws.ToString(out.Session), nil
}

// verify proves to Cognito that the engine has the secret.
func (p *Pool) verify(ctx context.Context, user User, authenticator *TOTP, input cip.VerifySoftwareTokenInput) (session string, err error) {
	code, err := totp.GenerateCode(authenticator.Secret, p.service.now())
	if err != nil {
		return "", &Error{Step: p.enrollStep(user), Kind: KindUnavailable, Detail: "making a one-time code failed"}
	}
	input.UserCode, input.FriendlyDeviceName = &code, aws.String(deviceName)
	out, err := p.api.VerifySoftwareToken(ctx, &input, p.once, unsigned)
	switch {
	case err != nil:
		return "", fail(p.enrollStep(user), err, code, authenticator.Secret, aws.ToString(input.Session), aws.ToString(input.AccessToken))
	case out.Status != types.VerifySoftwareTokenResponseTypeSuccess:
		return "", &Error{Step: p.enrollStep(user), Kind: KindUnavailable, Detail: "Cognito did not accept the one-time code: check the clock of this machine"}
	}
	return aws.ToString(out.Session), nil
}

func (p *Pool) enrollStep(user User) string {
	return p.step("enrolling an authenticator of user", user.Username)
}

func newTOTP(issuer, account, secret string) (*TOTP, error) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil {
		return nil, fmt.Errorf("decoding the secret: %w", err)
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: account, Secret: raw})
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	return &TOTP{Secret: secret, URL: key.URL()}, nil
}
