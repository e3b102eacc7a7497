// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// codeChallenge is the Code of an Error about a challenge that cannot be answered here.
const codeChallenge = "UnexpectedChallenge"

// challengePattern matches Cognito's names of challenges. What does not match is
// not repeated in an error.
var challengePattern = regexp.MustCompile(`^[A-Z_]{1,64}$`)

// Tokens are the result of a sign-in. The JWTs stay valid until they expire,
// even if the user is deleted before.
type Tokens struct {
	AccessToken, IDToken, RefreshToken string
	// Type is how to present the access token: Bearer.
	Type string
	// ExpiresIn is the life of the access token, in whole seconds.
	ExpiresIn time.Duration
	// Expires is when the access token expires: what the token itself says or
	// ExpiresIn says, whichever is earlier, in case a clock is wrong.
	Expires time.Time
}

// Login is what a user signs in with.
type Login struct {
	Username, Password string
	// TOTPCode is the present code of the user's authenticator, if it has one.
	TOTPCode string
}

// reply is Cognito's response to a step of a sign-in: tokens, or a challenge.
type reply struct {
	result *types.AuthenticationResultType

	challenge  types.ChallengeNameType
	session    string
	parameters map[string]string
}

// username returns the name for the response to the challenge: Cognito's own, if
// the challenge has it.
func (r reply) username(sent string) string {
	return cmp.Or(r.parameters["USER_ID_FOR_SRP"], sent)
}

// SignIn exchanges credentials for tokens. The app client must allow
// ALLOW_ADMIN_USER_PASSWORD_AUTH. A challenge other than for a TOTP code is an
// Error of KindInvalid that names it.
func (p *Pool) SignIn(ctx context.Context, app AppClient, c Login, metadata map[string]string) (Tokens, error) {
	return p.signIn(ctx, app, c, metadata)
}

// SignInOnce is SignIn with one attempt: after a lost response nothing is repeated,
// because Cognito may have counted a wrong password.
func (p *Pool) SignInOnce(ctx context.Context, app AppClient, c Login, metadata map[string]string) (Tokens, error) {
	return p.signIn(ctx, app, c, metadata, p.once)
}

func (p *Pool) signIn(
	ctx context.Context, app AppClient, c Login, metadata map[string]string, options ...func(*cip.Options),
) (Tokens, error) {
	step := p.step("signing in user", c.Username)
	answer, err := p.initiate(ctx, step, app, c, metadata, options...)
	if err != nil {
		return Tokens{}, err
	}
	if answer.challenge == types.ChallengeNameTypeSoftwareTokenMfa {
		if c.TOTPCode == "" {
			return Tokens{}, &Error{Step: step, Kind: KindInvalid, Code: codeChallenge, Detail: "the user has an authenticator: send its present code in totp_code"}
		}
		answer, err = p.respond(ctx, step, app, answer, c.Username, map[string]string{"SOFTWARE_TOKEN_MFA_CODE": c.TOTPCode}, metadata)
		if err != nil {
			return Tokens{}, err
		}
	}
	return p.tokens(step, answer)
}

// startFirstSignIn signs in with a temporary password and returns the challenge to
// replace it.
func (p *Pool) startFirstSignIn(ctx context.Context, app AppClient, c Login, metadata map[string]string) (reply, error) {
	step := p.step("signing in with the temporary password of user", c.Username)
	answer, err := p.initiate(ctx, step, app, c, metadata)
	if err != nil {
		return reply{}, err
	}
	if answer.challenge != types.ChallengeNameTypeNewPasswordRequired {
		return reply{}, unexpected(step, answer.challenge)
	}
	if missing := demanded(answer.parameters); len(missing) > 0 {
		return reply{}, &Error{Step: step, Kind: KindInvalid, Code: codeChallenge, Detail: fmt.Sprintf(
			"the pool requires attributes that the user does not have: %s", strings.Join(missing, ", "))}
	}
	return answer, nil
}

// answerFirstSignIn responds with the permanent password. After a lost response a
// sign-in shows whether it was set.
func (p *Pool) answerFirstSignIn(ctx context.Context, app AppClient, demand reply, c Login, metadata map[string]string) (reply, error) {
	step := p.step("setting the password of user", c.Username)
	answer, err := p.respond(ctx, step, app, demand, c.Username, map[string]string{"NEW_PASSWORD": c.Password}, metadata)
	if err == nil || KindOf(err) != KindUnavailable {
		return answer, err
	}
	answer, signInErr := p.initiate(ctx, p.step("signing in user", c.Username), app, c, metadata)
	if IsWrongPassword(signInErr) {
		return reply{}, err // the password was not set
	}
	return answer, signInErr
}

func (p *Pool) initiate(
	ctx context.Context, step string, app AppClient, c Login, metadata map[string]string, options ...func(*cip.Options),
) (reply, error) {
	out, err := p.api.AdminInitiateAuth(ctx, &cip.AdminInitiateAuthInput{
		UserPoolId:     &p.target.UserPoolID,
		ClientId:       &app.ID,
		AuthFlow:       types.AuthFlowTypeAdminUserPasswordAuth,
		AuthParameters: app.authenticated(c.Username, map[string]string{"PASSWORD": c.Password}),
		ClientMetadata: metadata,
	}, options...)
	if err != nil {
		return reply{}, nameFlow(fail(step, err, c.Password, app.Secret), "ALLOW_ADMIN_USER_PASSWORD_AUTH")
	}
	return reply{out.AuthenticationResult, out.ChallengeName, aws.ToString(out.Session), out.ChallengeParameters}, nil
}

// nameFlow says what an app client must allow. Cognito answers
// InvalidParameterException if it does not, with a text that may change.
func nameFlow(e *Error, flow string) *Error {
	if e.Code == codeInvalidParameter {
		e.Detail = withHint(e.Detail, "the app client must allow "+flow)
	}
	return e
}

// respond responds to a challenge. It is not repeated after a lost response,
// because the session may be used up.
func (p *Pool) respond(
	ctx context.Context, step string, app AppClient, demand reply, username string, answers, metadata map[string]string,
) (reply, error) {
	out, err := p.api.AdminRespondToAuthChallenge(ctx, &cip.AdminRespondToAuthChallengeInput{
		UserPoolId:         &p.target.UserPoolID,
		ClientId:           &app.ID,
		ChallengeName:      demand.challenge,
		Session:            &demand.session,
		ChallengeResponses: app.authenticated(demand.username(username), answers),
		ClientMetadata:     metadata,
	}, p.once)
	if err != nil {
		secrets := append(slices.Collect(maps.Values(answers)), app.Secret, demand.session)
		return reply{}, fail(step, err, secrets...)
	}
	return reply{out.AuthenticationResult, out.ChallengeName, aws.ToString(out.Session), out.ChallengeParameters}, nil
}

// once keeps the SDK from repeating a call whose response was lost: a repetition
// could meet the effect of the first attempt.
func (p *Pool) once(o *cip.Options) {
	o.Retryer = newRetryer(p.service.settings.MaxRetries, onlyWithoutEffect())
}

// tokens returns those of a reply, if it is not a challenge.
func (p *Pool) tokens(step string, r reply) (Tokens, error) {
	if r.challenge != "" {
		return Tokens{}, unexpected(step, r.challenge)
	}
	return tokensOf(step, r.result, p.service.now())
}

// IsChallenge reports whether a sign-in led to a challenge: the password was right.
func IsChallenge(err error) bool { return hasCode(err, codeChallenge) }

func unexpected(step string, name types.ChallengeNameType) *Error {
	return &Error{Step: step, Kind: KindInvalid, Code: codeChallenge, Detail: adviceOnChallenge(name)}
}

func adviceOnChallenge(name types.ChallengeNameType) string {
	switch {
	case name == "":
		return "Cognito returned tokens instead of the challenge NEW_PASSWORD_REQUIRED"
	case !challengePattern.MatchString(string(name)):
		return "Cognito demands an unknown challenge"
	case name == types.ChallengeNameTypeMfaSetup, name == types.ChallengeNameTypeSoftwareTokenMfa:
		return fmt.Sprintf("Cognito demands %s: the pool requires a second factor, and the role has mfa=none where it needs mfa=totp", name)
	default:
		return fmt.Sprintf("Cognito demands %s, which cannot be answered without a person; change the pool's settings or use another pool", name)
	}
}

func tokensOf(step string, result *types.AuthenticationResultType, now time.Time) (Tokens, error) {
	if result == nil || aws.ToString(result.AccessToken) == "" {
		return Tokens{}, &Error{Step: step, Kind: KindUnavailable, Detail: "Cognito answered with neither tokens nor a challenge"}
	}
	life := time.Duration(result.ExpiresIn) * time.Second
	return Tokens{
		AccessToken:  *result.AccessToken,
		IDToken:      aws.ToString(result.IdToken),
		RefreshToken: aws.ToString(result.RefreshToken),
		Type:         aws.ToString(result.TokenType),
		ExpiresIn:    life,
		Expires:      expiryOf(*result.AccessToken, life, now),
	}, nil
}

// demanded returns the attributes that a NEW_PASSWORD_REQUIRED challenge requires.
// They are a JSON list of names with the prefix "userAttributes.".
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
