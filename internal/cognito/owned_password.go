// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// StatusExternalProvider is the UserState.Status of a user who signs in
// elsewhere. Setting a password would make it a user of the pool's own.
const StatusExternalProvider = string(types.UserStatusTypeExternalProvider)

// IsPasswordRefused reports that the pool does not take a password: by its
// policy, or because the user had it before.
func IsPasswordRefused(err error) bool {
	return hasCode(err, "InvalidPasswordException") || IsPasswordUsed(err)
}

// IsPasswordUsed reports that the user had the password before. After a lost
// answer that may be since then.
func IsPasswordUsed(err error) bool { return hasCode(err, codePasswordHistory) }

// IsWrongPassword reports a sign-in that Cognito refused. It must not be tried
// again soon: Cognito locks users out.
func IsWrongPassword(err error) bool { return hasCode(err, "NotAuthorizedException") }

// ReplacePassword sets the permanent password of a user who may have had
// others. Doing it twice does no harm, but where the pool keeps a history the
// second time is refused, see IsPasswordUsed.
func (p *Pool) ReplacePassword(ctx context.Context, username, password string) error {
	_, err := p.api.AdminSetUserPassword(ctx, &cip.AdminSetUserPasswordInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	if err != nil {
		return fail(p.step("setting the password of user", username), err, password)
	}
	return nil
}

// SignOutUser ends the sessions of a user. Its JWTs stay valid until they
// expire wherever nobody asks Cognito about them.
func (p *Pool) SignOutUser(ctx context.Context, username string) error {
	_, err := p.api.AdminUserGlobalSignOut(ctx, &cip.AdminUserGlobalSignOutInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return fail(p.step("ending the sessions of user", username), err)
	}
	return nil
}

// SignInSelf is SignIn without any right of IAM's. The app client must allow
// ALLOW_USER_PASSWORD_AUTH.
func (p *Pool) SignInSelf(ctx context.Context, app AppClient, c Login, metadata map[string]string) (Tokens, error) {
	step := p.step("signing in user", c.Username)
	answer, err := p.initiateSelf(ctx, step, app, c, metadata)
	if err != nil {
		return Tokens{}, err
	}
	return p.tokens(step, answer)
}

// ChangeOwnPassword lets a user replace its password, which requires no IAM
// permission. It also serves a user with a temporary password, who has to
// replace it.
func (p *Pool) ChangeOwnPassword(ctx context.Context, app AppClient, c Login, password string, metadata map[string]string) error {
	step := p.step("changing the password of user", c.Username)
	answer, err := p.initiateSelf(ctx, step, app, c, metadata)
	if err != nil {
		return unchanged(err)
	}
	if answer.challenge == types.ChallengeNameTypeNewPasswordRequired {
		return p.replaceTemporary(ctx, step, app, c, answer, password, metadata)
	}
	tokens, err := p.tokens(step, answer)
	if err != nil {
		return unchanged(err)
	}
	_, err = p.api.ChangePassword(ctx, &cip.ChangePasswordInput{
		AccessToken: &tokens.AccessToken, PreviousPassword: &c.Password, ProposedPassword: &password,
	}, p.once, unsigned)
	if err != nil {
		return fail(step, err, c.Password, password, tokens.AccessToken)
	}
	return nil
}

// unchanged marks the failure of a step that only prepares a change.
func unchanged(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Outcome = OutcomeRefused
	}
	return err
}

func (p *Pool) replaceTemporary(ctx context.Context, step string, app AppClient, c Login, demand reply, password string, metadata map[string]string) error {
	_, err := p.api.RespondToAuthChallenge(ctx, &cip.RespondToAuthChallengeInput{
		ClientId:           &app.ID,
		ChallengeName:      demand.challenge,
		Session:            &demand.session,
		ChallengeResponses: app.authenticated(demand.username(c.Username), map[string]string{"NEW_PASSWORD": password}),
		ClientMetadata:     metadata,
	}, p.once, unsigned)
	if err != nil {
		return fail(step, err, password, app.Secret, demand.session)
	}
	return nil
}

func (p *Pool) initiateSelf(ctx context.Context, step string, app AppClient, c Login, metadata map[string]string) (reply, error) {
	out, err := p.api.InitiateAuth(ctx, &cip.InitiateAuthInput{
		ClientId:       &app.ID,
		AuthFlow:       types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: app.authenticated(c.Username, map[string]string{"PASSWORD": c.Password}),
		ClientMetadata: metadata,
	}, unsigned)
	if err != nil {
		return reply{}, nameFlow(fail(step, err, c.Password, app.Secret), "ALLOW_USER_PASSWORD_AUTH")
	}
	return reply{out.AuthenticationResult, out.ChallengeName, aws.ToString(out.Session), out.ChallengeParameters}, nil
}
