// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// codeChallenge is the Code of an Error about a challenge that cannot be answered here.
const codeChallenge = "UnexpectedChallenge"

// Tokens are what a sign-in gives. The JWTs stay valid until they expire, even
// when the user is deleted before.
type Tokens struct {
	AccessToken, IDToken, RefreshToken string
	// Type is how to present the access token: Bearer.
	Type string
	// ExpiresIn is the life of the access and ID tokens, in whole seconds.
	ExpiresIn time.Duration
}

// challenge is Cognito's demand for a new password.
type challenge struct {
	session string
	// username is the one that the answer must name: Cognito's own.
	username string
}

// SignIn exchanges username and password for tokens. The app client must
// allow ALLOW_ADMIN_USER_PASSWORD_AUTH. A challenge is an Error of KindInvalid
// that names it.
func (p *Pool) SignIn(ctx context.Context, app AppClient, username, password string, metadata map[string]string) (Tokens, error) {
	step := p.step("signing in user", username)
	out, err := p.initiate(ctx, app, username, password, metadata)
	if err != nil {
		return Tokens{}, fail(step, err, password, app.Secret)
	}
	if out.ChallengeName != "" {
		return Tokens{}, unexpected(step, out.ChallengeName)
	}
	return tokens(step, out.AuthenticationResult)
}

// startFirstSignIn signs in with a temporary password, to be told to replace it.
func (p *Pool) startFirstSignIn(ctx context.Context, app AppClient, username, temporary string, metadata map[string]string) (challenge, error) {
	step := p.step("signing in with the temporary password of user", username)
	out, err := p.initiate(ctx, app, username, temporary, metadata)
	if err != nil {
		return challenge{}, fail(step, err, temporary, app.Secret)
	}
	if out.ChallengeName != types.ChallengeNameTypeNewPasswordRequired {
		return challenge{}, unexpected(step, out.ChallengeName)
	}
	if missing := demanded(out.ChallengeParameters); len(missing) > 0 {
		return challenge{}, &Error{Step: step, Kind: KindInvalid, Code: codeChallenge, Detail: fmt.Sprintf(
			"the pool requires attributes that the user has not: %s", strings.Join(missing, ", "))}
	}
	return challenge{
		session:  aws.ToString(out.Session),
		username: cmp.Or(out.ChallengeParameters["USER_ID_FOR_SRP"], username),
	}, nil
}

// finishFirstSignIn answers with the permanent password. An answer that got
// lost may have set it, which a plain sign-in tells.
func (p *Pool) finishFirstSignIn(ctx context.Context, app AppClient, c challenge, password string, metadata map[string]string) (Tokens, error) {
	step := p.step("setting the password of user", c.username)
	out, err := p.api.AdminRespondToAuthChallenge(ctx, &cip.AdminRespondToAuthChallengeInput{
		UserPoolId:         &p.target.UserPoolID,
		ClientId:           &app.ID,
		ChallengeName:      types.ChallengeNameTypeNewPasswordRequired,
		Session:            &c.session,
		ChallengeResponses: app.authenticated(c.username, map[string]string{"NEW_PASSWORD": password}),
		ClientMetadata:     metadata,
	}, p.answeredOnce)
	switch {
	case err != nil && !refused(err):
		return p.SignIn(ctx, app, c.username, password, metadata)
	case err != nil:
		return Tokens{}, fail(step, err, password, app.Secret, c.session)
	case out.ChallengeName != "":
		return Tokens{}, unexpected(step, out.ChallengeName)
	}
	return tokens(step, out.AuthenticationResult)
}

// answeredOnce keeps the SDK from repeating an answer whose session a lost
// attempt may have used up.
func (p *Pool) answeredOnce(o *cip.Options) {
	o.Retryer = newRetryer(p.settings.MaxRetries, withoutEffect())
}

func (p *Pool) initiate(ctx context.Context, app AppClient, username, password string, metadata map[string]string) (*cip.AdminInitiateAuthOutput, error) {
	return p.api.AdminInitiateAuth(ctx, &cip.AdminInitiateAuthInput{
		UserPoolId:     &p.target.UserPoolID,
		ClientId:       &app.ID,
		AuthFlow:       types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: app.authenticated(username, map[string]string{"PASSWORD": password}),
		ClientMetadata: metadata,
	})
}

func unexpected(step string, name types.ChallengeNameType) *Error {
	detail := fmt.Sprintf("Cognito demands %s, which the engine cannot answer; "+
		"change the pool's settings or use another pool", name)
	if name == "" {
		detail = "Cognito gave tokens where it should have demanded NEW_PASSWORD_REQUIRED"
	}
	return &Error{Step: step, Kind: KindInvalid, Code: codeChallenge, Detail: detail}
}

func tokens(step string, result *types.AuthenticationResultType) (Tokens, error) {
	if result == nil || aws.ToString(result.AccessToken) == "" {
		return Tokens{}, &Error{Step: step, Kind: KindUnavailable, Detail: "Cognito answered with neither tokens nor a challenge"}
	}
	return Tokens{
		AccessToken:  *result.AccessToken,
		IDToken:      aws.ToString(result.IdToken),
		RefreshToken: aws.ToString(result.RefreshToken),
		Type:         aws.ToString(result.TokenType),
		ExpiresIn:    time.Duration(result.ExpiresIn) * time.Second,
	}, nil
}

// demanded are the attributes that a NEW_PASSWORD_REQUIRED challenge asks for,
// a JSON list of names with the prefix "userAttributes.".
func demanded(parameters map[string]string) []string {
	var names []string
	if err := json.Unmarshal([]byte(parameters["requiredAttributes"]), &names); err != nil {
		return nil // absent or unreadable: Cognito itself will refuse an answer that lacks them
	}
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, "userAttributes.")
	}
	return names
}
