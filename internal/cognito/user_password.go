// Copyright (c) The vault-plugin-secrets-cognito authors
// SPDX-License-Identifier: MPL-2.0

package cognito

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	cip "github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider"
	"github.com/aws/aws-sdk-go-v2/service/cognitoidentityprovider/types"
)

// StatusExternalProvider is the UserState.Status of a federated user. Setting a
// password would make it a user of the pool itself.
const StatusExternalProvider = string(types.UserStatusTypeExternalProvider)

// IsPasswordRefused reports whether the pool does not accept a password: by its
// policy, because Cognito allows no such password anywhere (one with a space, an
// invalid parameter), or because the user had it before.
func IsPasswordRefused(err error) bool {
	return hasCode(err, "InvalidPasswordException") || hasCode(err, codeInvalidParameter) || IsPasswordUsed(err)
}

// IsPasswordUsed reports whether the user had the password before. After a lost
// response it may be that call which set it.
func IsPasswordUsed(err error) bool { return hasCode(err, codePasswordHistory) }

// IsWrongPassword reports whether Cognito refused a sign-in. It must not be
// repeated soon, because Cognito locks users out.
func IsWrongPassword(err error) bool { return hasCode(err, "NotAuthorizedException") }

// ReplacePassword sets the permanent password of a user who may have had others.
// It may be repeated, but a pool with a password history refuses the repetition,
// see IsPasswordUsed.
func (p *Pool) ReplacePassword(ctx context.Context, username, password string) error {
	_, err := p.api.AdminSetUserPassword(ctx, &cip.AdminSetUserPasswordInput{
		UserPoolId: &p.target.UserPoolID, Username: &username, Password: &password, Permanent: true,
	})
	if err != nil {
		return fail(p.step("setting the password of user", username), err, password)
	}
	return nil
}

// SignOutUser ends the sessions of a user. JWTs stay valid until they expire for
// those who do not ask Cognito.
func (p *Pool) SignOutUser(ctx context.Context, username string) error {
	_, err := p.api.AdminUserGlobalSignOut(ctx, &cip.AdminUserGlobalSignOutInput{UserPoolId: &p.target.UserPoolID, Username: &username})
	if err != nil {
		return fail(p.step("ending the sessions of user", username), err)
	}
	return nil
}

// initiateSelf signs in without IAM permissions. It is not repeated after a lost
// response, because each repetition may count as a wrong password.
func (p *Pool) initiateSelf(ctx context.Context, step string, app AppClient, c Login, metadata map[string]string) (reply, error) {
	out, err := p.api.InitiateAuth(ctx, &cip.InitiateAuthInput{
		ClientId:       &app.ID,
		AuthFlow:       types.AuthFlowTypeUserPasswordAuth,
		AuthParameters: app.authenticated(c.Username, map[string]string{"PASSWORD": c.Password}),
		ClientMetadata: metadata,
	}, p.once, unsigned)
	if err != nil {
		return reply{}, nameFlow(fail(step, err, c.Password, app.Secret), "ALLOW_USER_PASSWORD_AUTH")
	}
	return reply{out.AuthenticationResult, out.ChallengeName, aws.ToString(out.Session), out.ChallengeParameters}, nil
}
